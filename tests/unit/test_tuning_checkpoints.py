"""Checkpoints: bounded in memory, whole on disk, shared by branches, gone when nobody needs them."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from labkit.tuning import checkpoints
from labkit.tuning.checkpoints import Checkpoint, CheckpointStore

MEGABYTE = 2**20


def checkpoint(step: int) -> Checkpoint:
    weights = torch.full((MEGABYTE // 4,), float(step))
    return Checkpoint(step, {"head": {"w": weights}}, {"head": {}}, f"state {step}", weights.nbytes)


def spooled_files() -> list[Path]:
    return sorted(Path(checkpoints._folder()).glob("*.pt"))


def test_memory_stays_within_the_budget_and_every_step_comes_back() -> None:
    store = CheckpointStore(memory_budget=3 * MEGABYTE)
    for step in range(10):
        store.add(checkpoint(step))
    assert store.in_memory() <= 3 * MEGABYTE
    for step in range(10):
        found = store.latest(step)
        assert (found.step, found.state) == (step, f"state {step}")
        assert float(found.weights["head"]["w"][0]) == step


def test_the_last_checkpoint_before_a_step_is_found() -> None:
    store = CheckpointStore()
    for step in (0, 10, 20):
        store.add(checkpoint(step))
    assert [store.latest(step).step for step in (0, 9, 10, 19, 25)] == [0, 0, 10, 10, 20]


def test_a_full_disk_costs_a_longer_rewind_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labkit.tuning.checkpoints._write", full)
    store = CheckpointStore(memory_budget=2 * MEGABYTE)
    for step in range(6):
        store.add(checkpoint(step))
    assert store.latest(0).step == 0
    assert store.latest(5).step == 5
    assert store.latest(3).step < 3


def test_the_disk_budget_is_kept() -> None:
    store = CheckpointStore(memory_budget=2 * MEGABYTE, disk_budget=4 * MEGABYTE)
    before = len(spooled_files())
    for step in range(30):
        store.add(checkpoint(step))
    gc.collect()
    assert len(spooled_files()) - before <= 5
    assert store.latest(0).step == 0


def test_files_live_as_long_as_a_branch_needs_them() -> None:
    before = set(spooled_files())
    store = CheckpointStore(memory_budget=MEGABYTE)
    for step in range(6):
        store.add(checkpoint(step))
    branch = store.share(4)
    store.forget_after(0)
    assert [branch.latest(step).step for step in range(5)] == [0, 1, 2, 3, 4]
    del store, branch
    gc.collect()
    assert set(spooled_files()) == before
