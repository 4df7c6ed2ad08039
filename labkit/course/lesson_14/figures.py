"""The figures of lesson 14: the order of the questions, copies beside their originals, and what curves alone show.

They draw what they are given, or what is on record, and train nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from labkit.records import exam
from labkit.show.figure import CARD, COLOURS, EDGE, FAINT, INK, Figure, Marked, dress, legend

if TYPE_CHECKING:
    from labkit.data import ImageData


@dataclass(frozen=True)
class DiagnosticStep:
    """One question to a run: where the answer is looked up, which answer ends the search, and what it is then."""

    ask: str
    where: str
    alarm: str
    kind: str


# A mechanism that can be read off comes before a curve, because it bends curves in many ways.
METHOD = (
    DiagnosticStep("Did a frozen stage move?", "audit", "its buffers did", "statistics-drift"),
    DiagnosticStep(
        "Did all move that should, and does the optimiser hold it?",
        "audit, memory",
        "a stage stood still",
        "head-left-out",
    ),
    DiagnosticStep(
        "Does the optimiser remember more steps than were trained?",
        "memory",
        "yes",
        "stale-moments",
    ),
    DiagnosticStep("Is a stage that trains in evaluation mode?", "modes", "yes", "eval-mode"),
    DiagnosticStep(
        "Was a whole number of images right, each time?",
        "recount, curves",
        "no",
        "averaged-averages",
    ),
    DiagnosticStep("Does the count repeat?", "recount", "no", "eval-mode"),
    DiagnosticStep("Are images on both sides?", "twins", "yes", "leakage"),
    DiagnosticStep(
        "Do both splits come on the scale that the network learned?",
        "scales",
        "no",
        "normalisation",
    ),
    DiagnosticStep(
        "Did the loss shoot up, or a stage move by over 100 %?",
        "curves, audit",
        "yes",
        "rate-too-large",
    ),
)
REST = "Its machinery is sound. Now judge the curves: overfitting, underfitting, too few images, or nothing at all."


def method() -> Figure:
    """The questions to a run in their order, as a flow chart: one answer leads on, the other ends the search."""
    figure = Figure(8, 9.2)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(-0.62 - len(METHOD), 0.95)
    _box(axes, (0, 0.62), 5.6, "Look at the curves. What do you suspect? Do not name it yet.", EDGE)
    for number, question in enumerate(METHOD):
        _asked(axes, question, -number - 0.28)
    _arrow(axes, (2.8, 0.34 - len(METHOD)), (2.8, 0.05 - len(METHOD)))
    _box(axes, (0, -len(METHOD) - 0.28), 10, REST, EDGE)
    table = pd.DataFrame(
        [(q.ask, q.where, q.alarm, q.kind) for q in METHOD],
        columns=["question", "where to look", "answer that ends the search", "then it is"],
    )
    said = " ".join(
        f"{n}. {q.ask} ({q.where}) If {q.alarm}: {q.kind}." for n, q in enumerate(METHOD, start=1)
    )
    alt = f"A flow chart. Look at the curves first, and suspect. Then ask in this order. {said} Else: {REST}"
    return figure.told(alt, table)


def _asked(axes: Axes, question: DiagnosticStep, y: float) -> None:
    """A question on the left, an arrow to its diagnosis on the right, and one that comes from above."""
    _arrow(axes, (2.8, y + 0.62), (2.8, y + 0.33))
    _box(axes, (0, y), 5.6, question.ask, COLOURS[0], below=f"look: {question.where}")
    _arrow(axes, (5.65, y), (7.55, y))
    axes.text(6.55, y + 0.1, question.alarm, ha="center", va="bottom", fontsize=8.5, color=INK)
    _box(axes, (7.6, y), 2.4, question.kind, COLOURS[1])


def _box(
    axes: Axes, at: tuple[float, float], width: float, text: str, edge: str, below: str = ""
) -> None:
    x, y = at
    frame = FancyBboxPatch(
        (x + 0.08, y - 0.25),
        width - 0.16,
        0.5,
        boxstyle="round,pad=0.06",
        facecolor=CARD,
        edgecolor=edge,
        linewidth=1.6,
    )
    axes.add_patch(frame)
    lift = 0.11 if below else 0.0
    words = fill(text, int(width * 11))
    axes.text(
        x + width / 2,
        y + lift,
        words,
        ha="center",
        va="center",
        fontsize=9.5,
        color=INK,
        linespacing=1.05,
        parse_math=False,
    )
    if below:
        axes.text(x + width / 2, y - 0.2, below, ha="center", va="center", fontsize=8, color=FAINT)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": FAINT, "linewidth": 1.2}
    )


# ---------------------------------------------------------------- images on both sides


def pairs(data: ImageData, copies: Sequence[int], most: int = 8) -> Figure:
    """Validation images above, and below each the training image that is nearest to it, at most so many.

    `copies` holds positions in the validation split, as `probes.twins(run).copies` gives them.
    """
    shown = list(copies)[:most]
    valid, train = data.valid.batch(shown)[0], data.train.batch(range(len(data.train)))[0]
    originals = torch.cdist(valid.flatten(1), train.flatten(1)).argmin(dim=1).tolist()
    figure = Figure(1.1 * max(4, len(shown)), 2.9)
    grid = figure.subplots(2, max(4, len(shown)), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (copy, original) in enumerate(zip(shown, originals, strict=True)):
        _thumbnail(grid[0, place], valid[place], f"validation\n{copy}")
        _thumbnail(grid[1, place], train[original], f"training\n{original}")
    table = pd.DataFrame(
        list(zip(shown, originals, strict=True)), columns=["validation image", "training image"]
    )
    said = ", ".join(f"{row[1]} is training image {row[2]}" for row in table.itertuples())
    return figure.told(
        f"Validation images above the training images that they are copies of: {said}.", table
    )


def _thumbnail(axes: Axes, pixels: Tensor, title: str) -> None:
    """An image (3, H, W) of whatever scale, from its darkest to its brightest value."""
    low, high = pixels.min(), pixels.max()
    axes.imshow(((pixels - low) / (high - low).clamp_min(1e-9)).permute(1, 2, 0))
    axes.set_title(title, fontsize=8, color=INK)


# ---------------------------------------------------------------- what the coach sees


def coach() -> Figure:
    """For each kind of fault, the recorded share that the coach names first: from the curves alone, and from all."""
    table = exam.by_kind()
    shares = 100 * table[["from the curves alone", "right first"]].div(table["runs"], axis=0)
    figure = Figure(8, 0.9 + 0.34 * len(table))
    axes = dress(figure.subplots(), "named rightly first (% of the runs of a kind)", "")
    for place, (alone, everything) in enumerate(shares.itertuples(index=False)):
        axes.plot([alone, everything], [place, place], color=EDGE, linewidth=3, zorder=1)
        axes.plot(alone, place, marker="o", color=COLOURS[1], markersize=8, fillstyle="none")
        axes.plot(everything, place, marker="s", color=COLOURS[0], markersize=5)
    names = [f"{row.kind} ({row.runs})" for row in table.itertuples()]
    axes.set_yticks(range(len(table)), names, parse_math=False)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(-4, 104)
    alone_key = Line2D([], [], marker="o", color=COLOURS[1], fillstyle="none", linestyle="")
    all_key = Line2D([], [], marker="s", color=COLOURS[0], linestyle="")
    entries = [
        Marked(alone_key, "from the curves alone"),
        Marked(all_key, "with audit and probes"),
    ]
    legend(figure, entries)
    said = "; ".join(
        f"{row.kind} {row[4]} and {row[3]} of {row.runs}" for row in table.itertuples()
    )
    alt = f"Sabotaged runs named rightly first, from the curves alone and with audit and probes. {said}."
    return figure.told(alt, table)
