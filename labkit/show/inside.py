"""What a network looks for and where it finds it, drawn: first filters, activations and Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from labkit import insight
from labkit.insight.inside import first, split_of
from labkit.insight.looking import Activations, Filters, GradCam
from labkit.show.figure import (
    CARD,
    EDGE,
    INK,
    SHADES,
    Figure,
    colour_bar,
    headline,
    shorten,
)
from labkit.tuning.contracts import Split
from labkit.tuning.given import MOST_DRAWN, a_count, a_run_or, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

MOST_FILTERS = 64
ACROSS = 6  # panels side by side


@takes(seen=a_run_or(Filters, "what insight.filters gave"))
def plot_filters(seen: Run | Filters) -> Figure:
    """The filters of the first convolution as colours, the longest first; grey is zero.

    Each is scaled to its own largest weight, so that faint ones can be seen too; lengths are in the table.
    """
    found = seen if isinstance(seen, Filters) else insight.filters(seen)
    order = found.weights.flatten(1).norm(dim=1).argsort(descending=True, stable=True)
    shown = order[:MOST_FILTERS].tolist()
    columns = min(16, max(8, -(-len(shown) // 4)))
    rows = -(-len(shown) // columns)
    figure = Figure(0.62 * columns + 0.4, 0.78 * rows + 0.7)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, number in zip(grid, shown, strict=False):
        _plain(axes, f"{number}")
        weights = found.weights[number]
        axes.imshow(_colours(weights / (2 * weights.abs().max().clamp(min=1e-12)) + 0.5))
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    height, width = found.weights.shape[-2:]
    of = f"{len(shown)} of {len(order)}" if len(shown) < len(order) else f"{len(order)}"
    title = f"{of} filters of {found.layer}, {height} x {width} pixels; grey is zero"
    headline(figure, title)
    moved = found.moved
    alt = (
        f"{title}. Since the start they moved by {100 * float(moved.median()):.2g} % of their length (median), "
        f"at most by {100 * float(moved.max()):.2g} %."
    )
    return figure.told(alt, found.table)


@takes(seen=a_run_or(Activations, "what insight.activations gave"), count=a_count(1, MOST_DRAWN))
def plot_activations(
    seen: Run | Activations,
    image: int | Tensor = 0,
    stage: str | None = None,
    split: Split | str = "valid",
    count: int = 11,
) -> Figure:
    """An image and what a stage makes of it: the channels that tell its places apart most, on one scale."""
    found = (
        seen
        if isinstance(seen, Activations)
        else insight.activations(seen, image, stage, split=split)
    )
    channels = found.strongest(count)
    maps = found.maps[channels].numpy()
    rows = -(-(len(channels) + 1) // ACROSS)
    figure = Figure(1.45 * ACROSS + 0.9, 1.65 * rows + 0.5)
    grid = list(figure.subplots(rows, ACROSS, squeeze=False).flat)
    grid[0].imshow(_colours(found.image), interpolation="nearest")
    _plain(grid[0], shorten(found.name, 18))
    for axes, channel, values in zip(grid[1:], channels, maps, strict=False):
        drawn = axes.imshow(values, cmap=SHADES, vmin=maps.min(), vmax=maps.max())
        _plain(axes, f"channel {channel}")
    for axes in grid[len(channels) + 1 :]:
        axes.set_axis_off()
    colour_bar(figure, drawn, grid, "activation (no unit)")
    size = f"{found.layer.height} x {found.layer.width}"
    extent = f"{len(channels)} of {len(found.maps)} channels, {size} places"
    headline(figure, f"{found.layer.name}: {extent}")
    peak = found.table["peak"]
    alt = (
        f"{found.name} and what {found.layer.name} makes of it: {extent}. "
        f"The channel that varies most is {channels[0]}, with values up to {peak[channels[0]]:.2g}."
    )
    return figure.told(alt, found.table.loc[channels])


@takes(seen=a_run_or(GradCam, "what insight.grad_cam gave"))
def plot_grad_cam(
    seen: Run | GradCam,
    images: int | Sequence[int] | Tensor | None = None,
    stage: str | None = None,
    target: str | int | None = None,
    split: Split | str = "valid",
) -> Figure:
    """Each image, and below it where it speaks for the class: the brighter the more.

    A line encloses the places above half of the image's own peak. `images` are positions in the split, by default
    the first six.
    """
    if isinstance(seen, GradCam):
        found = seen
    else:
        chosen = first(split_of(seen, split), ACROSS) if images is None else images
        found = insight.grad_cam(seen, chosen, stage, target, split=split)
    count = len(found.targets)
    abreast = min(count, ACROSS)
    rows = -(-count // abreast)
    figure = Figure(max(3.6, 1.55 * abreast), rows * 3.75 + 0.45)
    grid = figure.subplots(2 * rows, abreast, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for number in range(count):
        row, column = divmod(number, abreast)
        _lit(grid[2 * row, column], grid[2 * row + 1, column], found, number)
    layer = found.layer
    title = f"Grad-CAM at {layer.name}, {layer.height} x {layer.width} places"
    headline(figure, title)
    return figure.told(f"{title}. {' '.join(_where(row) for row in _rows(found))}", found.table)


def _lit(above: Axes, below: Axes, found: GradCam, number: int) -> None:
    pixels, heat = found.images.pixels[number], found.heat[number]
    name, share = found.classes[found.targets[number]], found.probabilities[number]
    labels = found.images.labels
    truth = f": truly {shorten(found.classes[labels[number]], 10)}" if labels else ""
    above.imshow(_colours(pixels), interpolation="nearest")
    _plain(above, f"{shorten(found.images.names[number], 18)}{truth}")
    grey = pixels.mean(0, keepdim=True).expand(3, -1, -1)
    hot = torch.from_numpy(np.asarray(SHADES(heat.numpy()))[..., :3]).permute(2, 0, 1).float()
    below.imshow(_colours(0.45 * grey + 0.55 * hot), interpolation="nearest")
    _plain(below, f"for {shorten(name, 14)}: {100 * share:.0f} %")
    if heat.max() > 0:
        # Twice, so that it shows on dark ground and on bright.
        for colour, width in ((INK, 3.0), (CARD, 1.4)):
            below.contour(heat.numpy(), levels=[0.5], colors=[colour], linewidths=width)
    else:
        below.text(0.5, 0.5, "nothing", transform=below.transAxes, ha="center", color=CARD)


def _rows(found: GradCam) -> list[Any]:
    return list(found.table.itertuples(index=False, name=None))


def _where(row: Any) -> str:
    name, target, probability, true, across, down = row
    said = f"{name}: {target} at {100 * probability:.0f} %" + (f", truly {true}" if true else "")
    if isnan(across):
        return f"{said}, nothing speaks for it."
    side = "left" if across < 0.4 else "right" if across > 0.6 else "middle"
    level = "upper" if down < 0.4 else "lower" if down > 0.6 else "central"
    return f"{said}, because of the {level} {side}."


def _colours(pixels: Tensor) -> Any:
    return pixels.clamp(0, 1).permute(1, 2, 0).numpy()


def _plain(axes: Axes, title: str) -> None:
    """A panel without ticks, under its name."""
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8, color=INK, parse_math=False, pad=3)
    for spine in axes.spines.values():
        spine.set(color=EDGE, linewidth=0.8)
