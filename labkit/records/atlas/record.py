"""The recorded runs of a sheet, and the means and spreads that answers are made from.

Reading needs neither torch nor pandas, because a question shall be answered at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import product
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labkit import runtime
from labkit.errors import AtlasError
from labkit.records import table
from labkit.records.atlas.sheets import Sheet

RECORDS = Path(__file__).parent / "recorded"
DIGITS = 12  # of a fraction, in what is sent to a page: enough to round to the same example

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class RecordedRun:
    """One recorded run: how many of `count` validation examples it had right before training and after each epoch.

    A run that diverged has fewer numbers than epochs.
    """

    trainable_from: str
    per_class: int
    lr: float
    seed: int
    status: str
    count: int
    right: tuple[int, ...]
    seconds: float = field(metadata={"format": ".2f"})

    @property
    def id(self) -> tuple[str, int, float, int]:
        """What distinguishes it from the other runs of its sheet."""
        return self.trainable_from, self.per_class, self.lr, self.seed


@dataclass(frozen=True, eq=False)
class Recorded:
    """The runs of a sheet. `right` has the shape (depths, labels, rates, seeds, epochs + 1); nan after a divergence.

    `weights` is the sha256 of those that all runs started from; empty where it is not known.
    """

    sheet: Sheet
    count: int
    right: Numbers
    weights: str = ""

    @cached_property
    def accuracy(self) -> Numbers:
        """Fractions of the validation split, of the shape of `right`."""
        return self.right / self.count

    @cached_property
    def finished(self) -> NDArray[np.int64]:
        """How many seeds did not diverge, of shape (depths, labels, rates)."""
        return np.isfinite(self.right[..., -1]).sum(-1)

    @cached_property
    def mean(self) -> Numbers:
        """Over the seeds that finished, of shape (depths, labels, rates, epochs + 1); nan below two of them."""
        return self._over_seeds(np.mean)

    @cached_property
    def spread(self) -> Numbers:
        """The standard deviation over the seeds that finished, of the shape of `mean`."""
        return self._over_seeds(lambda values, axis: np.std(values, axis=axis, ddof=1))

    def _over_seeds(self, reduce: Any) -> Numbers:
        found = np.full((*self.right.shape[:3], self.right.shape[4]), nan)
        for cell in np.ndindex(*self.right.shape[:3]):
            values = self.accuracy[cell]
            values = values[np.isfinite(values[:, -1])]
            if len(values) >= 2:
                found[cell] = reduce(values, axis=0)
        return found

    def to_message(self) -> dict[str, Any]:
        """All that a page needs to answer by itself; lists are nested as depths, labels, rates, epochs."""
        most = len(self.sheet.seeds)
        return {
            **self.sheet.to_dict(),
            "name": self.sheet.name,
            "count": self.count,
            "mean": _plain(self.mean),
            "spread": _plain(self.spread),
            "finished": self.finished.tolist(),
            "student": [student(n) for n in range(most + 1)],
        }


def student(seeds: int) -> float:
    """The 97.5 % quantile of Student's t for so many seeds; 0 where there is no spread to multiply."""
    return runtime.student(seeds - 1) if seeds > 1 else 0.0


def half_widths(spread: Any, seeds: int) -> tuple[Any, Any]:
    """Half the 95 % interval of the mean, and half the interval in which one more run lands in 95 of 100 cases.

    Both are Student's t over the seeds; the second is the prediction interval, sqrt(n + 1) times as wide.
    """
    t = student(seeds)
    return t * spread / sqrt(seeds), t * spread * sqrt(1 + 1 / seeds)


def _plain(values: Numbers) -> Any:
    """Nested lists of rounded numbers; None for what is not there, because JSON has no nan."""
    if values.ndim:
        return [_plain(inner) for inner in values]
    return round(float(values), DIGITS) if np.isfinite(values) else None


# ---------------------------------------------------------------- files


@lru_cache(maxsize=16)
def load(sheet: Sheet, folder: Path = RECORDS) -> Recorded:
    """The record of a sheet, read once; raises AtlasError where it is missing, damaged or incomplete."""
    entries = table.read(folder / f"{sheet.file}.csv", RecordedRun, AtlasError)
    if not entries:
        raise AtlasError(
            f"Nothing is on record for {sheet.name}. Make it: labkit atlas build {sheet.name}"
        )
    weights = table.read_provenance(folder / f"{sheet.file}.json", AtlasError).get("weights", "")
    return replace(tabled(sheet, entries), weights=str(weights))


def tabled(sheet: Sheet, entries: Iterable[RecordedRun]) -> Recorded:
    """Entries in the order of the sheet; raises AtlasError where runs are missing."""
    known = {entry.id: entry for entry in entries}
    missing = [setting for setting in settings(sheet) if setting not in known]
    if missing:
        raise AtlasError(
            f"The record of {sheet.name} lacks {len(missing)} runs. Make them: labkit atlas build {sheet.name}"
        )
    width = sheet.epochs + 1
    rows = [
        (*entry.right[:width], *[nan] * (width - len(entry.right)))
        for entry in map(known.__getitem__, settings(sheet))
    ]
    shape = (len(sheet.depths), len(sheet.per_class), len(sheet.rates), len(sheet.seeds), width)
    count = next(iter(known.values())).count
    return Recorded(sheet, count, np.array(rows, dtype=float).reshape(shape))


def settings(sheet: Sheet) -> list[tuple[str, int, float, int]]:
    """The runs of a sheet in the order in which they are kept."""
    return [*product(sheet.depths, sheet.per_class, sheet.rates, sheet.seeds)]
