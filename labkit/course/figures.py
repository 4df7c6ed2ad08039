"""Figures that several lessons draw and nobody else, on the same white card as all others."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from labkit.course import evidence
from labkit.insight import Estimate
from labkit.show import forgotten
from labkit.show.figure import (
    Figure,
    Marked,
    dress,
    legend,
    look,
)

PLACES = {"digits-10": "digits, 10 labels a class", "ants-bees": "ants and bees"}


def kept(experiment: str) -> Figure:
    """What recorded runs kept of the old task and learned of the new one: a panel a group, a point a plan.

    The experiment needs the reading `old`. Whiskers are 95 % intervals over seeds.
    """
    tables: dict[str, list[dict[str, str | float]]] = {}
    for setting in evidence.find(experiment).settings:
        key = f"{experiment}/{setting.key}"
        new, old = evidence.estimate(key), evidence.estimate(f"{key}/old")
        row = {"old": old.mean, "old_low": old.low, "old_high": old.high}
        row |= {"new": new.mean, "new_low": new.low, "new_high": new.high}
        where = PLACES.get(setting.group, setting.group)
        tables.setdefault(where, []).append({"way": setting.plan.name, **row})
    return forgotten.frontier({group: pd.DataFrame(rows) for group, rows in tables.items()})


def by_stage(
    curves: Mapping[str, Mapping[str, float | Estimate]],
    ylabel: str,
    xlabel: str = "stage",
    levels: Mapping[str, float | Estimate] | None = None,
) -> Figure:
    """Shares along the stages of a network, in per cent: a line a curve, and a dotted level for what has no stages.

    Estimates are drawn with their 95 % intervals. All curves have the same stages, input to output. Whatever else
    comes in steps, such as a number of labels, may stand in their place, with an `xlabel` that says so.
    """
    figure = Figure(7, 3.9)
    axes = dress(figure.subplots(), xlabel, ylabel)
    stages = list(next(iter(curves.values())))
    entries, rows = [], []
    for number, (name, curve) in enumerate(curves.items()):
        shade, shift = look(number), 0.06 * (number - (len(curves) - 1) / 2)
        values = [_in_per_cent(curve[stage]) for stage in stages]
        below, above = zip(*((e.mean - e.low, e.high - e.mean) for e in values), strict=True)
        drawn = axes.errorbar(
            [place + shift for place in range(len(stages))],
            [value.mean for value in values],
            yerr=(below, above) if any(above) else None,
            color=shade.colour, marker=shade.marker, linestyle=shade.style, capsize=4,
        )  # fmt: skip
        entries.append(Marked(drawn.lines[0], name))
        rows += [(name, stage, value) for stage, value in zip(stages, values, strict=True)]
    for number, (name, level) in enumerate((levels or {}).items(), start=len(curves)):
        value, shade = _in_per_cent(level), look(number)
        line = axes.axhline(value.mean, color=shade.colour, linestyle=":", linewidth=1.6)
        entries.append(Marked(line, name))
        rows.append((name, "", value))
    axes.set_xticks(range(len(stages)), stages, parse_math=False)
    legend(figure, entries)
    table = pd.DataFrame(
        [(name, stage, e.mean, e.low, e.high) for name, stage, e in rows],
        columns=["curve", xlabel, "mean (%)", "low (%)", "high (%)"],
    )
    said = "; ".join(f"{name} {stage}".strip() + f" {e.mean:.0f} %" for name, stage, e in rows)
    return figure.told(f"{ylabel} by {xlabel}: {said}.", table)


def _in_per_cent(value: float | Estimate) -> Estimate:
    """A share as per cent; a bare number has an interval of no width."""
    if isinstance(value, Estimate):
        return Estimate(100 * value.mean, 100 * value.low, 100 * value.high, value.count)
    return Estimate(100 * value, 100 * value, 100 * value, 1)
