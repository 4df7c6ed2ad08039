"""Doing a few recorded runs again: on any machine each must end where one more seed might have ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from labkit.records import table
from labkit.records.evidence.making import Trainer, started
from labkit.records.evidence.record import EvidenceRow
from labkit.records.evidence.setting import Condition, Experiment
from labkit.records.table import Recheck, Tell

Recorded = tuple[
    str, Condition, list[EvidenceRow], EvidenceRow
]  # experiment, condition, its runs on record, and one of them


def recheck(
    lessons: Sequence[Sequence[tuple[Experiment, Path]]],
    runs: int = 1,
    chance: int | None = None,
    trainers: Mapping[str, Trainer] | None = None,
    tell: Tell | None = None,
) -> list[Recheck]:
    """Do so many recorded runs of each lesson again, drawn by `chance` from those whose data is at hand.

    A lesson is its experiments, each with the folder of its record. `trainers` are those that train where labkit does
    not, as for `build`; without one, its runs are not drawn. Raises EvidenceError for a damaged record.
    """
    brought = trainers or {}
    done = []
    for lesson in lessons:
        recorded = list(_repeatable(lesson, brought))
        done += table.recheck(recorded, runs, chance, lambda one: _redo(*one, brought), tell)
    return done


def _repeatable(
    lesson: Sequence[tuple[Experiment, Path]], trainers: Mapping[str, Trainer]
) -> Iterator[Recorded]:
    """The runs on record that can be made here."""
    from labkit.data import at_hand, card

    for experiment, folder in lesson:
        rows = table.read(folder / f"{experiment.name}.csv", EvidenceRow)
        for condition in experiment.settings:
            here = condition.data["name"] == "digits" or at_hand(card(condition.data["name"]))
            mine = [row for row in rows if row.id == condition.run_id(row.seed)]
            if here and len(mine) > 1 and (not condition.by or condition.by in trainers):
                yield from ((experiment.name, condition, mine, row) for row in mine)


def _redo(
    experiment: str,
    condition: Condition,
    rows: list[EvidenceRow],
    then: EvidenceRow,
    trainers: Mapping[str, Trainer],
) -> Recheck:
    from labkit.records.atlas.asking import point

    reached = [row.accuracy for row in rows]
    band = point(then.epochs, fmean(reached), stdev(reached), len(rows), then.count)
    now = started(condition, then.seed, trainers).fit().evaluate(condition.split).correct
    inside = band.low - 1e-9 <= now / then.count <= band.high + 1e-9
    counts = f"{now} of {then.count}, on record {then.correct}"
    where = (
        f"{'inside' if inside else 'OUTSIDE'} of {100 * band.low:.0f} to {100 * band.high:.0f} %"
    )
    run = f"{experiment}/{condition.key}, seed {then.seed}"
    return Recheck(run, then.correct, now, inside, f"{counts}; {where}")
