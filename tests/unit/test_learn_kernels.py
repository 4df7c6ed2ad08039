"""What is told of other notebooks' kernels: those that live, are ours and hold much, and only where memory is short."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labkit import runtime
from labkit.learn import kernels

MEGABYTE = 10**6
HOLD = "import sys; held = bytearray(60_000_000); print(flush=True); sys.stdin.read()"


@contextmanager
def a_process(*arguments: str, notebook: str = "") -> Iterator[int]:
    """A process that holds 60 MB, as a kernel that was left open does."""
    told = {**os.environ, "JPY_SESSION_NAME": notebook}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, *arguments], env=told, **pipes) as process:
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.communicate(b"")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "HEAVY", 50 * MEGABYTE)


def seen() -> dict[int, kernels.Kernel]:
    return {kernel.process: kernel for kernel in kernels.heavy_kernels()}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_kernel_left_open_is_found_with_its_notebook_and_its_memory() -> None:
    with a_process("-m", "ipykernel_launcher", notebook="/lessons/04_extraction.ipynb") as left:
        found = seen()[left]
        assert found.notebook == "04_extraction.ipynb"
        assert 60 * MEGABYTE < found.bytes < 200 * MEGABYTE
    assert left not in seen()  # it ended


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_neither_other_programs_nor_this_process_are_told_of() -> None:
    with a_process("some_other_program") as other:
        assert other not in seen()
        assert os.getpid() not in seen()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kernels_of_other_users_are_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_process("ipykernel_launcher") as left:
        assert left in seen()
        mine = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: mine + 1)
        assert left not in seen()


def test_nothing_is_said_where_there_is_memory_or_no_other_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = kernels.Kernel(17, 1_200 * MEGABYTE, "04.ipynb")
    monkeypatch.setattr(kernels, "memory_left", lambda others: 9e9)
    monkeypatch.setattr(kernels, "heavy_kernels", lambda: iter([other]))
    assert kernels.crowded() is None
    monkeypatch.setattr(kernels, "memory_left", lambda others: 1e8)
    monkeypatch.setattr(kernels, "heavy_kernels", lambda: iter([]))
    assert kernels.crowded() is None


def test_where_memory_is_short_the_note_names_the_notebook_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = kernels.Kernel(17, 1_200 * MEGABYTE, "04.ipynb")
    monkeypatch.setattr(kernels, "heavy_kernels", lambda: iter([other]))
    monkeypatch.setattr(runtime, "memory_limit", lambda: 1_500 * MEGABYTE)
    monkeypatch.setattr(kernels, "_resident", lambda process: 0)
    note = str(kernels.crowded())
    assert "04.ipynb (1.2 GB)" in note
    assert "Shut Down Kernel" in note


def test_outside_a_notebook_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "crowded", lambda: pytest.fail("asked"))
    kernels.tell_once()
