"""The figures of lesson 11: seeds in pairs, how often a comparison names the better one, and the luck of the best.

`pairs` draws what it is given. The others draw from the recorded runs of `is-it-better`, whose answers are on record
image by image: so any choice by fewer images, seeds or candidates can be replayed, and nothing is trained. The
recorded images stand for all there are. So the images of a choice are drawn with replacement (a bootstrap), and what a
run is worth is its accuracy on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt
from statistics import fmean, stdev

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from scipy.special import stdtrit

from labkit import runtime
from labkit.course import evidence
from labkit.course.lesson_11.claims import IS_IT_BETTER, PAIRS
from labkit.insight import Estimate, mean_interval, paired_difference
from labkit.show.figure import CARD, COLOURS, FAINT, INK, Figure, Marked, dress, legend, look

WORDS = {"digits-10": "digits, 10 labels a class", "ants-bees": "ants and bees"}
WAYS = {"layer4": "layer4 and head", "head": "head alone"}
DRAWS = 2000  # times that a choice is replayed

Answers = np.ndarray[tuple[int, int], np.dtype[np.bool_]]


# ---------------------------------------------------------------- seeds in pairs


def unpaired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate:
    """How much larger the mean of `ours` is, with Welch's 95 % interval (1947), which knows of no pairs.

    Both hold two values or more.
    """
    sides = [list(side.values()) for side in (ours, theirs)]
    parts = [stdev(side) ** 2 / len(side) for side in sides]
    error = sqrt(sum(parts))
    gap = fmean(sides[0]) - fmean(sides[1])
    if error == 0:
        return Estimate(gap, gap, gap, len(sides[0]))
    freedom = sum(parts) ** 2 / sum(p * p / (len(s) - 1) for p, s in zip(parts, sides, strict=True))
    half = float(stdtrit(freedom, 0.975)) * error
    return Estimate(gap, gap - half, gap + half, len(sides[0]))


def pairs(ours: Mapping[int, float], theirs: Mapping[int, float], names: Sequence[str]) -> Figure:
    """Accuracies of two ways, a line a seed, and the two intervals of their difference.

    Both map the same seeds to accuracies; `names` says what ours and theirs are.
    """
    both = [paired_difference(ours, theirs), unpaired_difference(ours, theirs)]
    ways = ["in pairs", "not in pairs"]
    figure = Figure(9, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    dress(left, "", "accuracy (%)", "A line a seed")
    for number, seed in enumerate(sorted(ours)):
        shade = look(number)
        ends = (100 * theirs[seed], 100 * ours[seed])
        left.plot((0, 1), ends, color=shade.colour, marker=shade.marker, linestyle=shade.style)
    left.set_xticks((0, 1), [names[1], names[0]], parse_math=False)
    left.set_xlim(-0.3, 1.3)
    dress(
        right, f"{names[0]}, less {names[1]} (points)", "", "The difference and its 95 % interval"
    )
    right.axvline(0, color=FAINT, linestyle=":", linewidth=1.4)
    gaps = [100 * (ours[seed] - theirs[seed]) for seed in sorted(ours)]
    right.plot(gaps, [-0.2] * len(gaps), "o", color=COLOURS[0], alpha=0.75, markersize=4)
    for place, found in enumerate(both):
        right.errorbar(
            100 * found.mean, place, xerr=100 * found.half_width,
            fmt="D", color=COLOURS[1], capsize=4, markersize=5,
        )  # fmt: skip
    right.set_yticks((0, 1), ways)
    right.set_ylim(1.5, -0.6)
    right.grid(False, axis="y")
    table = pd.DataFrame(
        [(way, *(round(100 * v, 2) for v in (e.mean, e.low, e.high))) for way, e in zip(ways, both, strict=True)],
        columns=["interval", "difference (points)", "low", "high"],
    )  # fmt: skip
    said = "; ".join(f"{way} {e.points()}" for way, e in zip(ways, both, strict=True))
    return figure.told(
        f"Accuracy of {names[0]}, less that of {names[1]}, seed by seed: {said}.", table
    )


# ---------------------------------------------------------------- recorded answers


@lru_cache(maxsize=2)
def answers(place: str) -> Mapping[str, Answers]:
    """By setting, who named which image right: bool (seeds, images), the same images for all."""
    keys = [setting.key for setting in IS_IT_BETTER.settings if setting.group == place]
    return {
        key.partition("/")[2]: evidence.curves(f"{IS_IT_BETTER.name}/{key}/answers").to_numpy() == 1
        for key in keys
    }


def _chance(*stream: str | int) -> np.random.Generator:
    return np.random.default_rng(runtime.generator(0, "judging", *stream).initial_seed())


# ---------------------------------------------------------------- how often the better one is named

LOOKS = ((20, 1), (50, 1), (200, 1), (50, 5), (200, 5), (800, 5))  # images, seeds


def comparisons(place: str, looks: Sequence[tuple[int, int]] = LOOKS) -> pd.DataFrame:
    """Replays a comparison of two ways by some of the images and seeds; a row each, shares from 0 to 1.

    With one seed whoever has more right answers is named, and nobody where both have as many. With several seeds
    someone is named where the 95 % interval of the paired difference does not hold zero. Columns: images, seeds, and
    the shares `first`, `nobody`, `second` of the draws, in the order of `PAIRS`.
    """
    first, second = (answers(place)[name] for name in PAIRS[place])
    rows = []
    for images, seeds in looks:
        chance = _chance(place, images, seeds)
        named = [_named(first, second, images, seeds, chance) for _ in range(DRAWS)]
        shares = [named.count(who) / DRAWS for who in (1, 0, -1)]
        rows.append((images, seeds, *shares))
    return pd.DataFrame(rows, columns=["pictures", "seeds", "first", "nobody", "second"])


def _named(
    first: Answers, second: Answers, images: int, seeds: int, chance: np.random.Generator
) -> int:
    """1 for the first, -1 for the second, 0 for nobody, from images with replacement and seeds without."""
    shown = chance.integers(first.shape[1], size=images)
    drawn = chance.permutation(first.shape[0])[:seeds]
    gaps = (first[drawn][:, shown].sum(1) - second[drawn][:, shown].sum(1)) / images
    reach = 0.0
    if seeds > 1:
        reach = float(stdtrit(seeds - 1, 0.975)) * gaps.std(ddof=1) / sqrt(seeds)
    mean = gaps.mean()
    return int(mean > reach) - int(mean < -reach)


def named(place: str) -> Figure:
    """How often a comparison on few images, with one seed or five, names the better way, nobody, or the worse."""
    table = comparisons(place)
    gap = paired_difference(*_sides(place))
    who = [WAYS[name.partition("-")[0]] for name in PAIRS[place]]
    figure = Figure(9, 0.46 * len(table) + 1.6)
    axes = dress(figure.subplots(), "share of the draws (%)", "")
    parts = {"first": f"names {who[0]}", "nobody": "names nobody", "second": f"names {who[1]}"}
    looks = zip(parts.items(), (COLOURS[0], CARD, COLOURS[1]), ("", "...", "//"), strict=True)
    entries, start = [], np.zeros(len(table))
    for (column, words), colour, hatch in looks:
        shares = 100 * table[column].to_numpy()
        bars = axes.barh(
            range(len(table)), shares, left=start, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.6
        )  # fmt: skip
        for bar, share in zip(bars, shares, strict=True):
            if share >= 4:  # a narrower piece has no room for its number
                axes.text(
                    bar.get_x() + share / 2, bar.get_y() + bar.get_height() / 2, f"{share:.0f}",
                    ha="center", va="center", fontsize=9, color=INK,
                    bbox={"facecolor": CARD, "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip
        entries.append(Marked(Patch(facecolor=colour, hatch=hatch, edgecolor=INK), words))
        start += shares
    names = [_look_in_words(row.pictures, row.seeds) for row in table.itertuples()]
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.grid(False, axis="y")
    legend(figure, entries)
    said = "; ".join(
        f"{name}: {100 * row.first:.0f} %, {100 * row.nobody:.0f} %, {100 * row.second:.0f} %"
        for name, row in zip(names, table.itertuples(), strict=True)
    )
    return figure.told(
        f"{WORDS[place]}. On all images and seeds the difference, {who[0]} less {who[1]}, is {gap.points()}. How often "
        f"a comparison names {who[0]}, nobody, {who[1]}: {said}.",
        table,
    )


def _look_in_words(images: int, seeds: int) -> str:
    return f"{images} images, {seeds} seed{'s' if seeds > 1 else ''}"


def _sides(place: str) -> list[dict[int, float]]:
    """The accuracy of the two ways on all images that there are, seed by seed."""
    return [dict(enumerate(answers(place)[name].mean(1).tolist())) for name in PAIRS[place]]


def pairing() -> pd.DataFrame:
    """A row a data set: what the two ways reach on all images and seeds, and their difference, in pairs and not.

    The last column says how far the two rise and fall together from seed to seed, from -1 to 1.
    """
    rows = []
    for place in PAIRS:
        first, second = _sides(place)
        likeness = float(np.corrcoef(list(first.values()), list(second.values()))[0, 1])
        found = [mean_interval(side.values()).percent() for side in (first, second)]
        found += [way(first, second).points() for way in (paired_difference, unpaired_difference)]
        rows.append((WORDS[place], *found, round(likeness, 2)))
    names = ["data", *WAYS.values(), "in pairs", "not in pairs", "correlation over seeds"]
    return pd.DataFrame(rows, columns=names)


# ---------------------------------------------------------------- the luck of the best

MANY = (1, 2, 5, 10, 20, 40)  # candidates
WATCHED = (20, 50, 100)  # images that choose


def choices(place: str, images: int, many: Sequence[int] = MANY) -> pd.DataFrame:
    """Replays the choice of the best of so many candidates by so many images: a row a number of candidates.

    Candidates are recorded runs, drawn without replacement. `looked` is the mean accuracy of the chosen one on the
    images that chose it, `was` on all there are.
    """
    runs = np.concatenate(list(answers(place).values()))
    rows = []
    for count in many:
        chance = _chance(place, "choices", images, count)
        found = np.array([_chosen(runs, count, images, chance) for _ in range(DRAWS)])
        rows.append((count, *found.mean(axis=0)))
    return pd.DataFrame(rows, columns=["candidates", "looked", "was"])


def _chosen(
    runs: Answers, count: int, images: int, chance: np.random.Generator
) -> tuple[float, float]:
    """What the best of `count` runs got on the images that chose it, and on all. The first of equals wins."""
    some = runs[chance.permutation(len(runs))[:count]]
    seen = some[:, chance.integers(runs.shape[1], size=images)].mean(1)
    best = int(seen.argmax())
    return float(seen[best]), float(some[best].mean())


def luck(place: str) -> Figure:
    """How good the best of many candidates looks on the images that chose it, and how good it is."""
    figure = Figure(9, 3.8)
    panels = figure.subplots(1, len(WATCHED), sharey=True)
    tables, said = [], []
    for axes, images in zip(panels, WATCHED, strict=True):
        table = choices(place, images)
        entries = _lines(axes, table, images)
        last = table.iloc[-1]
        said.append(
            f"chosen from {last.candidates:.0f} by {images} images it looks {100 * last.looked:.1f} % right and is "
            f"{100 * last.was:.1f} % right"
        )
        tables.append(table.assign(images=images))
    panels[0].set_ylabel("accuracy (%)", color=INK)
    legend(figure, entries)
    whole = pd.concat(tables, ignore_index=True)
    shares = {name: [round(100 * one, 1) for one in whole[name]] for name in ("looked", "was")}
    return figure.told(
        f"The best of many candidates on {WORDS[place]}: {'; '.join(said)}.", whole.assign(**shares)
    )


def _lines(axes: Axes, table: pd.DataFrame, images: int) -> list[Marked]:
    dress(axes, "candidates (logarithmic)", "", f"{images} images choose")
    axes.set_xscale("log")
    entries = []
    words = {"looked": "looked, on the images that chose it", "was": "was, on all images there are"}
    for number, (column, told) in enumerate(words.items()):
        shade = look(number)
        line = axes.plot(
            table["candidates"], 100 * table[column],
            color=shade.colour, marker=shade.marker, linestyle=shade.style, linewidth=1.8,
        )  # fmt: skip
        entries.append(Marked(line[0], told))
    ticks = list(table["candidates"])
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    return entries
