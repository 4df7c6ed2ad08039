"""A lesson's own figures say in words and numbers what they show."""

import torch

from labkit.course import evidence
from labkit.course.figures import by_stage, kept
from labkit.course.lesson_06.figures import growth
from labkit.course.lesson_07.figures import knobs, schedules
from labkit.course.lesson_08.figures import phases
from labkit.insight import Estimate
from labkit.tuning import Evaluation, full, gradual


def result(right: int) -> Evaluation:
    targets = torch.zeros(10, dtype=torch.long)
    predictions = torch.tensor([0] * right + [1] * (10 - right))
    probabilities = torch.full((10, 2), 0.5)
    return Evaluation("valid", 0.5, right, 10, predictions, probabilities, targets)


def test_growth_tells_every_plan_at_every_budget() -> None:
    tried = [(labels, name, result(labels)) for labels in (3, 9) for name in ("head", "all $x$")]
    figure = growth(tried)
    assert "head with 3 labels 30%" in figure.alt
    assert "all $x$ with 9 labels 90%" in figure.alt
    assert list(figure.table["right"]) == ["3 of 10"] * 2 + ["9 of 10"] * 2
    assert figure.png().startswith(b"\x89PNG")


def test_schedules_are_drawn_as_the_functions_that_they_are() -> None:
    curves = {"constant": lambda done: 1.0, "falling": lambda done: 1 - done}
    figure = schedules(curves, lr=0.02)
    assert "falling: 0.02 at the start, at most 0.02, 0 at the end" in figure.alt
    assert figure.table["constant"].nunique() == 1
    assert figure.table["falling"].is_monotonic_decreasing
    assert figure.png().startswith(b"\x89PNG")


def test_knobs_share_the_run_that_none_of_them_moved() -> None:
    table = knobs("digits-10").table
    assert set(table["knob"]) == {"learning rate", "batch size", "weight decay"}
    assert (table.groupby("knob").size() == 5).all()
    middle = table.groupby("knob").nth(2)
    assert middle["mean"].nunique() == 1
    assert list(middle["value"]) == [1e-3, 20, 1e-2]


def test_phases_say_what_trains_in_every_epoch_of_every_plan() -> None:
    stages = ("stem", "layer1", "head")
    plans = {"slowly": gradual(stages=3, epochs=2), "at once": full(epochs=6)}
    figure = phases(plans, stages)
    assert "slowly: first head, at last stem, layer1, head" in figure.alt
    trains = figure.table.set_index(["plan", "epoch"])["trains"]
    assert (
        list(trains["slowly"]) == ["head"] * 2 + ["layer1, head"] * 2 + ["stem, layer1, head"] * 2
    )
    assert set(trains["at once"]) == {"stem, layer1, head"}
    assert figure.png().startswith(b"\x89PNG")


def test_what_was_kept_is_drawn_for_every_plan_on_record_with_its_interval() -> None:
    figure = kept("forgetting")
    plans = {setting.plan.name for setting in evidence.find("forgetting").settings}
    rows = figure.table.set_index(["panel", "way"])
    for group, place in (
        ("digits-10", "digits, 10 labels a class"),
        ("ants-bees", "ants and bees"),
    ):
        assert set(rows.loc[place].index) == plans
        old = evidence.estimate(f"forgetting/{group}/aggressive/old")
        assert (rows.loc[(place, "aggressive"), "old_low"], old.count) == (old.low, 5)
        assert f"{place}: aggressive: old {old.mean:.0%}" in figure.alt
    assert figure.png().startswith(b"\x89PNG")


def test_curves_along_the_stages_carry_their_intervals_and_their_levels() -> None:
    curves = {
        "letters $x$": {"stem": Estimate(0.5, 0.4, 0.6, 5), "layer1": Estimate(0.7, 0.65, 0.75, 5)},
        "photographs": {"stem": 0.25, "layer1": 0.5},
    }
    figure = by_stage(curves, "accuracy (%)", levels={"bare pixels": 0.3})
    assert "letters $x$ layer1 70 %" in figure.alt
    assert "bare pixels 30 %" in figure.alt
    table = figure.table.set_index(["curve", "stage"])
    assert list(table.loc[("letters $x$", "stem")]) == [50, 40, 60]
    assert list(table.loc[("photographs", "layer1")]) == [50, 50, 50]
    assert figure.png().startswith(b"\x89PNG")
