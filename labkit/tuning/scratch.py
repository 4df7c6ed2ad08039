"""A temporary folder of this process, for what memory has no room for. It goes when Python ends.

A process that is killed leaves its folder behind, and whoever starts next removes it. That its process is dead is told
by a file in it: the process keeps that file locked, and the system lets go of the lock when it dies, however it dies.
The process number in the name is for people. It would not do: numbers are given again, and containers that share a
temporary folder each count their own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from labkit import runtime

PREFIX = "labkit-scratch-"
LOCK = "in-use.lock"
MOST, SECONDS = (
    100,
    2.0,
)  # folders that one sweep looks at, and how long it may take: the next one goes on


@lru_cache(maxsize=1)
def folder() -> Path:
    """The folder of this process, made when it is first needed."""
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    lock = (made / LOCK).open("wb")
    runtime.lock(lock)
    owner = os.getpid()

    def leave() -> None:
        if (
            os.getpid() == owner
        ):  # a fork of this process uses the folder, and is not the one to remove it
            lock.close()  # Windows removes no file that is open
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(leave)
    return made


def sweep(root: Path | None = None) -> None:
    """Remove the folders of this user's dead processes, as many as the bounds allow."""
    until = time.monotonic() + SECONDS
    for path in _folders(root or Path(tempfile.gettempdir())):
        if time.monotonic() > until:
            return
        with suppress(OSError):  # another user's, or just removed by another process
            _remove_if_dead(path, until)


def _folders(root: Path) -> Iterator[Path]:
    """This user's folders with such a name; a link with such a name is none."""
    user = os.geteuid() if hasattr(os, "geteuid") else None
    found = 0
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                found += 1
                if found > MOST:
                    return
                if user is None or entry.stat(follow_symlinks=False).st_uid == user:
                    yield Path(entry.path)


def _remove_if_dead(path: Path, until: float) -> None:
    """The lock goes last: a sweep that is cut off leaves a folder that the next one knows."""
    if not (path / LOCK).is_file():  # just being made
        return
    with (path / LOCK).open("r+b") as lock:
        if runtime.lock(lock) is not True:
            return
        for file in path.iterdir():
            if time.monotonic() > until:
                return
            if file.name != LOCK:
                file.unlink()
    shutil.rmtree(path, ignore_errors=True)
