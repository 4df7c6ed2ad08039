"""The temporary folder of a process: gone when it ends, and removed by the next one where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import runtime
from labkit.tuning import scratch

FILLS = (
    "import os, signal, sys, time; from labkit.tuning import scratch\n"
    "folder = scratch.folder(); (folder / 'a.pt').write_bytes(bytes(1000)); print(folder, flush=True)\n"
)
RUNS = (
    "import labkit; from labkit.runtime import Precision; from tests.small import Clouds, Small\n"
    "run = labkit.Run(Small(), Clouds(), labkit.full(epochs=30), precision=Precision())\n"
    "run._checkpoints.memory_budget = 0\n"
    "labkit.tuning.run.REWIND_SECONDS = labkit.tuning.run.CHECKPOINT_SHARE = 0\n"
    "run.fit(); run._checkpoints.flush()\n"
)


def python(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def folders(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("labkit-*"))


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Path]:
    """The folder of another process that lives."""
    other = python(tmp_path, FILLS + "sys.stdin.read()")
    assert other.stdout is not None
    yield Path(other.stdout.readline().strip())
    other.communicate(timeout=60)


def dead(tmp_path: Path, number: int) -> Path:
    """What a killed process has left: nobody holds the lock."""
    folder = tmp_path / f"{scratch.PREFIX}{number}-x"
    folder.mkdir()
    (folder / scratch.LOCK).touch()
    (folder / "a.pt").write_bytes(bytes(1000))
    return folder


@pytest.mark.slow
def test_what_a_killed_run_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = python(tmp_path, f"{RUNS}import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.wait(240) == -signal.SIGKILL
    (left,) = folders(tmp_path)
    assert str(killed.pid) in left.name
    assert len(list(left.glob("*.pt"))) > 1
    nextone = python(tmp_path, RUNS)
    assert nextone.wait(240) == 0
    assert folders(tmp_path) == []


def test_the_folder_of_a_living_process_stays(tmp_path: Path, alive: Path) -> None:
    dead(tmp_path, 1)
    scratch.sweep(tmp_path)
    assert folders(tmp_path) == [alive]
    assert {file.name for file in alive.iterdir()} == {scratch.LOCK, "a.pt"}


def test_a_number_that_was_given_again_saves_no_dead_folder(tmp_path: Path) -> None:
    dead(tmp_path, os.getpid())
    scratch.sweep(tmp_path)
    assert folders(tmp_path) == []


def test_a_folder_goes_when_its_process_ends_and_not_when_a_fork_of_it_ends(tmp_path: Path) -> None:
    forked = (
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0); assert (folder / 'a.pt').exists()\n"  # the child runs its atexit handlers
    )
    ended = python(tmp_path, FILLS + forked)
    assert ended.wait(120) == 0
    assert folders(tmp_path) == []


def test_what_is_not_ours_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = dead(tmp_path_factory.mktemp("elsewhere"), 5)
    (tmp_path / f"{scratch.PREFIX}6-link").symlink_to(elsewhere)
    (tmp_path / f"{scratch.PREFIX}7-file").touch()
    (tmp_path / f"{scratch.PREFIX}8-begun").mkdir()  # its process has not come to lock it
    before = folders(tmp_path)
    scratch.sweep(tmp_path)
    assert folders(tmp_path) == before
    assert (elsewhere / "a.pt").exists()
    theirs = dead(tmp_path, 9)
    monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    scratch.sweep(tmp_path)
    assert (theirs / "a.pt").exists()


def test_without_locks_nothing_is_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dead(tmp_path, 1)
    monkeypatch.setattr(runtime, "lock", lambda _: None)
    scratch.sweep(tmp_path)
    assert (folder / "a.pt").exists()


def test_a_sweep_is_bounded_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        dead(tmp_path, number)
    monkeypatch.setattr(scratch, "SECONDS", -1.0)
    scratch.sweep(tmp_path)
    assert len(folders(tmp_path)) == 5
    monkeypatch.setattr(scratch, "SECONDS", 60.0)
    monkeypatch.setattr(scratch, "MOST", 3)
    scratch.sweep(tmp_path)
    assert len(folders(tmp_path)) == 2
    scratch.sweep(tmp_path)
    assert folders(tmp_path) == []


def test_a_sweep_that_is_cut_off_leaves_what_the_next_one_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dead(tmp_path, 1)
    times = iter([0.0, 0.0, 99.0])  # the deadline is set, the folder is begun, then time is over
    monkeypatch.setattr(scratch.time, "monotonic", lambda: next(times))
    scratch.sweep(tmp_path)
    assert (folder / scratch.LOCK).exists()
    monkeypatch.undo()
    scratch.sweep(tmp_path)
    assert folders(tmp_path) == []
