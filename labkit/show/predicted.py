"""What a network says, judged: which class is taken for which, how far to believe it, and where it fails."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.container import BarContainer

from labkit import insight
from labkit.insight.calibration import Calibration, Temperature
from labkit.insight.confusion import Confusion
from labkit.insight.inside import split_of
from labkit.show import figures
from labkit.show.figure import (
    CARD,
    COLOURS,
    FAINT,
    INK,
    SHADES,
    Figure,
    Marked,
    cell,
    colour_bar,
    dress,
    legend,
    look,
    shorten,
)
from labkit.tuning.given import (
    MOST_DRAWN,
    a,
    a_count,
    a_run,
    a_run_or,
    maybe,
    refuse_no_run,
    takes,
)

if TYPE_CHECKING:
    from labkit.tuning import Run

LABELLED = 20  # classes whose names and numbers find room


# ---------------------------------------------------------------- confusion


@takes(seen=a_run_or(Confusion, "what insight.confusion gave"))
def plot_confusion(seen: Run | Confusion, split: str = "valid") -> Figure:
    """Which class is taken for which: counts, and the share of each true class, row by row.

    Rates and their 95 % Wilson intervals are in the table. Of more than 20 classes only the colours are drawn.
    """
    found = seen if isinstance(seen, Confusion) else insight.confusion(seen, split)
    few = len(found.classes) <= LABELLED
    side = 1.1 + (max(2.6, 0.55 * len(found.classes)) if few else 6.0)
    figure = Figure(side + 1.6, side)
    axes = dress(figure.subplots(), "predicted class", "true class (examples)")
    axes.grid(False)
    if few:
        _cells(axes, found)
    else:
        axes.imshow(found.rates, cmap=SHADES, vmin=0, vmax=1, interpolation="nearest")
    shares = ScalarMappable(Normalize(0, 100), SHADES)
    colour_bar(figure, shares, axes, "share of the true class (%)")
    return figure.told(_confusion_alt(found), _in_per_cent(found.table, ("rate", "low", "high")))


def _cells(axes: Axes, found: Confusion) -> None:
    rates, size = found.rates, len(found.classes)
    for true in range(size):
        for predicted in range(size):
            count, rate = int(found.counts[true, predicted]), rates[true, predicted]
            # A pair that never occurred stays blank.
            told = f"{count}\n{100 * rate:.0f} %" if count else ""
            cell(axes, predicted, true, SHADES(rate) if count else CARD, told, size=8)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    names = [shorten(name, 14) for name in found.classes]
    long = max(map(len, names)) > 6 and size > 4
    axes.set_xticks(range(size), names, parse_math=False, rotation=45 if long else 0)
    sums = found.counts.sum(axis=1)
    rows = [f"{name} ({count})" for name, count in zip(names, sums, strict=True)]
    axes.set_yticks(range(size), rows, parse_math=False)
    axes.tick_params(length=0)


def _confusion_alt(found: Confusion) -> str:
    right, count = int(found.counts.trace()), int(found.counts.sum())
    worst = [
        f"{row.true} taken for {row.predicted} {row.count} times of {row.of} "
        f"({100 * row.rate:.0f} %, {100 * row.low:.0f} to {100 * row.high:.0f})"
        for row in found.mistakes.head(3).itertuples()
    ]
    told = f"Most often {'; '.join(worst)}." if worst else "No mistake at all."
    return f"Confusion on {found.split}: {right} of {count} examples are right. {told}"


# ---------------------------------------------------------------- calibration


@takes(temperature=maybe(a(Temperature, source="insight.fit_temperature(run)")))
def plot_calibration(
    *seen: Run | Calibration, split: str = "valid", temperature: Temperature | None = None
) -> Figure:
    """How often a network is right against how sure it is, with the examples behind every point.

    Each point is a bin with its 95 % Wilson interval; on the dashed line the two agree. Several calibrations, such as
    one before and one after temperature scaling, are drawn over each other. With a `temperature`, a run is drawn both
    before and after it.
    """
    if not seen:
        refuse_no_run(None, "labkit.calibration")
    several: list[Calibration] = []
    for one in seen:
        if isinstance(one, Calibration):
            several.append(one)
            continue
        refuse_no_run(one, "labkit.calibration")
        judged = one.evaluate(split)
        several += [insight.calibration(judged, temperature=t) for t in _both(temperature)]
    figure = Figure(6.5, 6.2)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    dress(upper, "", "accuracy (% of the examples of a bin)")
    dress(lower, "confidence (% given to the predicted class)", "examples (count)")
    line = upper.plot([0, 100], [0, 100], color=FAINT, linestyle="--", linewidth=1.2)[0]
    entries = [Marked(line, "as sure as right")]
    for number, found in enumerate(several):
        entries.append(_reliability(upper, lower, found, number, len(several)))
    upper.set(xlim=(0, 100), ylim=(0, 103))
    legend(figure, entries, columns=1)
    return figure.told(" ".join(map(_calibration_alt, several)), _calibration_table(several))


def _both(temperature: Temperature | None) -> list[Temperature | None]:
    return [None, temperature] if temperature else [None]


def _reliability(upper: Axes, lower: Axes, found: Calibration, number: int, several: int) -> Marked:
    way = look(number)
    bins = [part for part in found.bins if part.count]
    x = [100 * part.confidence for part in bins]
    y = [100 * part.accuracy for part in bins]
    # Where none is right or all are, the bound is the accuracy itself, or beyond it by a rounding error.
    below = [max(0.0, 100 * (part.accuracy - part.accuracy_low)) for part in bins]
    above = [max(0.0, 100 * (part.accuracy_high - part.accuracy)) for part in bins]
    line = upper.plot(x, y, color=way.colour, marker=way.marker, linestyle=way.style)[0]
    upper.errorbar(
        x, y, yerr=[below, above], fmt="none", ecolor=way.colour, capsize=3, elinewidth=1
    )
    width = 100 / len(found.bins) / several
    left = [100 * part.low + number * width for part in found.bins]
    _bars(lower, left, [part.count for part in found.bins], width, number)
    return Marked(line, _calibration_words(found))


def _bars(axes: Axes, left: list[float], counts: list[int], width: float, number: int) -> None:
    bars: BarContainer = axes.bar(
        left, counts, width=0.94 * width, align="edge", color=COLOURS[number % len(COLOURS)]
    )
    axes.bar_label(bars, [str(n) if n else "" for n in counts], fontsize=7, color=INK, padding=1)
    axes.margins(y=0.2)


def _calibration_words(found: Calibration) -> str:
    scaled = f", temperature {found.temperature:.2f}" if found.temperature != 1 else ""
    error = f"{100 * found.error:.1f} points ({100 * found.low:.1f} to {100 * found.high:.1f})"
    return (
        f"{found.split}{scaled}: calibration error {error}; "
        f"{100 * found.by_chance:.1f} would be chance"
    )


def _calibration_alt(found: Calibration) -> str:
    gap = found.confidence - found.accuracy
    says = "too sure" if gap > 0 else "not sure enough"
    return (
        f"Reliability on {_calibration_words(found)}. On average the network is {100 * found.confidence:.0f} % sure "
        f"and {100 * found.accuracy:.0f} % right: {says} by {100 * abs(gap):.1f} points, over {found.count} examples."
    )


def _calibration_table(several: list[Calibration]) -> Any:
    import pandas as pd

    shares = ("low", "high", "confidence", "accuracy", "accuracy_low", "accuracy_high")
    return pd.concat(
        [
            _in_per_cent(found.table, shares).assign(temperature=found.temperature)
            for found in several
        ],
        ignore_index=True,
    )


# ---------------------------------------------------------------- single images


@takes(run=a_run, count=a_count(1, MOST_DRAWN))
def worst_images(run: Run, count: int = 12, split: str = "valid") -> Figure:
    """The images a run is most wrong about: those whose true class got the least probability, worst first."""
    judged = run.evaluate(split)
    found = insight.worst(judged, count)
    title = f"Most wrong of {judged.split}: least probability for the true class"
    return figures.images(split_of(run, split), found, run.data.classes, title=title)


@takes(run=a_run, count=a_count(1, MOST_DRAWN))
def uncertain_images(run: Run, count: int = 12, split: str = "valid") -> Figure:
    """The images a run is least sure about: those with the largest entropy, whether it is right or not."""
    judged = run.evaluate(split)
    found = insight.uncertain(judged, count)
    title = f"Most uncertain of {judged.split}: largest entropy of the probabilities"
    return figures.images(split_of(run, split), found, run.data.classes, title=title)


def _in_per_cent(table: Any, columns: tuple[str, ...]) -> Any:
    """Shares as per cent, rounded, under headings that say so; nothing where nothing is known."""
    return table.assign(
        **{
            name: [None if isnan(value) else round(100 * value, 1) for value in table[name]]
            for name in columns
        }
    ).rename(columns={name: f"{name} (%)" for name in columns})
