"""Random changes to whole batches that keep the class: each image its own draw, all from one generator.

Everything geometric is one affine map per image, so a batch costs one `grid_sample` whatever the level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.errors import DataError

Level = Literal["none", "light", "strong"]
LEVELS: tuple[str, ...] = get_args(Level)


@dataclass(frozen=True)
class Recipe:
    """How far a level goes: smallest zoom (share of the side), turn in degrees, colour and erasing as shares."""

    zoom: float
    turn: float = 0.0
    colour: float = 0.0
    erase: float = 0.0


RECIPES = {"light": Recipe(zoom=0.8), "strong": Recipe(zoom=0.6, turn=15, colour=0.4, erase=0.5)}


def check_level(level: str) -> None:
    """Raise `DataError` unless `level` is one of the augmentation levels."""
    if level not in LEVELS:
        raise DataError(
            f"augment={level!r} is no level of augmentation; choose {', '.join(LEVELS)}"
        )


def augment(images: Tensor, level: str, flip: bool, generator: torch.Generator) -> Tensor:
    """A randomly changed copy of float images (n, 3, H, W) in [0, 1].

    light crops down to 80 % of the side and mirrors where `flip` allows it; strong crops to 60 %, turns by up to 15
    degrees, shifts brightness, contrast and saturation by up to 40 %, and greys out a rectangle in half the images
    (random erasing, Zhong et al., 2017).
    """
    check_level(level)
    if level == "none" or not len(images):
        return images
    recipe = RECIPES[level]
    matrices = _affine(len(images), recipe, flip, generator)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if recipe.colour:
        images = _recolour(images, recipe.colour, generator)
    return _erase(images, recipe.erase, generator) if recipe.erase else images


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator)


def _affine(n: int, recipe: Recipe, flip: bool, generator: torch.Generator) -> Tensor:
    """(n, 2, 3) maps from output to input coordinates: turn, zoom, mirror, and a shift that stays inside."""
    zoom = _uniform(n, recipe.zoom, 1.0, generator)
    angle = _uniform(n, -recipe.turn, recipe.turn, generator).deg2rad()
    shift = _uniform(2 * n, -1.0, 1.0, generator).view(n, 2) * (1 - zoom)[:, None]
    mirror = torch.where(torch.rand(n, generator=generator) < (0.5 if flip else 0.0), -1.0, 1.0)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    rows = [mirror * cos, -sin, shift[:, 0], mirror * sin, cos, shift[:, 1]]
    return torch.stack(rows, dim=1).view(n, 2, 3)


def _recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation, each multiplied by its own factor per image."""
    low, high = 1 - strength, 1 + strength
    brightness, contrast, saturation = (
        _uniform(len(images), low, high, generator).view(-1, 1, 1, 1) for _ in range(3)
    )
    images = images * brightness
    grey = images.mean(dim=1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    return (mean + contrast * (images - mean)).clamp_(0, 1)


def _erase(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A grey rectangle of a quarter to half the side somewhere in `share` of the images."""
    n, _, height, width = images.shape
    hit = (torch.rand(n, generator=generator) < share)[:, None]
    inside = []
    for side in (height, width):
        length = _uniform(n, 0.25, 0.5, generator) * side
        start = torch.rand(n, generator=generator) * (side - length)
        place = torch.arange(side)[None]
        inside.append((place >= start[:, None]) & (place < (start + length)[:, None]) & hit)
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.5)
