"""What a lesson's kernel need not hold of torch: its compiler, and the code for graphics cards where there is none.

The usual build of torch for Linux brings 0.2 GB of code for NVIDIA's cards into memory, as a by-product of loading, and
how much depends on how the system has kept the files. Without a card nothing ever looks at it again.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOR_CARDS = re.compile(r"/nvidia/|/triton/|/lib(torch_cuda|c10_cuda|cu\w+|nv\w+|nccl)[\w.-]*\.so")
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)")
MAPS = Path("/proc/self/smaps")


def keep_small() -> None:
    """Keep the compiler out, and give back the code that no card will run."""
    import torch

    from labkit.tuning.optimizer import spare_the_compiler

    spare_the_compiler()
    if not torch.cuda.is_available():
        with suppress(OSError, AttributeError, ValueError):  # not Linux, or another C library
            _give_back(list(_code_for_cards()))


def _code_for_cards() -> Iterator[tuple[int, int]]:
    """Start and length in bytes of what is mapped of such libraries and is just as it stands in their files.

    What may be written to, or was when the library was bound, is nowhere else, and stays.
    """
    start = length = 0
    for line in MAPS.read_text().splitlines():
        if found := MAPPING.match(line):
            first, last = int(found[1], 16), int(found[2], 16)
            unwritten = "w" not in found[3] and FOR_CARDS.search(found[4])
            start, length = (first, last - first) if unwritten else (0, 0)
        elif line.startswith("Anonymous:") and length and int(line.split()[1]) == 0:
            yield start, length


def _give_back(mappings: list[tuple[int, int]]) -> None:
    """Take pages out of this process's memory; whoever should look at one after all gets it from its file again."""
    madvise = ctypes.CDLL(None).madvise
    for start, length in mappings:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
