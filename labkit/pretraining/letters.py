"""Letters to learn from: drawn from the fonts that matplotlib ships, then distorted until they look hand-made.

No digit is ever drawn. The distortion imitates how scikit-learn's digits came to be: a bitmap of a hand-written sign,
stretched to fill its box, counted down to 8 x 8 grey cells, and enlarged again for the network.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from math import pi
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from labkit.errors import LabkitError
from labkit.hosts import how_to_install

CASELESS = frozenset("ckopsuvwxyz")  # stretched to fill a box, one shape in both cases
CLASSES = tuple(
    letter + letter.upper() if letter in CASELESS else letter
    for letter in string.ascii_letters
    if letter.lower() not in CASELESS or letter.islower()
)
MASTER = 64  # side of a drawn letter in pixels; the letter fills the middle 48
INK = 48
SYMBOLS = re.compile("^STIXSiz|^STIXNonUni|^LastResort|^cmex|^cmsy|Display")


@dataclass(frozen=True)
class Letters:
    """Every letter in every font: images uint8 (N, 1, 64, 64), bright on dark; labels int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def fonts() -> list[Path]:
    """The text fonts that matplotlib ships, by name; those of symbols are left out."""
    spec = find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise LabkitError(
            "The letters are drawn with the fonts that matplotlib ships, and matplotlib is not installed. "
            f"Run: {how_to_install()}"
        )
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return sorted(path for path in folder.glob("*.ttf") if not SYMBOLS.search(path.name))


def draw_letters() -> Letters:
    """Draw every letter of the alphabet, small and capital, in every font."""
    images, labels = [], []
    for path in fonts():
        font = ImageFont.truetype(str(path), 2 * MASTER)
        for label, letters in enumerate(CLASSES):
            for letter in letters:
                images.append(_draw(letter, font))
                labels.append(label)
    return Letters(torch.from_numpy(np.stack(images))[:, None], torch.tensor(labels))


def _draw(letter: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    """One letter, stretched to the full height of its box; its width follows, up to the box. uint8 (64, 64)."""
    left, top, right, bottom = font.getbbox(letter)
    sheet = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(sheet).text((1 - left, 1 - top), letter, fill=255, font=font)
    sheet = sheet.crop(sheet.getbbox())
    width = min(INK, max(4, round(sheet.width * INK / sheet.height)))
    master = Image.new("L", (MASTER, MASTER))
    master.paste(
        sheet.resize((width, INK), Image.Resampling.BOX),
        ((MASTER - width) // 2, (MASTER - INK) // 2),
    )
    return np.asarray(master)


def distort(images: Tensor, generator: torch.Generator, size: int = 32) -> Tensor:
    """What a hand would do to drawn letters: uint8 (n, 1, 64, 64) to float (n, 3, size, size) in [0, 1].

    Each letter is slanted, turned, stretched and bent (elastic deformation: Simard et al., 2003), its stroke made
    thicker or thinner, then counted down to 8 x 8 cells of 17 grey levels and enlarged.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(len(images), *shape).uniform_(low, high, generator=generator)

    grid = _bent_grid(len(images), size, uniform, generator)
    ink = F.grid_sample(images.float() / 255, grid, align_corners=False)
    ink = F.avg_pool2d(F.pad(ink, (1, 1, 1, 1)), 3, stride=1)
    # across a blurred edge a threshold moves the outline: lower is a thicker stroke
    ink = torch.sigmoid((ink - uniform(0.12, 0.6, 1, 1, 1)) * uniform(8, 30, 1, 1, 1))
    cells = F.avg_pool2d(ink, size // 8)
    cells = (cells * uniform(0.85, 1.15, 1, 1, 1)).clamp(0, 1).mul(16).round() / 16
    grey = F.interpolate(cells, size=(size, size), mode="bilinear", align_corners=False)
    return grey.expand(-1, 3, -1, -1)


def _bent_grid(
    n: int, size: int, uniform: Callable[..., Tensor], generator: torch.Generator
) -> Tensor:
    """Where each pixel of the result looks in the drawn letter: (n, size, size, 2) in [-1, 1]."""
    angle, slant = uniform(-pi / 10, pi / 10), uniform(-0.45, 0.45)
    wide, tall = uniform(0.65, 1.15), uniform(0.68, 0.85)  # tall = 0.75 fills the height
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), 1).view(n, 2, 2)
    shape = torch.stack((wide, slant * tall, torch.zeros(n), tall), 1).view(n, 2, 2)
    theta = torch.cat((turn @ shape, uniform(-0.08, 0.08, 2, 1)), 2)
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    bend = torch.randn(n, 2, 5, 5, generator=generator) * uniform(0, 0.12, 1, 1, 1)
    bend = F.interpolate(bend, size=(size, size), mode="bicubic", align_corners=True)
    return grid + bend.permute(0, 2, 3, 1)
