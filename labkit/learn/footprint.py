"""What a lesson's kernel need not hold: torch's compiler, and code of libraries that only loading has looked at.

Loading a library brings much more of its code into memory than is ever run: of torch's usual build for Linux 0.2 GB are
for graphics cards that are not there, and how much it is depends on how the system happens to keep the files.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)")
LIBRARY = re.compile(r"\.so(\.[\d.]+)?$")
MAPS = Path("/proc/self/smaps")


def keep_small() -> None:
    """Keep torch's compiler out, and give the code of libraries back; what is run comes again, page by page."""
    from labkit.tuning.optimizer import spare_the_compiler

    spare_the_compiler()
    with suppress(OSError, AttributeError, ValueError):  # not Linux, or another C library
        _give_back(list(_code()))


def _code() -> Iterator[tuple[int, int]]:
    """Start and length in bytes of what is mapped of libraries and is just as it stands in their files.

    What may be written to, or was when the library was bound, is nowhere else, and stays.
    """
    start = length = 0
    for line in MAPS.read_text().splitlines():
        if found := MAPPING.match(line):
            first, last = int(found[1], 16), int(found[2], 16)
            unwritten = "w" not in found[3] and LIBRARY.search(found[4])
            start, length = (first, last - first) if unwritten else (0, 0)
        elif line.startswith("Anonymous:") and length and int(line.split()[1]) == 0:
            yield start, length


def _give_back(mappings: list[tuple[int, int]]) -> None:
    """Take pages out of this process's memory; whoever looks at one gets it from its file again."""
    madvise = ctypes.CDLL(None).madvise
    for start, length in mappings:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
