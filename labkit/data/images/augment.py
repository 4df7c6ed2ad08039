"""Random changes to whole batches that keep the class: each image its own draw, all from one generator.

What happens to each sample of a split is drawn first (`draw`), then done to the samples of a batch (`change`), so that
a sample's view depends on the generator alone and can be made again. Everything geometric is one affine map per image:
a batch costs one `grid_sample` whatever the level. (torchvision's v2 transforms change all images of a batch alike.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.errors import DataError, shown

Level = Literal["none", "light", "strong"]
LEVELS: tuple[str, ...] = get_args(Level)
# What is drawn, whatever defaults a notebook gave torch: generators live on the CPU, and images are float32.
PLAIN: Any = {"device": "cpu", "dtype": torch.float32}
NOTHING = torch.empty(0, **PLAIN)


@dataclass(frozen=True)
class AugmentationLevel:
    """How far a level goes: smallest zoom (share of the side), turn in degrees, colour and erasing as shares."""

    zoom: float
    turn: float = 0.0
    colour: float = 0.0
    erase: float = 0.0


RECIPES = {
    "light": AugmentationLevel(zoom=0.8),
    "strong": AugmentationLevel(zoom=0.6, turn=15, colour=0.4, erase=0.5),
}


def check_level(level: str) -> str:
    """The level, if it is one of the levels of augmentation; else raise `DataError`."""
    if level not in LEVELS:
        raise DataError(
            f"augment={shown(level)} is no level of augmentation; choose {', '.join(LEVELS)}"
        )
    return level


@dataclass(frozen=True)
class Changes:
    """What is to be done to N images; a field is empty where the level leaves it alone.

    `maps` (N, 2, 3) from output to input coordinates; `colours` (N, 3) factors of brightness, contrast, saturation;
    `patches` (N, 4) top, bottom, left and right of a rectangle in pixels, empty where top equals bottom.
    """

    maps: Tensor
    colours: Tensor
    patches: Tensor

    def __getitem__(self, rows: Tensor) -> Changes:
        return Changes(
            *(part[rows] if len(part) else part for part in (self.maps, self.colours, self.patches))
        )


def draw(
    n: int, level: str, flip: bool, size: Sequence[int], generator: torch.Generator
) -> Changes:
    """What a level does to each of n images of `size` (height, width).

    light crops down to 80 % of the side and mirrors where `flip` allows it; strong crops to 60 %, turns by up to 15
    degrees, shifts brightness, contrast and saturation by up to 40 %, and greys out a rectangle in half the images
    (random erasing, Zhong et al., 2017).
    """
    recipe = RECIPES[check_level(level)]
    maps = _affine(n, recipe, flip, generator)
    low, high = 1 - recipe.colour, 1 + recipe.colour
    colours = _uniform(3 * n, low, high, generator).view(n, 3) if recipe.colour else NOTHING
    patches = _patches(n, recipe.erase, size, generator) if recipe.erase else NOTHING
    return Changes(maps, colours, patches)


def change(images: Tensor, changes: Changes) -> Tensor:
    """A changed copy of float images (n, 3, H, W) in [0, 1]."""
    if not len(images):
        return images
    grid = F.affine_grid(changes.maps, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if len(changes.colours):
        images = _recolour(images, changes.colours)
    return _erase(images, changes.patches) if len(changes.patches) else images


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(n, **PLAIN).uniform_(low, high, generator=generator)


def _affine(n: int, recipe: AugmentationLevel, flip: bool, generator: torch.Generator) -> Tensor:
    """(n, 2, 3) maps from output to input coordinates: turn, zoom, mirror, and a shift that stays inside."""
    zoom = _uniform(n, recipe.zoom, 1.0, generator)
    angle = _uniform(n, -recipe.turn, recipe.turn, generator).deg2rad()
    shift = _uniform(2 * n, -1.0, 1.0, generator).view(n, 2) * (1 - zoom)[:, None]
    mirror = 1 - 2 * (torch.rand(n, generator=generator, **PLAIN) < (0.5 if flip else 0.0)).float()
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    rows = [mirror * cos, -sin, shift[:, 0], mirror * sin, cos, shift[:, 1]]
    return torch.stack(rows, dim=1).view(n, 2, 3)


def _patches(n: int, share: float, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """(n, 4) edges of a rectangle of a quarter to half the side in `share` of the images, of nothing in the others."""
    hit = torch.rand(n, generator=generator, **PLAIN) < share
    edges = []
    for side in size:
        length = _uniform(n, 0.25, 0.5, generator) * side * hit
        start = torch.rand(n, generator=generator, **PLAIN) * (side - length)
        edges += [start, start + length]
    return torch.stack(edges, dim=1)


def _recolour(images: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation, each multiplied by its own factor per image."""
    brightness, contrast, saturation = factors.T[:, :, None, None, None]
    images = images * brightness
    grey = images.mean(dim=1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    return (mean + contrast * (images - mean)).clamp_(0, 1)


def _erase(images: Tensor, patches: Tensor) -> Tensor:
    """A grey rectangle where there is one."""
    inside = []
    for side, (start, end) in zip(images.shape[-2:], patches.T.split(2), strict=True):
        place = torch.arange(side, device=images.device)[None]
        inside.append((place >= start[:, None]) & (place < end[:, None]))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.5)
