"""What a file is by its first bytes, for those that Pillow does not open: a name for it, and the way out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from PIL.TiffImagePlugin import ImageFileDirectory_v2

HEAD = 64  # bytes that tell the kind of a file
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
AS_JPEG = "which labkit cannot read; save it as JPEG"
AS_RGB = "which labkit cannot read; save it as RGB with 8 bits"
STARTS = {
    b"\0\0\0\x0cjP  ": f"a JPEG 2000, {AS_JPEG}",
    b"\xff\x4f\xff\x51": f"a JPEG 2000, {AS_JPEG}",
    b"\0\0\0\x0cJXL ": f"a JPEG XL, {AS_JPEG}",
    b"\xff\x0a": f"a JPEG XL, {AS_JPEG}",
    b"8BPS": f"a Photoshop file, {AS_JPEG}",
    b"\0\0\1\0": f"an icon, {AS_JPEG}",
    PNG: "a PNG that is damaged (a checksum or a part is wrong); open it in an image editor and save it again",
    JPEG: "a JPEG that is damaged; fetch or save it again",
    b"RIFF": "a WebP that is damaged, or another RIFF file; fetch or save it again",
    b"BM": "a BMP that is damaged or of an unusual kind; save it as PNG",
    b"%PDF": "not an image but a PDF",
    b"PK\3\4": "not an image but a ZIP archive; unpack it",
}
BRANDS = {
    b"avif": "an AVIF",
    b"avis": "an AVIF",
    b"heic": "a HEIC photograph",
    b"heix": "a HEIC photograph",
    b"heim": "a HEIC photograph",
    b"heis": "a HEIC photograph",
    b"hevc": "a HEIC photograph",
    b"mif1": "a HEIF photograph",
    b"msf1": "a HEIF photograph",
}
BEHIND = "a JPEG behind other bytes, such as a blank line of the script that served it; fetch or save it again"


def is_jpeg(path: Path) -> bool:
    """Whether a file begins as a JPEG does."""
    return _head(path).startswith(JPEG)


def may_be_deep(path: Path) -> bool:
    """Whether a file may hold grey values of more than 8 bits: a PNG that says so, a TIFF, or a PGM."""
    head = _head(path)
    if head.startswith(PNG):
        return head[24:26] == b"\x10\0"  # 16 bits, grey
    return head.startswith((*TIFF, b"P5", b"P2"))


def describe(path: Path) -> str:
    """What a file is that Pillow does not open, and what to do with it, as far as its first bytes tell."""
    head = _head(path)
    if head.startswith(TIFF):
        return f"a TIFF {_samples(path)}, {AS_RGB}"
    if head[4:8] == b"ftyp" and head[8:12] in BRANDS:
        return f"{BRANDS[head[8:12]]}, {AS_JPEG}"
    for start, what in STARTS.items():
        if head.startswith(start):
            return what
    if JPEG in head:
        return BEHIND
    return "not an image, whatever its name says"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _samples(path: Path) -> str:
    """How the values of a TIFF are laid out, in words."""
    with suppress(Exception), path.open("rb") as file:  # a damaged one may raise anything at all
        tags = ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        bits, bands = tags[258][0], tags.get(277, 1)
        number = {2: " with a sign", 3: " as floating-point numbers"}.get(
            tags.get(339, (1,))[0], ""
        )
        return f"of {bands} channel{'s' if bands > 1 else ''} of {bits} bits{number}"
    return "that is damaged or of an unusual kind"
