"""The figures of lesson 09: what augmentation does to an image, to the curves, and what stopping early gains.

`views` draws images. The others draw the recorded runs of `when-to-stop` and train nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from labkit import runtime
from labkit.course import evidence
from labkit.data import ImageSplit
from labkit.insight import mean_interval
from labkit.show.figure import (
    COLOURS,
    FAINT,
    INK,
    Figure,
    Look,
    Marked,
    dress,
    legend,
    look,
    shorten,
)

RECORD = "when-to-stop"
LEVELS = ("none", "light", "strong")
PLACES = {
    "digits-3": "digits, 3 labels a class",
    "digits-10": "digits, 10 labels a class",
    "digits-10-wrong-labels": "the same, some labels wrong",
    "ants-bees": "ants and bees",
}
RATES = {"none": "rate falls to zero", "constant-rate": "constant rate"}
FEW = {"digits-10-few-to-watch": "wrong labels, 20 images to watch"}


# ---------------------------------------------------------------- images


def views(
    split: ImageSplit, images: Sequence[int], classes: Sequence[str], count: int = 5, seed: int = 0
) -> Figure:
    """Images of a split as they are, and `count` views of each as training sees them: a row a level."""
    rows = [(image, level) for image in images for level in LEVELS[1:]]
    figure = Figure(1.5 + 1.2 * (count + 1), 0.4 + 1.22 * len(rows))
    grid = figure.subplots(len(rows), count + 1, squeeze=False)
    for across, (image, level) in zip(grid, rows, strict=True):
        name = shorten(classes[int(split.labels[image])], 14)
        drawn = [split.batch([image])[0][0]]
        for number in range(count):
            chance = runtime.generator(seed, "views", level, number)
            drawn.append(split.batch([image], level, chance)[0][0])
        for axes, pixels in zip(across, drawn, strict=True):
            axes.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        across[0].set_ylabel(f"{name}\n{level}", color=INK, fontsize=9, parse_math=False)
    grid[0, 0].set_title("as it is", color=INK, fontsize=9)
    for number in range(count):
        grid[0, number + 1].set_title(f"view {number + 1}", color=INK, fontsize=9)
    names = ", ".join(classes[int(split.labels[image])] for image in images)
    table = pd.DataFrame(
        [(level, DONE[level], "yes" if split.flip else "no") for level in LEVELS[1:]],
        columns=["level", "what it does", "mirrors"],
    )
    said = "; ".join(f"{row.level}: {row[2]}" for row in table.itertuples())
    return figure.told(
        f"{len(images)} images ({names}), each as it is and in {count} views of each level. {said}.",
        table,
    )


DONE = {
    "light": "crops down to 80 % of the side",
    "strong": "crops down to 60 % of the side, turns by up to 15 degrees, shifts brightness, contrast and colour by "
    "up to 40 %, and greys out a rectangle in half the images",
}


# ---------------------------------------------------------------- curves over seeds


def courses(place: str, plans: Sequence[str] = LEVELS) -> Figure:
    """Recorded loss by epoch, training and validation: a line a plan through the means, a band for 95 % over seeds."""
    figure = Figure(9, 4)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    tables, entries, said = [], [], []
    for axes, split in zip(panels, ("training", "validation"), strict=True):
        dress(axes, "epoch", "", f"{split.capitalize()} loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for number, plan in enumerate(plans):
            course = _course(f"{RECORD}/{place}/{plan}/{split}-loss")
            entry = _band(axes, course, look(number), plan.replace("-", " "))
            entries += [entry] if axes is panels[0] else []
            tables.append(course.reset_index(names="epoch").assign(plan=plan, split=split))
            said.append(
                f"{plan}, {split}: lowest {course['mean'].min():.2g} after epoch {course['mean'].idxmin()}, "
                f"{course['mean'].iloc[-1]:.2g} at the end"
            )
    panels[0].set_ylabel("loss (cross-entropy, nats)", color=INK)
    panels[0].set_ylim(bottom=0)
    legend(figure, entries)
    return figure.told(
        f"Recorded loss by epoch on {PLACES[place]}, means over seeds. {'; '.join(said)}.",
        pd.concat(tables, ignore_index=True),
    )


def _course(key: str) -> pd.DataFrame:
    """By epoch, mean, low and high over seeds; without the epoch 0 of training, which never was."""
    table = evidence.curves(key).dropna(axis="columns")
    estimates = {int(epoch): mean_interval(table[epoch]) for epoch in table}
    return pd.DataFrame(
        {epoch: {"mean": e.mean, "low": e.low, "high": e.high} for epoch, e in estimates.items()}
    ).T


def _band(axes: Axes, course: pd.DataFrame, shade: Look, label: str) -> Marked:
    """A line through the means, and behind it the interval."""
    axes.fill_between(course.index, course["low"], course["high"], color=shade.colour, alpha=0.18)
    line = axes.plot(
        course.index,
        course["mean"],
        color=shade.colour,
        linestyle=shade.style,
        marker=shade.marker,
        markersize=4,
        linewidth=1.8,
    )
    return Marked(line[0], label)


# ---------------------------------------------------------------- what stopping gains


def picked() -> Figure:
    """What the epoch with the lowest validation loss gains on the test split over the last one: a dot a seed."""
    table = _gains()
    names = list(dict.fromkeys(table["where"]))
    figure = Figure(9, 0.9 + 0.52 * len(names))
    axes = dress(figure.subplots(), "test accuracy, best epoch less last (points)", "")
    axes.axvline(0, color=FAINT, linestyle=":", linewidth=1.4)
    said = []
    for place, name in enumerate(names):
        values = table.loc[table["where"] == name, "points"]
        e = mean_interval(values)
        axes.plot(
            values, [place - 0.15] * len(values), "o", color=COLOURS[0], alpha=0.75, markersize=4
        )
        axes.errorbar(
            e.mean,
            place + 0.12,
            xerr=e.half_width,
            fmt="D",
            color=COLOURS[1],
            capsize=4,
            markersize=5,
        )
        said.append(f"{name}: {e.mean:+.1f} ({e.low:+.1f} to {e.high:+.1f})")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return figure.told(
        "What the epoch with the lowest validation loss gains over the last one in test accuracy, in points, a dot a "
        f"seed, mean and 95 % interval. {'; '.join(said)}.",
        table,
    )


def _gains() -> pd.DataFrame:
    """Where, seed and points, a row a recorded run of which it is known."""
    recorded = evidence.rows(RECORD)
    found = []
    for place, words in {**PLACES, **FEW}.items():
        for plan, rate in RATES.items():
            last = recorded[recorded["key"] == f"{place}/{plan}"].set_index("seed")["accuracy"]
            if last.empty:  # with few to watch there is only one rate
                continue
            best = evidence.curves(f"{RECORD}/{place}/{plan}/by-loss")[0]
            for seed, gain in (100 * (best - last)).items():
                found.append({"where": f"{words}, {rate}", "seed": seed, "points": gain})
    return pd.DataFrame(found)
