"""The figures of lesson 15: the rate of every step, and what each choice of a recipe is worth on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import pandas as pd

from labkit.course import evidence
from labkit.show.figure import COLOURS, FAINT, Figure, Marked, dress, legend, look

RECORD = "fine-tune"
PLACE = "digits-10"
OTHERS = {
    "fine_tune": "fastai's fine_tune",
    "fine_tune-its-own-head": "fine_tune, fastai's own head",
    "without-the-frozen-epoch": "our plan, no frozen epoch",
    "one-rate-for-all-stages": "our plan, one rate for all stages",
    "without-schedules": "our plan, constant rates",
}


def rates(courses: Mapping[str, Sequence[float]], turn: int) -> Figure:
    """The learning rate of every step, a line a course, on a logarithmic axis; a dotted line after step `turn`.

    A rate that is not a number is one that nothing trains at: the line has a gap there.
    """
    figure = Figure(8, 4)
    axes = dress(figure.subplots(), "step (optimiser updates)", "learning rate (log scale)")
    axes.set_yscale("log")
    axes.axvline(turn + 0.5, color=FAINT, linestyle=":", linewidth=1.4)
    entries, said = [], []
    for number, (name, course) in enumerate(courses.items()):
        shade, steps = look(number), range(1, len(course) + 1)
        drawn = axes.plot(steps, course, color=shade.colour, linestyle=shade.style, linewidth=2)
        entries.append(Marked(drawn[0], name))
        known = [rate for rate in course if isfinite(rate)]
        said.append(f"{name}: at most {max(known):.2g}, at the end {known[-1]:.1g}")
    axes.set_ylim(bottom=1e-8)
    legend(figure, entries, columns=2)
    table = pd.DataFrame(courses).rename_axis("step").reset_index()
    table["step"] += 1
    return figure.told(
        f"Learning rate by step; everything is unfrozen after step {turn}. {'; '.join(said)}.",
        table,
    )


def choices() -> Figure:
    """What recorded plans make against ours on digits, in points of accuracy: a row a plan, a dot a seed."""
    figure = Figure(8, 3.4)
    axes = dress(figure.subplots(), "test accuracy, less that of our plan (points)", "")
    axes.axvline(0, color=FAINT, linestyle=":", linewidth=1.4)
    recorded = evidence.rows(RECORD).pivot(index="seed", columns="key", values="accuracy")
    tables, said = [], []
    for row, (plan, name) in enumerate(OTHERS.items()):
        gains = 100 * (recorded[f"{PLACE}/{plan}"] - recorded[f"{PLACE}/our-plan"])
        e = evidence.estimate(f"{RECORD}/{PLACE}/{plan}", f"{RECORD}/{PLACE}/our-plan")
        axes.plot(gains, [row - 0.15] * len(gains), "o", color=COLOURS[0], alpha=0.75, markersize=4)
        axes.errorbar(
            100 * e.mean,
            row + 0.12,
            xerr=100 * e.half_width,
            fmt="D",
            color=COLOURS[1],
            capsize=4,
            markersize=5,
        )
        said.append(f"{name}: {100 * e.mean:+.1f} ({100 * e.low:+.1f} to {100 * e.high:+.1f})")
        tables.append(gains.rename("points").reset_index().assign(plan=name))
    axes.set_yticks(range(len(OTHERS)), list(OTHERS.values()))
    axes.set_ylim(len(OTHERS) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return figure.told(
        "Accuracy of recorded plans on digits less that of our plan, in points, a dot a seed, mean and 95 % interval. "
        f"{'; '.join(said)}.",
        pd.concat(tables, ignore_index=True)[["plan", "seed", "points"]],
    )
