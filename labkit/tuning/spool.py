"""Where the tensors of checkpoints lie: in blocks of memory that are used again, or spooled to a file.

Both were measured. Being given new memory by the system takes several times as long as copying into it, so a block
that nobody holds any more is kept for the next copy. A file is written in a thread of its own and past the system's
page cache, so that training goes on meanwhile; and no file is needed after this process.
"""

from __future__ import annotations

import mmap
import os
import pickle
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from labkit.tuning import scratch

if TYPE_CHECKING:
    from labkit.tuning.checkpoints import Checkpoint

Key = TypeVar("Key", bound=Hashable)
ALIGNED = 64  # bytes: where a tensor may begin in a block
SPARE = 1  # block of a size waits to be used again: one is written while the next is filled
_spare: dict[int, list[np.ndarray]] = {}


def copies(tensors: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    """Copies in main memory that training does not touch, in one block for all."""
    starts, size = {}, 0
    for key, tensor in tensors.items():
        starts[key], size = size, size + -(-tensor.nbytes // ALIGNED) * ALIGNED
    block = torch.from_numpy(_block(size))
    kept = {}
    for key, tensor in tensors.items():
        place = block[starts[key] : starts[key] + tensor.nbytes]
        kept[key] = place.view(tensor.dtype).view(tensor.shape).copy_(tensor.detach())
    return kept


def _block(size: int) -> np.ndarray:
    """Memory of `size` bytes, that of a block nobody holds any more if there is one."""
    spare = _spare.setdefault(size, [])
    memory = spare.pop() if spare else np.empty(size, np.uint8)
    lease = memory.view()  # released when the last tensor in it is freed
    weakref.finalize(lease, _give_back, memory).atexit = False
    return lease


def _give_back(memory: np.ndarray) -> None:
    spare = _spare.setdefault(memory.nbytes, [])
    if len(spare) < SPARE:
        spare.append(memory)


class _Direct:
    """A file written past the system's page cache where that is possible: filling the cache costs more than the disk.

    Such writes go in whole sectors from aligned memory, so they are gathered in a buffer first.
    """

    ROOM, SECTOR = 8 * 2**20, 4096  # bytes

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(path, flags | getattr(os, "O_DIRECT", 0))
        except OSError:  # a file system without direct writing
            self._file = os.open(path, flags)
        self._room = memoryview(mmap.mmap(-1, self.ROOM))
        self._filled = self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        try:
            if failure is None:
                self._finish()
        finally:
            os.close(self._file)

    def write(self, data: Any) -> None:
        """Take bytes, as pickle hands them over."""
        rest = memoryview(data).cast("B")
        while rest:
            part = rest[: self.ROOM - self._filled]
            self._room[self._filled : self._filled + len(part)] = part
            self._filled, rest = self._filled + len(part), rest[len(part) :]
            if self._filled == self.ROOM:
                self._flush(self.ROOM)

    def _flush(self, size: int) -> None:
        rest = self._room[:size]
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._written, self._filled = self._written + self._filled, 0

    def _finish(self) -> None:
        """Write the last sectors whole, then cut the file to its length."""
        self._flush(-(-self._filled // self.SECTOR) * self.SECTOR)
        os.ftruncate(self._file, self._written)


class Spooled:
    """A checkpoint on its way to disk, or there. Its file is removed when the last store that shares it is freed."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.path: Path | None = None  # once there is a file
        self.bytes = sum(tensor.nbytes for tensor in _tensors(checkpoint))
        self.own_bytes = checkpoint.own_bytes  # in memory, until it is written
        self._held: Checkpoint | None = checkpoint
        self._writing = writer().submit(self._write)

    def _write(self) -> None:
        assert self._held is not None
        try:
            self.path = scratch.folder() / f"{uuid4().hex}.pt"
            weakref.finalize(self, _remove, self.path)
            _write(self._held, self.path)
        except (OSError, RuntimeError):  # a full disk costs a longer rewind, not the run
            if self.path is not None:
                _remove(self.path)
        finally:
            self._held, self.own_bytes = None, 0

    def wait(self) -> None:
        """Wait until it is on disk, or there was no room for it."""
        self._writing.result()

    def load(self) -> Checkpoint | None:
        """The checkpoint; None where the disk had no room for it."""
        held = self._held
        if held is not None:
            return held
        return _read(self.path) if self.path is not None and self.path.exists() else None


@lru_cache(maxsize=1)
def writer() -> ThreadPoolExecutor:
    """One thread a process: training goes on while the disk is busy."""
    return ThreadPoolExecutor(1, "labkit-checkpoints")


def _tensors(checkpoint: Checkpoint) -> Iterator[Tensor]:
    for weights in checkpoint.weights.values():
        yield from weights.values()
    for states in checkpoint.optimizer.values():
        for state in states.values():
            yield from state.values()


def _write(checkpoint: Checkpoint, path: Path) -> None:
    # As numpy arrays, in half the time that torch.save takes; not synced, as it serves this process only.
    with _Direct(path) as file:
        pickle.dump(_mapped(checkpoint, Tensor.numpy), file, protocol=5)


def _read(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        return _mapped(pickle.load(file), torch.from_numpy)


def _mapped(checkpoint: Checkpoint, change: Callable[[Any], Any]) -> Checkpoint:
    """The checkpoint with every tensor changed."""

    def within(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: within(branch) for key, branch in tree.items()}
        return change(tree)

    return replace(
        checkpoint, weights=within(checkpoint.weights), optimizer=within(checkpoint.optimizer)
    )


def _remove(path: Path) -> None:
    """Windows keeps a file that somebody has open, a virus scanner say: it goes with its folder."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def free_spare_memory() -> None:
    """Give back the blocks that wait to be used again."""
    _spare.clear()
