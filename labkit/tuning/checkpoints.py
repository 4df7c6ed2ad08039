"""Checkpoints: everything a run needs to go back to a step, kept cheaply.

A stage that did not train since the last checkpoint shares its tensors with it, so that a frozen backbone is stored
once. Beyond the memory budget the oldest checkpoints move to a temporary folder, written whole or not at all; beyond
the disk budget every second one is dropped, which makes a rewind a little longer and never wrong.
"""

from __future__ import annotations

import atexit
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

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


class _Spooled:
    """A checkpoint on disk; its file goes when the last store that shares it lets go."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        path = Path(_folder()) / f"{uuid4().hex}.pt"
        try:
            _write(checkpoint, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self.path, self.bytes = path, path.stat().st_size
        weakref.finalize(self, path.unlink, missing_ok=True)

    def load(self) -> Checkpoint:
        return _read(self.path)


def _write(checkpoint: Checkpoint, path: Path) -> None:
    # As numpy arrays, in half the time that torch.save takes; not synced, as it serves this process only.
    with path.open("wb") as file:
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


class CheckpointStore:
    """The checkpoints of one run, ordered by step. Branches share them: a checkpoint never changes."""

    def __init__(self, memory_budget: int = 32 * 2**20, disk_budget: int = 2 * 2**30) -> None:
        self.memory_budget, self.disk_budget = memory_budget, disk_budget
        self._kept: dict[int, Checkpoint | _Spooled] = {}  # by step, in order

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep the checkpoint of a step later than all others."""
        self._kept[checkpoint.step] = checkpoint
        self._make_room()

    def latest(self, step: int) -> Checkpoint:
        """The last checkpoint at or before `step`; step 0 always has one."""
        found = self._kept[max(kept for kept in self._kept if kept <= step)]
        return found if isinstance(found, Checkpoint) else found.load()

    def newest(self) -> Checkpoint | None:
        """The last checkpoint, which is always in memory."""
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

    def __len__(self) -> int:
        return len(self._kept)

    def in_memory(self) -> int:
        """Bytes held in memory, shared tensors counted once."""
        return sum(kept.own_bytes for kept in self._kept.values() if isinstance(kept, Checkpoint))

    def _make_room(self) -> None:
        """Spool the oldest to disk until the rest fits in memory; the first and the last always stay."""
        for step in self._between():
            if self.in_memory() <= self.memory_budget:
                break
            self._spool(step)
        if (
            sum(kept.bytes for kept in self._kept.values() if isinstance(kept, _Spooled))
            > self.disk_budget
        ):
            for step in self._between()[::2]:
                del self._kept[step]

    def _between(self) -> list[int]:
        return list(self._kept)[1:-1]

    def _spool(self, step: int) -> None:
        kept = self._kept[step]
        if isinstance(kept, Checkpoint):
            try:
                self._kept[step] = _Spooled(kept)
            except (OSError, RuntimeError):  # a full disk costs a longer rewind, not the run
                del self._kept[step]
