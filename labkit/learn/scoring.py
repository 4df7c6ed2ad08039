"""How good the learner's guesses are, and whether they know how good: calibration, in numbers and in words.

Judgement only: how a guess is committed and revealed is told in `predictions.py`, how this is drawn in
`course_figures.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from labkit.learn import progress
from labkit.learn.groups import ELSEWHERE, GROUPS
from labkit.learn.lessons import LESSONS
from labkit.runtime import wilson

if TYPE_CHECKING:
    from pandas import DataFrame

    from labkit.show.figure import Figure

FEWEST = 3  # predictions below which nothing is said of calibration, and nothing is drawn
ENOUGH = 10  # below which it tells nothing that no gap shows: the interval allows almost any


@dataclass(frozen=True)
class Score:
    """How often the learner was right, and how sure they were, over all predictions whose outcome is known."""

    entries: Mapping[str, Mapping[str, Any]]

    @property
    def count(self) -> int:
        """Predictions with a known outcome."""
        return len(self.entries)

    @property
    def right(self) -> int:
        """How many of them came true."""
        return sum(entry["guess"] == entry["outcome"] for entry in self.entries.values())

    @property
    def confidence(self) -> float:
        """Mean confidence, from 0 to 1."""
        return _mean(entry["confidence"] / 100 for entry in self.entries.values())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share that is right (Wilson, 1927)."""
        return wilson(self.right, self.count)

    @property
    def brier(self) -> float:
        """Mean squared distance of confidence from outcome (Brier, 1950): 0 is an oracle's."""
        return _mean(
            (entry["confidence"] / 100 - (entry["guess"] == entry["outcome"])) ** 2
            for entry in self.entries.values()
        )

    @property
    def verdict(self) -> str:
        """What these predictions tell about calibration, which may be nothing.

        Too sure, or too modest, is said where the mean confidence lies outside the 95 % interval of the share that is
        right. The interval is that of equally sure guesses, so it is a little too wide for others: it errs towards
        saying nothing.
        """
        low, high = self.interval
        gap = self.confidence - self.right / self.count if self.count else 0.0
        inside = low - 1e-9 <= self.confidence <= high + 1e-9
        if self.count >= FEWEST and not inside:
            return f"{abs(100 * gap):.0f} points too {'sure' if gap > 0 else 'modest'}"
        if self.count < ENOUGH:
            return "too few to tell how well the two agree"
        return f"well calibrated, as far as {self.count} predictions can tell"

    def __str__(self) -> str:
        if not self.count:
            return "No prediction has met its outcome yet."
        sure = f"{self.confidence:.0%} sure on average"
        return f"So far {self.right} of {self.count} right, {sure}: {self.verdict}."

    __repr__ = __str__

    def by_confidence(self) -> dict[str, Score]:
        """The predictions in groups of about equal confidence, the least sure first; groups may be empty."""
        found, at_least = {}, 0
        for name, below in GROUPS.items():
            found[name] = self._those(
                id for id, e in self.entries.items() if at_least <= e["confidence"] < below
            )
            at_least = below
        return found

    def by_lesson(self) -> dict[str, Score]:
        """The predictions of each lesson that has any, in the order of the course; those of none come last."""
        numbers = [lesson.number for lesson in LESSONS]
        homes = {id: id.partition("-")[0] for id in self.entries}
        found = {
            number: self._those(id for id in homes if homes[id] == number) for number in numbers
        }
        found[ELSEWHERE] = self._those(id for id in homes if homes[id] not in numbers)
        return {number: part for number, part in found.items() if part.count}

    def over_the_course(self) -> dict[str, Score]:
        """All predictions up to each lesson that has any, in the order of the course."""
        so_far: dict[str, Mapping[str, Any]] = {}
        found = {}
        for number, part in self.by_lesson().items():
            so_far |= part.entries
            found[number] = Score(dict(so_far))
        return found

    def table(self) -> DataFrame:
        """One row a prediction: question, guess, confidence, outcome, right."""
        import pandas as pd

        rows = [
            {
                "question": entry["question"],
                "guess": entry["guess"],
                "confidence": entry["confidence"] / 100,
                "outcome": entry["outcome"],
                "right": entry["guess"] == entry["outcome"],
            }
            for entry in self.entries.values()
        ]
        columns = ["question", "guess", "confidence", "outcome", "right"]
        return pd.DataFrame(rows, index=list(self.entries), columns=columns)

    def figure(self) -> Figure:
        """How sure against how often right, and both over the course."""
        from labkit.learn import course_figures

        return course_figures.calibration(self)

    def _repr_html_(self) -> str:
        drawn = self.figure().html() if self.count >= FEWEST else ""
        return f"<div data-labkit='score'><p>{escape(str(self))}</p>{drawn}{self._listed()}</div>"

    def _listed(self) -> str:
        """The table, whose every cell is text and whole; folded away where it would be long."""
        import pandas as pd

        if not self.count:
            return ""
        with pd.option_context("display.max_colwidth", None):
            rows = self.table().to_html(escape=True, float_format="{:.0%}".format)
        if self.count < FEWEST:
            return rows
        return f"<details><summary>Your predictions, one by one</summary>{rows}</details>"

    def _those(self, ids: Iterable[str]) -> Score:
        return Score({id: self.entries[id] for id in ids})


def score() -> Score:
    """The learner's score over all lessons, read from the progress file; entries that are not whole do not count."""
    kept = progress.read("predictions")
    return Score({id: entry for id, entry in kept.items() if _is_whole(entry)})


def _is_whole(entry: Mapping[str, Any]) -> bool:
    words = (entry.get(name) for name in ("question", "guess", "outcome"))
    sure = entry.get("confidence")
    return (
        all(isinstance(word, str) for word in words)
        and isinstance(sure, int | float)
        and 0 <= sure <= 100
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
