"""The atlas as a figure: the expected curve with its bands, and where its cell lies among the others."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from labkit.records import atlas
from labkit.records.atlas import Expectation
from labkit.records.atlas.asking import place
from labkit.records.atlas.record import RECORDS, Recorded
from labkit.show.figure import (
    CARD,
    COLOURS,
    INK,
    SHADES,
    Figure,
    Marked,
    cell,
    dress,
    legend,
    look,
    shorten,
)

if TYPE_CHECKING:
    from labkit.tuning import Run

OURS, WIDE, NARROW = COLOURS[0], 0.14, 0.32


def figure(expected: Expectation, *runs: Run, out: Path | None = None) -> Figure:
    """What to expect by epoch, with the runs that were really made over it, and the map of the final accuracies.

    The wide band is where one more run lands in 95 of 100 cases, the narrow one the 95 % interval of the mean.
    """
    found = atlas.load(expected.sheet, out or RECORDS)
    drawn = Figure(9.5, 4.4)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 1.15))
    entries = [*_curve(left, expected), *(_run(left, run, n) for n, run in enumerate(runs, 1))]
    _map(right, expected, found)
    legend(drawn, entries, columns=3)
    table = expected.table()
    for run in runs:
        right_now = atlas.curve_of(run)[: len(table)]
        said = [f"{100 * n / expected.count:.1f}" for n in right_now]
        table[shorten(run.name)] = said + [""] * (len(table) - len(said))
    return drawn.told(_words(expected, runs), table)


def _curve(axes: Axes, expected: Expectation) -> list[Marked]:
    where = f"{expected.trainable_from}, lr {expected.lr:g}, {expected.per_class} a class"
    dress(axes, "epoch", "validation accuracy (%)", where)
    axes.set_ylim(0, 101)
    if not expected.curve:
        return []
    epochs = [point.epoch for point in expected.curve]

    def values(name: str) -> list[float]:
        return [100 * getattr(point, name) for point in expected.curve]

    axes.fill_between(epochs, values("low"), values("high"), color=OURS, alpha=WIDE, linewidth=0)
    for edge in ("low", "high"):
        axes.plot(epochs, values(edge), color=OURS, linewidth=0.9, linestyle=(0, (4, 3)))
    of_mean = values("mean_low"), values("mean_high")
    axes.fill_between(epochs, *of_mean, color=OURS, alpha=NARROW, linewidth=0)
    line = axes.plot(epochs, values("mean"), color=OURS, marker="o", markersize=5)[0]
    edged: dict[str, Any] = {"facecolor": OURS, "edgecolor": OURS, "linestyle": "--"}
    return [
        Marked(line, f"mean of {expected.seeds} recorded runs"),
        Marked(Patch(facecolor=OURS, alpha=NARROW), "95 % interval of that mean"),
        Marked(Patch(**edged, alpha=WIDE), "one more run, 95 of 100 times"),
    ]


def _run(axes: Axes, run: Run, number: int) -> Marked:
    shade = look(number)
    shares = [100 * right / len(run.data.valid) for right in atlas.curve_of(run)]
    line = axes.plot(range(len(shares)), shares, color=shade.colour, marker=shade.marker)[0]
    return Marked(line, f"made: {shorten(run.name)}")


def _map(axes: Axes, expected: Expectation, found: Recorded) -> None:
    """Mean accuracy after the last epoch, a number in each cell; a frame and a pointer mark what was asked."""
    sheet = expected.sheet
    means = found.mean[:, sheet.per_class.index(expected.per_class), :, -1]
    known = means[~_nan(means)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    title = f"Mean after epoch {sheet.epochs} (%)"
    dress(axes, "learning rate of the head", "", title).grid(False)
    for row, column in [(r, c) for r in range(len(sheet.depths)) for c in range(len(sheet.rates))]:
        _cell(axes, column, row, float(means[row, column]), low, high)
    _, at, share = place(sheet, expected.lr)
    column, row = round(at + share), sheet.depths.index(expected.trainable_from)
    for colour, width in (("#000000", 5), ("#FFFFFF", 2)):
        axes.add_patch(
            Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, ec=colour, lw=width)
        )
    axes.add_line(Line2D([at + share], [-0.62], marker="v", color=INK, clip_on=False))
    axes.set_xlim(-0.5, len(sheet.rates) - 0.5)
    axes.set_ylim(len(sheet.depths) - 0.5, -0.5)
    axes.set_xticks(range(len(sheet.rates)), [f"{rate:g}" for rate in sheet.rates])
    axes.set_yticks(range(len(sheet.depths)), list(sheet.depths))
    axes.tick_params(length=0)
    axes.title.set_position((0, 1.06))


def _cell(axes: Axes, x: int, y: int, mean: float, low: float, high: float) -> None:
    share = (mean - low) / (high - low) if high > low else 0.5
    colour: Any = CARD if isnan(mean) else SHADES(share)
    cell(axes, x, y, colour, "–" if isnan(mean) else f"{100 * mean:.0f}", size=9)


def _nan(values: Any) -> Any:
    return values != values


def _words(expected: Expectation, runs: tuple[Run, ...]) -> str:
    """What the figure shows, for whoever does not see it."""
    where = (
        f"{expected.sheet.name}, trainable from {expected.trainable_from}, learning rate {expected.lr:g}, "
        f"{expected.per_class} examples a class"
    )
    verdicts = " ".join(f"{run.name}: {expected.judge(run)}" for run in runs)
    return f"Expected accuracy by epoch for {where}. {expected} {verdicts}".rstrip()
