"""Pictures that only lessons draw, on the same white card as all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from labkit.insight import Estimate, evidence, mean_interval
from labkit.show import forgotten
from labkit.show.picture import (
    CARD,
    FAINT,
    INK,
    Look,
    Marked,
    Picture,
    cell,
    dress,
    headline,
    legend,
    look,
)
from labkit.tuning import Evaluation, Plan
from labkit.tuning.plans import resolve_depth


def growth(tried: Sequence[tuple[int, str, Evaluation]]) -> Picture:
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
    picture = Picture(7, 3.8)
    axes = dress(picture.subplots(), "labels a class (logarithmic)", "validation accuracy (%)")
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
    legend(picture, entries)
    said = "; ".join(
        f"{row.trains} with {row[1]} labels {row.accuracy:.0%}" for row in table.itertuples()
    )
    return picture.told(f"Validation accuracy by labels a class. {said}.", table)


def schedules(curves: Mapping[str, Callable[[float], float]], lr: float) -> Picture:
    """The learning rate over a phase, a line a schedule.

    Each of `curves` maps how much of the phase is done (0 to 1) to a factor of `lr`.
    """
    done = [number / 200 for number in range(201)]
    table = pd.DataFrame({"done": done}).assign(
        **{name: [lr * curve(share) for share in done] for name, curve in curves.items()}
    )
    picture = Picture(7, 3.4)
    axes = dress(picture.subplots(), "share of the phase that is done", "learning rate")
    entries = []
    for number, name in enumerate(curves):
        shade = look(number)
        line = axes.plot(done, table[name], color=shade.colour, linestyle=shade.style, linewidth=2)
        entries.append(Marked(line[0], name))
    axes.set_ylim(bottom=0)
    legend(picture, entries)
    said = "; ".join(
        f"{name}: {table[name].iloc[0]:.2g} at the start, at most {table[name].max():.2g}, "
        f"{table[name].iloc[-1]:.2g} at the end"
        for name in curves
    )
    return picture.told(f"Learning rate over a phase. {said}.", table.iloc[::20])


def phases(plans: Mapping[str, Plan], stages: Sequence[str]) -> Picture:
    """What trains in which epoch: a panel a plan, a row a stage (input at the bottom), a square an epoch."""
    longest = max(plan.epochs for plan in plans.values())
    picture = Picture(9, (0.8 + 0.28 * len(stages)) * len(plans))
    headline(picture, "Filled: the stage trains in that epoch")
    panels = picture.subplots(len(plans), 1, squeeze=False)[:, 0]
    tables = []
    for axes, (name, plan) in zip(panels, plans.items(), strict=True):
        dress(axes, "epoch" if axes is panels[-1] else "", "stage", name)
        tables.append(_thawing(axes, plan, stages).assign(plan=name))
        axes.set(xlim=(0.4, longest + 0.6), ylim=(-0.6, len(stages) - 0.4))
        axes.set_xticks(range(1, longest + 1))
    table = pd.concat(tables, ignore_index=True)[["plan", "epoch", "trains"]]
    said = "; ".join(
        f"{name}: first {rows['trains'].iloc[0]}, at last {rows['trains'].iloc[-1]}"
        for name, rows in table.groupby("plan", sort=False)
    )
    return picture.told(f"What trains in each epoch, filled squares. {said}.", table)


def _thawing(axes: Axes, plan: Plan, stages: Sequence[str]) -> pd.DataFrame:
    """One panel of `phases`, and its numbers."""
    axes.grid(False)
    axes.set_yticks(range(len(stages)), stages)
    lowest = [
        stages.index(resolve_depth(phase.trainable_from, stages))
        for phase in plan.phases
        for _ in range(phase.epochs)
    ]
    for epoch, first in enumerate(lowest, 1):
        for row in range(len(stages)):
            cell(axes, epoch, row, look(0).colour if row >= first else CARD)
    trains = [", ".join(stages[first:]) for first in lowest]
    return pd.DataFrame({"epoch": range(1, plan.epochs + 1), "trains": trains})


PLACES = {"digits-10": "digits, 10 labels a class", "ants-bees": "ants and bees"}


def kept(experiment: str) -> Picture:
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


def knobs(group: str, experiment: str = "step-size") -> Picture:
    """Recorded accuracy as one knob moves and the others stay: a panel a knob, a dot a seed.

    The knobs are those whose spread over a group of the experiment is on record; the line goes
    through the means, and a dotted line marks the value that the other panels hold.
    """
    recorded = evidence.rows(experiment)
    plans = {setting.key: setting.plan for setting in evidence.find(experiment).settings}
    spreads = evidence.find(experiment).spreads
    picture = Picture(9, 3.6)
    panels = picture.subplots(1, len(KNOBS), sharey=True)
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
    return picture.told(
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


def by_stage(
    curves: Mapping[str, Mapping[str, float | Estimate]],
    ylabel: str,
    xlabel: str = "stage",
    levels: Mapping[str, float | Estimate] | None = None,
) -> Picture:
    """Shares along the stages of a network, in per cent: a line a curve, and a dotted level for what has no stages.

    Estimates are drawn with their 95 % intervals. All curves have the same stages, input to output. Whatever else
    comes in steps, such as a number of labels, may stand in their place, with an `xlabel` that says so.
    """
    picture = Picture(7, 3.9)
    axes = dress(picture.subplots(), xlabel, ylabel)
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
    legend(picture, entries)
    table = pd.DataFrame(
        [(name, stage, e.mean, e.low, e.high) for name, stage, e in rows],
        columns=["curve", xlabel, "mean (%)", "low (%)", "high (%)"],
    )
    said = "; ".join(f"{name} {stage}".strip() + f" {e.mean:.0f} %" for name, stage, e in rows)
    return picture.told(f"{ylabel} by {xlabel}: {said}.", table)


def _in_per_cent(value: float | Estimate) -> Estimate:
    """A share as per cent; a bare number has an interval of no width."""
    if isinstance(value, Estimate):
        return Estimate(100 * value.mean, 100 * value.low, 100 * value.high, value.count)
    return Estimate(100 * value, 100 * value, 100 * value, 1)
