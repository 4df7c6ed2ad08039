"""What can be asked of anything that trains, whoever holds its loop: its history, what moved in it, to stand still.

Everything here follows from the events that were told and from the weights training began with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from labkit.tuning import freezing
from labkit.tuning.commands import LoggedCommand, Settings
from labkit.tuning.engine import Engine
from labkit.tuning.events import (
    EpochDone,
    Event,
    Journal,
    Rewound,
    RunEnded,
    RunFailed,
    StepDone,
)

if TYPE_CHECKING:
    import pandas as pd


class Watched(Engine):
    """An engine that tells what it does, and can be looked at."""

    stages: tuple[str, ...]
    model: nn.Module
    _initial: dict[str, dict[str, Tensor]]  # by part, what training began with

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self._told: list[Event] = []  # the events that still hold: a rewind takes them back
        self._log: list[LoggedCommand] = []

    @property
    def settings(self) -> Settings:
        """What is in force for the next step."""
        raise NotImplementedError

    def _tell(self, event: Event) -> None:
        if not isinstance(event, Rewound | RunFailed | RunEnded):
            self._told.append(event)
        self.journal.append(event)

    @property
    def log(self) -> tuple[LoggedCommand, ...]:
        """The commands that made this run what it is, and the step after which each took effect."""
        return tuple(self._log)

    @property
    def history(self) -> pd.DataFrame:
        """One row a training step and one a validation of the whole split; accuracy is correct / count."""
        import pandas as pd

        columns = ["step", "epoch", "split", "loss", "accuracy", "correct", "count"]
        columns += ["lr", "trainable_from", "seconds"]
        rows = [_history_row(event) for event in tuple(self._told)]
        return pd.DataFrame([row for row in rows if row], columns=columns)

    def parameters_trained(self) -> tuple[int, int]:
        """How many parameters train now, and how many there are."""
        sizes = [(p.numel(), p.requires_grad) for p in self.model.parameters()]
        return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)

    def in_train_mode(self, module: nn.Module) -> bool:
        """Whether a module of the model is in train mode while a step is done."""
        return module.training

    @property
    def _stance(self) -> freezing.Stance | None:
        """How the model stands in a step, where that is known."""
        return None

    def audit(self) -> freezing.Audit:
        """What changed in each stage since the start, and whether anything moved that was never trained."""
        depth = self.settings.trainable_from
        with self.frozen_world() as model:
            start, trained = self._initial, self._ever_thawed()
            return freezing.audit(model, self.stages, start, depth, trained, self._stance)

    def drift(self) -> dict[str, float]:
        """For every stage, how far its parameters are from where they started: ||w - w0|| / ||w0||.

        Adapters in a stage are told beside it.
        """
        with self.frozen_world() as model:
            return {
                part.name: freezing.drift_of(part, self._initial[part.name])
                for part in freezing.parts(model, self.stages)
            }

    def _ever_thawed(self) -> tuple[str, ...]:
        """The stages that trained in at least one step of this run's history."""
        depths = {event.trainable_from for event in self._told if isinstance(event, StepDone)}
        first = min((self.stages.index(depth) for depth in depths), default=len(self.stages))
        return self.stages[first:]

    @contextmanager
    def frozen_world(self) -> Iterator[nn.Module]:
        """Hold the run between two steps, so that a probe may read its model; keep it short."""
        with self._lock:
            self._make_whole()
            yield self.model

    def _make_whole(self) -> None:
        """Undo what an interrupted step has left behind; the lock is held."""


def _history_row(event: Event) -> tuple[Any, ...] | None:
    if isinstance(event, StepDone):
        share = event.correct / event.count
        scores = (event.loss, share, event.correct, event.count)
        return (
            event.step,
            event.epoch,
            "train",
            *scores,
            event.lr,
            event.trainable_from,
            event.seconds,
        )
    if isinstance(event, EpochDone) and event.valid_count:
        share = event.valid_correct / event.valid_count
        counts = (event.valid_correct, event.valid_count)
        return (
            event.step,
            float(event.epoch),
            "valid",
            event.valid_loss,
            share,
            *counts,
            None,
            None,
            event.seconds,
        )
    return None
