"""What is left of the old task while the new one is learned, as a figure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from labkit.insight import Diary, OldTask, between as line_of, forgetting as asked_along, old_task
from labkit.insight.forgetting import ASKED, asked
from labkit.insight.kinds import backbone_of
from labkit.insight.revisit import spread_out
from labkit.show.figure import INK, Figure, Look, Marked, dress, legend, look, shorten
from labkit.tuning.given import a, as_runs, refuse_no_columns

if TYPE_CHECKING:
    from labkit.tuning import Run

DRAWN = 30  # moments of a diary that find room
EIGHTHS = (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1)


def plot_forgetting(
    runs: Run | Sequence[Run], task: OldTask | None = None, moments_at_most: int = 9
) -> Figure:
    """Accuracy on the old task (left) and on the new one (right), epoch by epoch: a line a run.

    The band is the 95 % Wilson interval over the old questions: what other questions would change, not other seeds.
    `task` is by default the old task of the first run's backbone. Raises as `insight.remembered` does.
    """
    several = as_runs("forgetting", runs)
    task = asked(several[0], task)
    figure = Figure(9, 3.8)
    old, new = figure.subplots(1, 2, sharey=True)
    dress(old, "epoch", "accuracy (%)", f"The old task: {task.name}")
    dress(new, "epoch", "", f"The new task: {several[0].data.name}")
    entries, tables = [], []
    for number, run in enumerate(several):
        way, rows = look(number), asked_along(run, task, moments_at_most)
        line = old.plot(rows["epoch"], 100 * rows["old"], color=way.colour, marker=way.marker)[0]
        old.fill_between(
            rows["epoch"],
            100 * rows["old_low"],
            100 * rows["old_high"],
            color=way.colour,
            alpha=0.18,
        )
        new.plot(rows["epoch"], 100 * rows["new"], color=way.colour, marker=way.marker)
        entries.append(Marked(line, shorten(run.name)))
        tables.append(rows.assign(run=run.name))
    old.set_ylim(0, 102)
    legend(figure, entries)
    table = pd.concat(tables, ignore_index=True)
    said = "; ".join(_in_words(run, rows) for run, rows in zip(several, tables, strict=True))
    return figure.told(f"Accuracy on {task.name} and on the new task. {said}.", table)


def _in_words(run: Run, rows: pd.DataFrame) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"{run.name}: the old task from {first['old']:.0%} to {last['old']:.0%}, "
        f"the new one from {first['new']:.0%} to {last['new']:.0%} in {last['epoch']:.0f} epochs"
    )


class ForgettingSoFar:
    """Accuracy on the old task and on the new one, at the moments at which it was asked: one more at every call.

    The whiskers are 95 % Wilson intervals. It remembers what it was told before, so the curves grow while a run trains,
    and nothing is trained again. Raises as `insight.remembered` does.
    """

    def __init__(self) -> None:
        self._diary = Diary()

    def __call__(self, run: Run) -> Figure:
        """Ask the run now, and draw all that is known of its past."""
        rows = self._diary.ask(run)
        shown = rows[rows["step"].isin(spread_out(list(rows["step"]), DRAWN))]
        names = {
            "old": f"old task, old head: {old_task(backbone_of(run), ASKED).name}",
            "new": f"new task, validation: {run.data.name}",
        }
        figure = Figure(8, 4)
        axes = dress(figure.subplots(), "step (optimiser updates)", "accuracy (%)")
        lines = [_with_whiskers(axes, shown, task, look(n)) for n, task in enumerate(names)]
        axes.set_ylim(0, 102)
        entries = [Marked(*pair) for pair in zip(lines, map(shorten, names.values()), strict=True)]
        legend(figure, entries)
        said = "; ".join(f"{name}, {_came_to(rows, task)}" for task, name in names.items())
        return figure.told(
            f"Accuracy up to step {rows['step'].max()}, moments asked: {len(rows)}; {said}.", rows
        )


def _with_whiskers(axes: Axes, rows: pd.DataFrame, task: str, way: Look) -> Line2D:
    """A curve over the steps at which a task was asked, with the interval of each accuracy."""
    known = rows.dropna(subset=[task])
    value = 100 * known[task]
    reach = [value - 100 * known[f"{task}_low"], 100 * known[f"{task}_high"] - value]
    drawn = axes.errorbar(
        known["step"],
        value,
        yerr=[side.clip(lower=0) for side in reach],
        color=way.colour,
        marker=way.marker,
        linestyle=way.style,
        markersize=5,
        elinewidth=1,
        capsize=2,
    )
    return drawn.lines[0]


def _came_to(rows: pd.DataFrame, task: str) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    if pd.isna(last[task]):
        return "not known"
    low, high = last[f"{task}_low"], last[f"{task}_high"]
    return f"from {first[task]:.0%} to {last[task]:.0%} (95 % interval {low:.0%} to {high:.0%})"


def plot_between(
    runs: Run | Sequence[Run],
    shares: Sequence[float] = EIGHTHS,
    task: OldTask | None = None,
) -> Figure:
    """Accuracy on both tasks along the straight line from the start of a run to now: a panel a run, a line a task.

    The old task is asked with the old head, the new one on validation with the new head; the rest is a mixture.
    `task` is by default the old task of the first run's backbone. Raises as `insight.between` does.
    """
    several = as_runs("between", runs)
    task = asked(several[0], task)
    names = {"old": task.name, "new": several[0].data.name}
    figure = Figure(max(5, 4.5 * len(several)), 3.8)
    panels = figure.subplots(1, len(several), sharey=True, squeeze=False)[0]
    tables = []
    for axes, run in zip(panels, several, strict=True):
        dress(axes, "share of the way (0: before, 1: after)", "", shorten(run.name))
        tables.append(line_of(run, shares, task).assign(run=run.name))
        lines = [_line(axes, tables[-1], which, look(n)) for n, which in enumerate(names)]
    panels[0].set_ylabel("accuracy (%)", color=INK)
    panels[0].set_ylim(0, 102)
    legend(figure, [Marked(line, name) for line, name in zip(lines, names.values(), strict=True)])
    said = "; ".join(
        f"{run.name}: {_along(rows)}" for run, rows in zip(several, tables, strict=True)
    )
    return figure.told(
        f"Accuracy between the weights before and after: {names['old']}, then {names['new']}. {said}.",
        pd.concat(tables, ignore_index=True),
    )


def _line(axes: Axes, rows: pd.DataFrame, which: str, way: Look) -> Line2D:
    return axes.plot(
        rows["share"], 100 * rows[which], color=way.colour, marker=way.marker, linestyle=way.style
    )[0]


def _along(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"at {row.share:.3g} {row.old:.0%} and {row.new:.0%}" for row in rows.itertuples()
    )


def frontier(ways: pd.DataFrame | Mapping[str, pd.DataFrame], by: str = "way") -> Figure:
    """What is left of the old task against what was learned of the new: a point a row, named in the legend.

    A table has columns `old` and `new` (accuracies, 0 to 1) and a name in the column `by`; with `old_low`, `old_high`,
    `new_low` and `new_high` its points get whiskers. Several tables, by their titles, are panels that share a legend,
    so they must have the same names in the same order. Up and to the right is good.
    """
    tables = ways if isinstance(ways, Mapping) else {"": ways}
    for table in tables.values() or [None]:
        a(pd.DataFrame, source="a record of ways")("frontier", "ways", table)
        refuse_no_columns("frontier", table, by, "old", "new")
    figure = Figure(7 if len(tables) == 1 else 4.5 * len(tables), 4.6)
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (title, table) in zip(panels, tables.items(), strict=True):
        dress(axes, "new task (accuracy, %)", "", title)
        axes.margins(0.12)
        rows = table.to_dict("records")
        points = [_point(axes, row, look(number)) for number, row in enumerate(rows)]
    panels[0].set_ylabel("old task (accuracy, %)", color=INK)
    legend(
        figure,
        [Marked(point, shorten(str(row[by]))) for point, row in zip(points, rows, strict=True)],
    )
    said = "; ".join(
        f"{title}{': ' if title else ''}{row[by]}: old {row['old']:.0%}, new {row['new']:.0%}"
        for title, table in tables.items()
        for row in table.to_dict("records")
    )
    table = pd.concat([t.assign(panel=title) if title else t for title, t in tables.items()])
    return figure.told(
        f"What is left of the old task, and what was learned of the new. {said}.", table
    )


def _point(axes: Axes, row: Mapping[Hashable, Any], way: Look) -> Line2D:
    """A marker at (new, old), with its intervals where the row has them."""
    drawn = axes.errorbar(
        100 * row["new"],
        100 * row["old"],
        xerr=_whiskers(row, "new"),
        yerr=_whiskers(row, "old"),
        color=way.colour,
        marker=way.marker,
        markersize=8,
        linestyle="",
        capsize=3,
    )
    return drawn.lines[0]


def _whiskers(row: Mapping[Hashable, Any], which: str) -> list[list[float]] | None:
    """How far an interval reaches below and above, in points, as `errorbar` takes it."""
    if f"{which}_low" not in row:
        return None
    value = row[which]
    return [[100 * (value - row[f"{which}_low"])], [100 * (row[f"{which}_high"] - value)]]
