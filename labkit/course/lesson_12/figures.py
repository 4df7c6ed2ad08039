"""The figures of lesson 12: what a shift does to an image, what it costs, and what comes back.

`gallery` draws images. The others draw the recorded runs of `domain-shift` and train nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from labkit.course import evidence
from labkit.course.lesson_12.claims import AMOUNTS, PRIOR, STRENGTHS
from labkit.data import KINDS, ImageSplit
from labkit.data.images.shift import DONE, shifted
from labkit.insight import Estimate, mean_interval
from labkit.show.figure import FAINT, INK, Figure, Look, Marked, dress, legend, look, shorten

RECORD = "domain-shift"
PLACES = {"digits-10": "digits", "ants-bees": "ants and bees"}
WAYS = {
    "": "as it is",
    "-adapted": "statistics of unlabelled images",
    "-labels": "trained on with a few labels",
}


def home(place: str) -> str:
    """The key of the recorded runs of `digits-10` or `ants-bees`."""
    return f"{RECORD}/{place}/clean"


# ---------------------------------------------------------------- images


def gallery(
    split: ImageSplit,
    image: int,
    classes: Sequence[str],
    strengths: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
    kinds: Sequence[str] = KINDS,
) -> Figure:
    """One image of a split under every shift: a row a kind, a column a strength."""
    pixels = split.take(torch.tensor([image])).images
    figure = Figure(1.2 + 1.22 * len(strengths), 0.5 + 1.24 * len(kinds))
    grid = figure.subplots(len(kinds), len(strengths), squeeze=False)
    for across, kind in zip(grid, kinds, strict=True):
        for axes, strength in zip(across, strengths, strict=True):
            shown = shifted(pixels, kind, strength)[0].permute(1, 2, 0).numpy()
            axes.imshow(shown, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        across[0].set_ylabel(kind, color=INK, fontsize=9, parse_math=False)
    for axes, strength in zip(grid[0], strengths, strict=True):
        axes.set_title(f"strength {strength:g}", color=INK, fontsize=9)
    name = shorten(classes[int(split.labels[image])], 20)
    table = pd.DataFrame([(kind, DONE[kind]) for kind in kinds], columns=["kind", "what it does"])
    said = "; ".join(f"{kind}: {what}" for kind, what in table.itertuples(index=False))
    return figure.told(
        f"One image ({name}) under {len(kinds)} shifts, from strength {strengths[0]:g} to {strengths[-1]:g}. {said}.",
        table,
    )


# ---------------------------------------------------------------- accuracy against strength


def by_strength(place: str) -> Figure:
    """Recorded accuracy against the strength of each shift, as the network is and with other statistics.

    A panel a kind; lines through the means, bands for 95 % over seeds; the dotted line is the accuracy on images as
    they are.
    """
    key, figure = home(place), Figure(9, 5.6)
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    entries: list[Marked] = []
    rows = []
    for axes, kind in zip(panels.flat, KINDS, strict=True):
        dress(axes, "", "", kind)
        clean = evidence.estimate(key)
        level = axes.axhline(100 * clean.mean, color=INK, linestyle=":", linewidth=1.2)
        lines = []
        for number, way in enumerate(("", "-adapted")):
            first = clean if way == "" else evidence.estimate(f"{key}/adapted")
            course = [first, *_estimates(f"{key}/{kind}{way}")]
            lines.append(Marked(_band(axes, (0, *STRENGTHS), course, look(number)), WAYS[way]))
            rows += [
                (kind, WAYS[way], strength, *_per_cent(e))
                for strength, e in zip((0, *STRENGTHS), course, strict=True)
            ]
        entries = [*lines, Marked(level, "images as they are")]
    for axes in panels[1]:
        axes.set_xlabel("strength of the shift", color=INK)
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy (%)", color=INK)
    panels[0, 0].set_ylim(0, 102)
    legend(figure, entries)
    table = pd.DataFrame(
        rows, columns=["kind", "network", "strength", "mean (%)", "low (%)", "high (%)"]
    )
    said = "; ".join(
        f"{row.kind}, {row.network}: {row[4]:.0f} %"
        for row in table[table["strength"] == 1].itertuples()
    )
    return figure.told(
        f"Recorded accuracy on {PLACES[place]} against the strength of six shifts. At full strength: {said}.",
        table,
    )


def _estimates(key: str) -> list[Estimate]:
    """Of a reading that is a curve, mean and interval at each place."""
    table = evidence.curves(key)
    return [mean_interval(table[place]) for place in table]


def _per_cent(e: Estimate) -> tuple[float, float, float]:
    return round(100 * e.mean, 1), round(100 * e.low, 1), round(100 * e.high, 1)


def _band(axes: Axes, places: Sequence[float], course: Sequence[Estimate], shade: Look) -> Artist:
    """A line through the means, and behind it the interval."""
    values = [_per_cent(e) for e in course]
    low, high = [value[1] for value in values], [value[2] for value in values]
    axes.fill_between(places, low, high, color=shade.colour, alpha=0.18)
    return axes.plot(
        places,
        [value[0] for value in values],
        color=shade.colour,
        linestyle=shade.style,
        marker=shade.marker,
        markersize=4,
        linewidth=1.8,
    )[0]


# ---------------------------------------------------------------- before and after


def recovered() -> Figure:
    """Recorded accuracy at full strength, before and after adapting in two ways: a row a shift, a panel a data set."""
    figure = Figure(9, 4.6)
    panels = figure.subplots(1, len(PLACES), sharey=True)
    entries: list[Marked] = []
    rows = []
    for axes, (place, words) in zip(panels, PLACES.items(), strict=True):
        dress(axes, "accuracy at full strength (%)", "", words)
        clean = axes.axvline(
            100 * evidence.estimate(home(place)).mean, color=INK, linestyle=":", linewidth=1.2
        )
        drawn = []
        for number, (way, name) in enumerate(WAYS.items()):
            found = [evidence.estimate(f"{home(place)}/{kind}{way}") for kind in KINDS]
            drawn.append(Marked(_whiskers(axes, found, number), name))
            rows += [
                (words, kind, name, *_per_cent(e)) for kind, e in zip(KINDS, found, strict=True)
            ]
        entries = [*drawn, Marked(clean, "images as they are")]
        axes.set_xlim(0, 102)
    panels[0].set_yticks(range(len(KINDS)), KINDS)
    panels[0].set_ylim(len(KINDS) - 0.5, -0.5)
    legend(figure, entries, columns=4)
    table = pd.DataFrame(
        rows, columns=["data", "shift", "network", "mean (%)", "low (%)", "high (%)"]
    )
    said = "; ".join(f"{r.data}, {r.shift}, {r.network}: {r[4]:.0f} %" for r in table.itertuples())
    return figure.told(
        f"Recorded accuracy on images shifted at full strength, means with 95 % intervals over seeds. {said}.",
        table,
    )


def _whiskers(axes: Axes, found: Sequence[Estimate], number: int) -> Artist:
    """One way, a marker with its interval for each kind, a little below the way before."""
    values, shade = [_per_cent(e) for e in found], look(number)
    means = [value[0] for value in values]
    drawn = axes.errorbar(
        means,
        [place + 0.22 * (number - 1) for place in range(len(found))],
        xerr=(
            [mean - low for mean, low, _ in values],
            [high - mean for mean, _, high in values],
        ),
        color=shade.colour,
        marker=shade.marker,
        linestyle="none",
        markersize=5,
        capsize=3,
    )
    return drawn.lines[0]


# ---------------------------------------------------------------- how many images are enough


def amounts() -> Figure:
    """Recorded accuracy on washed out images, against how many unlabelled ones the statistics were taken from."""
    figure = Figure(9, 4.0)
    panels = figure.subplots(1, len(PLACES), sharey=True)
    entries: list[Marked] = []
    rows = []
    for axes, (place, words) in zip(panels, PLACES.items(), strict=True):
        dress(axes, "unlabelled images (logarithmic)", "", words)
        axes.set_xscale("log")
        before = evidence.estimate(f"{home(place)}/contrast")
        level = axes.axhline(100 * before.mean, color=FAINT, linestyle="--", linewidth=1.4)
        rows.append((words, "as it is", 0, *_per_cent(before)))
        drawn = []
        for number, (end, name) in enumerate(
            {"": "their statistics alone", "-prior": f"old ones count for {PRIOR}"}.items()
        ):
            course = _estimates(f"{home(place)}/amount{end}")
            drawn.append(Marked(_band(axes, AMOUNTS, course, look(number)), name))
            rows += [(words, name, n, *_per_cent(e)) for n, e in zip(AMOUNTS, course, strict=True)]
        entries = [*drawn, Marked(level, "as it is")]
        axes.set_xticks(AMOUNTS, [str(amount) for amount in AMOUNTS])
        axes.minorticks_off()
    panels[0].set_ylabel("accuracy (%)", color=INK)
    legend(figure, entries)
    table = pd.DataFrame(
        rows, columns=["data", "statistics", "images", "mean (%)", "low (%)", "high (%)"]
    )
    said = "; ".join(
        f"{r.data}, {r.statistics}, {r.images}: {r[4]:.0f} %" for r in table.itertuples()
    )
    return figure.told(
        f"Recorded accuracy on washed out images by how many unlabelled ones were looked at. {said}.",
        table,
    )
