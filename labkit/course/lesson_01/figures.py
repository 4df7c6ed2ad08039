"""The figures of lesson 01: from pre-trained weights and from random ones, side by side, in four currencies.

They draw recorded runs and train nothing. `head-start` holds accuracy, steps and seconds, `fewer-labels` the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, inf, log

import pandas as pd
from matplotlib.axes import Axes

from labkit.course import evidence
from labkit.insight import mean_interval
from labkit.show import figures
from labkit.show.figure import CARD, FAINT, INK, Figure, Look, Marked, dress, legend, look

WAYS = ("fine-tuned", "from scratch")
LONGER = "from scratch, longer"
PLACES = {
    "digits-3": "digits, 3 labels a class",
    "digits-10": "digits, 10 labels a class",
    "digits-50": "digits, 50 labels a class",
    "ants-bees": "ants and bees",
}
RACES = ("digits-10", "ants-bees")  # where it is on record how long each took
ON = {"digits": ("digits", 3), "ants-bees": ("ants and bees", 30)}  # and the fewest labels tried


# ---------------------------------------------------------------- the four currencies


def accuracy() -> Figure:
    """Accuracy after the same epochs, both ways: a panel a place, a dot a seed, mean and 95 % interval."""
    table = _recorded(WAYS).rename(columns={"plan": "start"})
    figure = figures.evidence(
        table, "accuracy", "start", title="Accuracy at the end", panel="place"
    )
    for axes in figure.axes:  # one scale, so that the gaps can be compared
        axes.set_xlim(100 * table["accuracy"].min() - 3, 101)
    return figure


def labels() -> Figure:
    """Accuracy by labels a class, both ways, mean and 95 % band over seeds, on digits and on photographs.

    An arrow leads from the fewest labels, fine-tuned, to where from scratch is as accurate.
    """
    figure = Figure(9, 4)
    tables, said = [], []
    entries: list[Marked] = []
    for axes, (name, (words, fewest)) in zip(figure.subplots(1, len(ON)), ON.items(), strict=True):
        dress(axes, "labels a class (logarithmic)", "accuracy (%)", words)
        axes.set_xscale("log")
        curves = {way: _by_labels(name, way) for way in WAYS}
        entries = [
            _band(axes, curve, look(n), way) for n, (way, curve) in enumerate(curves.items())
        ]
        ticks = list(curves[WAYS[0]].index)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        _arrow(axes, fewest, curves[WAYS[0]]["mean"][fewest], labels_to_match(fewest, name))
        for way, curve in curves.items():
            tables.append(curve.reset_index(names="labels a class").assign(on=words, start=way))
            said.append(f"{words}, {way}: {_listed(curve['mean'])}")
    legend(figure, entries)
    return figure.told(
        f"Recorded accuracy by labels a class, mean and 95 % interval over seeds. {'; '.join(said)}.",
        pd.concat(tables, ignore_index=True),
    )


def labels_to_match(count: int, name: str = "digits") -> float:
    """With how many labels a class from scratch has the mean accuracy of fine-tuning with `count` of them.

    Read off the recorded means, which are joined by straight lines over the logarithm of the labels; at least the
    fewest that were tried, and inf where from scratch stays below with the most.
    """
    goal = _by_labels(name, WAYS[0])["mean"][count]
    scratch = list(_by_labels(name, WAYS[1])["mean"].items())
    if scratch[0][1] >= goal:
        return float(scratch[0][0])
    for (fewer, low), (more, high) in pairwise(scratch):
        if low < goal <= high:
            return exp(log(fewer) + (log(more) - log(fewer)) * (goal - low) / (high - low))
    return inf


def steps(longer: bool = False) -> Figure:
    """Validation accuracy step by step, mean and 95 % band over seeds, on digits and on photographs.

    The dotted line is what training from scratch ends with, and a diamond on it the step at which a start first had
    that, on the mean. With `longer`, the same training from scratch four times as long is drawn instead of them.
    """
    plans = (*WAYS, LONGER) if longer else WAYS
    recorded = _recorded(plans)
    figure = Figure(9, 4)
    tables, said = [], []
    entries: list[Marked] = []
    for axes, place in zip(figure.subplots(1, len(RACES)), RACES, strict=True):
        dress(axes, "step (optimiser updates)", "validation accuracy (%)", PLACES[place])
        runs = recorded[recorded["group"] == place]
        curves = {plan: _by_step(runs[runs["plan"] == plan]) for plan in plans}
        entries = [
            _band(axes, curve, look(n), plan) for n, (plan, curve) in enumerate(curves.items())
        ]
        if not longer:
            said.append(_finish(axes, place, curves[WAYS[1]]["mean"].iloc[-1]))
        for plan, curve in curves.items():
            tables.append(curve.reset_index(names="step").assign(on=PLACES[place], start=plan))
            ends = curve["mean"].iloc[-1]
            said.append(f"{PLACES[place]}, {plan}: {ends:.0f} % after {curve.index[-1]:.0f} steps")
    legend(figure, entries)
    return figure.told(
        f"Recorded validation accuracy by step, mean and 95 % interval over seeds. {'; '.join(said)}.",
        pd.concat(tables, ignore_index=True),
    )


def seconds() -> Figure:
    """Processor seconds until the validation accuracy that training from scratch ends with: a dot a seed."""
    recorded = _recorded(WAYS)
    figure = Figure(9, 2.6)
    rows = []
    for axes, place in zip(figure.subplots(1, len(RACES), sharey=True), RACES, strict=True):
        dress(axes, "processor time (s)", "", PLACES[place])
        runs = recorded[recorded["group"] == place]
        goals = runs[runs["plan"] == WAYS[1]].set_index("seed")["valid_correct"]
        for number, way in enumerate(WAYS):
            mine = runs[runs["plan"] == way]
            spent = [
                r.cpu_seconds * _share_until(r.curve, goals[r.seed]) for r in mine.itertuples()
            ]
            rows.append({"on": PLACES[place], "start": way, **_bar(axes, number, spent)})
        axes.margins(x=0.2)
        axes.set_xlim(left=0)
    axes.set_yticks(range(len(WAYS)), WAYS)
    axes.set_ylim(len(WAYS) - 0.4, -0.6)
    said = "; ".join(f"{r['on']}, {r['start']}: {r['mean']:.1f} s" for r in rows)
    return figure.told(
        f"Processor time until the accuracy that from scratch ends with, mean over seeds. {said}.",
        pd.DataFrame(rows),
    )


# ---------------------------------------------------------------- what is on record


def _recorded(plans: Sequence[str]) -> pd.DataFrame:
    """The runs of `head-start` with some plans, and their place in words."""
    found = evidence.rows("head-start")
    found = found[found["plan"].isin(plans)]
    return found.assign(place=found["group"].map(PLACES))


def _by_labels(name: str, plan: str) -> pd.DataFrame:
    """Accuracy in per cent, a row for each number of labels a class: mean, low, high."""
    of = {s.key: s.labels for s in evidence.find("fewer-labels").settings if s.data["name"] == name}
    found = evidence.rows("fewer-labels")
    found = found[found["key"].isin(of) & (found["plan"] == plan)]
    return _estimates(found["accuracy"].groupby(found["key"].map(of)))


def _by_step(runs: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy in per cent, a row for each step at which it was looked at: mean, low, high."""
    looks = [
        (epoch * row.steps / row.epochs, right / row.valid_count)
        for row in runs.itertuples()
        for epoch, right in enumerate(row.curve)
    ]
    table = pd.DataFrame(looks, columns=["step", "accuracy"])
    return _estimates(table["accuracy"].groupby(table["step"]))


def _estimates(groups: pd.api.typing.SeriesGroupBy) -> pd.DataFrame:
    rows = {key: mean_interval(values) for key, values in groups}
    return 100 * pd.DataFrame(
        {
            name: {key: getattr(one, name) for key, one in rows.items()}
            for name in ("mean", "low", "high")
        }
    )


def _share_until(curve: Sequence[int], goal: int) -> float:
    """The share of a training after which so many were first right; all of it if they never were."""
    last = len(curve) - 1
    return next((epoch for epoch, right in enumerate(curve) if right >= goal), last) / last


# ---------------------------------------------------------------- drawing


def _band(axes: Axes, curve: pd.DataFrame, way: Look, name: str) -> Marked:
    """The mean as a line and the interval as a band around it."""
    few = len(curve) <= 20  # more markers than that would hide the line
    axes.fill_between(
        curve.index, curve["low"], curve["high"], color=way.colour, alpha=0.18, linewidth=0
    )
    line = axes.plot(
        curve.index,
        curve["mean"],
        color=way.colour,
        linestyle=way.style,
        marker=way.marker if few else "",
        markersize=5,
        linewidth=1.8,
    )
    return Marked(line[0], name)


def _bar(axes: Axes, place: int, values: Sequence[float]) -> dict[str, float]:
    """A bar as long as the mean, its interval, a dot for each value, and the mean in letters."""
    found = mean_interval(values)
    shade = look(place)
    axes.barh(place, found.mean, height=0.5, color=shade.colour, alpha=0.35, edgecolor=shade.colour)
    axes.errorbar(found.mean, place, xerr=found.half_width, color=INK, capsize=4)
    axes.plot(values, [place - 0.36] * len(values), shade.marker, color=shade.colour, markersize=4)
    axes.annotate(
        f"{found.mean:.1f} s",
        (found.high, place),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=INK,
    )
    return {"mean": found.mean, "low": found.low, "high": found.high, "seeds": found.count}


def _arrow(axes: Axes, count: int, height: float, reached: float) -> None:
    """From the fewest labels to as many as from scratch needs, and both numbers in words."""
    most = axes.get_xticks()[-1]
    axes.annotate(
        "",
        (min(reached, most), height),
        (count, height),
        arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.4, "linestyle": "--"},
    )
    wanted = f"about {reached:.0f}" if reached < inf else f"more than {most:.0f}"
    axes.annotate(
        f"{count} fine-tuned match {wanted} from scratch",
        (1, 0.03),
        xycoords="axes fraction",
        ha="right",
        fontsize=9,
        color=INK,
    )


def _finish(axes: Axes, place: str, height: float) -> str:
    """The line that both have to reach, and when each did; returns that in words."""
    axes.axhline(height, color=FAINT, linestyle=":", linewidth=1.4)
    words = []
    for number, (way, name) in enumerate(zip(WAYS, ("fine-tuned", "from-scratch"), strict=True)):
        reached = evidence.estimate(f"head-start/{place}/{name}-to-scratch").mean
        axes.plot(
            reached, height, "D", color=look(number).colour, markeredgecolor=INK, markersize=9
        )
        axes.annotate(
            f"{reached:.0f}",
            (reached, height),
            xytext=(6, -14),
            textcoords="offset points",
            fontsize=9,
            color=INK,
            bbox={"facecolor": CARD, "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
        words.append(f"{way} after {reached:.0f} steps")
    return f"{PLACES[place]}: {height:.0f} % first reached {' and '.join(words)}"


def _listed(means: pd.Series) -> str:
    return ", ".join(f"{mean:.0f} % with {count}" for count, mean in means.items())
