"""The figure that only lesson 06 draws: accuracy as the labels grow."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from labkit.show.figure import (
    Figure,
    Marked,
    dress,
    legend,
    look,
)
from labkit.tuning import Evaluation


def growth(tried: Sequence[tuple[int, str, Evaluation]]) -> Figure:
    """Accuracy as the labels grow: a line a plan, with the interval that the counted images allow.

    `tried` holds (labels a class, what trains, evaluation), one run each. The whiskers are 95 %
    intervals over images (Wilson, 1927), so they do not tell what another seed would change.
    """
    table = pd.DataFrame(
        [
            (labels, name, result.accuracy, *result.interval, f"{result.correct} of {result.count}")
            for labels, name, result in tried
        ],
        columns=["labels a class", "trains", "accuracy", "low", "high", "right"],
    )
    figure = Figure(7, 3.8)
    axes = dress(figure.subplots(), "labels a class (logarithmic)", "validation accuracy (%)")
    axes.set_xscale("log")
    entries = []
    for number, (name, rows) in enumerate(table.groupby("trains", sort=False)):
        shade = look(number)
        place = rows["labels a class"] * 1.04 ** (number - 1)  # beside each other, not on top
        below, above = rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]
        drawn = axes.errorbar(
            place,
            100 * rows["accuracy"],
            yerr=(100 * below, 100 * above),
            color=shade.colour,
            marker=shade.marker,
            capsize=4,
        )
        entries.append(Marked(drawn.lines[0], str(name)))
    ticks = sorted(set(table["labels a class"]))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    legend(figure, entries)
    said = "; ".join(
        f"{row.trains} with {row[1]} labels {row.accuracy:.0%}" for row in table.itertuples()
    )
    return figure.told(f"Validation accuracy by labels a class. {said}.", table)
