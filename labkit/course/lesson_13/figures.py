"""The figures of lesson 13 that draw recorded runs: a step by frozen depth, and strategies as price and result.

They train nothing; the record is `cost`.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from labkit.course import evidence
from labkit.insight import Estimate
from labkit.show.figure import INK, Figure, Marked, dress, legend, look

RECORD = "cost"
PLACES = {"digits-10": "digits, 10 labels a class", "ants-bees": "ants and bees"}
DEPTHS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
STRATEGIES = {
    "head": "head",
    "layer4-head": "layer4 + head",
    "full": "full",
    "from-scratch": "from scratch",
}
WAYS = {
    "again-{}-operations": "operations",
    "again-{}": "processor time",
    "kept-{}": "processor time, output kept",
}


def steps() -> Figure:
    """A recorded step by frozen depth, as a share of a step in which everything trains: mean and 95 % interval."""
    figure = Figure(9, 4.3)
    panels = figure.subplots(1, len(PLACES), sharey=True)
    entries: list[Marked] = []
    rows, said = [], []
    for axes, (place, words) in zip(panels, PLACES.items(), strict=True):
        dress(axes, "share of a step that trains everything (%)", "", words)
        for number, (reading, name) in enumerate(WAYS.items()):
            found = [_asked(place, reading.format(depth)) for depth in DEPTHS]
            way, shift = look(number), 0.2 * (number - 1)
            drawn = axes.errorbar(
                [e.mean for e in found],
                [at + shift for at in range(len(DEPTHS))],
                xerr=[e.half_width for e in found],
                color=way.colour, marker=way.marker, linestyle="", capsize=3, markersize=6, clip_on=False,
            )  # fmt: skip
            entries += [Marked(drawn.lines[0], name)] if axes is panels[0] else []
            for depth, e in zip(DEPTHS, found, strict=True):
                rows.append((words, depth, name, e.mean, e.low, e.high))
            said.append(f"{words}, {name}: " + ", ".join(_listed(DEPTHS, found)))
        axes.set_xlim(left=0)
        axes.grid(True, axis="y")
    panels[0].set_yticks(range(len(DEPTHS)), DEPTHS)
    panels[0].set_ylim(len(DEPTHS) - 0.5, -0.5)
    panels[0].set_ylabel("trains from", color=INK)
    legend(figure, entries)
    columns = ["on", "trains from", "what", "mean (%)", "low (%)", "high (%)"]
    return figure.told(
        "A recorded step by the first stage that trains, as a share of a step in which everything trains. "
        f"{'; '.join(said)}.",
        pd.DataFrame(rows, columns=columns),
    )


class Strategy(NamedTuple):
    """What came of a strategy on record: accuracy 0 to 1 and processor seconds of the whole run, both with interval."""

    accuracy: Estimate
    seconds: Estimate


def strategies(place: str) -> dict[str, Strategy]:
    """The four strategies on record in a place, `digits-10` or `ants-bees`, by name."""
    home = f"{RECORD}/{place}"
    return {
        name: Strategy(
            evidence.estimate(f"{home}/{key}"), evidence.estimate(f"{home}/{key}/seconds")
        )
        for key, name in STRATEGIES.items()
    }


def bargain() -> Figure:
    """Accuracy against processor seconds of whole recorded runs: a point a strategy, with 95 % intervals both ways."""
    figure = Figure(9, 4)
    rows, said = [], []
    entries: list[Marked] = []
    for axes, (place, words) in zip(figure.subplots(1, len(PLACES)), PLACES.items(), strict=True):
        dress(axes, "processor time of the whole run (s, logarithmic)", "accuracy (%)", words)
        axes.set_xscale("log")
        for number, (name, found) in enumerate(strategies(place).items()):
            accuracy, seconds = found
            way = look(number)
            drawn = axes.errorbar(
                seconds.mean,
                100 * accuracy.mean,
                xerr=seconds.half_width,
                yerr=100 * accuracy.half_width,
                color=way.colour, marker=way.marker, linestyle="", capsize=3, markersize=7,
            )  # fmt: skip
            entries += [Marked(drawn.lines[0], name)] if place == next(iter(PLACES)) else []
            rows.append((words, name, seconds.mean, 100 * accuracy.mean))
            said.append(f"{words}, {name}: {accuracy.mean:.0%} in {seconds.mean:.2g} s")
        axes.margins(0.12)
        ticks = [tick for tick in TICKS if _within(tick, axes.get_xlim())]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    legend(figure, entries, columns=4)
    return figure.told(
        f"Accuracy against processor time of whole recorded runs, means over seeds. {'; '.join(said)}.",
        pd.DataFrame(rows, columns=["on", "strategy", "processor time (s)", "accuracy (%)"]),
    )


TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _asked(place: str, reading: str) -> Estimate:
    """A recorded share, in per cent."""
    e = evidence.estimate(f"{RECORD}/{place}/full/{reading}")
    return Estimate(100 * e.mean, 100 * e.low, 100 * e.high, e.count)


def _listed(names: tuple[str, ...], found: list[Estimate]) -> list[str]:
    return [f"{name} {e.mean:.0f} %" for name, e in zip(names, found, strict=True)]
