"""The machine and chance: what may be used, what is drawn, what is written whole."""

from __future__ import annotations

import gc
import os
import stat
import time
from pathlib import Path
from typing import IO

import pytest
import torch

from labkit import runtime
from labkit.runtime import Precision


def test_the_garbage_collector_is_spared_what_is_loaded_for_good() -> None:
    runtime.settle()
    assert gc.get_freeze_count() > 100_000


ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_threads_never_exceed_what_this_process_may_use() -> None:
    assert 1 <= runtime.threads() <= ALLOWED


@pytest.mark.parametrize(("asked", "at_most"), [("1", 1), ("64", 64), ("", 64), ("many", 64)])
def test_a_schedulers_limit_on_threads_is_kept(
    monkeypatch: pytest.MonkeyPatch, asked: str, at_most: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert 1 <= runtime.threads() <= min(at_most, ALLOWED)


def test_a_seed_and_a_name_give_the_same_numbers_and_other_names_others() -> None:
    def draw(*stream: str | int) -> list[float]:
        return torch.rand(4, generator=runtime.generator(3, *stream)).tolist()

    assert draw("order", 1) == draw("order", 1)
    assert (
        len({tuple(draw(*stream)) for stream in [("order", 1), ("order", 2), ("augment", 1), ()]})
        == 4
    )


def test_global_chance_is_seeded_inside_and_untouched_outside() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with runtime.seeded_globals(1, "inside"):
        first = torch.rand(3)
    with runtime.seeded_globals(1, "inside"):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(3), expected)


def test_the_fastest_precision_is_chosen_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    asked: list[Precision] = []

    def trial(precision: Precision) -> None:
        asked.append(precision)
        time.sleep(0.0 if precision == Precision("bf16", "contiguous") else 0.01)

    assert runtime.choose_precision("work", trial) == Precision("bf16", "contiguous")
    asked.clear()
    assert runtime.choose_precision("work", trial) == Precision("bf16", "contiguous")
    assert asked == []


def test_a_precision_that_is_hardly_faster_does_not_take_the_place_of_a_plainer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    took = dict(zip(runtime.PRECISIONS, (0.100, 0.095, 0.093, 0.091), strict=True))
    monkeypatch.setattr(runtime, "_seconds", lambda trial: took)
    assert runtime.choose_precision("work", lambda _: None) == runtime.PRECISIONS[0]


def test_precisions_are_tried_in_turns_so_that_a_busy_moment_meets_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    tried: list[runtime.Precision] = []
    runtime.choose_precision("work", tried.append)
    assert tried == list(runtime.PRECISIONS) * (len(tried) // len(runtime.PRECISIONS))
    assert len(tried) > 2 * len(runtime.PRECISIONS)


@pytest.mark.parametrize("content", ["", "not json", "[1]", '{"k": 3}'])
def test_a_damaged_memory_of_precisions_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    (tmp_path / "precision.json").write_text(content)
    assert runtime.choose_precision("work", lambda _: None) in runtime.PRECISIONS


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    runtime.write_atomic(path, b"first")

    def break_off(file: IO[bytes]) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.write_atomic(path, break_off)
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("refusals", [2, 99])
def test_a_file_that_is_open_elsewhere_for_a_moment_is_replaced_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    """As Windows has it: whoever reads the old file keeps it from being replaced."""
    path, left, replace = runtime.write_atomic(tmp_path / "file", b"old"), [refusals], os.replace

    def open_elsewhere(*names: Path) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError("used by another process")
        replace(*names)

    monkeypatch.setattr(runtime, "TRIES", 10)
    monkeypatch.setattr(runtime, "PAUSE", 0)
    monkeypatch.setattr(os, "replace", open_elsewhere)
    if refusals > 10:
        with pytest.raises(PermissionError):
            runtime.write_atomic(path, b"new")
    else:
        runtime.write_atomic(path, b"new")
    assert path.read_bytes() == (b"old" if refusals > 10 else b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    path = runtime.write_atomic(tmp_path / "file", b"x")
    assert path.stat().st_mode & stat.S_IRUSR
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
