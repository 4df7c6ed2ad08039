"""Which class is taken for which: exact counts, and an interval for every rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labkit.errors import EvidenceError
from labkit.runtime import wilson
from labkit.tuning.given import a_run_or_evaluation, maybe, some, takes

if TYPE_CHECKING:
    from labkit.tuning import Evaluation, Run

Counts = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Rates = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each of C classes was predicted for each: `counts` int64 (C, C), a row a true class.

    Every rate is a share of its row, so it says what becomes of a class, however many examples it has.
    """

    split: str
    classes: tuple[str, ...]
    counts: Counts

    @property
    def rates(self) -> Rates:
        """The counts as shares of their row, (C, C); nan for a class without examples."""
        sizes = self.counts.sum(axis=1, keepdims=True).astype(float)
        with np.errstate(invalid="ignore"):
            return self.counts / sizes

    @property
    def table(self) -> pd.DataFrame:
        """One row a pair that occurred, and one a class for those that were right.

        Columns: true, predicted (names); count, of (examples); rate, low, high (shares of the true class and their
        95 % Wilson interval, each pair taken against all others).
        """
        found = [
            (true, predicted)
            for true, row in enumerate(self.counts)
            for predicted, count in enumerate(row)
            if row.sum() and (count or true == predicted)
        ]
        columns = ["true", "predicted", "count", "of", "rate", "low", "high"]
        return pd.DataFrame([self._row(*pair) for pair in found], columns=columns)

    @property
    def mistakes(self) -> pd.DataFrame:
        """The rows of the table that are mistakes, the most frequent first."""
        wrong = self.table[self.table["true"] != self.table["predicted"]]
        return wrong.sort_values("count", ascending=False, kind="stable", ignore_index=True)

    def _row(self, true: int, predicted: int) -> tuple[str, str, int, int, float, float, float]:
        count, size = int(self.counts[true, predicted]), int(self.counts[true].sum())
        names = self.classes[true], self.classes[predicted]
        return (*names, count, size, count / size, *wilson(count, size))


@takes(seen=a_run_or_evaluation, classes=maybe(some(str, source="data.classes")))
def confusion(
    seen: Run | Evaluation, split: str = "valid", classes: Sequence[str] | None = None
) -> Confusion:
    """Count which class is taken for which, by a run on a split or in an evaluation that was made already.

    `classes` names them; a run knows its own, and an evaluation alone has only their numbers.
    Raises SplitError where the run has no such split, EvidenceError for too few names.
    """
    found, known = evaluated(seen, split)
    names = known if classes is None else tuple(classes)
    if len(names) != found.probabilities.shape[1]:
        raise EvidenceError(
            f"{len(names)} names were given for {found.probabilities.shape[1]} classes. "
            "Give one a class, in the order of the data: data.classes."
        )
    counts: Counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (found.targets.numpy(), found.predictions.numpy()), 1)
    return Confusion(found.split, names, counts)


def evaluated(seen: Run | Evaluation, split: str) -> tuple[Evaluation, tuple[str, ...]]:
    """The evaluation of a run, or the one that is at hand, and the names of the classes as far as they are known."""
    from labkit.tuning import Evaluation

    if isinstance(seen, Evaluation):
        return seen, tuple(map(str, range(seen.probabilities.shape[1])))
    return seen.evaluate(split), tuple(seen.data.classes)
