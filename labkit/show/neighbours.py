"""What a network knows before it is taught: an image on its way through the stages, and the images found alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from labkit import insight
from labkit.errors import DataError, StageError
from labkit.insight.inside import first, split_of
from labkit.insight.looking import Activations
from labkit.insight.neighbours import Neighbours
from labkit.show.figure import COLOURS, EDGE, INK, Figure, shorten
from labkit.tuning.contracts import Data, Split
from labkit.tuning.given import MOST_DRAWN, a_count, a_run, a_run_or, takes

if TYPE_CHECKING:
    from labkit.tuning import Run


# ---------------------------------------------------------------- through the stages


@takes(run=a_run)
def journey(run: Run, image: int | Tensor = 0, split: Split | str = "valid") -> Figure:
    """An image and what each stage makes of it: how strong the stage answers at every place, over all its channels.

    Each panel has a scale of its own, from its weakest place to its strongest. Below stand the numbers of channels and
    of places. A stage that knows no places any more is left out.
    """
    seen = _stages(run, image, split)
    asked = next(iter(seen.values()))
    figure = Figure(1.55 * (len(seen) + 1), 2.35)
    panels = list(figure.subplots(1, len(seen) + 1, squeeze=False).flat)
    _image(panels[0], asked.image)
    _named(panels[0], shorten(asked.name, 18), " x ".join(map(str, asked.image.shape[-2:])))
    rows = []
    for axes, (stage, found) in zip(panels[1:], seen.items(), strict=True):
        axes.imshow(found.maps.abs().mean(0).numpy(), cmap="cividis", interpolation="nearest")
        size = f"{found.layer.height} x {found.layer.width}"
        _named(axes, stage, f"{len(found.maps)} channels\n{size} places")
        rows.append((stage, len(found.maps), found.layer.height, found.layer.width))
    _headline(figure, f"{run.name}: one image, stage by stage; bright is a strong answer")
    table = pd.DataFrame(rows, columns=["stage", "channels", "places down", "places across"])
    said = ", ".join(f"{stage} {n} channels of {h} x {w}" for stage, n, h, w in rows)
    return figure.told(f"{asked.name} on its way through {run.name}: {said}.", table)


def _stages(run: Run, image: int | Tensor, split: Split | str) -> dict[str, Activations]:
    """What every stage with places makes of the image, input to output."""
    seen = {}
    for stage in run.stages[:-1]:
        try:
            seen[stage] = insight.activations(run, image, stage, split)
        except StageError:
            continue
    if not seen:
        raise StageError(
            f"No stage of {run.net.name} gives a map of an image. Take another backbone, such as resnet10."
        )
    return seen


# ---------------------------------------------------------------- found alike


@takes(seen=a_run_or(Neighbours, "what insight.neighbours gave"))
def plot_neighbours(seen: Run | Neighbours, data: Data | Split | None = None, **how: Any) -> Figure:
    """A row for each image asked about: the image, then its nearest neighbours, the nearest first.

    A tick and a thin frame mean the same class, a cross and a thick frame another. `how` is passed on to
    `insight.neighbours`: stage, images, count, split; without `images` the first six are asked about. Neighbours that
    were found already are drawn with the `data` they were found in.
    """
    if isinstance(seen, Neighbours):
        found, name = seen, seen.stage
        part: Split = _found_in(data, found)
    else:
        part = split_of(seen, how.get("split", "valid"))
        if how.get("images") is None:
            how["images"] = first(part, 6)
        found = insight.neighbours(seen, **how)
        name = f"{seen.name}, {found.stage}"
    rows, columns = found.found.shape[0], found.found.shape[1] + 1
    a_count(1, MOST_DRAWN)("neighbours", "rows times columns", rows * columns)
    figure = Figure(0.4 + 1.2 * columns, 0.6 + 1.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for line, asked, near, cosines in zip(grid, found.asked, found.found, found.alike, strict=True):
        pixels, labels = part.batch(torch.cat([asked.reshape(1), near]))
        names = [found.classes[label] for label in labels.tolist()]
        _asked(line[0], pixels[0], names[0])
        for number, (axes, alike) in enumerate(zip(line[1:], cosines, strict=True), start=1):
            same = names[number] == names[0]
            _near(axes, pixels[number], names[number], float(alike), same)
    _headline(figure, f"{name}: an image (left) and its nearest neighbours (cosine)")
    return figure.told(_words(found, name), found.table)


def _found_in(data: Data | Split | None, found: Neighbours) -> Split:
    """The split that neighbours were found in. Raises DataError where these are other data."""
    part: Any = getattr(data, found.split, data)
    if not hasattr(part, "batch") or len(part) != len(found.labels):
        raise DataError(
            f"These neighbours were found among {len(found.labels)} samples of {found.split}. Give the data they were "
            "found in: labkit.neighbours(found, data)."
        )
    return part


def _asked(axes: Axes, image: Tensor, name: str) -> None:
    _image(axes, image)
    axes.set_title(f"asked: {shorten(name, 12)}", fontsize=8, color=INK, parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=INK, linewidth=2)


def _near(axes: Axes, image: Tensor, name: str, alike: float, same: bool) -> None:
    _image(axes, image)
    title = f"{'✓' if same else '✗'} {shorten(name, 9)} {alike:.2f}"
    axes.set_title(title, fontsize=8, color=INK, parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=COLOURS[2] if same else COLOURS[1], linewidth=1 if same else 3)


def _words(found: Neighbours, name: str) -> str:
    table = found.table
    said = "; ".join(
        f"{rows['class'].iloc[0]} with {', '.join(rows['class of neighbour'])}"
        for _, rows in table.groupby("sample", sort=False)
    )
    same = int((table["class"] == table["class of neighbour"]).sum())
    return f"Nearest neighbours at {name}, {same} of {len(table)} of the same class: {said}."


def _image(axes: Axes, pixels: Tensor) -> None:
    axes.imshow(pixels.clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def _named(axes: Axes, title: str, below: str) -> None:
    """A panel without ticks, with its name above and its size below."""
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, color=INK, parse_math=False)
    axes.set_xlabel(below, fontsize=8, color=INK, parse_math=False)
    for spine in axes.spines.values():
        spine.set(color=EDGE, linewidth=0.8)


def _headline(figure: Figure, text: str) -> None:
    figure.suptitle(text, color=INK, fontsize=10, x=0.01, ha="left", parse_math=False)
