"""Read-only queries on a run (history, drift, audit), whoever owns its training loop.

They follow from the events that still hold and from what is trained. Hold the lock of the loop while you ask about
weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from labkit.tuning import freezing
from labkit.tuning.events import EpochDone, Event, Journal, StepDone

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["step", "epoch", "split", "loss", "accuracy", "correct", "count"]
COLUMNS += ["lr", "trainable_from", "seconds"]


class Trained(Protocol):
    """What is trained: our `Trainer`, or what steers the loop of somebody else."""

    @property
    def stages(self) -> tuple[str, ...]: ...

    @property
    def model(self) -> nn.Module: ...

    @property
    def initial(self) -> dict[str, dict[str, Tensor]]:
        """By part, what training began with."""

    @property
    def stance(self) -> freezing.Stance | None:
        """Which modules are in train mode in a step, where that is known."""


def history(journal: Journal) -> pd.DataFrame:
    """One row a training step and one a validation of the whole split; accuracy is correct / count."""
    import pandas as pd

    rows = [_history_row(event) for event in journal.current]
    return pd.DataFrame([row for row in rows if row], columns=COLUMNS)


def _history_row(event: Event) -> tuple[Any, ...] | None:
    if isinstance(event, StepDone):
        share, counts = event.correct / event.count, (event.correct, event.count)
        now = (event.lr, event.trainable_from, event.seconds)
        return (event.step, event.epoch, "train", event.loss, share, *counts, *now)
    if isinstance(event, EpochDone) and event.valid_count:
        share, counts = (
            event.valid_correct / event.valid_count,
            (event.valid_correct, event.valid_count),
        )
        seen = (event.valid_loss, share, *counts)
        return (event.step, float(event.epoch), "valid", *seen, None, None, event.seconds)
    return None


def parameters_trained(model: nn.Module) -> tuple[int, int]:
    """How many parameters train now, and how many there are."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)


def audit(journal: Journal, trained: Trained, trainable_from: str) -> freezing.Audit:
    """What changed in each stage since the start, and whether anything moved that was never trained."""
    stages = trained.stages
    depths = {e.trainable_from for e in journal.current if isinstance(e, StepDone)}
    first = min((stages.index(depth) for depth in depths), default=len(stages))
    return freezing.audit(
        trained.model, stages, trained.initial, trainable_from, stages[first:], trained.stance
    )


def drift(trained: Trained) -> dict[str, float]:
    """For every stage, how far its parameters are from where they started: ||w - w0|| / ||w0||.

    Adapters in a stage are told beside it.
    """
    return {
        part.name: freezing.drift_of(part, trained.initial[part.name])
        for part in freezing.parts(trained.model, trained.stages)
    }
