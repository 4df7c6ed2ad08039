"""From a file of unknown origin to pixels: one picture at a time, judged before it is trusted.

Nothing a file contains may stop a lesson. What cannot be read is left out, what is unusual is converted, and both are
said in words, so that the learner finds the file and not a stack trace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labkit.data.report import Action

# GIF is known so that it can be named; it is for drawings, and torchvision's ImageFolder leaves it out as well.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".gif": "GIF",
}
MAX_PIXELS = 50_000_000  # 150 MB decoded; the cameras of good phones come to just below

Source = Path | Callable[[], Image.Image]
Problem = tuple[str, Action]


@dataclass(frozen=True)
class Reading:
    """What came of one file: pixels uint8 (3, size, size) or None, and what was found on the way."""

    pixels: np.ndarray | None
    problems: tuple[Problem, ...] = ()


class UnusableError(Exception):
    """Said of a file that is read no further; the message is the reason."""


def read(source: Source, size: int) -> Reading:
    """Decode one picture to `size` pixels square: the middle of it, shrunk with antialiasing.

    Never raises for what the file contains: a file that cannot be used gives no pixels and the reason.
    """
    problems: list[Problem] = []
    try:
        if isinstance(source, Path):
            with _open(source) as image:
                pixels = _pixels(_normal(image, source, size, problems), size)
        else:
            pixels = _pixels(source(), size)
        return Reading(pixels, tuple(problems))
    except UnusableError as reason:
        problem = str(reason)
    except Exception as error:  # a decoder fed with garbage may raise anything at all
        problem = f"cannot be decoded: {error or type(error).__name__}"
    return Reading(None, ((problem, "left out"),))


def _open(path: Path) -> Image.Image:
    if not path.is_file():  # a pipe or a device would block for ever
        raise UnusableError("not a regular file")
    if path.stat().st_size == 0:
        raise UnusableError("empty file")
    try:
        return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise UnusableError(f"more than {MAX_PIXELS / 1e6:.0f} million pixels") from None
    except UnidentifiedImageError:
        raise UnusableError("not a picture, whatever its name says") from None


def _normal(image: Image.Image, path: Path, size: int, problems: list[Problem]) -> Image.Image:
    """The image upright, in 8-bit RGB; what had to be done is added to `problems`."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnusableError(f"{width} × {height} pixels, more than {MAX_PIXELS / 1e6:.0f} million")
    # MPO is what cameras call a JPEG with a preview inside
    kind = "JPEG" if image.format == "MPO" else image.format
    if kind == "GIF":
        raise UnusableError("a GIF, which is for drawings; save it as PNG if it is a photograph")
    if kind != SUFFIXES[path.suffix.lower()]:
        problems.append((f"a {kind} named {path.suffix}", "kept"))
    if image.format != "MPO" and getattr(image, "is_animated", False):
        problems.append(("several frames, of which the first was taken", "converted"))
    if _is_deep(image):  # asked before the EXIF tag, for which Pillow reads a PNG to its end
        problems.append(("16 bits a channel, brought to 8", "converted"))
    if image.getexif().get(0x0112, 1) != 1:
        problems.append(("turned as its EXIF tag says", "converted"))
    shrink = 2 * size / min(width, height)
    if shrink < 1:  # JPEG decodes at half, quarter or eighth size for a fraction of the cost
        image.draft(image.mode, (int(width * shrink), int(height * shrink)))
    ImageOps.exif_transpose(image, in_place=True)
    return _rgb(image, problems)


def _is_deep(image: Image.Image) -> bool:
    """Whether the channels have 16 bits; Pillow brings coloured ones to 8 by itself, without a word."""
    return image.mode.startswith("I") or any(
        ";16" in str(tile[3]) for tile in getattr(image, "tile", ())
    )


def _rgb(image: Image.Image, problems: list[Problem]) -> Image.Image:
    if image.mode == "F":
        raise UnusableError("floating-point values of unknown range; save it with 8 bits")
    if image.mode.startswith("I"):
        eight = np.clip(np.asarray(image, dtype=np.float64) / 257, 0, 255).round()
        return Image.fromarray(eight.astype(np.uint8)).convert("RGB")
    if image.mode == "CMYK":
        problems.append(("CMYK, for printing, brought to RGB", "converted"))
    if "A" in image.getbands() or "transparency" in image.info:
        problems.append(("transparent, laid on white", "converted"))
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _pixels(image: Image.Image, size: int) -> np.ndarray:
    """The centre square of an image of any mode, resized with antialiasing, uint8 (3, size, size)."""
    square = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(square.convert("RGB")).transpose(2, 0, 1))
