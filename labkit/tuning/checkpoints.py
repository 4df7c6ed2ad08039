"""Checkpoints: everything a run needs to go back to a step, kept cheaply.

A stage that did not train since the last checkpoint shares its tensors with it, so that a frozen backbone is stored
once. Beyond the memory budget the oldest checkpoints move to a temporary folder, in a thread of its own, whole or not
at all; beyond the disk budget every second one is dropped, which makes a rewind a little longer and never wrong.
"""

from __future__ import annotations

import atexit
import mmap
import os
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps.

    `weights` and `moments` hold one dictionary a stage: its tensors, and its optimiser's. `state` is the small rest:
    position in the data, phase and settings. Chance needs no place here: every stream is drawn afresh from the seed
    and the step (`runtime.generator`). `own_bytes` counts the tensors it does not share with an earlier checkpoint.
    """

    step: int
    weights: dict[str, dict[str, Tensor]]
    moments: dict[str, dict[int, dict[str, Tensor]]]
    state: Any
    own_bytes: int


Key = TypeVar("Key", bound=Hashable)
ALIGNED = 64  # bytes: where a tensor may begin in a block
DISK_MOST = 2 * 2**30  # bytes of files a run
DISK_SHARE = 10  # and no more than a tenth of what is free
SMALL = 8 * 2**20  # bytes that may stay in memory when a run is over
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
    """Memory of `size` bytes, that of a block nobody holds any more if there is one.

    Being given new memory by the system takes several times as long as copying into it.
    """
    spare = _spare.setdefault(size, [])
    memory = spare.pop() if spare else np.empty(size, np.uint8)
    lease = memory.view()  # dies with the last tensor in it
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


class _Spooled:
    """A checkpoint on its way to disk, or there; its file goes when the last store that shares it lets go."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.path = Path(_folder()) / f"{uuid4().hex}.pt"
        self.bytes = sum(tensor.nbytes for tensor in _tensors(checkpoint))
        self.own_bytes = checkpoint.own_bytes  # in memory, until it is written
        self._held: Checkpoint | None = checkpoint
        weakref.finalize(self, self.path.unlink, missing_ok=True)
        self._writing = _writer().submit(self._write)

    def _write(self) -> None:
        assert self._held is not None
        try:
            _write(self._held, self.path)
        except (OSError, RuntimeError):  # a full disk costs a longer rewind, not the run
            self.path.unlink(missing_ok=True)
        finally:
            self._held, self.own_bytes = None, 0

    def wait(self) -> None:
        self._writing.result()

    def load(self) -> Checkpoint | None:
        """The checkpoint; None where the disk had no room for it."""
        held = self._held
        if held is not None:
            return held
        return _read(self.path) if self.path.exists() else None


@lru_cache(maxsize=1)
def _writer() -> ThreadPoolExecutor:
    """One thread a process: training goes on while the disk is busy."""
    return ThreadPoolExecutor(1, "labkit-checkpoints")


def _tensors(checkpoint: Checkpoint) -> Iterator[Tensor]:
    for weights in checkpoint.weights.values():
        yield from weights.values()
    for moments in checkpoint.moments.values():
        for state in moments.values():
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
        checkpoint, weights=within(checkpoint.weights), moments=within(checkpoint.moments)
    )


@lru_cache(maxsize=1)
def _folder() -> str:
    """One temporary folder a process, removed when Python ends."""
    folder = tempfile.mkdtemp(prefix="labkit-checkpoints-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _disk_budget() -> int:
    """A share of the temporary folder, which may be small, or lie in memory."""
    try:
        return min(DISK_MOST, shutil.disk_usage(tempfile.gettempdir()).free // DISK_SHARE)
    except OSError:
        return 0


class CheckpointStore:
    """The checkpoints of one run, ordered by step. Branches share them: a checkpoint never changes."""

    def __init__(self, memory_budget: int = 32 * 2**20, disk_budget: int | None = None) -> None:
        self.memory_budget = memory_budget
        self.disk_budget = _disk_budget() if disk_budget is None else disk_budget
        self._kept: dict[int, Checkpoint | _Spooled] = {}  # by step, in order

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep the checkpoint of a step later than all others."""
        self._kept[checkpoint.step] = checkpoint
        self._make_room()

    def latest(self, step: int) -> Checkpoint:
        """The last checkpoint at or before `step`; step 0 always has one, in memory."""
        for kept in sorted((kept for kept in self._kept if kept <= step), reverse=True):
            value = self._kept[kept]
            found = value.load() if isinstance(value, _Spooled) else value
            if found is not None:
                return found
        raise LookupError(f"no checkpoint at or before step {step}")

    def newest(self) -> Checkpoint | None:
        """The last checkpoint; None where there is none, or the run has rested since."""
        kept = next(reversed(self._kept.values()), None)
        return kept if isinstance(kept, Checkpoint) else None

    def forget_after(self, step: int) -> None:
        """Drop what came after `step`: it no longer happened."""
        self._kept = {kept: value for kept, value in self._kept.items() if kept <= step}

    def share(self, step: int) -> CheckpointStore:
        """A store for a branch, with the checkpoints up to `step`."""
        store = CheckpointStore(self.memory_budget, self.disk_budget)
        store._kept = {kept: value for kept, value in self._kept.items() if kept <= step}
        return store

    def rest(self, small: int = SMALL) -> None:
        """The run is over for now: what only a way back needs, waits on disk, unless it is small."""
        for step in list(self._kept)[1:]:
            if self._kept[step].own_bytes > small:
                self._spool(step)
        _spare.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def in_memory(self) -> int:
        """Bytes held in memory, shared tensors counted once."""
        return sum(kept.own_bytes for kept in self._kept.values())

    def settle(self) -> None:
        """Wait until what is on its way to disk is there."""
        for kept in self._spooled():
            kept.wait()

    def _make_room(self) -> None:
        """Spool the oldest to disk until the rest fits in memory; the first and the last always stay."""
        for step in self._between():
            if self.in_memory() <= self.memory_budget:
                break
            self._spool(step)
        if sum(kept.bytes for kept in self._spooled()) > self.disk_budget:
            for step in self._between()[::2]:
                del self._kept[step]

    def _between(self) -> list[int]:
        return list(self._kept)[1:-1]

    def _spooled(self) -> list[_Spooled]:
        return [kept for kept in self._kept.values() if isinstance(kept, _Spooled)]

    def _spool(self, step: int) -> None:
        kept = self._kept[step]
        if isinstance(kept, Checkpoint):
            self.settle()  # a disk slower than the run must not fill the memory
            self._kept[step] = _Spooled(kept)
