"""The learning-rate range test as a figure: the loss against the rate, and what to try."""

from __future__ import annotations

import html
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from labkit import tuning
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
)
from labkit.tuning import LearningRates
from labkit.tuning.finder import number
from labkit.tuning.given import a, a_run, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

RULES = {
    "valley": ("o", "middle of the valley"),
    "steep": ("s", "steepest fall"),
    "minimum": ("^", "a tenth of the rate at the lowest loss"),
}


class RangeTest(LearningRates):
    """The result of a range test; in a notebook it shows the figure and what it says."""

    @cached_property
    def figure(self) -> Figure:
        """The loss against the rate, with the suggested rates and the one in force."""
        return learning_rates(self)

    def __str__(self) -> str:
        return self.explain()

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle, metadata = self.figure._repr_mimebundle_()
        text = f"<p>{html.escape(self.explain())}</p>{bundle['text/html']}"
        return {**bundle, "text/plain": str(self), "text/html": text}, metadata


@takes(run=a_run)
def find_lr(
    run: Run,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    seconds: float | None = 30.0,
) -> RangeTest:
    """Where the learning rate of `run` should lie: the range test (Smith, 2017) on a throw-away branch.

    The run itself is not touched, and may train in the background meanwhile. In at most `steps` steps and `seconds`
    seconds (None: no limit) the rate rises from `low` to `high`. Use `.suggestion`, `.explain()` and `.table`, or
    look at the figure.

    Raises LearningRateError for rates that cannot be, CommandError for a run that has failed.
    """
    seen = tuning.find_lr(run, low, high, steps, seconds)
    return RangeTest(**{field.name: getattr(seen, field.name) for field in fields(seen)})


@takes(test=a(LearningRates, source="labkit.find_lr(run)"))
def learning_rates(test: LearningRates) -> Figure:
    """The loss after each step against the rate of that step, single and smoothed.

    A solid line marks the suggested rate, a dotted one the rate in force, markers what each rule says; where
    the loss rises for good the ground is hatched.
    """
    figure = Figure(8, 4.4)
    axes = dress(
        figure.subplots(),
        "learning rate (of the head, log scale)",
        "training loss (cross-entropy, nats)",
        f"Range test from step {test.step}",
    )
    entries = _curve(axes, test) if len(test.lrs) else []
    axes.set_xscale("log")
    entries += _rising(axes, test) + _rates(axes, test) + _rules(axes, test)
    legend(figure, entries, columns=2)
    return figure.told(_alt(test), test.table)


def _curve(axes: Axes, test: LearningRates) -> list[Marked]:
    """Single losses as small crosses, the smoothed ones as a line; what blows up leaves the figure."""
    single = axes.plot(test.lrs, test.losses, "x", color=FAINT, markersize=3.5, alpha=0.8)[0]
    mean = axes.plot(test.lrs, test.smoothed, color=COLOURS[0], linewidth=2)[0]
    highest = max(test.start, float(test.smoothed[: len(test.lrs) // 2 + 1].max()))
    axes.set_ylim(0, 1.6 * highest or 1)
    return [Marked(mean, "smoothed loss"), Marked(single, "loss of single batches")]


def _rising(axes: Axes, test: LearningRates) -> list[Marked]:
    if test.diverges_at is None:
        return []
    axes.axvspan(
        test.diverges_at, test.lrs[-1], facecolor=CARD, edgecolor=EDGE, hatch="//", zorder=0
    )
    patch = Patch(facecolor=CARD, edgecolor=FAINT, hatch="//")
    return [Marked(patch, f"the loss rises: from {number(test.diverges_at)} on")]


def _rates(axes: Axes, test: LearningRates) -> list[Marked]:
    """The suggested rate and the one in force, as lines that differ in stroke and in what is written beside them."""
    entries = []
    if test.suggestion is not None:
        line = _upright(axes, test.suggestion, "-", COLOURS[1], f"try {number(test.suggestion)}")
        entries.append(Marked(line, f"suggested: {number(test.suggestion)}"))
    line = _upright(axes, test.current, ":", INK, "now")
    return [*entries, Marked(line, f"in force: {number(test.current)}")]


def _upright(axes: Axes, lr: float, style: str, colour: str, text: str) -> Line2D:
    axes.annotate(
        text,
        (lr, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -3 if style == "-" else -15),
        textcoords="offset points",
        va="top",
        fontsize=9,
        color=INK,
    )
    return axes.axvline(lr, color=colour, linestyle=style, linewidth=1.8)


def _rules(axes: Axes, test: LearningRates) -> list[Marked]:
    """What each rule says, as markers along the bottom."""
    entries = []
    way: dict[str, Any] = {"color": COLOURS[2], "linestyle": "", "markersize": 7}
    for name, lr in test.suggestions.items():
        marker, words = RULES[name]
        dot = axes.plot(lr, 0.04, marker, transform=axes.get_xaxis_transform(), **way)[0]
        entries.append(Marked(dot, f"{words}: {number(lr)}"))
    return entries


def _alt(test: LearningRates) -> str:
    others = ", ".join(f"{name} {number(lr)}" for name, lr in test.suggestions.items())
    said = (
        f"Range test of {test.name} from step {test.step}, {len(test.lrs)} rates. {test.explain()}"
    )
    return f"{said} By rule: {others}. In force: {number(test.current)}." if others else said
