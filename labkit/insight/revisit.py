"""A finished stretch of training, visited again on a clone: the run itself never moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from labkit.errors import CommandError, shown
from labkit.runtime import whole_number

if TYPE_CHECKING:
    from labkit.tuning import Run


def revisit(run: Run, steps: Iterable[int]) -> Iterator[tuple[int, Run]]:
    """A clone of the run as it was after each of `steps`, the latest first.

    The clone is one and the same, taken back from checkpoint to checkpoint, with all commands in force that the run had
    been given by then. It may be read and trained on: the next step asked for starts from a checkpoint again.
    Raises CommandError for a step that has not happened.
    """
    wanted = chosen_steps(run, steps)[::-1]
    log, clone = [c for c in run.log if c.kind == "set"], run.branch()
    clone.budget = None  # looking is free
    for step in wanted:
        if step < clone.step_number:
            clone.rewind(step)
            for command in (command for command in log if command.step == step):
                clone.set(**command.args)  # a rewind takes back what was said at that very step
        yield step, clone


def epochs_done(run: Run) -> dict[int, float]:
    """How many epochs were done after each step, 0 at step 0."""
    train = run.history.query("split == 'train'")
    return {0: 0.0, **{int(row.step): float(row.epoch) for row in train.itertuples()}}


def epoch_ends(run: Run) -> list[int]:
    """The steps at which an epoch was complete, and where the run is now; step 0 is the first."""
    done = epochs_done(run)
    now = max(done)
    return [step for step, epochs in done.items() if epochs.is_integer() or step == now]


def spread_out(steps: list[int], count: int) -> list[int]:
    """At most `count` of the steps, the first and the last among them, evenly spread; of one, the last."""
    if len(steps) <= count:
        return steps
    if count == 1:
        return steps[-1:]
    return [steps[round(place * (len(steps) - 1) / (count - 1))] for place in range(count)]


def chosen_steps(run: Run, steps: Any, first: int = 0) -> list[int]:
    """Steps that have happened, each once and in order. Raises CommandError for anything else."""
    listed = steps.tolist() if isinstance(steps, Tensor | np.ndarray) else steps
    several = isinstance(listed, Iterable) and not isinstance(listed, str | bytes | Mapping)
    chosen = sorted({_past(run, step, first) for step in listed}) if several else []
    if not chosen:
        raise CommandError(
            f"steps={shown(steps)} is not a list of steps: use whole numbers from {first} to {run.step_number}, "
            "where the run is."
        )
    return chosen


def _past(run: Run, step: Any, first: int = 0) -> int:
    whole = whole_number(step)
    if whole is None or not first <= whole <= run.step_number:
        raise CommandError(
            f"step={shown(step)} has not happened: use whole numbers from {first} to {run.step_number}, where the "
            "run is."
        )
    return whole
