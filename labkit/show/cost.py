"""What training costs, as figures: operations and memory of a step by frozen depth, and strategies side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from labkit.errors import StageError, shown
from labkit.insight.cost import (
    Cost,
    StepCost,
    cost_table,
    seconds_so_far,
    step_costs,
    step_table,
)
from labkit.show.figure import (
    CARD,
    COLOURS,
    EDGE,
    FAINT,
    INK,
    Figure,
    Marked,
    dress,
    legend,
    shorten,
)

if TYPE_CHECKING:
    from labkit.tuning import Run

BAND = "#EEF3FA"  # behind the depth of now
NEED_TIME = "not trained yet"


def step_bars(
    steps: Sequence[StepCost],
    now: str | None = None,
    seconds: Mapping[str, tuple[float, int]] | None = None,
) -> Figure:
    """Operations of one step (left) and the memory that it needs at once (right): a bar a frozen depth.

    The parts of a bar differ in colour and in hatching. `steps` are what `insight.step_costs` gives. The depth `now` is
    marked; `seconds`, as `insight.cost.seconds_so_far` gives them, get a panel of their own.
    """
    table = step_table(steps)
    if now is not None and now not in table.index:
        raise StageError(f"now={shown(now)} is none of these depths: {', '.join(table.index)}.")
    figure = Figure(9, 1.5 + 0.42 * len(table))
    panels = figure.subplots(1, 2 if seconds is None else 3, sharey=True)
    entries = _stacked(panels[0], table, "GFLOP", "operations of a step (GFLOP)")
    entries += _stacked(panels[1], table, "MB", "memory at once (MB)", first=3)
    if seconds is not None:
        table["time (ms)"] = [1e3 * seconds[d][0] if d in seconds else None for d in table.index]
        _bars(panels[2], table["time (ms)"], "measured time of a step (ms)", len(LOOKS) - 2)
    _name_rows(panels, list(table.index), now)
    legend(figure, entries, columns=4)
    said = "; ".join(_step_in_words(step, now, seconds or {}) for step in steps)
    return figure.told(
        f"What one step over {steps[0].samples} samples costs, by the first stage that trains. {said}.",
        table.reset_index(),
    )


def _name_rows(panels: Sequence[Axes], depths: Sequence[str], now: str | None) -> None:
    """A depth a row, from the first stage down; that of now is said, in bold, and lies on a band."""
    names = [f"{depth} (now)" if depth == now else depth for depth in depths]
    panels[0].set_yticks(range(len(depths)), names, parse_math=False)
    panels[0].set_ylim(len(depths) - 0.5, -0.5)
    panels[0].set_ylabel("trains from", color=INK)
    for place in (place for place, depth in enumerate(depths) if depth == now):
        panels[0].get_yticklabels()[place].set_fontweight("bold")
        for axes in panels:
            axes.axhspan(place - 0.5, place + 0.5, color=BAND, zorder=0)


def _step_in_words(
    step: StepCost, now: str | None, seconds: Mapping[str, tuple[float, int]]
) -> str:
    depth = step.trainable_from
    told = f"from {depth}{', as now' if depth == now else ''}: {step.again / 1e9:.2g} billion operations, "
    told += f"{step.memory.total / 1e6:.0f} MB"
    if depth in seconds:
        taken, count = seconds[depth]
        told += f", {_worded(1e3 * taken)} ms (median of {count} steps)"
    return told


class StepsNow:
    """What a step of a run costs now, at its depth and at every other, and what its own steps took so far.

    Counted once for a batch size and remembered: freezing moves the mark and nothing else.
    """

    def __init__(self) -> None:
        self._counted: tuple[tuple[Any, ...], tuple[StepCost, ...]] | None = None

    def __call__(self, run: Run) -> Figure:
        """Draw the run as it is set now. Nothing is trained, and the run is not changed."""
        setting = (
            *(run.net, run.data, run.precision, run.settings.batch_size),
            *(run.plan.optimizer, run.plan.frozen_statistics),
        )
        if self._counted is None or self._counted[0] != setting:
            self._counted = setting, step_costs(run)
        return step_bars(self._counted[1], run.settings.trainable_from, seconds_so_far(run))


def cost_bars(costs: Sequence[Cost], machine: Any = None, runs: int = 1) -> Figure:
    """Plans side by side: a panel for operations, memory and time, and for energy and money where a machine is given.

    A plan that has not been trained has no bar for what is timed. `costs` are what `insight.cost` gives, `machine` is
    a row of a price table; energy and money are of so many `runs`, as those of one small run are hard to read.
    """
    table = cost_table(costs, machine, runs)
    units = [name for name in table.columns if name not in ("plan", "nothing kept (GFLOP)")]
    across = min(3, len(units))
    rows = -(-len(units) // across)
    figure = Figure(9, rows * (1.0 + 0.36 * len(table)) + 0.2)
    panels = list(figure.subplots(rows, across, squeeze=False, sharey=True).flat)
    for number, (axes, unit) in enumerate(zip(panels, units, strict=False)):
        _bars(axes, table[unit], unit, number)
    for axes in panels[len(units) :]:
        axes.set_axis_off()
    panels[0].set_yticks(
        range(len(table)), [shorten(name, 24) for name in table["plan"]], parse_math=False
    )
    panels[0].set_ylim(len(table) - 0.5, -0.5)
    said = "; ".join(
        f"{row['plan']}: " + ", ".join(f"{unit} {_worded(row[unit])}" for unit in units)
        for _, row in table.iterrows()
    )
    where = f" on {machine.name!r}" if machine is not None else ""
    return figure.told(f"What each plan costs{where}. {said}.", table)


def _stacked(
    axes: Axes, table: pd.DataFrame, unit: str, label: str, first: int = 0
) -> list[Marked]:
    """Bars of all columns of a unit, one after the other along each row; gives what the legend should say."""
    dress(axes, label, "")
    axes.grid(False, axis="y")
    ends = pd.Series(0.0, index=table.index)
    entries = []
    for number, name in enumerate(name for name in table.columns if f"({unit})" in name):
        bars = axes.barh(range(len(table)), table[name], left=ends, **_look(first + number))
        ends = ends + table[name]
        entries.append(Marked(bars.patches[0], name.partition(" (")[0]))
    for place, end in enumerate(ends):
        axes.annotate(
            _worded(end), (end, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=9, color=INK,
        )  # fmt: skip
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    return entries


def _bars(axes: Axes, values: pd.Series, label: str, number: int) -> None:
    dress(axes, label, "")
    axes.grid(False, axis="y")
    known = values.astype(float)
    bars = axes.barh(range(len(known)), known.fillna(0), **_look(number + 1))
    words = [_worded(value) for value in known]
    axes.bar_label(bars, words, padding=4, color=INK, fontsize=9)
    axes.margins(x=0.3)
    axes.set_xlim(0, None if known.max() > 0 else 1)


def _look(number: int) -> dict[str, Any]:
    """How a part is drawn. The first is the frozen one, grey and hatched as frozen stages are in other figures."""
    colour, hatch = LOOKS[number % len(LOOKS)]
    return {"color": colour, "hatch": hatch, "edgecolor": FAINT if colour == EDGE else CARD}


LOOKS = (
    (EDGE, "///"),
    (COLOURS[0], ""),
    (COLOURS[1], "..."),
    (COLOURS[2], ""),
    (COLOURS[3], "xx"),
    (FAINT, ""),
    (COLOURS[0], "\\\\"),
    (COLOURS[1], ""),
    (INK, ""),
)


def _worded(value: float | None) -> str:
    """A number with two or three figures, as a person writes it."""
    if value is None or pd.isna(value):
        return NEED_TIME
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}"
