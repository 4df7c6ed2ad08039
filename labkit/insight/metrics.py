"""Means over seeds with the interval they deserve.

A single accuracy says little: another seed would have given another. So every comparison here is a
mean over seeds with a 95 % t-interval, and two plans that were run with the same seeds are compared
seed by seed, because that removes what the seeds have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, isnan, nan, sqrt
from statistics import fmean, stdev
from typing import Any

from labkit.errors import EvidenceError, shown
from labkit.runtime import real_number, student, whole_number


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval, in the unit of the values; nan for one value."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval; nan for a single value."""
        return (self.high - self.low) / 2

    def percent(self) -> str:
        """For fractions such as accuracies: `82 % (79 to 85, 5 seeds)`."""
        return f"{_number(100 * self.mean)} % ({self._span('')})"

    def points(self, sign: str = "+") -> str:
        """For differences of fractions: `+3.1 points (+0.5 to +5.7, 5 seeds)`; with sign="", without a plus."""
        return f"{_number(100 * self.mean, sign)} points ({self._span(sign)})"

    def plain(self, unit: str, sign: str = "") -> str:
        """For counts and seconds: `24 steps (20 to 28, 5 seeds)`."""
        return f"{_number(self.mean, sign)} {unit} ({self._span(sign, 1)})"

    def _span(self, sign: str, times: float = 100) -> str:
        seeds = f"{self.count} seed{'s' if self.count != 1 else ''}"
        if isnan(self.low):
            return f"{seeds}, no interval"
        return f"{_number(times * self.low, sign)} to {_number(times * self.high, sign)}, {seeds}"


def mean_interval(values: Iterable[float]) -> Estimate:
    """The mean of `values`, one a seed, with the 95 % interval of Student's t.

    Raises EvidenceError when there are no values, or something that is no number.
    """
    numbers = _numbers(values)
    if not numbers:
        raise EvidenceError("There is no value to take a mean of; give at least one a seed.")
    mean = fmean(numbers)
    if len(numbers) == 1:
        return Estimate(mean, nan, nan, 1)
    half = student(len(numbers) - 1) * stdev(numbers) / sqrt(len(numbers))
    return Estimate(mean, mean - half, mean + half, len(numbers))


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate:
    """How much larger `ours` is than `theirs`, seed by seed, with its 95 % interval.

    Both map a seed to a value, and must hold the same seeds: EvidenceError otherwise.
    """
    both = isinstance(ours, Mapping) and isinstance(theirs, Mapping)
    if not both or not {*map(whole_number, ours), *map(whole_number, theirs)}.isdisjoint({None}):
        raise EvidenceError(
            f"Only values by their seeds can be paired, as in {{0: 0.81, 1: 0.79}}, not {shown(ours)} and "
            f"{shown(theirs)}."
        )
    if set(ours) != set(theirs):
        raise EvidenceError(
            f"Only the same seeds can be paired, not {shown(sorted(ours))} and {shown(sorted(theirs))}. "
            "Run the missing ones, or compare the two means instead."
        )
    seeds = sorted(ours)
    pairs = zip(*(_numbers([side[seed] for seed in seeds]) for side in (ours, theirs)), strict=True)
    return mean_interval([mine - yours for mine, yours in pairs])


def _numbers(values: Any) -> list[float]:
    """Values as floats. Raises EvidenceError for what are no numbers, and for infinite ones."""
    listed = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    given = list(values) if listed else [None]
    numbers = [real_number(value) for value in given]
    if any(number is None or not isfinite(number) for number in numbers):
        raise EvidenceError(
            f"Only numbers have a mean, one a seed, as in [0.81, 0.79]; these are {shown(given if listed else values)}."
        )
    return [float(number) for number in numbers if number is not None]


def _number(value: float, sign: str = "") -> str:
    """Two figures are all that a few seeds support: 9.4, 82, +0.5; no sign before a zero."""
    text = f"{value:{sign}.0f}" if abs(value) >= 9.95 and not sign else f"{value:{sign}.1f}"
    return text.lstrip("+-") if float(text) == 0 else text
