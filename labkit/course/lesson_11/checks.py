"""Checks of lesson 11: an accuracy with its interval, a difference in pairs, a test split opened once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from math import isfinite, sqrt
from statistics import fmean, pstdev, stdev
from typing import Any

from labkit.course import small
from labkit.learn.exercises import exercise
from labkit.runtime import wilson

Score = Callable[[Sequence[tuple[int, int]]], Any]
Difference = Callable[[Mapping[int, float], Mapping[int, float]], Any]
Choose = Callable[[Mapping[str, Sequence[float]], Callable[[str], float]], Any]

CLOSE = 5e-4  # so that z = 1.96 and z = 1.959964 are the same


def _numbers(given: Any, count: int) -> tuple[float, ...] | None:
    """So many numbers in their order, or None."""
    if isinstance(given, str | Mapping | Set):
        return None
    try:
        numbers = tuple(float(one) for one in given)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count else None


# ---------------------------------------------------------------- an accuracy with its interval

BATCHES = ((30, 32), (31, 32), (8, 11))


@exercise(
    "11-count",
    title="an accuracy with its interval",
    difficulty=1,
    minutes=10,
    hints=(
        "Add up the right answers of all batches, and add up their images. Divide once, at the end.",
        "In the formula, n is the number of images. The number of batches plays no part.",
        "With p = right / n and z = 1.96: the centre is (p + z*z/(2*n)) / (1 + z*z/n), and the half width "
        "z * sqrt(p*(1-p)/n + z*z/(4*n*n)) / (1 + z*z/n).",
    ),
)
def count(answer: Score) -> Iterator[str]:
    """The answer maps batches of (right, images) to the accuracy and both ends of Wilson's 95 % interval."""
    found = _numbers(answer(BATCHES), 3)
    if found is None:
        yield "Return three numbers: the accuracy, the lower end and the upper end of its interval."
        return
    right, images = (sum(column) for column in zip(*BATCHES, strict=True))
    problem = _share(found[0], right, images) or _ends(found, right, images)
    if problem:
        yield problem
        return
    yield from _at_the_edge(answer)


def _share(given: float, right: int, images: int) -> str:
    """What is wrong with the accuracy itself; empty where nothing is."""
    if abs(given - right / images) < 1e-6:
        return ""
    known = (
        (fmean(r / n for r, n in BATCHES), "That is the mean of the accuracies of batches. The last "
         "batch is short, and would weigh as much as the others."),
        (100 * right / images, "Give the accuracy as a share, from 0 to 1."),
        (right, "That is the number of right answers. Divide it by the number of images."),
        (BATCHES[-1][0] / BATCHES[-1][1], "That is the accuracy of the last batch alone."),
        (1 - right / images, "That is the share of wrong answers."),
    )  # fmt: skip
    low, high = wilson(right, images)
    if abs(given - low) < CLOSE:
        return "The accuracy comes first, then the lower end, then the upper end."
    if abs(given - (low + high) / 2) < CLOSE:
        return "That is the centre of the interval. The accuracy is right answers over images."
    return small.reason(given, known, f"For {list(BATCHES)} the accuracy is {right} of {images}.")


def _ends(found: Sequence[float], right: int, images: int) -> str:
    """What is wrong with the interval; empty where nothing is."""
    share, low, high = found
    if _same((low, high), wilson(right, images)):
        return ""
    if low > high:
        return "The lower end is above the upper one: swap them."
    plain = sqrt(share * (1 - share) / images)
    shares = [r / n for r, n in BATCHES]
    for z, level in ((1.0, "68 %"), (1.6449, "90 %"), (2.5758, "99 %")):
        if _same((low, high), wilson(right, images, z)):
            return f"That is the interval for {level}. For 95 % take z = 1.96."
    if _same((low, high), (share - 1.96 * plain, share + 1.96 * plain)):
        return (
            "That is the share plus and minus 1.96 standard errors, without Wilson's correction. "
            "Where all answers are right, it would have no width at all."
        )
    if _around(low, high, share, *(f * stdev(shares) for f in (1.96, 1.96 / sqrt(len(shares))))):
        return "That is the spread of the batches. The interval follows from the counts alone."
    if high - low > 0.4:
        return "That is far too wide: n is the number of images, not of batches."
    if abs(low - high) < CLOSE or abs(high) < 0.2:
        return "Return the two ends of the interval, not how wide it is."
    ends = " to ".join(f"{end:.3f}" for end in wilson(right, images))
    return f"For {right} of {images} Wilson's interval is {ends}. Yours is {low:.3f} to {high:.3f}."


def _around(low: float, high: float, centre: float, *halves: float) -> bool:
    return any(_same((low, high), (centre - half, centre + half)) for half in halves)


def _same(given: Sequence[float], wanted: Sequence[float]) -> bool:
    return all(abs(one - other) < CLOSE for one, other in zip(given, wanted, strict=True))


def _at_the_edge(answer: Score) -> Iterator[str]:
    for batches, right, images in (([(8, 8), (4, 4)], 12, 12), ([(0, 9)], 0, 9)):
        found = _numbers(answer(batches), 3)
        if found is None or not all(map(isfinite, found)):
            yield f"For {right} of {images} right your function gives no numbers."
        elif not _same(found[1:], wilson(right, images)):
            yield (
                f"With {right} of {images} right nothing is certain yet: Wilson's interval is "
                f"{wilson(right, images)[0]:.2f} to {wilson(right, images)[1]:.2f}, and yours "
                f"{found[1]:.2f} to {found[2]:.2f}."
            )


# ---------------------------------------------------------------- a difference, seed by seed

OURS = {0: 0.95, 1: 0.92, 2: 0.97, 3: 0.90, 4: 0.94, 9: 0.50}
THEIRS = {4: 0.93, 3: 0.91, 2: 0.94, 1: 0.90, 0: 0.92, 7: 0.60}  # another order, other extra seeds
T = {3: 3.182446, 4: 2.776445, 5: 2.570582}  # the 97.5 % quantile of Student's t
T_BOTH = 2.306004  # and for 8, as many as two groups of five leave
T_90 = 2.131847  # the 95 % quantile for 4 degrees of freedom


@exercise(
    "11-paired",
    title="a difference, seed by seed",
    difficulty=2,
    minutes=12,
    hints=(
        "First make a list of differences, one for each seed that both sides have.",
        "The mean of that list is the difference. Its standard deviation, not that of either side, gives the width.",
        "With d the differences and n how many: statistics.fmean(d), plus and minus "
        "stdtrit(n - 1, 0.975) * statistics.stdev(d) / n ** 0.5.",
    ),
)
def paired(answer: Difference) -> Iterator[str]:
    """The answer maps two {seed: accuracy} to the mean paired difference and both ends of its 95 % interval."""
    found = _numbers(answer(dict(OURS), dict(THEIRS)), 3)
    if found is None:
        yield "Return three numbers: the mean difference, the lower end and the upper end."
        return
    both = sorted(OURS.keys() & THEIRS.keys())
    gaps = [OURS[seed] - THEIRS[seed] for seed in both]
    problem = _middle(found[0], gaps) or _width(found, gaps, both)
    if problem:
        yield problem
        return
    other = _numbers(answer({5: 0.9, 6: 0.8, 7: 0.7}, {5: 0.8, 6: 0.7, 7: 0.6}), 3)
    if other is None or not _same(other, (0.1, 0.1, 0.1)):
        yield "Where the difference is the same for every seed, both ends of the interval equal it."


def _middle(given: float, gaps: Sequence[float]) -> str:
    mean = fmean(gaps)
    if abs(given - mean) < 1e-6:
        return ""
    known = (
        (-mean, "The sign is reversed: ours less theirs."),
        (100 * mean, "Give the difference as a share, not in points."),
        (fmean(OURS.values()) - fmean(THEIRS.values()), "Seeds 7 and 9 are on one side only, and have no partner. "
         "Leave them out."),
        (OURS[0] - THEIRS[0], "That is the difference of one seed."),
        (fmean(map(abs, gaps)), "Keep the signs of the differences."),
    )  # fmt: skip
    return small.reason(
        given, known, f"The mean over the seeds of both is {mean:.3f}, and yours {given:.3f}."
    )


def _width(found: Sequence[float], gaps: Sequence[float], both: Sequence[int]) -> str:
    mean, low, high = found
    n, half = len(gaps), (high - low) / 2
    error = stdev(gaps) / sqrt(n)
    if low > high:
        return "The lower end is above the upper one: swap them."
    if _same((low, high), (mean - T[n - 1] * error, mean + T[n - 1] * error)):
        return ""
    apart = sqrt((stdev(OURS[s] for s in both) ** 2 + stdev(THEIRS[s] for s in both) ** 2) / n)
    as_they_lie = ([side[s] for s in side if s in both] for side in (OURS, THEIRS))
    position = [a - b for a, b in zip(*as_they_lie, strict=True)]
    known = (
        (1.959964 * error, "1.96 belongs to many seeds. For few, take the quantile of Student's t."),
        (T_90 * error, "That is the interval for 90 %. For 95 % take the quantile at 0.975."),
        (T[n] * error, "Student's t has one degree of freedom less than there are seeds."),
        (error, "That is one standard error. Multiply it by the quantile of Student's t."),
        (T[n - 1] * stdev(gaps), "Divide by the square root of the number of seeds: this is about the mean."),
        (T[n - 1] * error / sqrt(n), "Divide by the square root of the number of seeds, once and not twice."),
        (T[n - 1] * pstdev(gaps) / sqrt(n), "Divide the squares by one less than there are seeds: stdev, not pstdev."),
        *((quantile * apart, "This takes each side's own spread, as if they shared no seed. Take that of the "
           "differences.") for quantile in (T[n - 1], T_BOTH, 1.959964)),
        (T[n - 1] * stdev(position) / sqrt(n), "The pairs were made by position. Pair by seed."),
    )  # fmt: skip
    wanted = T[n - 1] * error
    generic = f"The mean is right, but the interval should reach {wanted:.4f} to each side, and reaches {half:.4f}."
    if abs(mean - (low + high) / 2) > CLOSE:
        return "The interval lies around the mean difference, as far below it as above."
    return next((said for value, said in known if abs(half - value) < CLOSE / 2), generic)


# ---------------------------------------------------------------- a test split that opens once

LUCKY, STEADY, LONG, POOR = "lucky", "steady", "many seeds", "poor"
CANDIDATES = {
    POOR: (0.80, 0.81, 0.79),
    LUCKY: (0.99, 0.88, 0.86),  # the best single seed
    STEADY: (0.94, 0.93, 0.95),  # the best mean
    LONG: (0.95, 0.90, 0.92, 0.91, 0.92, 0.90),  # the largest sum
}
BEHIND_THE_SEAL = {
    POOR: 0.97,
    LUCKY: 0.87,
    STEADY: 0.92,
    LONG: 0.91,
}  # chance favours the poor one here


@exercise(
    "11-once",
    title="choose, then open the test split once",
    difficulty=2,
    minutes=10,
    hints=(
        "Two steps that must not be mixed: first choose, with validation alone. Then open.",
        "A candidate was trained with several seeds. One of them may have been lucky: compare the means.",
        "best = max(candidates, key=...) with the mean of its list, then return best and open_test(best).",
    ),
)
def once(answer: Choose) -> Iterator[str]:
    """The answer chooses by mean validation accuracy, and opens the test split for that candidate alone."""
    asked: list[Any] = []

    def open_test(name: str) -> float:
        asked.append(name)
        return BEHIND_THE_SEAL[name]

    given = answer(dict(CANDIDATES), open_test)
    yield from _openings(asked)
    if not asked:
        return
    if not isinstance(given, tuple | list) or len(given) != 2 or given[0] not in CANDIDATES:
        yield "Return two things: the name of the chosen candidate, and its test accuracy."
        return
    name, accuracy = given
    if name != STEADY:
        yield _why_not_steady(name)
    elif not isinstance(accuracy, int | float) or accuracy != BEHIND_THE_SEAL[name]:
        yield (
            "The number to report is what the test split said. What chose a candidate looks better than it is."
        )


def _openings(asked: Sequence[str]) -> Iterator[str]:
    if not asked:
        yield "The test split was never opened, so nothing has judged the chosen one."
    elif len(set(asked)) > 1:
        yield (
            f"The test split was opened for {len(set(asked))} candidates. Then it has helped to choose, and can no "
            "longer judge."
        )
    elif len(asked) > 1:
        yield f"The test split was opened {len(asked)} times. Open it once, and keep what it said."


def _why_not_steady(name: str) -> str:
    known = {
        LUCKY: "This one has the best single seed, and two poor ones. Compare the means over the seeds.",
        LONG: "This one has the largest sum, because it has more seeds. Compare means.",
        POOR: "This one is the poorest on validation.",
    }
    return known[name]
