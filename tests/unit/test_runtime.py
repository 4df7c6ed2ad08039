"""The machine and chance: what may be used, what is drawn, what is written whole."""

from __future__ import annotations

import gc
import math
import os
import platform
import stat
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from scipy.special import stdtrit

from labkit import runtime


def test_the_garbage_collector_is_spared_what_is_loaded_for_good() -> None:
    runtime.freeze_gc()
    assert gc.get_freeze_count() > 100_000


OLD = """
import gc, weakref
from labkit import runtime
class Ring: pass
old = Ring(); old.me = old; ref = weakref.ref(old)
passes = []
gc.callbacks.append(lambda phase, info: passes.append(info["generation"]) if phase == "start" else None)
runtime.freeze_gc()
del old, passes[:]
frozen = gc.get_freeze_count()
kept = []
while passes.count(2) < 3: kept.append([])  # full passes that come by themselves
assert gc.get_freeze_count() == frozen and ref() is not None
gc.collect()
assert ref() is None
assert gc.get_freeze_count() > 100_000
"""


def test_what_was_made_before_the_first_run_goes_when_somebody_asks_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", OLD], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "nothing is said to be left behind"


def test_a_default_device_may_be_taken_back() -> None:
    """In torch 2.4 nobody could ask for the default then."""
    torch.set_default_device("meta")
    torch.set_default_device(None)
    with runtime.plain_torch():
        assert torch.ones(2).sum() == 2


FREED = """
import ctypes, sys, threading
from labkit import runtime
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000
def block(megabytes):
    place = libc.malloc(megabytes << 20)
    ctypes.memset(place, 1, megabytes << 20)
    return place
libc.free(block(30))  # from now on glibc keeps blocks up to this size in its heaps
if sys.argv[1] == "bounded":
    runtime.bound_free_memory()
here, done = threading.Barrier(5), threading.Event()
def work():
    for place in reversed([block(1) for _ in range(40)]):  # 40 MB, then none
        libc.free(place)
    here.wait()
    done.wait()
before = resident()
workers = [threading.Thread(target=work) for _ in range(4)]
[worker.start() for worker in workers]
here.wait()
libc.malloc_trim(0)
print(resident() - before)
done.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does")
def test_what_a_thread_has_freed_goes_back_to_the_system() -> None:
    def kept(how: str, **env: str) -> float:
        command = [sys.executable, "-c", FREED, how]
        plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
        return float(subprocess.check_output(command, env=plain | env, timeout=60))

    assert kept("bounded") < 0.85 * 4 * 16
    assert kept("as it is") > 1.15 * 4 * 16
    assert kept("bounded", MALLOC_ARENA_TEST="8") > 1.15 * 4 * 16  # tuned by hand


def test_a_generator_is_on_the_cpu_whatever_the_default_device() -> None:
    torch.set_default_device("meta")
    try:
        chance = runtime.generator(3, "order")
        assert (
            torch.randperm(4, generator=chance, device="cpu").tolist()
            == torch.randperm(4, generator=runtime.generator(3, "order"), device="cpu").tolist()
        )
        with runtime.plain_torch():
            assert torch.zeros(1).device.type == "cpu"
        assert torch.zeros(1).device.type == "meta"
    finally:
        torch.set_default_device(None)


def test_a_locked_file_is_told_from_a_free_one(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as one, (tmp_path / "lock").open("r+b") as two:
        assert runtime.lock(one) is True
        assert runtime.lock(two) is False
        one.close()
        assert runtime.lock(two) is True


def test_a_file_that_somebody_reads_on_windows_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    new, old, replace, tries = tmp_path / "new", tmp_path / "old", os.replace, []

    def in_use_at_first(source: Path, target: Path) -> None:
        tries.append(target)
        if len(tries) < 4:
            raise PermissionError(13, "in use by another process")
        replace(source, target)

    monkeypatch.setattr(os, "replace", in_use_at_first)
    with pytest.raises(PermissionError):
        runtime._replace(new, old)  # elsewhere it is a matter of permission
    monkeypatch.setattr(os, "name", "nt")
    runtime._replace(new, old)
    monkeypatch.undo()
    assert old.read_text() == "new"


ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_threads_never_exceed_what_this_process_may_use() -> None:
    assert 1 <= runtime.threads() <= ALLOWED


@pytest.mark.parametrize(("asked", "at_most"), [("1", 1), ("64", 64), ("", 64), ("many", 64)])
def test_a_schedulers_limit_on_threads_is_kept(
    monkeypatch: pytest.MonkeyPatch, asked: str, at_most: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert 1 <= runtime.threads() <= min(at_most, ALLOWED)


@pytest.mark.parametrize(
    "given", [7, np.int64(7), np.uint8(7), np.array(7), torch.tensor(7)], ids=repr
)
def test_a_whole_number_of_any_library_is_the_plain_number(given: Any) -> None:
    for number in (runtime.whole_number(given), runtime.real_number(given)):
        assert type(number) is int
        assert number == 7


@pytest.mark.parametrize(
    "given", [True, np.True_, torch.tensor(True), 7.0, np.float32(7), "7", None, [7], 7j], ids=repr
)
def test_what_is_no_whole_number_is_not_taken_for_one(given: Any) -> None:
    assert runtime.whole_number(given) is None


@pytest.mark.parametrize(
    "given",
    [0.25, np.float32(0.25), np.float64(0.25), np.array(0.25), torch.tensor(0.25), Fraction(1, 4)],
    ids=repr,
)
def test_a_real_number_of_any_library_is_the_plain_number(given: Any) -> None:
    number = runtime.real_number(given)
    assert type(number) is float
    assert number == 0.25


@pytest.mark.parametrize("given", [True, np.False_, "0.25", None, [0.25], 1j, np.ones(1)], ids=repr)
def test_what_is_no_real_number_is_not_taken_for_one(given: Any) -> None:
    assert runtime.real_number(given) is None


@pytest.mark.parametrize("given", [10**400, Fraction(10**400)], ids=["int", "fraction"])
def test_a_number_that_no_float_holds_is_infinite_and_not_an_overflow(given: Any) -> None:
    assert runtime.real_number(given) == math.inf
    assert runtime.real_number(-given) == -math.inf


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


def test_student_reaches_as_far_as_scipy_says() -> None:
    freedoms = [*range(1, 60), 100, 999, 5000]
    said = [runtime.student(freedom) for freedom in freedoms]
    assert said == pytest.approx(list(stdtrit(freedoms, 0.975)), rel=1e-9)  # as exact as old scipys


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


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    path = runtime.write_atomic(tmp_path / "file", b"x")
    assert path.stat().st_mode & stat.S_IRUSR
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_a_link_stays_a_link_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"old")
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(Path("real") / "file")
    dangling.symlink_to(tmp_path / "real" / "new")
    for path, place in ((link, "file"), (dangling, "new")):
        assert runtime.write_atomic(path, b"new") == path
        assert path.is_symlink()
        assert (tmp_path / "real" / place).read_bytes() == b"new"
    assert sorted(file.name for file in (tmp_path / "real").iterdir()) == ["file", "new"]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_that_is_written_again_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = runtime.write_atomic(tmp_path / "file", b"x")
    path.chmod(mode)
    runtime.write_atomic(path, b"y")
    assert path.read_bytes() == b"y"
    assert path.stat().st_mode & 0o777 == mode


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("folder", "folder"), ("pipe", "regular")):
        with pytest.raises(OSError, match=said):
            runtime.write_atomic(tmp_path / name, b"x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "pipe"]


def test_the_name_of_a_file_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    for name in ("n" * 255, "名" * 85):
        assert runtime.write_atomic(tmp_path / name, b"x").read_bytes() == b"x"


def test_files_that_belong_together_are_written_all_or_none(tmp_path: Path) -> None:
    def full(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        runtime.write_together(
            {tmp_path / "a": b"new", tmp_path / "b": b"new", tmp_path / "c": full}
        )
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
