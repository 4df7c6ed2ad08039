"""Labels that may be wrong, drawn: each example with the label it was given and the one that is proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from matplotlib.axes import Axes
from torch import Tensor

from labkit import insight
from labkit.insight.inside import split_of
from labkit.insight.labels import Suspect, SuspectLabels
from labkit.show.figure import COLOURS, FAINT, INK, Figure, headline, shorten
from labkit.tuning.given import MOST_DRAWN, a, a_count, a_run, maybe, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

ACROSS = 6  # examples side by side


@takes(
    run=a_run,
    count=a_count(1, MOST_DRAWN),
    seen=maybe(a(SuspectLabels, source="insight.suspect_labels(run)")),
)
def plot_suspect_labels(
    run: Run, count: int = 12, split: str = "train", seen: SuspectLabels | None = None
) -> Figure:
    """The examples whose labels are least believable, worst first, with the class that is proposed instead.

    A thick frame means that confident learning takes the label for wrong. `seen` is a judgement that is at hand.
    """
    found = insight.suspect_labels(run, split) if seen is None else seen
    part = split if found.split == "sample" else found.split
    shown = found.worst(count)
    rows = max(1, -(-len(shown) // ACROSS))
    figure = Figure(1.55 * ACROSS, 2.1 * rows + 0.5)
    grid = list(figure.subplots(rows, ACROSS, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    pixels, _ = split_of(run, part).batch(
        torch.tensor([one.index for one in shown], dtype=torch.int64)
    )
    for axes, image, one in zip(grid, pixels, shown, strict=False):
        _thumbnail(axes, image, one, found)
    likely = int(found.likely.sum())
    headline(
        figure,
        f"Least believable labels of {found.split}; {likely} of {len(found.given)} are likely wrong (thick frame)",
    )
    return figure.told(_alt(found, shown), _table(found, shown))


def _thumbnail(axes: Axes, image: Tensor, one: Suspect, found: SuspectLabels) -> None:
    likely = bool(found.likely[one.index])
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=COLOURS[1] if likely else FAINT, linewidth=3 if likely else 1)
    given, proposed = (shorten(found.classes[c], 12) for c in (one.given, one.proposed))
    said = (
        f"{found.split} {one.index}\n"
        f"given {given} {one.given_probability:.0%}\n"
        f"rather {proposed} {one.proposed_probability:.0%}"
    )
    axes.set_title(said, fontsize=8, color=INK, parse_math=False)


def _table(found: SuspectLabels, shown: tuple[Suspect, ...]) -> Any:
    table = found.table.head(len(shown))
    percent = "{:.1f} %".format
    return table.assign(
        **{
            name: [percent(100 * value) for value in table[name]]
            for name in ("its probability", "probability of that")
        },
        **{"likely wrong": ["yes" if one else "no" for one in table["likely wrong"]]},
    )


def _alt(found: SuspectLabels, shown: tuple[Suspect, ...]) -> str:
    said = "; ".join(
        f"{found.split} {one.index}: given {found.classes[one.given]} at {one.given_probability:.0%}, "
        f"proposed {found.classes[one.proposed]} at {one.proposed_probability:.0%}"
        for one in shown
    )
    return (
        f"The {len(shown)} least believable of {len(found.given)} labels; "
        f"{int(found.likely.sum())} labels are likely wrong. {said}."
    )
