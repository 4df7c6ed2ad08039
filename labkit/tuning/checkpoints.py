"""Checkpoints: everything a run needs to go back to a step, kept cheaply.

A stage that did not train since the last checkpoint shares its tensors with it, so that a frozen backbone is stored
once. Beyond the memory budget the oldest checkpoints move to a temporary folder (`spool`), whole or not at all; beyond
the disk budget every second one is dropped, which makes a rewind a little longer and never wrong.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from labkit.tuning import scratch
from labkit.tuning.spool import Spooled, free_spare_memory, writer

DISK_MOST = 2 * 2**30  # bytes of files a run
DISK_SHARE = 10  # and no more than a tenth of what is free
SMALL = 8 * 2**20  # bytes that may stay in memory when a run is over


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps.

    `weights` holds one dictionary a part of the model, `optimizer` one a parameter group: what the optimizer keeps for
    each of its parameters. `state` is the small rest: position in the data, phase and settings. Chance needs no place
    here: every stream is drawn afresh from the seed and the step (`runtime.generator`). `own_bytes` counts the tensors
    it does not share with an earlier checkpoint.
    """

    step: int
    weights: dict[str, dict[str, Tensor]]
    optimizer: dict[str, dict[int, dict[str, Tensor]]]
    state: Any
    own_bytes: int


@lru_cache(maxsize=1)
def _sweep_once() -> None:
    """Remove what killed processes have left, beside the first run of this one."""
    writer().submit(scratch.sweep)


def _disk_budget() -> int:
    """A share of the temporary folder, which may be small, or lie in memory."""
    try:
        return min(DISK_MOST, shutil.disk_usage(tempfile.gettempdir()).free // DISK_SHARE)
    except OSError:
        return 0


class CheckpointStore:
    """The checkpoints of one run, ordered by step. Branches share them: a checkpoint never changes."""

    def __init__(self, memory_budget: int = 32 * 2**20, disk_budget: int | None = None) -> None:
        _sweep_once()
        self.memory_budget = memory_budget
        self.disk_budget = _disk_budget() if disk_budget is None else disk_budget
        self._kept: dict[int, Checkpoint | Spooled] = {}  # by step, in order

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep the checkpoint of a step later than all others."""
        self._kept[checkpoint.step] = checkpoint
        self._make_room()

    def latest(self, step: int) -> Checkpoint:
        """The last checkpoint at or before `step`; step 0 always has one, in memory."""
        for kept in sorted((kept for kept in self._kept if kept <= step), reverse=True):
            value = self._kept[kept]
            found = value.load() if isinstance(value, Spooled) else value
            if found is not None:
                return found
        raise LookupError(f"no checkpoint at or before step {step}")

    def newest(self) -> Checkpoint | None:
        """The last checkpoint; None where there is none, or it has been written to disk since."""
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

    def spill_to_disk(self, small: int = SMALL) -> None:
        """When the run ends: write large checkpoints to disk, but the first; keep small ones in memory."""
        for step in list(self._kept)[1:]:
            if self._kept[step].own_bytes > small:
                self._spool(step)
        free_spare_memory()

    def __len__(self) -> int:
        return len(self._kept)

    def in_memory(self) -> int:
        """Bytes held in memory, shared tensors counted once."""
        return sum(kept.own_bytes for kept in self._kept.values())

    def flush(self) -> None:
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

    def _spooled(self) -> list[Spooled]:
        return [kept for kept in self._kept.values() if isinstance(kept, Spooled)]

    def _spool(self, step: int) -> None:
        kept = self._kept[step]
        if isinstance(kept, Checkpoint):
            self.flush()  # a disk slower than the run must not fill the memory
            self._kept[step] = Spooled(kept)
