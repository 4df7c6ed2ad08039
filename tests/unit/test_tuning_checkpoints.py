"""Checkpoints: bounded in memory, whole on disk, shared by branches, gone when nobody needs them."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
import torch

from labkit.tuning import checkpoints, scratch, spool
from labkit.tuning.checkpoints import Checkpoint, CheckpointStore
from labkit.tuning.spool import copies

MEGABYTE = 2**20


def checkpoint(step: int, megabytes: int = 1) -> Checkpoint:
    weights = torch.full((megabytes * MEGABYTE // 4,), float(step))
    return Checkpoint(step, {"head": {"w": weights}}, {"head": {}}, f"state {step}", weights.nbytes)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of the test's own: runs of other tests may still keep checkpoints in that of this process."""
    monkeypatch.setattr(scratch, "folder", lambda: tmp_path)


def spooled_files() -> list[Path]:
    return sorted(scratch.folder().glob("*.pt"))


def test_memory_stays_within_the_budget_and_every_step_comes_back() -> None:
    store = CheckpointStore(memory_budget=3 * MEGABYTE)
    for step in range(10):
        store.add(checkpoint(step))
    store.flush()
    assert store.in_memory() <= 3 * MEGABYTE
    for step in range(10):
        found = store.latest(step)
        assert (found.step, found.state) == (step, f"state {step}")
        assert float(found.weights["head"]["w"][0]) == step


def test_what_came_later_is_forgotten_when_a_run_goes_back() -> None:
    store = CheckpointStore()
    for step in (0, 10, 20, 30):
        store.add(checkpoint(step))
    store.forget_after(15)
    assert (len(store), store.latest(100).step) == (2, 10)


def test_a_run_that_is_over_keeps_its_way_back_on_disk_and_goes_on_from_there() -> None:
    store = CheckpointStore()
    for step in (0, 10, 20):
        store.add(checkpoint(step, megabytes=10))
    store.spill_to_disk()
    store.flush()
    assert store.in_memory() == 10 * MEGABYTE  # the first, with which it began
    assert store.newest() is None
    assert [store.latest(step).step for step in (9, 19, 25)] == [0, 10, 20]
    store.add(checkpoint(30))
    assert store.newest() is store.latest(30)
    store.spill_to_disk()
    assert store.newest() is not None, "what is small stays"


def test_the_last_checkpoint_before_a_step_is_found() -> None:
    store = CheckpointStore()
    for step in (0, 10, 20):
        store.add(checkpoint(step))
    assert [store.latest(step).step for step in (0, 9, 10, 19, 25)] == [0, 0, 10, 10, 20]


def test_copies_have_every_kind_and_shape_and_stay_when_the_original_changes() -> None:
    original = {
        "weights": torch.randn(3, 5, 7),
        "turned": torch.randn(4, 6).t(),
        "steps": torch.tensor(3),
        "half": torch.randn(9).to(torch.bfloat16),
        "mask": torch.tensor([True, False]),
        "none": torch.empty(0, 4),
        "trained": torch.nn.Parameter(torch.ones(2)),
    }
    before = {key: value.detach().clone() for key, value in original.items()}
    kept = copies(original)
    for value in original.values():
        value.detach().zero_()
    for key, value in kept.items():
        assert torch.equal(value, before[key]), key
        assert value.dtype == before[key].dtype, key
        assert not value.requires_grad


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "through the cache"])
def test_what_is_spooled_comes_back_bit_for_bit(
    direct: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not direct:
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    sizes = (1, 4095, 3 * MEGABYTE, 8 * MEGABYTE + 3)  # bytes: below, at and beyond the buffer
    weights = {str(size): torch.randint(256, (size,), dtype=torch.uint8) for size in sizes}
    spool._write(Checkpoint(7, {"head": weights}, {"head": {}}, "state", 0), tmp_path / "c")
    back = spool._read(tmp_path / "c")
    assert (back.step, back.state) == (7, "state")
    assert all(torch.equal(back.weights["head"][size], weights[size]) for size in weights)


def test_a_full_disk_costs_a_longer_rewind_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labkit.tuning.spool._write", full)
    store = CheckpointStore(memory_budget=2 * MEGABYTE)
    for step in range(6):
        store.add(checkpoint(step))
    store.flush()
    assert store.latest(0).step == 0
    assert store.latest(5).step == 5
    assert store.latest(3).step < 3


def test_a_checkpoint_on_its_way_to_disk_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write, may_go_on = spool._write, Event()

    def slow(kept: Checkpoint, path: Path) -> None:
        may_go_on.wait(10)
        write(kept, path)

    monkeypatch.setattr("labkit.tuning.spool._write", slow)
    store = CheckpointStore(memory_budget=2 * MEGABYTE)
    for step in range(3):
        store.add(checkpoint(step))
    assert store.latest(1).step == 1
    assert not spooled_files()
    may_go_on.set()
    store.flush()
    assert store.latest(1).step == 1
    assert store.in_memory() == 2 * MEGABYTE


def test_the_disk_budget_is_kept() -> None:
    store = CheckpointStore(memory_budget=2 * MEGABYTE, disk_budget=4 * MEGABYTE)
    before = len(spooled_files())
    for step in range(30):
        store.add(checkpoint(step))
    store.flush()
    gc.collect()
    assert len(spooled_files()) - before <= 5
    assert store.latest(0).step == 0


def test_files_take_no_more_than_a_tenth_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < CheckpointStore().disk_budget <= checkpoints.DISK_MOST
    monkeypatch.setattr(
        "labkit.tuning.checkpoints.shutil.disk_usage", lambda _: SimpleNamespace(free=70 * MEGABYTE)
    )
    assert CheckpointStore().disk_budget == 7 * MEGABYTE


def test_files_live_as_long_as_a_branch_needs_them() -> None:
    before = set(spooled_files())
    store = CheckpointStore(memory_budget=MEGABYTE)
    for step in range(6):
        store.add(checkpoint(step))
    branch = store.share(4)
    store.forget_after(0)
    assert [branch.latest(step).step for step in range(5)] == [0, 1, 2, 3, 4]
    branch.flush()
    del store, branch
    gc.collect()
    assert set(spooled_files()) == before
