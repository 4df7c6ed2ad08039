"""Which other notebooks of this learner hold memory that a lesson needs, and how to get it back.

A kernel lives on when its page is closed. Three lessons fill a small machine, and then the system ends one of them
without a word. What runs is asked of the system itself, so that nothing is told of kernels that have ended, of other
people's, or of those in another container.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from labkit import runtime
from labkit.learn.note import Note

NEEDED = 1.4e9  # bytes of a lesson that is played with for half an hour
HEAVY = 0.4e9  # bytes: a kernel that holds less has not begun
PROC = Path("/proc")
_advised = False


@dataclass(frozen=True)
class Kernel:
    """A Jupyter kernel of this user: its process, the bytes it holds, and its notebook where that is known."""

    process: int
    bytes: int
    notebook: str = ""

    def __str__(self) -> str:
        return f"{self.notebook or f'process {self.process}'} ({self.bytes / 1e9:.1f} GB)"


def crowded() -> Note | None:
    """What to shut down, if other kernels hold memory and what is free is too little for a lesson."""
    others = sorted(heavy_kernels(), key=lambda kernel: -kernel.bytes)
    left = memory_left(others)
    mine = _resident(os.getpid())
    if not others or left is None or left >= NEEDED - mine:
        return None
    named = ", ".join(map(str, others[:3]))
    return Note(
        f"Memory is short: {left / 1e9:.1f} GB is free, and another notebook is still open: {named}.",
        (
            "Closing a page leaves its kernel running. In its menu choose Kernel, then Shut Down Kernel; "
            "or use the list of running kernels at the left.",
        ),
        tone="not yet",
    )


def tell_once() -> None:
    """Show `crowded()` in a notebook, the first time in this process."""
    global _advised
    if _advised or not _in_kernel():
        return
    _advised = True
    note = crowded()
    if note is not None:
        from IPython.display import display

        display(note)


def _in_kernel() -> bool:
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


# ---------------------------------------------------------------- what the system knows


def heavy_kernels() -> Iterator[Kernel]:
    """This user's other kernels that hold a good deal; none where the system cannot be asked."""
    if (PROC / "self" / "cmdline").exists():
        yield from filter(None, map(_kernel, _processes()))
        return
    with suppress(ImportError):
        yield from _by_psutil()


def _processes() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdecimal()]


def _kernel(process: int) -> Kernel | None:
    """What a process is, if it is a kernel to tell of. It may end while it is looked at."""
    place = PROC / str(process)
    try:
        if process == os.getpid() or place.stat().st_uid != os.getuid():
            return None
        if b"ipykernel" not in (place / "cmdline").read_bytes():
            return None
        held = _resident(process)
        return Kernel(process, held, _notebook(place)) if held >= HEAVY else None
    except (OSError, ValueError, IndexError):
        return None


def _resident(process: int) -> int:
    try:
        pages = int((PROC / str(process) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _notebook(place: Path) -> str:
    """The name of the notebook, which Jupyter's server puts into the environment of its kernel."""
    with suppress(OSError):
        found = re.search(rb"(?:^|\0)JPY_SESSION_NAME=([^\0]*)", (place / "environ").read_bytes())
        if found:
            return PurePath(found[1].decode("utf-8", "replace")).name[:80]
    return ""


def _by_psutil() -> Iterator[Kernel]:
    import psutil

    me = psutil.Process()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid == me.pid or process.username() != me.username():
                continue
            held = process.memory_info().rss
            if held >= HEAVY and any("ipykernel" in part for part in process.cmdline()):
                yield Kernel(process.pid, held, "")


def memory_left(others: list[Kernel]) -> float | None:
    """Bytes that this process may still take: of the machine, and of its control group. None if unknown."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = (PROC / "meminfo").read_text().splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable"))
        found.append(1024.0 * int(free.split()[1]))
    limit = runtime.memory_limit()
    if limit is not None:
        held = _resident(os.getpid()) + sum(kernel.bytes for kernel in others)
        found.append(max(0.0, float(limit - held)))
    return min(found, default=None)
