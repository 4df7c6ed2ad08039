"""The figures of the lab: curves, drift, images with predictions, audits and recorded evidence.

Each function returns a `Figure`: a matplotlib Figure with a text alternative and the numbers as a
table. They draw what they are given and train nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from torch import Tensor

from labkit.errors import ArgumentError, SplitError, shown
from labkit.insight.drift import drift_table
from labkit.insight.metrics import Estimate, mean_interval
from labkit.insight.worst import Guess
from labkit.settings import SETTINGS
from labkit.show.figure import (
    CARD,
    COLOURS,
    EDGE,
    FAINT,
    INK,
    Figure,
    Look,
    Marked,
    dress,
    headline,
    legend,
    look,
    shorten,
)
from labkit.tuning.contracts import Split
from labkit.tuning.given import (
    MOST_DRAWN,
    a,
    a_count,
    a_run,
    as_runs,
    refuse_no_columns,
    some,
    takes,
)

if TYPE_CHECKING:
    from labkit.tuning import Run

MOST_ABREAST = 24  # images side by side
MAX_COMMANDS = 8  # markers explained below a figure; more would bury the curves


# ---------------------------------------------------------------- curves


def plot_history(runs: Run | Sequence[Run]) -> Figure:
    """Loss and accuracy by step, training and validation, and where commands took effect.

    One run: training dashed, validation solid with markers. Several: a colour and a marker each.
    Training values are running means over the last twentieth of the steps, accuracies from exact
    counts.
    """
    several = _as_runs(runs)
    figure = Figure(9, 4.2)
    panels = dict(zip(("loss", "accuracy"), figure.subplots(1, 2), strict=True))
    dress(panels["loss"], "step (optimiser updates)", "loss (cross-entropy, nats)", "Loss")
    dress(panels["accuracy"], "step (optimiser updates)", "accuracy (%)", "Accuracy")
    entries: list[Marked] = []
    for number, run in enumerate(several):
        entries += _curves(panels, run, number, alone=len(several) == 1)
    if len(several) == 1:
        entries += _commands(panels, several[0])
    panels["accuracy"].set_ylim(0, 102)
    panels["loss"].set_ylim(bottom=0)
    legend(figure, entries, columns=3 if len(several) == 1 else min(3, len(several)))
    return figure.told(" ".join(_history_alt(run) for run in several), epochs_table(several))


def epochs_table(runs: Run | Sequence[Run]) -> pd.DataFrame:
    """One row a run and epoch: losses in nats, accuracies in per cent, exact validation counts."""
    return pd.concat([_epochs(run) for run in _as_runs(runs)], ignore_index=True)


def _as_runs(runs: Run | Sequence[Run]) -> list[Run]:
    return as_runs("This figure", runs)


def _curves(panels: dict[str, Axes], run: Run, number: int, alone: bool) -> list[Marked]:
    """Draw both splits of a run in both panels; returns what the legend should say."""
    name = shorten(run.name)
    looks = (
        {"train": look(0), "valid": look(1)}
        if alone
        else dict.fromkeys(("train", "valid"), look(number))
    )
    entries = []
    for split, label in (("train", "training"), ("valid", "validation")):
        rows = _split(run, split)
        line = None
        for quantity, axes in panels.items():
            line = _line(axes, rows, quantity, looks[split], split)
        if line is not None and len(rows):
            entries.append(Marked(line, label if alone else f"{name}, {label}"))
    return entries


def _split(run: Run, split: str) -> pd.DataFrame:
    """A split as curves: step, loss, accuracy in per cent; training smoothed by sums of counts."""
    rows = _rows(run, split)
    if split == "valid" or rows.empty:
        return rows.assign(accuracy=100 * rows["accuracy"])
    window = max(1, len(rows) // 20)
    sums = rows[["correct", "count"]].rolling(window, min_periods=1).sum()
    weighted = (rows["loss"] * rows["count"]).rolling(window, min_periods=1).sum()
    return rows.assign(
        accuracy=100 * sums["correct"] / sums["count"], loss=weighted / sums["count"]
    )


def _line(axes: Axes, rows: pd.DataFrame, quantity: str, way: Look, split: str) -> Line2D:
    shape: dict[str, Any] = (
        {"linestyle": "-", "marker": way.marker, "markersize": 5, "linewidth": 1.8}
        if split == "valid"
        else {"linestyle": (0, (4, 1.5)), "linewidth": 1.3}
    )
    return axes.plot(rows["step"], rows[quantity], color=way.colour, **shape)[0]


def _commands(panels: dict[str, Axes], run: Run) -> list[Marked]:
    """A numbered line in both panels where a setting changed, and what it was for the legend."""
    changes = [command for command in run.log if command.kind == "set"]
    for number, command in enumerate(changes, 1):
        for axes in panels.values():
            axes.axvline(command.step, color=FAINT, linewidth=0.9, linestyle=":")
            axes.annotate(
                str(number),
                (command.step, 1),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=8,
                color=INK,
                annotation_clip=False,
            )
    shown = [
        Marked(_empty(marker=f"${number}$"), f"step {command.step}: {_change(command.args)}")
        for number, command in enumerate(changes[:MAX_COMMANDS], 1)
    ]
    rest = len(changes) - len(shown)
    return [*shown, Marked(_empty(), f"and {rest} more")] if rest > 0 else shown


def _empty(marker: str = "") -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, color=INK, markersize=6, markeredgewidth=0.3)


def _change(args: Any) -> str:
    return ", ".join(
        f"{SETTINGS[name].label} {value:g}"
        if isinstance(value, float)
        else f"{SETTINGS[name].label} {value}"
        for name, value in args.items()
    )


def _history_alt(run: Run) -> str:
    """What the curves of one run show, in words."""
    train, valid = _split(run, "train"), _split(run, "valid")
    if train.empty:
        return f"{run.name}: nothing trained yet."
    said = (
        f"{run.name}: over {int(train['step'].iloc[-1])} steps the training loss went from "
        f"{train['loss'].iloc[0]:.2f} to {train['loss'].iloc[-1]:.2f}"
    )
    if len(valid):
        said += (
            f" and the validation accuracy from {valid['accuracy'].iloc[0]:.0f} % to "
            f"{valid['accuracy'].iloc[-1]:.0f} %, at most {valid['accuracy'].max():.0f} %"
        )
    changes = [f"{_change(c.args)} at step {c.step}" for c in run.log if c.kind == "set"]
    return f"{said}. Changed on the way: {'; '.join(changes)}." if changes else f"{said}."


def _epochs(run: Run) -> pd.DataFrame:
    valid, train = _rows(run, "valid"), _rows(run, "train")
    starts = [-1, *valid["step"].iloc[:-1]]
    return pd.DataFrame(
        [
            {
                "run": run.name,
                "epoch": int(row.epoch),
                "step": int(row.step),
                **_training(train[train["step"].between(start, row.step, inclusive="right")]),
                "validation loss": row.loss,
                "validation accuracy (%)": 100 * row.accuracy,
                "right": f"{row.correct} of {row.count}",
            }
            for start, row in zip(starts, valid.itertuples(index=False), strict=False)
        ]
    )


def _training(steps: pd.DataFrame) -> dict[str, float | None]:
    """The training loss and accuracy of some steps, from sums over their samples."""
    count = steps["count"].sum()
    return {
        "training loss": (steps["loss"] * steps["count"]).sum() / count if count else None,
        "training accuracy (%)": 100 * steps["correct"].sum() / count if count else None,
    }


def _rows(run: Run, split: str) -> pd.DataFrame:
    table = run.history
    return table[table["split"] == split]


# ---------------------------------------------------------------- stages


@takes(run=a_run)
def plot_drift(run: Run) -> Figure:
    """How far each stage has moved from where it began: one bar a stage, input at the top."""
    table = drift_table(run)
    figure = Figure(7, 0.9 + 0.36 * len(table))
    axes = dress(figure.subplots(), "distance moved (% of the length at the start)", "stage")
    colours = [COLOURS[0] if trainable else EDGE for trainable in table["trainable"]]
    hatches = ["" if trainable else "///" for trainable in table["trainable"]]
    bars = axes.barh(
        table.index, 100 * table["drift"], color=colours, edgecolor=FAINT, hatch=hatches
    )
    words = [row.moved if row.trainable else f"{row.moved} (frozen)" for row in table.itertuples()]
    axes.bar_label(bars, words, padding=4, color=INK, fontsize=9)
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    _stage_axis(axes, list(table["stage"]))
    said = ", ".join(f"{row.stage} {words[row.Index]}" for row in table.itertuples())
    return figure.told(f"Distance of each stage from its initial weights: {said}.", table)


@takes(run=a_run)
def plot_audit(run: Run) -> Figure:
    """The audit of a run: which stages train, which moved, in parameters and in buffers."""
    result = run.audit()
    table = drift_table(run)
    columns = ["stage", "trains now", "tensors changed", "buffers changed", "moved"]
    cells = [
        [
            r.stage,
            "yes" if r.trainable else "frozen",
            str(r.tensors_changed),
            str(r.buffers_changed),
            r.moved,
        ]
        for r in table.itertuples()
    ]
    verdict = "Frozen stages are unchanged, to the bit." if result.ok else " ".join(result.problems)
    figure = Figure(8, 0.8 + 0.32 * len(cells) + 0.2 * len(wrap(verdict, 105)))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_title(fill(verdict, 105), color=INK, fontsize=10, loc="left", parse_math=False)
    drawn = axes.table(cells, colLabels=columns, bbox=Bbox.unit(), cellLoc="left")
    # It would shrink all letters until the longest text fits a cell.
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9.5)
    suspects = {problem.split(" ", 1)[0] for problem in result.problems}
    for (row, _), cell in drawn.get_celld().items():
        cell.set(edgecolor=EDGE, facecolor=CARD)
        suspect = row > 0 and cells[row - 1][0] in suspects
        cell.get_text().set(
            color=COLOURS[1] if suspect else INK,
            fontweight="bold" if row == 0 or suspect else "normal",
            parse_math=False,
        )
    return figure.told(f"Audit of {run.name}. {verdict}", table)


def _stage_axis(axes: Axes, stages: Sequence[str]) -> None:
    axes.set_yticks(range(len(stages)))
    axes.set_yticklabels(stages, parse_math=False)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.grid(False, axis="y")


# ---------------------------------------------------------------- images


@takes(
    guesses=some(Guess, source="insight.worst", at_least=0),
    classes=some(str, source="data.classes"),
    columns=a_count(1, MOST_ABREAST),
)
def images(
    split: Split,
    guesses: Sequence[Guess],
    classes: Sequence[str],
    columns: int = 6,
    title: str = "",
) -> Figure:
    """Images of a split with the predicted class, its probability, and the truth where wrong.

    A wrong guess has a cross and a thick frame, a right one a tick.
    """
    _refuse_other_samples(split, guesses)
    classes = _named(classes, guesses)
    rows = max(1, -(-len(guesses) // columns))
    figure = Figure(1.55 * columns, 1.95 * rows + (0.4 if title else 0))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    pixels, _ = split.batch(torch.tensor([guess.index for guess in guesses], dtype=torch.int64))
    for axes, image, guess in zip(grid, pixels, guesses, strict=False):
        _photograph(axes, image, guess, classes)
    if title:
        headline(figure, title, size=11)
    table = guess_table(guesses, classes)
    wrong = sum(not guess.right for guess in guesses)
    said = f"{len(guesses)} images, {wrong} of them wrongly classified: " + "; ".join(
        f"{row.predicted} at {row.probability} for {row.true}" for row in table.itertuples()
    )
    return figure.told(f"{said}.", table)


def _refuse_other_samples(split: Split, guesses: Sequence[Guess]) -> None:
    """Guesses of one split say nothing of the images of another."""
    if isinstance(split, str) or not hasattr(split, "batch") or isinstance(split, type):
        raise SplitError(f"split={shown(split)} is not a split. Give samples, such as data.valid.")
    last = max((guess.index for guess in guesses), default=-1)
    if last >= len(split):
        raise SplitError(
            f"There is no sample {last} among these {len(split)}: give the split that the guesses are of."
        )
    if len(guesses) > MOST_DRAWN:
        raise ArgumentError(
            f"{len(guesses)} images do not fit in one figure. Take at most {MOST_DRAWN}."
        )


def _named(classes: Sequence[str], guesses: Sequence[Guess]) -> Sequence[str]:
    """The names of the classes, if there is one for each class that was guessed."""
    last = max((max(guess.predicted, guess.true) for guess in guesses), default=-1)
    if last >= len(classes):
        raise ArgumentError(
            f"{len(classes)} names were given for {last + 1} classes or more. Give one a class: data.classes."
        )
    return classes


@takes(
    guesses=some(Guess, source="insight.worst", at_least=0),
    classes=some(str, source="data.classes"),
)
def guess_table(guesses: Sequence[Guess], classes: Sequence[str]) -> pd.DataFrame:
    """One row an image: index in the split, predicted class, its probability, true class."""
    classes = _named(classes, guesses)
    return pd.DataFrame(
        [
            {
                "image": guess.index,
                "predicted": classes[guess.predicted],
                "probability": f"{100 * guess.probability:.0f} %",
                "true": classes[guess.true],
                "right": "yes" if guess.right else "no",
            }
            for guess in guesses
        ],
        columns=["image", "predicted", "probability", "true", "right"],
    )


def _photograph(axes: Axes, image: Tensor, guess: Guess, classes: Sequence[str]) -> None:
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    colour = COLOURS[2] if guess.right else COLOURS[1]
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=1 if guess.right else 3)
    predicted = shorten(classes[guess.predicted], 16)
    said = f"{'✓' if guess.right else '✗'} {predicted} {guess.probability:.0%}"
    truth = "" if guess.right else f"\ntruly {shorten(classes[guess.true], 16)}"
    axes.set_title(said + truth, fontsize=8, color=INK, parse_math=False)


# ---------------------------------------------------------------- evidence


@takes(table=a(pd.DataFrame, source="labkit.records.evidence.rows"))
def evidence(
    table: pd.DataFrame,
    value: str,
    by: str,
    unit: str = "%",
    title: str = "",
    panel: str | None = None,
) -> Figure:
    """Recorded runs as dots, one a seed, with mean and 95 % interval a group.

    `table` has a row a run; `value` names the column drawn (fractions are shown in per cent when
    `unit` is "%"), `by` the column of the groups, `panel` an optional column that gives each of its
    values a panel of its own.
    """
    refuse_no_columns("evidence", table, value, by, *([] if panel is None else [panel]))
    parts = list(table.groupby(panel, sort=False)) if panel else [(title, table)]
    groups = list(dict.fromkeys(table[by]))
    columns, rows = min(2, len(parts)), -(-len(parts) // 2)
    figure = Figure(2.2 + 3.4 * columns, rows * (0.9 + 0.42 * len(groups)) + 0.3)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    records: list[dict[str, Any]] = []
    for axes, (name, part) in zip(grid, parts, strict=False):
        dress(axes, f"{value} ({unit})", by if axes in grid[::columns] else "", str(name))
        for place, group in enumerate(groups):
            values = part.loc[part[by] == group, value] * (100 if unit == "%" else 1)
            if len(values):
                estimate = mean_interval(values)
                _seeds(axes, place, list(values), estimate)
                records.append({"panel": name, by: group, **_numbers(estimate)})
    for axes in grid[len(parts) :]:
        axes.set_axis_off()
    _stage_axis(grid[0], [str(group) for group in groups])
    summary = pd.DataFrame(records)
    said = "; ".join(
        f"{r['panel']} {r[by]} {r['mean']:.3g} {unit} ({r['low']:.3g} to {r['high']:.3g})".strip()
        for r in records
    )
    return figure.told(f"{title or value}, a dot a seed, mean and 95 % interval: {said}.", summary)


def _seeds(axes: Axes, place: int, values: list[float], estimate: Estimate) -> None:
    """The dots of one group above its mean with interval."""
    axes.plot(values, [place - 0.16] * len(values), "o", color=COLOURS[0], alpha=0.75, markersize=4)
    error = 0.0 if estimate.count == 1 else estimate.half_width
    axes.errorbar(
        estimate.mean, place + 0.12, xerr=error, fmt="D", color=COLOURS[1], capsize=4, markersize=5
    )
    axes.annotate(
        f"{estimate.mean:.0f}",
        (estimate.mean, place + 0.12),
        xytext=(0, -13),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=INK,
    )


def _numbers(estimate: Estimate) -> dict[str, float]:
    return {
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "seeds": estimate.count,
    }
