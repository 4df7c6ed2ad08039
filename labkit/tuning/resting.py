"""Tensors at rest: what runs hold while they do not train, laid into files that the system reads back page by page.

A tensor that was laid down is the same object with the same numbers, to the bit. Only its memory is another: it belongs
to a file, so the system may take it back, and fills it again when somebody looks. So nobody has to ask for it, and what
lies down too early costs a moment and never a result. A run that trains on takes its tensors up again.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

AWAKE_MOST = 64 * 2**20  # bytes that runs which do not train may hold in memory, all together
SMALLEST = 2**20  # bytes: less is not worth a file
ALIGNED = 64  # bytes: where a tensor may begin in a file, as torch places its own
TRIM_PAUSE = 2.0  # seconds between two times that free memory goes back to the system
CAN_LET_GO = hasattr(mmap, "MADV_DONTNEED")

_maps: WeakSet[mmap.mmap] = WeakSet()
_sleepers: WeakSet[Any] = WeakSet()
_trimmed = 0.0


# ---------------------------------------------------------------- files that are memory


def mapped(size: int, folder: Path) -> Tensor:
    """Bytes (size,) that lie in a file nobody else can see, with its room taken at once.

    Raises OSError where the disk has no room: better now than as a signal in the middle of a write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(prefix="labkit-features-", dir=folder) as file:
        _take_room(file, size)
        raw: Any = np.memmap(file, dtype=np.uint8, mode="r+", shape=(size,))
    _maps.add(raw._mmap)
    return torch.from_numpy(raw)


def _take_room(file: Any, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(2**20)
    for start in range(0, size, len(block)):
        file.write(block[: min(len(block), size - start)])
    file.flush()


def let_go() -> None:
    """Give the pages of all such files back to the system, which reads them again when they are needed."""
    if CAN_LET_GO:
        for each in list(_maps):
            each.madvise(mmap.MADV_DONTNEED)  # of a shared mapping nothing is lost


def trim() -> None:
    """Give memory that was freed back to the system. C libraries keep it, for the next time, in every thread's heap."""
    global _trimmed
    if sys.platform == "linux" and time.monotonic() > _trimmed + TRIM_PAUSE:
        _trimmed = time.monotonic()
        give_back = getattr(
            ctypes.CDLL(None), "malloc_trim", None
        )  # musl has none, and keeps little
        if give_back is not None:
            give_back(0)


# ---------------------------------------------------------------- tensors


class Rest:
    """Tensors that were laid down together."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors

    def take_up(self) -> None:
        """Have them in memory again, laid out as they were."""
        for tensor in self._tensors:
            laid = tensor.data
            room = torch.empty_strided(laid.size(), laid.stride(), dtype=laid.dtype)
            tensor.data = room.copy_(laid)


@torch.no_grad()
def lay_down(tensors: Iterable[Tensor]) -> Rest | None:
    """Lay tensors into a file; None where that makes no sense, or there is no room. Then nothing has changed."""
    movable = [tensor for tensor in _once(tensors) if _can_lie(tensor)]
    starts, size = [], 0
    for tensor in movable:
        starts.append(size)
        size += -(-tensor.nbytes // ALIGNED) * ALIGNED
    if size < SMALLEST or not CAN_LET_GO:
        return None
    try:
        block = mapped(size, Path(tempfile.gettempdir()))
    except (OSError, RuntimeError, ValueError):
        return None
    places = []
    for tensor, start in zip(movable, starts, strict=True):
        flat = block[start : start + tensor.nbytes].view(tensor.dtype)
        places.append(flat.as_strided(tensor.size(), tensor.stride()).copy_(tensor.data))
    for tensor, place in zip(movable, places, strict=True):
        tensor.data = place
    return Rest(movable)


def awake_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor that could lie down; 0 of one that does, or cannot."""
    return tensor.nbytes if _can_lie(tensor) else 0


def _once(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _can_lie(tensor: Tensor) -> bool:
    """In main memory, all of its own memory, and in one piece: what shares memory must go on sharing it."""
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or not tensor.nbytes:
        return False
    memory = tensor.untyped_storage()
    alone = memory.nbytes() == tensor.nbytes and _holders(memory) <= 1
    return alone and (
        tensor.is_contiguous()
        or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
    )


def _holders(memory: torch.UntypedStorage) -> int:
    """How many tensors look at the same memory, as far as torch tells."""
    count = getattr(torch._C, "_storage_Use_Count", None)
    return int(count(memory._cdata)) - 1 if count else 1  # `memory` itself is one more


# ---------------------------------------------------------------- who may stay awake


class Sleeper(Protocol):
    """What can lie down: a run."""

    last_used: float

    def awake_bytes(self) -> int:
        """Bytes that lying down would free; 0 while it trains."""

    def lie_down(self) -> bool:
        """Lie down if it has nothing to do right now; whether it did."""


def keep(sleeper: Sleeper) -> None:
    """Know a run from now on, and have those lie down that have not been used for longest."""
    _sleepers.add(sleeper)
    make_room(sleeper)


def make_room(user: Sleeper | None = None) -> None:
    """Have runs lie down until those that are awake hold no more than `AWAKE_MOST`; not the one that asks."""
    idle = [each for each in list(_sleepers) if each is not user]
    left, tired = AWAKE_MOST, []
    for each in sorted(idle, key=lambda one: -one.last_used):
        left -= (size := each.awake_bytes())
        if size and left < 0:
            tired.append(each)
    for each in tired:
        each.lie_down()
    let_go()
    trim()
