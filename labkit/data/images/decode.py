"""From a file of unknown origin to pixels: one image at a time, judged before it is trusted.

Nothing a file contains may stop a lesson. What cannot be read is left out, what is unusual is converted, and both are
said in words, so that the learner finds the file and not a stack trace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from labkit.data.images.sniff import describe, is_jpeg, may_be_deep
from labkit.data.report import Action, FileFinding

# GIF is known so that it can be named; it is for drawings, and torchvision's ImageFolder leaves it out as well.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".gif": "GIF",
    # What phones write and Pillow reads in part or not at all. They are opened to say so, and because many a .heic is
    # a JPEG that an exporting program did not rename.
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".avif": "AVIF",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
}
MAX_PIXELS = 52_000_000  # decoded at a time, 156 MB; phones write up to 8192 × 6144
# A JPEG is decoded at half, quarter or eighth size, so far more may be stored: phones write 16320 × 12240. A
# progressive one is held whole before that, 2 bytes a value.
MAX_JPEG, MAX_PROGRESSIVE = 210_000_000, 120_000_000
DEEP = re.compile(r"(?P<bits>\d+) bits a channel(, of which (?P<used>\d+) are used)?, brought to 8")
DARK = 16  # of 255: an image without a brighter value cannot be told from black
TURNED = range(2, 9)  # the values of the EXIF tag that ask for a turn or a mirror

Source = Path | Callable[[], Image.Image]
Problem = tuple[str, Action]

_one_large = Lock()  # several large photographs at a time would not fit into a small machine


@dataclass(frozen=True)
class DecodedFile:
    """What came of one file: pixels uint8 (3, size, size) or None, and what was found on the way."""

    pixels: np.ndarray | None
    problems: tuple[Problem, ...] = ()


class UnusableError(Exception):
    """Said of a file that is read no further; the message is the reason."""


def read(source: Source, size: int, white: int | None = None) -> DecodedFile:
    """Decode one image to `size` pixels square: the middle of it, shrunk with antialiasing.

    `white` is the value that becomes 255 in grey images with more than 8 bits, see `full_scale`; by default it is
    the image's own. Never raises for what the file contains: a file that cannot be used gives no pixels and the
    reason.
    """
    problems: list[Problem] = []
    try:
        if not isinstance(source, Path):
            return DecodedFile(_pixels(source(), size))
        with _open(source) as image, _one_large if _area(image) > MAX_PIXELS else nullcontext():
            deep = _is_deep_colour(image), image.mode.startswith("I")  # known until it is decoded
            pixels = _pixels(_normal(image, source, size, white, problems), size)
        if pixels.max() < DARK:
            problems.append((_describe_dark(int(pixels.max()), *deep, white), "kept"))
        return DecodedFile(pixels, tuple(problems))
    except UnusableError as reason:
        problem = str(reason)
    except Exception as error:  # a decoder fed with garbage may raise anything at all
        problem = f"cannot be decoded: {error or type(error).__name__}"
    return DecodedFile(None, ((problem, "left out"),))


# ---------------------------------------------------------------- more than 8 bits


def largest(source: Source) -> int:
    """The largest value of a grey image with more than 8 bits; 0 for any other and for what cannot be read."""
    try:
        if isinstance(source, Path) and source.is_file() and may_be_deep(source):
            with _open(source) as image:
                _check_area(image)
                return max(0, int(_values(image).max())) if image.mode.startswith("I") else 0
    except Exception:  # `read` will say what is wrong with it
        pass
    return 0


def full_scale(value: int) -> int:
    """What counts as white where `value` is the largest of all: the top of the fewest bits, 8 or more, that hold it.

    Cameras store 10, 12 or 14 bits in 16. Asking the whole folder, not each image, keeps a dark image darker than
    its neighbours.
    """
    return (1 << max(8, value.bit_length())) - 1


def _values(image: Image.Image) -> np.ndarray:
    """The grey values of an image of mode I or I;16."""
    values = np.asarray(image)
    if _tag(image, 339) == 1 and values.dtype == np.int32:  # unsigned, which Pillow does not tell
        return values.view(np.uint32)
    return values


def _eight_bits(image: Image.Image, white: int | None, problems: list[Problem]) -> Image.Image:
    """A grey image of more than 8 bits in RGB, with `white` as 255, and what is transparent as well."""
    values = _values(image)
    white = full_scale(max(0, int(values.max()))) if white is None else white
    problems.append((_describe_depth(image, values, white), "converted"))
    eight = (values * np.float32(255 / white)).round().clip(0, 255).astype(np.uint8)
    if (
        _tag(image, 262) == 0
    ):  # a TIFF that counts from white to black; Pillow turns round 8 bits only
        eight = 255 - eight
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        problems.append(("transparent, laid on white", "converted"))
        eight[values == clear] = 255
    return Image.fromarray(eight).convert("RGB")


def _describe_depth(image: Image.Image, values: np.ndarray, white: int) -> str:
    bits = 16 if ";16" in image.mode or image.format == "PPM" else 32
    used = f", of which {white.bit_length()} are used" if white.bit_length() < bits else ""
    signs = ", negative values to black" if values.min() < 0 else ""
    return f"{bits} bits a channel{used}, brought to 8{signs}"


def _describe_dark(brightest: int, deep_colour: bool, deep_grey: bool, white: int | None) -> str:
    """That an image came out almost black, and why, where that is because it has more than 8 bits."""
    told = f"almost black: no value above {brightest} of 255"
    if deep_colour:
        return f"{told}; of 16-bit colours only the upper 8 bits are read, so save it with 8"
    if deep_grey and white is not None:
        return f"{told}; {white} is white in all grey files of more than 8 bits here, so that they compare"
    return told


def white_of(report: Iterable[FileFinding]) -> int | None:
    """The value that was white in the deep grey files of a data set, as its report tells; None where it tells none."""
    told = [DEEP.search(finding.problem) for finding in report]
    found = [one for one in told if one]
    # one white for all of a folder: a file that uses all its bits, or is coloured, does not say how many
    bits = [int(one["used"]) for one in found if one["used"]] or [int(one["bits"]) for one in found]
    return (1 << max(bits)) - 1 if bits else None


def _tag(image: Image.Image, number: int) -> int | None:
    """A number out of the tags of a TIFF, the first where there are several."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) else value


# ---------------------------------------------------------------- step by step


def _open(path: Path) -> Image.Image:
    if not path.is_file():  # a pipe or a device would block for ever
        raise UnusableError("not a regular file")
    if path.stat().st_size == 0:
        raise UnusableError("empty file")
    try:
        return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        if is_jpeg(path):  # Pillow counts what is stored; `_check_area` asks again
            return JpegImageFile(path)
        raise UnusableError(f"more than {MAX_PIXELS / 1e6:.0f} million pixels") from None
    except UnidentifiedImageError:
        raise UnusableError(describe(path)) from None


def _area(image: Image.Image) -> int:
    return image.width * image.height


def _check_area(image: Image.Image) -> None:
    most = MAX_PIXELS
    if image.format in ("JPEG", "MPO"):
        most = MAX_PROGRESSIVE if image.info.get("progressive") else MAX_JPEG
    if _area(image) > most:
        raise UnusableError(
            f"{image.width} × {image.height} pixels, more than {most / 1e6:.0f} million"
        )


def _normal(
    image: Image.Image, path: Path, size: int, white: int | None, problems: list[Problem]
) -> Image.Image:
    """The image upright, in 8-bit RGB; what had to be done is added to `problems`."""
    _check_area(image)
    # MPO is what cameras call a JPEG with a preview inside
    kind = "JPEG" if image.format == "MPO" else image.format
    if kind == "GIF":
        raise UnusableError("a GIF, which is for drawings; save it as PNG if it is a photograph")
    if kind != SUFFIXES[path.suffix.lower()]:
        problems.append((f"a {kind} named {path.suffix}", "kept"))
    if image.format != "MPO" and getattr(image, "is_animated", False):
        problems.append(("several frames, of which the first was taken", "converted"))
    _match_transparency(image)  # both before the EXIF tag, for which Pillow reads a PNG to its end
    if _is_deep_colour(image):
        problems.append(("16 bits a channel, brought to 8", "converted"))
    if image.getexif().get(0x0112, 1) in TURNED:
        problems.append(("turned as its EXIF tag says", "converted"))
    _shrink(image, size)
    ImageOps.exif_transpose(image, in_place=True)
    return (
        _eight_bits(image, white, problems) if image.mode.startswith("I") else _rgb(image, problems)
    )


def _shrink(image: Image.Image, size: int) -> None:
    """Let a JPEG be decoded at half, quarter or eighth size, for a fraction of the time and of the memory."""
    shrink = 2 * size / min(image.size)
    if shrink < 1:
        image.draft(image.mode, (int(image.width * shrink), int(image.height * shrink)))
    if _area(image) > MAX_PIXELS:
        raise UnusableError(
            f"{image.width} × {image.height} pixels to decode, more than {MAX_PIXELS / 1e6:.0f} million"
        )


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether coloured channels have 16 bits; Pillow brings them to 8 by itself, without a word."""
    return not image.mode.startswith("I") and any(";16" in mode for mode in _raw_modes(image))


def _raw_modes(image: Image.Image) -> list[str]:
    """How the values lie in the file, in Pillow's words; nothing once the image was decoded."""
    tiles: Any = getattr(image, "tile", ())
    return [str(tile[3]) for tile in tiles]


def _match_transparency(image: Image.Image) -> None:
    """Bring the colour that stands for transparent to the 8 bits of the pixels; Pillow leaves it as the file has it."""
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and _is_deep_colour(image):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    packed = {"L;2": 85, "L;4": 17}.get(next(iter(_raw_modes(image)), ""), 1)
    if isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * packed


def _rgb(image: Image.Image, problems: list[Problem]) -> Image.Image:
    if image.mode == "F":
        raise UnusableError("floating-point values of unknown range; save it with 8 bits")
    if image.mode == "CMYK":
        problems.append(("CMYK, for printing, brought to RGB", "converted"))
    if image.mode == "LAB":  # its band A is a colour
        problems.append(("LAB, brought to RGB", "converted"))
        return image.convert("RGB")
    if _has_empty_alpha(image):
        return image.convert("RGBX").convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        problems.append(("transparent, laid on white", "converted"))
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _has_empty_alpha(image: Image.Image) -> bool:
    """Whether this is a BMP whose fourth byte is 0 everywhere: unused, as viewers know, and no transparency."""
    return image.format == "BMP" and image.mode == "RGBA" and not image.getchannel("A").getbbox()


def _pixels(image: Image.Image, size: int) -> np.ndarray:
    """The centre square of an image of any mode, resized with antialiasing, uint8 (3, size, size)."""
    square = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(square.convert("RGB")).transpose(2, 0, 1))
