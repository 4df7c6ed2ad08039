"""The rows of evidence: a run of an experiment, and a learning rate that was tried.

A row carries a digest of its recipe (data, labels, plan, weights), so that a record made by another recipe than
today's is found out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan


@dataclass(frozen=True)
class EvidenceRow:
    """One run: `correct` of `count` after the last epoch, on the split that is reported.

    `valid_correct`, `best_correct` and `best_epoch` are of the validation split. `seconds` is time
    by the clock, validation included, and `cpu_seconds` processor time, which other work on the
    machine does not stretch. `statistics` is how far the BatchNorm statistics of stages that never
    trained have moved (relative; 0 when they stood still), `drift` how far the parameters below the
    head are from where they began (relative; nan in records older than this column). `curve` is the right answers on
    the validation split before training and after each epoch (empty in records older than this column). `readings` is
    what the condition's readings gave, as `name=number`, or `name=number:number:number` where one gave a curve.
    """

    group: str
    plan: str
    seed: int
    correct: int
    count: int
    valid_correct: int
    best_correct: int
    best_epoch: int
    valid_count: int
    epochs: int
    steps: int
    seconds: float
    cpu_seconds: float
    statistics: float
    precision: str
    recipe: str
    drift: float = nan
    curve: tuple[int, ...] = ()
    readings: str = ""

    @property
    def id(self) -> tuple[str, str, int]:
        """What tells it from the other runs of its experiment, whatever the recipe."""
        return self.group, self.plan, self.seed

    @property
    def accuracy(self) -> float:
        return self.correct / self.count

    def reading(self, name: str) -> float:
        """What one of the condition's readings gave, of a curve the last number; nan where it was not asked for."""
        return self.curve_of(name)[-1]

    def curve_of(self, name: str) -> tuple[float, ...]:
        """All numbers that a reading gave, in their order; (nan,) where it was not asked for."""
        numbers = dict(one.split("=") for one in self.readings.split())
        return tuple(float(number) for number in numbers.get(name, "nan").split(":"))

    def share_until(self, right: int) -> float:
        """The share of the training after which `right` validation answers were first there; 1 if they never were."""
        reached = (epoch for epoch, count in enumerate(self.curve) if count >= right)
        return next(reached, self.epochs) / self.epochs


@dataclass(frozen=True)
class Trial:
    """One rate tried, on examples that are not reported; `weights`: how their checksum begins."""

    group: str
    plan: str
    rate: float
    seed: int
    correct: int
    count: int
    weights: str

    @property
    def id(self) -> tuple[str, str, float, int]:
        """What tells it from the other trials of its experiment."""
        return self.group, self.plan, self.rate, self.seed
