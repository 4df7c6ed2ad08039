"""Decoded once: the pixels of a data set in one file of the cache, found again by what the images contain.

The file is a plain `.npy`, so it can be mapped and read piece by piece where it is larger than the memory allowed.
Beside it lies a small JSON file with what was found while decoding and the sha256 of the pixels; where the two do not
agree, the cache is damaged and is made again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from labkit.data.images.decode import DecodedFile, Problem, Source, full_scale, largest, read
from labkit.errors import UNREADABLE, DataError
from labkit.runtime import cache_dir, memory_limit, threads, write_atomic

VERSION = 2  # raise it when decoding changes, so that old pixels are not taken for new ones
CHUNK = 256  # images in flight at a time

Done = TypeVar("Done")


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one image: whether it can be used, what was found, the sha256 of its file and of its pixels.

    The same photograph saved again is another file with the same pixels.
    """

    usable: bool
    problems: tuple[Problem, ...]
    digest: str
    pixels: str


@dataclass(frozen=True)
class Decoded:
    """Pixels uint8 (M, 3, S, S), one row per image in order, and a note on each; unusable rows are black."""

    store: Tensor
    notes: tuple[ImageRecord, ...]


def memory_budget() -> int:
    """How many bytes of pixels stay in memory unless the caller says otherwise: a quarter of what there is."""
    return (memory_limit() or 4 * 2**30) // 4


def decode(
    sources: Sequence[Source], size: int, key: str | None = None, memory: int | None = None
) -> Decoded:
    """Decode all images, or find them decoded.

    Files are known by their contents. `key` names the contents of sources that are no files; None means that they
    are made so fast that caching is waste. `memory` is how many bytes of pixels may stay in memory (None:
    `memory_budget()`); more stay on disk. Raises `DataError` when they fit in neither.
    """
    budget = memory_budget() if memory is None else memory
    digests = _digests(sources)
    if digests:
        suffixes = [source.suffix.lower() for source in sources if isinstance(source, Path)]
        key = hashlib.sha256(repr(list(zip(digests, suffixes, strict=True))).encode()).hexdigest()
    if key is None:
        return _in_memory(sources, size, digests)
    path = cache_dir() / "decoded" / f"{key[:40]}-{size}px-v{VERSION}.npy"
    try:
        return _load(path, budget) or _write(path, sources, size, digests, budget)
    except OSError as error:
        need = len(sources) * 3 * size * size
        if need > budget:
            raise DataError(_no_room(need, budget, path, error)) from None
        return _in_memory(sources, size, digests)


def _no_room(need: int, budget: int, path: Path, error: OSError) -> str:
    return (
        f"the decoded images take {need / 1e6:.0f} MB, more than the {budget / 1e6:.0f} MB they may have in memory, "
        f"and {path.parent} cannot take them ({error}). Choose a smaller size, free some disk space or set "
        "LABKIT_CACHE to a folder with room."
    )


# ---------------------------------------------------------------- the file


def _load(path: Path, budget: int) -> Decoded | None:
    """The decoded images of `path`, or None where there are none or they are damaged."""
    try:
        described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = _map(path)
        if hashlib.sha256(pixels.data).hexdigest() != described["sha256"]:
            return None
        notes = tuple(_note(**note) for note in described["notes"])
    except (OSError, EOFError, *UNREADABLE):
        return None
    return Decoded(_tensor(pixels, budget), notes)


def _map(path: Path) -> np.ndarray:
    """The array in `path`, mapped copy-on-write: torch asks for writable memory, the file stays as it is."""
    pixels: np.ndarray = np.load(path, mmap_mode="c")
    return pixels


def _tensor(pixels: np.ndarray, budget: int) -> Tensor:
    """In memory where the budget allows it, else mapped from disk."""
    return torch.from_numpy(np.array(pixels) if pixels.nbytes <= budget else pixels)


def _note(usable: bool, problems: list[Problem], digest: str, pixels: str) -> ImageRecord:
    return ImageRecord(usable, tuple((text, action) for text, action in problems), digest, pixels)


def _write(
    path: Path, sources: Sequence[Source], size: int, digests: tuple[str, ...], budget: int
) -> Decoded:
    notes: list[ImageRecord] = []
    checksum = hashlib.sha256()

    def pour(file: IO[bytes]) -> None:
        shape = (len(sources), 3, size, size)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for pixels, note in _rows(sources, size, digests):
            file.write(pixels.data)
            checksum.update(pixels.data)
            notes.append(note)

    write_atomic(path, pour)
    described = {"sha256": checksum.hexdigest(), "notes": [asdict(note) for note in notes]}
    write_atomic(path.with_suffix(".json"), json.dumps(described).encode())
    return Decoded(_tensor(_map(path), budget), tuple(notes))


def _in_memory(sources: Sequence[Source], size: int, digests: tuple[str, ...]) -> Decoded:
    store = np.zeros((len(sources), 3, size, size), np.uint8)
    notes = []
    for row, (pixels, note) in zip(store, _rows(sources, size, digests), strict=True):
        row[:] = pixels
        notes.append(note)
    return Decoded(torch.from_numpy(store), tuple(notes))


# ---------------------------------------------------------------- the images


def _digests(sources: Sequence[Source]) -> tuple[str, ...]:
    """The sha256 of each file; nothing when the sources are no files."""
    paths = [source for source in sources if isinstance(source, Path)]
    with ThreadPoolExecutor(threads()) as pool:
        return tuple(pool.map(_digest, paths))


def _digest(path: Path) -> str:
    try:
        if path.is_file():  # opening a pipe would wait for ever
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        pass
    return "unreadable"


def _rows(
    sources: Sequence[Source], size: int, digests: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, ImageRecord]]:
    """The pixels of each image in order, black where there are none, and the note on it."""
    black = np.zeros((3, size, size), np.uint8)
    for index, reading in enumerate(_readings(sources, size)):
        pixels = black if reading.pixels is None else reading.pixels
        same = hashlib.sha256(pixels.data).hexdigest()
        digest = digests[index] if digests else same
        yield pixels, ImageRecord(reading.pixels is not None, reading.problems, digest, same)


def _readings(sources: Sequence[Source], size: int) -> Iterator[DecodedFile]:
    """Decode on all threads, in order, once it is known what the deepest images count as white."""
    bar = tqdm(total=len(sources), desc="decoding", unit="image", delay=2, leave=False)
    with bar, ThreadPoolExecutor(threads()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd files; the report says it better
        white = full_scale(max(_in_turn(pool, largest, sources), default=0))
        for reading in _in_turn(pool, lambda source: read(source, size, white), sources):
            bar.update()
            yield reading


def _in_turn(
    pool: ThreadPoolExecutor, work: Callable[[Source], Done], sources: Sequence[Source]
) -> Iterator[Done]:
    """What `work` makes of each source, in order, never more than a chunk ahead of whoever takes it."""
    waiting = iter(sources)
    while chunk := list(islice(waiting, CHUNK)):
        yield from pool.map(work, chunk)
