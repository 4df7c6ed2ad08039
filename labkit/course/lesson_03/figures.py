"""Recorded accuracy against the number of labels, for several shares of wrong ones: the figure of lesson 03."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from labkit.course import evidence
from labkit.course.lesson_03.claims import FEW, MORE, SHARES, WAYS
from labkit.insight.metrics import Estimate
from labkit.show.figure import FAINT, INK, Figure, Marked, dress, legend, look

WORDS = {0.0: "all right", 0.2: "a fifth wrong", 0.4: "two fifths wrong"}


def label_noise(group: str) -> Figure:
    """Accuracy on `digits` or `ants-bees` as labels grow: a line a share of wrong ones, a panel for what trains.

    A dot is one run, the line goes through the means, whiskers are 95 % intervals over seeds. A dashed line marks what
    the fewest labels reach when they are all right.
    """
    few = FEW[group]
    points = [
        (way, share, times * few, _key(group, way, times * few, share))
        for way in WAYS
        for share in (0.0, *SHARES)
        for times in (1, *MORE)
        if share == 0 or times > 1
    ]
    table = pd.DataFrame(
        [_row(way, share, labels, evidence.estimate(key)) for way, share, labels, key in points]
    )
    recorded = evidence.rows("label-noise").groupby("key").accuracy.apply(list)
    figure = Figure(9, 4.0)
    panels = figure.subplots(1, len(WAYS), sharey=True)
    for way, axes in zip(WAYS, panels, strict=True):
        dress(axes, "labels a class (logarithmic)", "", f"{way} trains")
        for name, _, labels, key in points:
            if name == way:
                runs = [100 * one for one in recorded[key.removeprefix("label-noise/")]]
                axes.plot([labels] * len(runs), runs, ".", color=FAINT, alpha=0.5)
        entries = _lines(axes, table[table["trains"] == way], few)
    panels[0].set_ylabel("accuracy (%)", color=INK)
    legend(figure, entries, columns=4)
    said = "; ".join(
        f"{row[0]}, {row[2]} labels a class, {row[1]}: {row[3]:.0f} % ({row[4]:.0f} to {row[5]:.0f})"
        for row in table.itertuples(index=False)
    )
    return figure.told(f"Recorded accuracy on {group} by labels and wrong labels. {said}.", table)


def _key(group: str, way: str, labels: int, share: float) -> str:
    return f"label-noise/{group}/{way}-{labels}" + (f"-wrong-{share:g}" if share else "")


def _row(way: str, share: float, labels: int, found: Estimate) -> dict[str, object]:
    mean, low, high = (round(100 * value, 1) for value in (found.mean, found.low, found.high))
    wrong = WORDS[share]
    return {
        "trains": way, "labels are": wrong, "labels a class": labels,
        "mean (%)": mean, "low (%)": low, "high (%)": high,
    }  # fmt: skip


def _lines(axes: Axes, table: pd.DataFrame, few: int) -> list[Marked]:
    axes.set_xscale("log")
    entries = []
    for number, (name, rows) in enumerate(table.groupby("labels are", sort=False)):
        shade = look(number)
        place = rows["labels a class"] * 1.03 ** (number - 1)  # beside each other, not on top
        drawn = axes.errorbar(
            place,
            rows["mean (%)"],
            yerr=(rows["mean (%)"] - rows["low (%)"], rows["high (%)"] - rows["mean (%)"]),
            color=shade.colour,
            marker=shade.marker,
            linestyle=shade.style,
            capsize=4,
        )
        entries.append(Marked(drawn.lines[0], str(name)))
    level = float(table.loc[table["labels a class"] == few, "mean (%)"].iloc[0])
    line = axes.axhline(level, color=INK, linestyle=":", linewidth=1.2)
    ticks = sorted(set(table["labels a class"]))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    return [*entries, Marked(line, "the fewest, all right")]
