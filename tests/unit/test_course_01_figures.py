"""Lesson 01: what its checks accept and refuse, and what its figures say of the record."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_rel

from labkit.course import evidence
from labkit.course.lesson_01 import figures as head_start
from labkit.learn import exercises

# ---------------------------------------------------------------- when it was first there


def _valid(history: pd.DataFrame) -> pd.DataFrame:
    return history[history.split == "valid"]


def _at(history: pd.DataFrame, goal: float) -> pd.DataFrame:
    valid = _valid(history)
    return valid[valid.accuracy >= goal]


def _steps_to(history, goal):
    reached = _at(history, goal)
    return None if reached.empty else int(reached.step.min())


def _steps_to_by_loop(history, goal):
    found = None
    for row in history.itertuples():
        better = found is None or row.step < found
        if row.split == "valid" and row.accuracy >= goal and better:
            found = row.step
    return found


def _steps_to_numpy(history, goal):
    valid = _valid(history).sort_values("step")
    reached = valid.accuracy.to_numpy() >= goal
    return float(valid.step.to_numpy()[reached.argmax()]) if reached.any() else None


def _first_row(history, goal):
    reached = _at(history, goal)
    return reached.step.iloc[0] if len(reached) else None


def _stays(history, goal):
    valid = _valid(history)
    below = valid[valid.accuracy < goal].step.max()
    return valid[valid.step > below].step.min()


def _strictly(history, goal):
    valid = _valid(history)
    reached = valid[valid.accuracy > goal]
    return None if reached.empty else reached.step.min()


def _without_the_first_look(history, goal):
    return _steps_to(history[history.step > 0], goal)


RIGHT_STEPS = [_steps_to, _steps_to_by_loop, _steps_to_numpy]
WRONG_STEPS = [
    (lambda h, g: h[h.accuracy >= g].step.min(), "Keep the validation rows"),
    (lambda h, g: _at(h, g).epoch.min(), "the epoch"),
    (lambda h, g: int((_valid(h).accuracy >= g).to_numpy().argmax()), "the epoch"),
    (lambda h, g: _at(h, g).index[0], "label of a row"),
    (lambda h, g: _at(h, g).step.max(), "last row above the goal"),
    (lambda h, g: _valid(h).set_index("step").accuracy.idxmax(), "best accuracy"),
    (_stays, "stays above the goal"),
    (lambda h, g: 5 * (int(_at(h, g).epoch.min()) - 1), "too early"),
    (lambda h, g: 5 * (int(_at(h, g).epoch.min()) + 1), "too late"),
    (lambda h, g: 0, "before any training"),
    (lambda h, g: None, "says never"),
    (lambda h, g: _at(h, g).step, "Return one number"),
    (lambda h, g: _at(h, g).accuracy.iloc[0], "your function says 0.8"),
    (_first_row, "smallest step"),
    (_strictly, ">="),
    (_without_the_first_look, "step 0"),
    (lambda h, g: _steps_to(h, g) or None, "step 0"),
    (lambda h, g: int(_at(h, g).step.min()), "never reached stopped your code"),
    (lambda h, g: _at(h, g).step.min(), "has no step"),
    (lambda h, g: h.step.max() if _at(h, g).empty else _steps_to(h, g), "has no step"),
]

# ---------------------------------------------------------------- a difference, seed by seed


def _sides(rows, *keys):
    return [rows[rows.key == key].set_index("seed").accuracy for key in keys]


def _interval(mean, half):
    return mean, mean - half, mean + half


def _gain(rows, ours, theirs):
    mine, other = _sides(rows, ours, theirs)
    difference = (mine - other).dropna()
    n = len(difference)
    return _interval(difference.mean(), t.ppf(0.975, n - 1) * difference.std() / sqrt(n))


def _gain_by_scipy(rows, ours, theirs):
    wide = rows.pivot(index="seed", columns="key", values="accuracy")[[ours, theirs]].dropna()
    found = ttest_rel(wide[ours], wide[theirs]).confidence_interval()
    return [(found.low + found.high) / 2, found.low, found.high]


def _gain_by_numpy(rows, ours, theirs):
    mine, other = (side.to_dict() for side in _sides(rows, ours, theirs))
    d = np.array([mine[seed] - other[seed] for seed in sorted(set(mine) & set(other))])
    half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return np.array(_interval(d.mean(), half))


def _unpaired(quantile):
    def answer(rows, ours, theirs):
        mine, other = _sides(rows, ours, theirs)
        n = len(mine)
        half = quantile(n) * sqrt((mine.var() + other.var()) / n)
        return _interval(mine.mean() - other.mean(), half)

    return answer


def _by_row_in_numpy(rows, ours, theirs):
    """Columns as bare arrays, whose `std` divides by n where that of pandas divides by n - 1."""
    mine, other = (rows[rows.key == key].accuracy.to_numpy() for key in (ours, theirs))
    difference = mine - other
    n = len(difference)
    half = t.ppf(0.975, n - 1) * difference.std() / sqrt(n)
    return difference.mean(), difference.mean() - half, difference.mean() + half


def _by_row(rows, ours, theirs):
    mine, other = (side.to_numpy() for side in _sides(rows, ours, theirs))
    d = mine - other
    return _interval(d.mean(), t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / sqrt(len(d)))


def _pooled(rows, ours, theirs):
    shares = [
        rows[rows.key == key]["correct"].sum() / rows[rows.key == key]["count"].sum()
        for key in (ours, theirs)
    ]
    total = rows[rows.key == ours]["count"].sum()
    half = NormalDist().inv_cdf(0.975) * sqrt(sum(share * (1 - share) for share in shares) / total)
    return _interval(shares[0] - shares[1], half)


def _two_intervals(sign):
    def answer(rows, ours, theirs):
        sides = _sides(rows, ours, theirs)
        n = len(sides[0])
        each = [t.ppf(0.975, n - 1) * side.std() / sqrt(n) for side in sides]
        return _interval(sides[0].mean() - sides[1].mean(), each[0] + sign * each[1])

    return answer


def _width(change):
    """The right mean, and half widths that `change` makes of the differences."""

    def answer(rows, ours, theirs):
        mine, other = _sides(rows, ours, theirs)
        d = (mine - other).dropna()
        return _interval(d.mean(), change(d, len(d)))

    return answer


def _among_all(rows, ours, theirs):
    mine, other = _sides(rows, ours, theirs)
    d = mine - other
    return _interval(d.mean(), t.ppf(0.975, len(d) - 1) * d.std() / sqrt(len(d)))


RIGHT_GAIN = [_gain, _gain_by_scipy, _gain_by_numpy]
WRONG_GAIN = [
    (lambda r, a, b: _gain(r, b, a), "sign is turned"),
    (_unpaired(lambda n: t.ppf(0.975, n - 1)), "knows nothing of pairs"),
    (_unpaired(lambda n: t.ppf(0.975, 2 * n - 2)), "knows nothing of pairs"),
    (_unpaired(lambda n: 1.96), "knows nothing of pairs"),
    (_by_row, "by their seed"),
    (_by_row_in_numpy, "by their seed"),
    (_pooled, "one pot"),
    (_two_intervals(1), "widths of two intervals"),
    (_two_intervals(-1), "ends of two intervals"),
    (_width(lambda d, n: 1.96 * d.std() / sqrt(n)), "1.96"),
    (_width(lambda d, n: t.ppf(0.975, n - 1) * d.std(ddof=0) / sqrt(n)), "n - 1"),
    (_width(lambda d, n: t.ppf(0.975, n - 1) * d.std()), "sqrt(n)"),
    (_width(lambda d, n: d.std() / sqrt(n)), "standard error alone"),
    (_width(lambda d, n: d.std()), "spread of the differences"),
    (_width(lambda d, n: t.ppf(0.95, n - 1) * d.std() / sqrt(n)), "90 %"),
    (_width(lambda d, n: t.ppf(0.975, n) * d.std() / sqrt(n)), "degrees of freedom"),
    (_width(lambda d, n: 2.776445 * d.std() / sqrt(n)), "With three seeds"),
    (_among_all, "keep the seeds that both have"),
    (lambda r, a, b: tuple(100 * x for x in _gain(r, a, b)), "in points"),
    (lambda r, a, b: _gain(r, a, b)[0], "three numbers"),
    (lambda r, a, b: _sides(r, a)[0].mean() * np.ones(3), "one side"),
    (lambda r, a, b: (_gain(r, a, b)[i] for i in (0, 2, 1)), "must hold its mean"),
    (lambda r, a, b: (0.1, 0.0, 0.2), "mean difference is 0.038"),
    (lambda r, a, b: (0.038, 0.0, 0.076), "half width should be"),
]

CASES = {"01-steps-to": (RIGHT_STEPS, WRONG_STEPS), "01-labels-saved": (RIGHT_GAIN, WRONG_GAIN)}


@pytest.mark.parametrize(
    ("id", "answer"), [(id, answer) for id, (right, _) in CASES.items() for answer in right]
)
def test_a_right_answer_is_accepted(id: str, answer: Any) -> None:
    assert exercises.find(id).problems(answer) == []


@pytest.mark.parametrize(
    ("id", "answer", "named"), [(id, *case) for id, (_, wrong) in CASES.items() for case in wrong]
)
def test_a_wrong_answer_is_refused_with_its_reason(id: str, answer: Any, named: str) -> None:
    assert named in " ".join(exercises.find(id).problems(answer))


@pytest.mark.parametrize("answer", [None, 3, "x", lambda: 1, lambda *a: 1 / 0, lambda *a: "ten"])
@pytest.mark.parametrize("id", list(CASES))
def test_no_answer_whatever_raises(id: str, answer: Any) -> None:
    assert exercises.find(id).problems(answer)


# ---------------------------------------------------------------- the figures


def test_the_figures_say_what_the_record_says() -> None:
    told = {(row.panel, row.start): row.mean for row in head_start.accuracy().table.itertuples()}
    for (place, start), mean in told.items():
        group = next(key for key, words in head_start.PLACES.items() if words == place)
        key = f"head-start/{group}/{start.replace(' ', '-')}"
        assert mean == pytest.approx(100 * evidence.estimate(key).mean)
    assert len(told) == 8


def test_labels_are_drawn_for_both_starts_and_their_means_are_those_on_record() -> None:
    figure = head_start.labels()
    table = figure.table.set_index(["on", "start", "labels a class"])
    for place, labels in (("digits", 10), ("ants and bees", 60)):
        for way in head_start.WAYS:
            key = f"fewer-labels/{place.replace(' and ', '-')}-{labels}/{way.replace(' ', '-')}"
            found = table.loc[(place, way, labels)]
            assert found["mean"] == pytest.approx(100 * evidence.estimate(key).mean)
            assert found["low"] < found["mean"] < found["high"]
    assert "digits, fine-tuned: " in figure.alt
    assert figure.png().startswith(b"\x89PNG")


def test_the_labels_that_match_lie_where_the_two_means_are_equal(monkeypatch: Any) -> None:
    ways = {"fine-tuned": (50, 80, 99), "from scratch": (20, 70, 90)}

    def made_up(name: str, plan: str) -> pd.DataFrame:
        return pd.DataFrame({"mean": ways[plan]}, index=[1, 10, 100])

    monkeypatch.setattr(head_start, "_by_labels", made_up)
    assert head_start.labels_to_match(1) == pytest.approx(10**0.6)
    assert head_start.labels_to_match(10) == pytest.approx(10**1.5)
    assert head_start.labels_to_match(100) == float("inf")
    ways["from scratch"] = (50, 70, 90)
    assert head_start.labels_to_match(1) == 1


def test_curves_end_where_the_runs_ended_and_diamonds_lie_at_the_recorded_races() -> None:
    figure = head_start.steps()
    ends = figure.table.groupby(["on", "start"])["step"].max()
    assert set(ends) == {60, 120}
    slow = evidence.estimate("head-start/digits-10/from-scratch-to-scratch").mean
    assert f"from scratch after {slow:.0f} steps" in figure.alt
    longer = head_start.steps(longer=True)
    assert longer.table["step"].max() == 480
    assert set(longer.table["start"]) == {*head_start.WAYS, head_start.LONGER}


def test_seconds_are_those_of_the_recorded_races() -> None:
    table = head_start.seconds().table.set_index(["on", "start"])
    for place in head_start.RACES:
        for way in head_start.WAYS:
            key = f"head-start/{place}/{way.replace(' ', '-')}-to-scratch/seconds"
            mine = table.loc[(head_start.PLACES[place], way)]
            assert mine["mean"] == pytest.approx(evidence.estimate(key).mean)
            assert mine["high"] == pytest.approx(evidence.estimate(key).high)
