"""The cache itself: budgets are kept, the least useful goes, and trouble with the disk costs only time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from labkit.tuning.cache import CacheEntry, Key, PrefixCache

ROW = torch.rand(4, 8, 6, 6)  # 1,152 bytes a row in fp32
ROWS = torch.arange(4)
SIZE = 100 * 8 * 36 * 4


def key(name: str, view: str = "") -> Key:
    return Key(name, "split", view, "fp32")


def filled(cache: PrefixCache, name: str, view: str = "") -> CacheEntry | None:
    entry = cache.add(key(name, view), 100, (ROW,))
    if entry:
        entry.put(ROWS, (ROW,), 0.1)
    return entry


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_rows_come_back_to_the_bit_and_in_their_layout(place, layout, dtype, tmp_path):
    values = (ROW * 100).to(dtype).contiguous(memory_format=layout)
    entry = CacheEntry(10, (values,), limit=10**9).open(place, tmp_path)
    entry.put(torch.tensor([7, 0, 3, 9]), (values,), 0.1)
    (found,) = entry.get(torch.tensor([9, 7]))
    assert found.dtype == dtype
    assert torch.equal(found, values[[3, 0]])
    assert found.is_contiguous(memory_format=layout)
    assert entry.missing(torch.tensor([0, 1, 9])).tolist() == [1]


def test_memory_is_bounded_and_the_least_useful_goes_to_disk(tmp_path):
    cache = PrefixCache(memory=3 * SIZE, disk=2 * SIZE, folder=tmp_path)
    for name in "abc":
        filled(cache, name)
    cache.find(key("a"))  # used again, and so more useful than b
    filled(cache, "d")
    assert cache.held("memory") == 3 * SIZE
    assert {name: cache._entries[key(name)].place for name in "abcd"} == {
        "a": "memory",
        "b": "disk",
        "c": "memory",
        "d": "memory",
    }
    assert torch.equal(cache.find(key("b")).get(ROWS)[0], ROW)


def test_disk_is_bounded_too_and_then_the_oldest_are_forgotten(tmp_path):
    cache = PrefixCache(memory=SIZE, disk=SIZE, folder=tmp_path)
    for name in "abcde":
        filled(cache, name)
    assert cache.held("memory") <= SIZE
    assert cache.held("disk") <= SIZE
    assert cache.find(key("a")) is None
    assert cache.find(key("e")) is not None


def test_little_memory_sends_an_entry_to_disk_and_changes_none_of_its_numbers(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("labkit.tuning.cache.MEMORY_MOST", SIZE // 2)
    cache = PrefixCache(folder=tmp_path)
    entry = filled(cache, "a")
    assert entry.place == "disk"
    assert entry.error == 0
    assert torch.equal(entry.get(ROWS)[0], ROW)


def test_the_views_of_one_network_do_not_chase_each_other_out():
    cache = PrefixCache(memory=2 * SIZE, disk=0)
    kept = [filled(cache, "net", f"light {view} of seed 0") for view in range(4)]
    assert [entry is not None for entry in kept] == [True, True, False, False]
    assert filled(cache, "another net") is not None


def test_what_is_too_large_is_kept_in_half_where_that_loses_next_to_nothing(tmp_path):
    entry = CacheEntry(100, (ROW,), limit=SIZE - 1).open("memory", tmp_path)
    assert entry.bytes == SIZE // 2
    entry.put(ROWS, (ROW,), 0.1)
    (found,) = entry.get(ROWS)
    assert found.dtype == torch.float32
    assert 0 < entry.error <= 1e-3
    assert torch.equal(found, entry.rounded((ROW,))[0])
    huge = ROW * 1e6  # 16 bits cannot hold these
    assert CacheEntry(100, (huge,), limit=1).bytes == SIZE


def test_files_are_gone_when_their_entries_are(tmp_path):
    cache = PrefixCache(memory=0, disk=10 * SIZE, folder=tmp_path)
    entry = filled(cache, "a")
    assert entry.place == "disk"
    cache.clear()
    del entry
    assert not list(tmp_path.iterdir())


def test_rows_that_the_disk_damages_are_noticed_and_computed_again(tmp_path):
    entry = CacheEntry(100, (ROW,), limit=10**9).open("disk", tmp_path)
    entry.put(ROWS, (ROW,), 0.1)
    entry._parts[0][2, 3, 1, 1] += 0.001
    assert entry.get(ROWS) is None
    assert len(entry.missing(ROWS)) == 4
    entry.put(ROWS, (ROW,), 0.1)
    assert torch.equal(entry.get(ROWS)[0], ROW)


FULL_DISK = """
    import resource, sys, warnings
    import labkit
    from labkit import runtime
    from labkit.tuning import trainer
    from labkit.tuning.cache import PrefixCache

    def train(cache):
        trainer.shared = cache
        data = labkit.load_data("digits").subset(per_class=4)
        plan = labkit.feature_extraction(epochs=3)
        run = labkit.Run(labkit.load_backbone("resnet10-glyphs"), data, plan, precision=runtime.Precision())
        return run.fit()

    usual = train(PrefixCache())
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = train(PrefixCache(memory=0, disk=2**30))
    told = [str(one.message) for one in told if one.category is RuntimeWarning]
    assert len(told) == 1 and "Training goes on" in told[0], told
    assert run.status == "ended"
    assert list(run.history["loss"]) == list(usual.history["loss"])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to set here")
def test_a_full_disk_costs_time_and_one_warning_and_nothing_else():
    script = textwrap.dedent(FULL_DISK)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-2000:]
