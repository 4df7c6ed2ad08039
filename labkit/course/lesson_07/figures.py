"""The figures that only lesson 07 draws: schedules of the learning rate, and what three settings do to accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.axes import Axes

from labkit.course import evidence
from labkit.insight import mean_interval
from labkit.show.figure import (
    FAINT,
    INK,
    Figure,
    Look,
    Marked,
    dress,
    legend,
    look,
)
from labkit.tuning import Plan


def schedules(curves: Mapping[str, Callable[[float], float]], lr: float) -> Figure:
    """The learning rate over a phase, a line a schedule.

    Each of `curves` maps how much of the phase is done (0 to 1) to a factor of `lr`.
    """
    done = [number / 200 for number in range(201)]
    table = pd.DataFrame({"done": done}).assign(
        **{name: [lr * curve(share) for share in done] for name, curve in curves.items()}
    )
    figure = Figure(7, 3.4)
    axes = dress(figure.subplots(), "share of the phase that is done", "learning rate")
    entries = []
    for number, name in enumerate(curves):
        shade = look(number)
        line = axes.plot(done, table[name], color=shade.colour, linestyle=shade.style, linewidth=2)
        entries.append(Marked(line[0], name))
    axes.set_ylim(bottom=0)
    legend(figure, entries)
    said = "; ".join(
        f"{name}: {table[name].iloc[0]:.2g} at the start, at most {table[name].max():.2g}, "
        f"{table[name].iloc[-1]:.2g} at the end"
        for name in curves
    )
    return figure.told(f"Learning rate over a phase. {said}.", table.iloc[::20])


def knobs(group: str, experiment: str = "step-size") -> Figure:
    """Recorded accuracy as one knob moves and the others stay: a panel a knob, a dot a seed.

    The knobs are those whose spread over a group of the experiment is on record; the line goes
    through the means, and a dotted line marks the value that the other panels hold.
    """
    recorded = evidence.rows(experiment)
    plans = {setting.key: setting.plan for setting in evidence.find(experiment).settings}
    spreads = evidence.find(experiment).spreads
    figure = Figure(9, 3.6)
    panels = figure.subplots(1, len(KNOBS), sharey=True)
    tables = []
    for place, (axes, (knob, (words, value))) in enumerate(zip(panels, KNOBS.items(), strict=True)):
        keys = spreads[f"{group}/{knob}-far"]
        rows = recorded[recorded["key"].isin(keys)].assign(
            knob=words, value=[value(plans[key]) for key in recorded["key"] if key in keys]
        )
        tables.append(_knob(axes, rows, words, value(plans[keys[len(keys) // 2]]), look(place)))
    panels[0].set_ylabel("accuracy (%)", color=INK)
    table = pd.concat(tables, ignore_index=True)
    said = "; ".join(
        f"{row.knob} {row.value:g}: {row.mean:.0f} % ({row.low:.0f} to {row.high:.0f})"
        for row in table.itertuples()
    )
    return figure.told(
        f"Recorded accuracy as one knob moves, mean and 95 % interval. {said}.", table
    )


KNOBS: Mapping[str, tuple[str, Callable[[Plan], float]]] = {
    "rate": ("learning rate", lambda plan: plan.phases[0].lr),
    "batch": ("batch size", lambda plan: plan.batch_size),
    "weight-decay": ("weight decay", lambda plan: plan.weight_decay),
}


def _knob(axes: Axes, rows: pd.DataFrame, words: str, held: float, shade: Look) -> pd.DataFrame:
    """One panel of `knobs`, and its numbers in per cent."""
    dress(axes, f"{words} (log scale)", "")
    axes.set_xscale("log")
    axes.axvline(held, color=FAINT, linestyle=":", linewidth=1.4)
    axes.plot(rows["value"], 100 * rows["accuracy"], "o", color=FAINT, alpha=0.6, markersize=4)
    table = pd.DataFrame(
        [
            {
                "knob": words,
                "value": value,
                "mean": 100 * e.mean,
                "low": 100 * e.low,
                "high": 100 * e.high,
            }
            for value, part in rows.groupby("value")
            for e in [mean_interval(part["accuracy"])]
        ]
    )
    axes.set_xticks(table["value"], [_short(value) for value in table["value"]])
    axes.minorticks_off()
    axes.plot(table["value"], table["mean"], color=shade.colour, marker=shade.marker, linewidth=2)
    return table


def _short(value: float) -> str:
    """A value on an axis: 20, 0.01, 3e-4."""
    return f"{value:g}" if value >= 0.01 else f"{value:.0e}".replace("e-0", "e-")
