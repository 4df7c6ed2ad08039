"""How hard each stage was pulled at: the length of its gradient at steps of a run, taken again on a clone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from labkit.errors import EvidenceError
from labkit.insight.revisit import chosen_steps, revisit, spread_out
from labkit.tuning.given import a_count, a_run, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

COLUMNS = ["step", "epoch", "loss", "stage", "trainable", "norm", "relative"]


@takes(run=a_run, count=a_count())
def gradient_norms(run: Run, steps: Sequence[int] | None = None, count: int = 20) -> pd.DataFrame:
    """One row a step and stage: the gradient that this very step of the run had.

    A clone goes back to just before each step and takes it once more, to the bit. `steps` are numbered from 1, by
    default `count` of them, evenly spread.

    Columns: step, epoch; loss (of the step's batch, nats); stage; trainable (at that step); norm (the length of the
    stage's gradient); relative (the norm over the length of the stage's weights). A frozen stage has no gradient: nan.
    An optimiser such as AdamW divides by the gradient's size, so a long gradient is not a long step.

    Raises EvidenceError for a run without steps, CommandError for a step that has not happened.
    """
    if not run.step_number:
        raise EvidenceError("This run has not trained yet, so it had no gradient; run.fit() first.")
    wanted = (
        spread_out([*range(1, run.step_number + 1)], count)
        if steps is None
        else chosen_steps(run, steps, first=1)
    )
    rows: list[dict[str, Any]] = []
    for _, clone in revisit(run, [step - 1 for step in wanted]):
        seen: dict[str, dict[str, Any]] = {}
        # torch calls this before the optimiser moves anything, so that weights and gradient belong together.
        handle = clone.optimizer.register_step_pre_hook(
            lambda optimizer, *_, seen=seen: seen.update(_measured(optimizer))
        )
        try:
            done = clone.step()
        finally:
            handle.remove()  # it would keep the clone alive
        told = {"step": done.step, "epoch": done.epoch, "loss": done.loss}
        rows[:0] = [{**told, "stage": stage, **values} for stage, values in seen.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _measured(optimizer: Any) -> dict[str, dict[str, Any]]:
    """For every stage: whether it trains, its gradient's length, and that over the length of its weights."""
    found = {}
    for group in optimizer.param_groups:
        pulled = [p for p in group["params"] if p.grad is not None]
        norm = _length([p.grad for p in pulled]) if pulled else float("nan")
        weights = _length([p.detach() for p in group["params"]])
        relative = norm / weights if weights else float("nan")
        found[group["name"]] = {"trainable": bool(pulled), "norm": norm, "relative": relative}
    return found


def _length(tensors: Sequence[Tensor]) -> float:
    return float(sum(float(tensor.double().square().sum()) for tensor in tensors)) ** 0.5
