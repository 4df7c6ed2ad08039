"""What a figure draws is what its table says: the marks are read back from the figure, not only its words."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.patches import Rectangle

import labkit
from labkit.course.lesson_06.figures import growth
from labkit.course.lesson_07.figures import schedules
from labkit.course.lesson_15.figures import rates
from labkit.show import figures
from labkit.tuning import Run
from tests.small import Clouds, Small

MEAN, LOW, HIGH = "mean", "low", "high"
IN_PER_CENT = ("mean (%)", "low (%)", "high (%)")

# A recorded figure: the lesson ("" where several draw it), the function, its arguments, the columns that are drawn, and
# how many units of the axis a unit of the table is.
RECORDED: tuple[tuple[str, str, tuple[Any, ...], tuple[str, ...], float], ...] = (
    ("01", "accuracy", (), (MEAN, LOW, HIGH), 1),
    ("01", "labels", (), ("labels a class", MEAN, LOW, HIGH), 1),
    ("01", "steps", (), ("step", MEAN, LOW, HIGH), 1),
    ("01", "seconds", (), (MEAN, LOW, HIGH), 1),
    ("03", "label_noise", ("digits",), ("labels a class", *IN_PER_CENT), 1),
    ("03", "label_noise", ("ants-bees",), ("labels a class", *IN_PER_CENT), 1),
    ("07", "knobs", ("digits-10",), ("value", MEAN), 1),
    ("09", "courses", ("digits-10",), ("epoch", MEAN, LOW, HIGH), 1),
    ("09", "picked", (), ("points",), 1),
    ("12", "by_strength", ("digits-10",), ("strength", "mean (%)"), 1),
    ("12", "recovered", (), IN_PER_CENT, 1),
    ("12", "amounts", (), ("images", "mean (%)"), 1),
    ("13", "steps", (), IN_PER_CENT, 1),
    ("13", "bargain", (), ("processor time (s)", "accuracy (%)"), 1),
    ("14", "coach", (), ("right first", "from the curves alone"), 1),
    ("15", "choices", (), ("points",), 1),
    (
        "",
        "kept",
        ("forgetting",),
        ("old", "old_low", "old_high", "new", "new_low", "new_high"),
        100,
    ),
)


def marks(figure: Any) -> np.ndarray:
    """Every coordinate that is drawn: of lines and their whiskers, of bars, of points, of bands."""
    found: list[Any] = []
    for axes in figure.axes:
        for line in axes.lines:
            found += [line.get_xdata(), line.get_ydata()]
        for bar in axes.patches:
            if isinstance(bar, Rectangle):
                (left, bottom), right, top = bar.xy, bar.get_width(), bar.get_height()
                found += [right, top, left, bottom, left + right, bottom + top]
        for several in axes.collections:
            if isinstance(several, PathCollection):
                found.append(several.get_offsets())
            elif isinstance(several, LineCollection):
                found += several.get_segments()
            elif isinstance(several, PolyCollection):
                found += [path.vertices for path in several.get_paths()]
    return np.concatenate([np.ravel(np.asarray(each, dtype=float)) for each in found])


def not_drawn(figure: Any, column: str, scale: float = 1) -> list[float]:
    """The numbers of a column that no mark stands at; a table is rounded to a tenth."""
    there = marks(figure)
    numbers = pd.to_numeric(figure.table[column]).dropna() * scale
    return [float(x) for x in numbers if np.abs(there - x).min() > 0.051]


@pytest.mark.parametrize(
    ("lesson", "name", "arguments", "columns", "scale"),
    RECORDED,
    ids=[f"{lesson} {name} {' '.join(arguments)}" for lesson, name, arguments, *_ in RECORDED],
)
def test_the_numbers_of_a_recorded_figure_are_drawn(
    lesson: str, name: str, arguments: tuple[Any, ...], columns: tuple[str, ...], scale: float
) -> None:
    room = import_module(
        f"labkit.course.lesson_{lesson}.figures" if lesson else "labkit.course.figures"
    )
    figure = getattr(room, name)(*arguments)
    assert {column: not_drawn(figure, column, scale) for column in columns} == {
        column: [] for column in columns
    }


def lines(figure: Any) -> list[list[float]]:
    """The heights of every line of the first panel, in order."""
    return [list(np.asarray(line.get_ydata(), dtype=float)) for line in figure.axes[0].lines]


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(Small(), Clouds(), labkit.full(lr=1e-2, epochs=3)).fit()


def test_a_history_draws_the_losses_of_its_steps_and_the_accuracies_of_its_epochs(run: Run) -> None:
    history = run.history
    drawn = marks(figures.plot_history(run))
    valid = history[history["split"] == "valid"]
    for wanted in (history["loss"], 100 * valid["accuracy"]):
        assert all(np.isclose(drawn, number).any() for number in wanted)


def test_drift_is_drawn_as_long_as_it_is(run: Run) -> None:
    drawn = marks(figures.plot_drift(run))
    assert all(
        np.isclose(drawn, moved).any() or np.isclose(drawn, 100 * moved).any()
        for moved in run.drift().values()
    )


def test_a_schedule_is_drawn_at_the_rates_that_it_gives() -> None:
    drawn = lines(
        schedules({"constant": lambda done: 1.0, "falling": lambda done: 1 - done}, lr=0.02)
    )
    assert drawn[0] == [0.02] * 201
    assert drawn[1] == pytest.approx([0.02 * (1 - number / 200) for number in range(201)])


def test_the_rates_of_a_recipe_are_drawn_step_by_step() -> None:
    courses = {"ours": [1e-3, 2e-3, 1e-3], "theirs": [5e-4, 5e-4, 1e-4]}
    drawn = lines(rates(courses, turn=1))
    assert [course for course in courses.values() if course in drawn] == list(courses.values())


def test_accuracies_by_labels_are_drawn_at_their_heights(run: Run) -> None:
    found = run.evaluate("valid")
    figure = growth([(3, "head", found), (9, "head", found)])
    assert [100 * found.accuracy] * 2 in lines(figure)
