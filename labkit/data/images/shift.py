"""The same things seen otherwise, on purpose: what another light, another lens or another clinic does to an image.

Every kind goes from 0, the image as it is, to 1, at which a person still tells what most images show. The kinds
follow Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
2019; the last two borrow the looks of medicine. None of them says anything about real X-rays or real tissue.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, get_args

from labkit.errors import DataError, shown
from labkit.runtime import generator, real_number

if TYPE_CHECKING:  # here and not above: the names of the kinds are listed where nothing is shifted
    import torch
    from torch import Tensor

Kind = Literal["noise", "blur", "contrast", "dark", "negative", "stain"]
KINDS: tuple[str, ...] = get_args(Kind)

DONE = {
    "noise": "grain of a camera in poor light",
    "blur": "out of focus",
    "contrast": "washed out, towards the grey of its mean",
    "dark": "too little light",
    "negative": "turned grey and inverted, as an X-ray image looks",
    "stain": "grey turned into the violet and pink of stained tissue",
}

CHUNK = 256  # images that are changed together; their noise has one stream
GRAIN = 0.25  # standard deviation of the noise at full strength, where white is 1
FOCUS = 0.04  # standard deviation of the blur at full strength, as a share of the side
CONTRAST, LIGHT = 0.2, 0.3  # what is left of them at full strength
# Optical densities of haematoxylin and eosin in red, green and blue (Ruifrok and Johnston, "Quantification of
# histochemical staining by color deconvolution", 2001), which dye the dark parts and those half-way to it.
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)


def check_shift(kind: Any, strength: Any) -> tuple[str, float]:
    """Kind and strength, if images can be shifted by them; else raise `DataError`."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"kind={shown(kind)} is no shift; choose {', '.join(KINDS)}")
    number = real_number(strength)
    if number is None or not 0 <= number <= 1:
        raise DataError(
            f"strength={shown(strength)} is no strength; choose a number from 0 (as it is) to 1"
        )
    return kind, float(number)


def shifted(images: Tensor, kind: str, strength: float, seed: int = 0) -> Tensor:
    """A changed copy, in memory, of uint8 images (M, 3, H, W); the same arguments give the same pixels.

    What happens to an image depends on its place among the M and on nothing else that is random.
    """
    import torch

    kind, strength = check_shift(kind, strength)
    change, made = _CHANGES[kind], torch.empty(images.shape, dtype=torch.uint8, device="cpu")
    for number, rows in enumerate(torch.arange(len(images), device="cpu").split(CHUNK)):
        given = images[rows].float().div_(255)
        if strength:
            given = change(given, strength, generator(seed, "shift", number)).clamp_(0, 1)
        made[rows] = given.mul_(255).round_().byte()
    return made


# ---------------------------------------------------------------- the kinds, on floats (n, 3, H, W) in [0, 1]


def _noise(images: Tensor, strength: float, chance: torch.Generator) -> Tensor:
    import torch

    from labkit.data.images.augment import PLAIN

    # torchvision's own takes no generator.
    return images + GRAIN * strength * torch.randn(images.shape, generator=chance, **PLAIN)


def _blur(images: Tensor, strength: float, _: torch.Generator) -> Tensor:
    sigma = FOCUS * strength * images.shape[-1]
    kernel = 2 * ceil(3 * sigma) + 1
    return _torchvision().gaussian_blur(images, [kernel, kernel], [sigma, sigma])


def _contrast(images: Tensor, strength: float, _: torch.Generator) -> Tensor:
    return _torchvision().adjust_contrast(images, 1 - (1 - CONTRAST) * strength)


def _dark(images: Tensor, strength: float, _: torch.Generator) -> Tensor:
    return _torchvision().adjust_brightness(images, 1 - (1 - LIGHT) * strength)


def _negative(images: Tensor, strength: float, _: torch.Generator) -> Tensor:
    # Half-way bright and dark parts look alike: a mixture of an image and its negative would be flat grey there.
    return images.lerp(_grey(images), strength).sub(strength).abs() / max(strength, 1 - strength)


def _stain(images: Tensor, strength: float, _: torch.Generator) -> Tensor:
    import torch

    from labkit.data.images.augment import PLAIN

    density = 1 - _grey(images)
    haematoxylin, eosin = (
        torch.tensor(dye, **PLAIN)[:, None, None] for dye in (HAEMATOXYLIN, EOSIN)
    )
    light = density.square() * haematoxylin + density * (1 - density) * eosin
    return images.lerp(torch.exp(-2 * light), strength)


def _grey(images: Tensor) -> Tensor:
    grey: Tensor = _torchvision().rgb_to_grayscale(images, num_output_channels=3)
    return grey


def _torchvision() -> Any:
    from torchvision.transforms.v2 import (
        functional,
    )  # takes a moment, and few data sets are shifted

    return functional


_CHANGES: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "dark": _dark,
    "negative": _negative,
    "stain": _stain,
}
