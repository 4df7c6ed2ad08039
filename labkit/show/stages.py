"""The stages of a network beside one another: how alike they see, and how hard training pulls at them."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from labkit import insight
from labkit.insight.gradients import COLUMNS
from labkit.insight.similarity import Similarity
from labkit.show.figure import (
    CARD,
    COLOURS,
    SHADES,
    Figure,
    Marked,
    cell,
    dress,
    legend,
    look,
    shorten,
)
from labkit.tuning.given import (
    a_count,
    a_flag,
    a_run,
    a_run_or,
    maybe,
    refuse_no_columns,
    takes,
)

if TYPE_CHECKING:
    from labkit.tuning import Run


@takes(seen=a_run_or(Similarity, "what insight.similarity gave"), other=maybe(a_run))
def plot_similarity(seen: Run | Similarity, other: Run | None = None, **how: Any) -> Figure:
    """How alike two networks see (linear CKA): stage against the same stage, and every stage against every other.

    Of a run alone: now against its start. `how` is passed on to `insight.similarity`: stages, count, split, seed.
    """
    found = seen if isinstance(seen, Similarity) else insight.similarity(seen, other, **how)
    size = max(found.matrix.shape)
    figure = Figure(9.6, 1.5 + 0.42 * size)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    _same_stages(left, found)
    _all_pairs(right, found)
    said = ", ".join(f"{row.stage} {row.cka:.2f}" for row in found.table.itertuples())
    alt = (
        f"Linear CKA of {found.ours} with {found.theirs} over {found.count} examples of {found.split}; 1 is the same: "
        f"{said}."
    )
    return figure.told(alt, found.table)


def _same_stages(axes: Axes, found: Similarity) -> None:
    table = found.table
    dress(axes, "linear CKA (1 = sees the same)", "stage", f"With {shorten(found.theirs, 28)}")
    place = range(len(table))
    axes.hlines(place, table["low"], table["high"], color=COLOURS[0], linewidth=2.2)
    axes.plot(table["cka"], place, "o", color=COLOURS[0], markersize=7)
    for row in table.itertuples():
        words = "unknown" if isnan(row.cka) else f"{row.cka:.2f}"
        where = (0.0 if isnan(row.cka) else row.cka, row.Index)
        axes.annotate(words, where, xytext=(0, 7), textcoords="offset points", ha="center", size=8)
    axes.set_yticks(place, table["stage"], parse_math=False)
    axes.set_ylim(len(table) - 0.5, -0.6)
    axes.set_xlim(min(-0.03, float(table["low"].min()) - 0.02), 1.06)
    axes.grid(False, axis="y")


def _all_pairs(axes: Axes, found: Similarity) -> None:
    matrix = found.matrix
    dress(axes, f"stage of {shorten(found.theirs, 28)}", f"stage of {shorten(found.ours, 28)}")
    axes.set_title("Every stage with every stage (CKA)", loc="left", fontsize=11)
    axes.grid(False)
    size = 8.5 if matrix.shape[1] <= 8 else 6.5
    for row, values in enumerate(matrix.to_numpy()):
        for column, value in enumerate(values):
            colour = CARD if isnan(value) else SHADES(min(1.0, max(0.0, float(value))))
            cell(axes, column, row, colour, "–" if isnan(value) else f"{value:.2f}", size)
    axes.set_xlim(-0.5, matrix.shape[1] - 0.5)
    axes.set_ylim(matrix.shape[0] - 0.5, -0.5)
    many = matrix.shape[1] > 7
    axes.set_xticks(
        range(matrix.shape[1]), matrix.columns, parse_math=False, rotation=60 if many else 0
    )
    axes.set_yticks(range(matrix.shape[0]), matrix.index, parse_math=False)
    axes.tick_params(length=0)


@takes(
    seen=a_run_or(pd.DataFrame, "what insight.gradient_norms gave"),
    relative=a_flag,
    count=a_count(),
)
def plot_gradient_norms(
    seen: Run | pd.DataFrame, relative: bool = False, count: int = 20
) -> Figure:
    """The length of the gradient of every stage over a run, on a log scale; a frozen stage has none.

    With `relative`, as a share of the length of the stage's weights. `seen` is a run, of which `count` steps are taken
    again on a clone, or the table that `insight.gradient_norms` gave.
    """
    table = seen if isinstance(seen, pd.DataFrame) else insight.gradient_norms(seen, count=count)
    refuse_no_columns("gradient_norms", table, *COLUMNS)
    column = "relative" if relative else "norm"
    unit = "over the length of the weights" if relative else "L2 norm"
    figure = Figure(8.5, 4.6)
    axes = dress(
        figure.subplots(),
        "step (optimiser updates)",
        f"length of the gradient ({unit}, log scale)",
    )
    entries = []
    for number, (stage, rows) in enumerate(table.groupby("stage", sort=False)):
        way = look(number)
        line = axes.plot(
            rows["step"],
            rows[column].where(rows[column] > 0),
            color=way.colour,
            marker=way.marker,
            linestyle=way.style,
            markersize=5,
        )[0]
        frozen = "" if rows["trainable"].any() else " (frozen)"
        entries.append(Marked(line, f"{stage}{frozen}"))
    axes.set_yscale("log")
    legend(figure, entries, columns=6)
    return figure.told(_gradient_alt(table, column), table)


def _gradient_alt(table: pd.DataFrame, column: str) -> str:
    said = []
    for stage, rows in table.groupby("stage", sort=False):
        known = rows.dropna(subset=[column])
        if known.empty:
            said.append(f"{stage} frozen")
            continue
        first, last = known[column].iloc[0], known[column].iloc[-1]
        said.append(f"{stage} {first:.2g} at first and {last:.2g} at last")
    steps = table["step"]
    return f"Length of the gradient from step {steps.min()} to {steps.max()}: {', '.join(said)}."
