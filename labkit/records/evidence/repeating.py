"""Doing a few recorded runs again: on any machine each must end where one more seed might have ended.

On the machine of the record the counts are the same to the example. Elsewhere sums are taken in another order, and the
band is what tells chance from a record that no longer holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from labkit.records.evidence import record
from labkit.records.evidence.making import Trainer, started
from labkit.records.evidence.record import Row
from labkit.records.evidence.setting import Experiment, Setting

if TYPE_CHECKING:
    from labkit.records.atlas.asking import Point

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Again:
    """A recorded run done again: `correct` of `then.count` examples, and the band around the recorded seeds."""

    experiment: str
    setting: Setting
    then: Row
    band: Point
    correct: int

    @property
    def same(self) -> bool:
        """Whether the count is as recorded, as it must be on the machine of the record."""
        return self.correct == self.then.correct

    @property
    def inside(self) -> bool:
        """Whether it landed where one more seed lands in 95 of 100 cases."""
        return self.band.low - 1e-9 <= self.correct / self.then.count <= self.band.high + 1e-9

    def __str__(self) -> str:
        where = f"{self.experiment}/{self.setting.key}, seed {self.then.seed}"
        counts = f"{self.correct} of {self.then.count}, on record {self.then.correct}"
        span = f"{100 * self.band.low:.0f} to {100 * self.band.high:.0f} %"
        return f"{where}: {counts}; {'inside' if self.inside else 'OUTSIDE'} of {span}"


def again(
    lessons: Sequence[Sequence[tuple[Experiment, Path]]],
    runs: int = 1,
    chance: int | None = None,
    trainers: Mapping[str, Trainer] | None = None,
    tell: Tell | None = None,
) -> list[Again]:
    """Do so many recorded runs of each lesson again, drawn by `chance` from those whose data is at hand.

    A lesson is its experiments, each with the folder of its record. `trainers` are those that train where labkit does
    not, as for `build`; without one, its runs are not drawn. Raises EvidenceError for a damaged record.
    """
    draw, done = random.Random(chance), []
    for lesson in lessons:
        found = list(_repeatable(lesson, trainers or {}))
        for experiment, setting, rows in draw.sample(found, min(runs, len(found))):
            done.append(_again(experiment, setting, rows, draw.choice(rows), trainers or {}))
            if tell is not None:
                tell(str(done[-1]))
    return done


def _repeatable(
    lesson: Sequence[tuple[Experiment, Path]], trainers: Mapping[str, Trainer]
) -> Iterator[tuple[str, Setting, list[Row]]]:
    """The settings that can be trained here, with the runs on record of each."""
    from labkit.data import at_hand, card

    for experiment, folder in lesson:
        rows = record.read(folder / f"{experiment.name}.csv", Row)
        for setting in experiment.settings:
            here = setting.data["name"] == "digits" or at_hand(card(setting.data["name"]))
            mine = [row for row in rows if row.belongs_to(setting, row.seed)]
            if here and len(mine) > 1 and (not setting.by or setting.by in trainers):
                yield experiment.name, setting, mine


def _again(
    experiment: str, setting: Setting, rows: Sequence[Row], then: Row, trainers: Mapping[str, Any]
) -> Again:
    from labkit.records.atlas.asking import point

    reached = [row.accuracy for row in rows]
    band = point(then.epochs, fmean(reached), stdev(reached), len(rows), then.count)
    end = started(setting, then.seed, trainers).fit().evaluate(setting.split)
    return Again(experiment, setting, then, band, end.correct)
