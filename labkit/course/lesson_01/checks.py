"""Checks of lesson 01: when a run first had an accuracy, and a difference that is paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isclose, sqrt
from statistics import fmean, pstdev, stdev
from typing import Any

import pandas as pd

from labkit.insight.metrics import mean_interval
from labkit.learn.exercises import exercise

StepsTo = Callable[[pd.DataFrame, float], Any]
Gain = Callable[[pd.DataFrame, str, str], Sequence[float]]


# ---------------------------------------------------------------- the step at which an accuracy is there

# Validation accuracy by step: it rises, dips, and ends below its best.
SEEN = {0: 0.1, 5: 0.5, 10: 0.8, 15: 0.7, 20: 0.82, 25: 0.85, 30: 0.78}


@exercise(
    "01-steps-to",
    title="the step at which an accuracy is first there",
    difficulty=1,
    minutes=8,
    hints=(
        "Two splits share the table, and only one of them tells what the network does with new images.",
        "Keep the validation rows whose accuracy is at least the goal. There may be none.",
        "reached = history[(history.split == 'valid') & (history.accuracy >= goal)]; the answer is the "
        "smallest step in it, or None if it is empty.",
    ),
)
def steps_to(answer: StepsTo) -> Iterator[str]:
    """The answer maps a history and a goal to the step of the first validation at the goal or above, or None."""
    history = _history(SEEN)
    given = answer(history.copy(), 0.75)
    if not _is(given, 10):
        yield _why_not_ten(given, history)
        return
    if not _is(answer(history.copy(), 0.8), 10):
        yield "An accuracy equal to the goal has reached it: compare with >=."
    if not _is(answer(history.iloc[::-1].reset_index(drop=True), 0.75), 10):
        yield "It holds only while the rows are in order: take the smallest step, not the first row."
    if not _is(answer(history.copy(), 0.1), 0):
        yield "Before any training the accuracy is there already: the answer is step 0."
    yield from _never(answer, history)


def _never(answer: StepsTo, history: pd.DataFrame) -> Iterator[str]:
    """At most one sentence about a goal that no validation reaches."""
    try:
        given = answer(history.copy(), 0.9)
    except (IndexError, KeyError, ValueError, TypeError) as error:
        yield f"A goal that is never reached stopped your code ({type(error).__name__}). Return None there."
        return
    if given is not None:
        yield f"A goal that is never reached has no step: return None. Yours was {given!r}."


def _why_not_ten(given: Any, history: pd.DataFrame) -> str:
    if given is None:
        return "Your function says never, and at step 10 the validation accuracy is above the goal."
    if not _is_number(given):
        return f"Return one number, a step, or None. Yours was of the kind {type(given).__name__}."
    valid = history[history["split"] == "valid"]
    row = int(valid.index[valid["step"] == 10][0])
    known = {
        0: "Step 0 is before any training, and its accuracy is below the goal.",
        2: "That is the epoch. The question is the step: what stands under `step` in that row?",
        3: "Step 3 is a training row: one batch is no measure. Keep the validation rows.",
        5: "That is one look too early: at step 5 the accuracy is still below the goal.",
        15: "That is one look too late. The row of step 0 counts as a look, too.",
        20: "From step 20 on the accuracy stays above the goal. The question is when it is first there.",
        25: "That is the step of the best accuracy. The goal was reached before.",
        30: "That is the last row above the goal, and the question is the first.",
        row: "That is the label of a row, not the step that stands in it.",
    }
    said = f"The goal of 0.75 is first reached at step 10, and your function says {float(given):g}."
    return next((why for value, why in known.items() if _is(given, value)), said)


def _history(seen: Mapping[int, float]) -> pd.DataFrame:
    """A record as a run keeps it: training rows between the validations, ahead of them in accuracy."""
    rows: list[dict[str, Any]] = []
    for number, (step, accuracy) in enumerate(seen.items()):
        training = range(max(1, step - 4), step + 1) if step else ()
        rows += [
            {"step": s, "epoch": s / 5, "split": "train", "accuracy": min(1.0, 0.3 * s)}
            for s in training
        ]
        rows.append({"step": step, "epoch": number, "split": "valid", "accuracy": accuracy})
    return pd.DataFrame(rows).assign(loss=lambda table: 1 - table["accuracy"])


def _is(given: Any, wanted: float) -> bool:
    return _is_number(given) and float(given) == wanted


def _is_number(value: Any) -> bool:
    if isinstance(value, str | pd.Series | pd.DataFrame):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


# ---------------------------------------------------------------- a difference, seed by seed

OURS = {10: 0.90, 11: 0.84, 12: 0.93, 13: 0.88, 14: 0.95}
THEIRS = {12: 0.88, 14: 0.89, 10: 0.86, 13: 0.86, 11: 0.82}  # in another order, as records may be
OTHERS = {10: 0.50, 11: 0.60, 12: 0.70, 13: 0.40, 14: 0.30}
IMAGES = 100
T4 = 2.7764451  # Student's t, 97.5 %, for four degrees of freedom


@exercise(
    "01-labels-saved",
    title="a difference that is paired by seed, with its interval",
    difficulty=2,
    minutes=15,
    hints=(
        "What two runs with one seed have in common cancels when you subtract them. So subtract first.",
        "One difference for each seed that both have. Then their mean, and its interval by Student's t.",
        "With n differences d: d.mean() plus and minus t.ppf(0.975, n - 1) * d.std(ddof=1) / n ** 0.5.",
    ),
)
def labels_saved(answer: Gain) -> Iterator[str]:
    """The answer maps rows (key, seed, accuracy) and two keys to mean, low and high of the paired difference."""
    given = _three(answer(_rows(ours=OURS, theirs=THEIRS), "ours", "theirs"))
    if isinstance(given, str):
        yield given
        return
    wanted = mean_interval(OURS[seed] - THEIRS[seed] for seed in OURS)
    if problem := _why_not(given, wanted.mean, wanted.half_width):
        yield problem
        return
    yield from _other_numbers_of_seeds(answer)


def _other_numbers_of_seeds(answer: Gain) -> Iterator[str]:
    """Three seeds want another t, and a seed that only one side has is no pair."""
    three = [seed for seed in OURS if seed < 13]
    few = [{seed: table[seed] for seed in three} for table in (OURS, THEIRS)]
    wanted = mean_interval(OURS[seed] - THEIRS[seed] for seed in three)
    given = _three(answer(_rows(ours=few[0], theirs=few[1]), "ours", "theirs"))
    if isinstance(given, str) or not _same(given, wanted.mean, wanted.half_width):
        yield "With three seeds the interval is another: Student's t depends on how many there are."
    given = _three(answer(_rows(ours=OURS, theirs=few[1]), "ours", "theirs"))
    if isinstance(given, str) or not _same(given, wanted.mean, wanted.half_width):
        yield "Where only one side has a seed there is no pair: keep the seeds that both have."


def _three(given: Any) -> tuple[float, float, float] | str:
    try:
        mean, low, high = (float(number) for number in given)
    except (TypeError, ValueError):
        return "Return three numbers: the mean difference, and the lower and upper end of its interval."
    return mean, low, high


def _same(given: tuple[float, float, float], mean: float, half: float) -> bool:
    wanted = (mean, mean - half, mean + half)
    return all(isclose(a, b, abs_tol=2e-5) for a, b in zip(given, wanted, strict=True))


def _why_not(given: tuple[float, float, float], mean: float, half: float) -> str:
    """What three numbers give away; empty where they are right."""
    if _same(given, mean, half):
        return ""
    middle, low, high = given
    if isclose(middle, -mean, abs_tol=1e-5):
        return "The sign is turned: ours less theirs is positive where ours is better."
    if isclose(middle, 100 * mean, abs_tol=1e-3):
        return "That is in points. Accuracies are shares here, so their difference is one as well."
    if isclose(middle, fmean(OURS.values()), abs_tol=1e-5):
        return "That is the mean of one side. Subtract the other, seed by seed."
    if not isclose(middle, mean, abs_tol=1e-5):
        return f"The mean difference is {mean:.3f}, and yours is {middle:.3g}."
    if not low <= middle <= high:
        return "The interval must hold its mean: first the lower end, then the upper one."
    return _why_not_so_wide((high - low) / 2, half)


def _why_not_so_wide(given: float, half: float) -> str:
    paired = [OURS[seed] - THEIRS[seed] for seed in OURS]
    by_row = [a - b for a, b in zip(OURS.values(), THEIRS.values(), strict=True)]
    n, sides = len(paired), [list(OURS.values()), list(THEIRS.values())]
    both = sqrt(sum(stdev(side) ** 2 for side in sides) / n)  # standard error without pairs
    pooled = sqrt(sum(fmean(side) * (1 - fmean(side)) for side in sides) / (n * IMAGES))
    each = [T4 * stdev(side) / sqrt(n) for side in sides]
    unpaired = "That interval knows nothing of pairs: it holds the luck of the seeds, which both sides share."
    unordered = "Rows were paired by their order. Pair them by their seed."
    known = [
        (T4 * stdev(by_row) / sqrt(n), unordered),
        (T4 * pstdev(by_row) / sqrt(n), unordered),  # as numpy's std does
        (T4 * both, unpaired),
        (2.3060041 * both, unpaired),  # t for eight degrees of freedom
        (_welch(sides) * both, unpaired),
        (1.959964 * both, unpaired),
        (1.96 * both, unpaired),
        (
            sum(each),
            "The widths of two intervals were added. Take one interval, of the differences.",
        ),
        (
            each[0] - each[1],
            "The ends of two intervals were subtracted. Take one, of the differences.",
        ),
        (
            1.959964 * pooled,
            "All images were thrown into one pot. An interval over images says nothing of other seeds.",
        ),
        (
            1.959964 * half / T4,
            "The factor 1.96 is for many seeds. With five, Student's t is larger.",
        ),
        (
            T4 * pstdev(paired) / sqrt(n),
            "The spread was divided by n. From a sample, divide by n - 1.",
        ),
        (
            T4 * stdev(paired),
            "That is where single differences lie. For their mean, divide by sqrt(n).",
        ),
        (
            stdev(paired),
            "That is the spread of the differences. It needs t, and a division by sqrt(n).",
        ),
        (half / T4, "That is the standard error alone. Multiply it by Student's t."),
        (2.1318468 * half / T4, "That interval is one of 90 %: take t.ppf(0.975, n - 1)."),
        (2.5705818 * half / T4, "Student's t wants n - 1 degrees of freedom, not n."),
    ]
    said = f"The mean is right. The half width should be {half:.4f}, and yours is {given:.4g}."
    return next((why for width, why in known if isclose(given, width, abs_tol=2e-5)), said)


def _welch(sides: Sequence[Sequence[float]]) -> float:
    """Student's t for Welch's degrees of freedom (1947)."""
    from scipy.special import stdtrit

    parts = [stdev(side) ** 2 / len(side) for side in sides]
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True)
    )
    return float(stdtrit(freedom, 0.975))


def _rows(**tables: Mapping[int, float]) -> pd.DataFrame:
    """Recorded runs as `evidence.rows` gives them, with some of another key between."""
    rows = [
        {"key": key, "seed": seed, "accuracy": accuracy}
        for key, table in {"others": OTHERS, **tables}.items()
        for seed, accuracy in table.items()
    ]
    table = pd.DataFrame(rows)
    return table.assign(correct=(IMAGES * table["accuracy"]).round().astype(int), count=IMAGES)
