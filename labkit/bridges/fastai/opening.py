"""How an exported learner opens images: as labkit opened those that the network learned from.

A file of 16 bits, one with a transparent ground or a photograph on its side becomes other pixels in fastai, and then
the network is asked about images that it never saw the like of. So the learner takes along the source text of
labkit's own decoding (`labkit.data.images.decode`), as text: where it is opened there may be no labkit, and another
Python.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from labkit.data.images.decode import SUFFIXES, DecodedFile, read

NEEDED = ("numpy", "PIL")  # packages that the text imports
AS_PNG = (
    "1",
    "L",
    "LA",
    "P",
    "RGB",
    "RGBA",
)  # modes that a PNG keeps, transparency and all; a TIFF keeps the others
START = "exec(source, own := {}) or own['Opening'](source, size, how)"


class Opening:
    """Opens an image in a square of `size` pixels, 8-bit RGB, and is kept in a pickle as its own source text.

    `how` is what else `read` is told: the value that was white in deep grey files when the network learned.
    """

    def __init__(self, source: str, size: int, how: dict[str, Any]) -> None:
        self.source, self.size, self.how = source, size, how

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (START, {"source": self.source, "size": self.size, "how": self.how})

    def open(opens, what: object) -> Image.Image:  # noqa: N805 (fastai takes no step whose first name is `self`)
        """The image in a file, or one at hand: bytes, an array, a tensor or an image of Pillow.

        Raises ValueError with the reason for what cannot be read.
        """
        reading = opens._reading(what)
        if reading.pixels is None:
            raise ValueError(
                f"{str(what)[:200]}: {'; '.join(text for text, _ in reading.problems)}"
            )
        return Image.fromarray(reading.pixels.transpose(1, 2, 0))

    def _reading(self, what: object) -> DecodedFile:
        if isinstance(what, (str, Path)):
            return self._read(Path(what))
        if isinstance(what, bytes):
            return self._through_a_file(lambda path: path.write_bytes(what))
        image = ImageOps.exif_transpose(_at_hand(what))
        if image.mode in ("RGB", "L") and "transparency" not in image.info:
            return read(lambda: image, self.size)
        kind = "PNG" if image.mode in AS_PNG else "TIFF"
        return self._through_a_file(lambda path: image.save(path, kind))

    def _read(self, path: Path) -> DecodedFile:
        SUFFIXES.setdefault(path.suffix.lower(), "")  # an upload may have any name
        return read(path, self.size, **self.how)

    def _through_a_file(self, write: Callable[[Path], object]) -> DecodedFile:
        with TemporaryDirectory(prefix="labkit-") as folder:
            path = Path(folder) / "image.png"
            write(path)
            return self._read(path)


def _at_hand(what: Any) -> Image.Image:
    if isinstance(what, Image.Image):
        return what
    if type(what).__name__ == "TensorImage":  # channels first, as fastai holds an image
        what = what.permute(1, 2, 0).byte()
    return Image.fromarray(np.asarray(what))


# ---------------------------------------------------------------- the text that travels


def opening(size: int, white: int | None) -> Opening:
    """What opens images for a learner; `white` is None where it learned from no deep grey files."""
    return Opening(source_text(), size, {} if white is None else {"white": white})


def source_text() -> str:
    """All that opening an image takes, as one text that imports nothing of labkit."""
    parts = [
        "from __future__ import annotations",
        "Action = str",
    ]  # what labkit.data.report calls so
    parts += [ast.unparse(_alone(module)) for module in _with_what_it_needs(__name__, set())]
    return "\n".join(parts)


def _with_what_it_needs(name: str, seen: set[str]) -> Iterator[str]:
    """A module of labkit after those that it imports, each once."""
    seen.add(name)
    for needed in filter(None, map(_of_labkit, _tree(name).body)):
        if needed not in seen and needed != "labkit.data.report":
            yield from _with_what_it_needs(needed, seen)
    yield name


def _tree(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(import_module(name)))


def _of_labkit(node: ast.stmt) -> str:
    """The module of labkit that a statement imports from, or nothing."""
    module = node.module if isinstance(node, ast.ImportFrom) else None
    return module if module and module.startswith("labkit") else ""


def _alone(name: str) -> ast.Module:
    """A module without what it imports of labkit, which stands in the text already."""
    tree = _tree(name)
    tree.body = [
        node
        for node in tree.body
        if not _of_labkit(node)
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    ]
    return tree
