"""How much memory each lesson takes: its solution is run in a kernel of its own, and what the kernel held is printed.

`make peaks`, or `python -m tests.bench.peaks 05 12 --cells` for some lessons, cell by cell. The peak is the most that
was resident at any moment (VmHWM), "after" is what is resident after the last cell. Linux only, as it reads /proc.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tests.kernel.conftest import Wire, a_kernel
from tests.notebooks.promises import promised_memory

SOLUTIONS = Path(__file__).parents[2] / "notebooks" / "solutions"
MB = 1e6


def held(pid: int) -> tuple[float, float]:
    """Megabytes of a process: resident now, and at the most so far."""
    told = Path(f"/proc/{pid}/status").read_text()
    now, most = (
        int(re.search(rf"{name}:\s+(\d+)", told)[1]) * 1024 / MB for name in ("VmRSS", "VmHWM")
    )
    return now, most


def cells_of(lesson: Path) -> list[str]:
    """The code of a lesson's solution."""
    notebook = nbformat.read(lesson, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def run_all(wire: Wire, lesson: Path) -> Iterator[tuple[str, float, float]]:
    """Run a lesson's cells one by one: of each its code, and what the kernel holds after it."""
    pid = wire.value("__import__('os').getpid()")
    for code in cells_of(lesson):
        wire.run(code, seconds=300)
        wire.heard.clear()
        yield code, *held(pid)


def measure(lesson: Path, cell_by_cell: bool) -> tuple[float, float]:
    """What the kernel of a lesson holds at the peak and after its last cell."""
    now = most = 0.0
    with a_kernel() as wire:
        for code, now, most in run_all(wire, lesson):
            if cell_by_cell:
                print(f"  {now:7.0f} {most:7.0f}  {code.strip().splitlines()[0][:90]}", flush=True)
    return most, now


def main() -> None:
    """Print a line for every lesson."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lessons", nargs="*", help="numbers, as in 05; all by default")
    parser.add_argument("--cells", action="store_true", help="what is held after each cell, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"LABKIT_OFFLINE": "1", "LABKIT_PROGRESS": f"{home}/progress.json"}
        print(f"{'lesson':<30} {'peak MB':>8} {'after MB':>9} {'bound':>6} {'room':>6}", flush=True)
        for lesson in sorted(SOLUTIONS.glob("[0-9][0-9]_*.ipynb")):
            if not asked.lessons or lesson.name[:2] in asked.lessons:
                most, now = measure(lesson, asked.cells)
                bound = promised_memory(nbformat.read(lesson, as_version=4))
                told = f"{most:8.0f} {now:9.0f} {bound:6.0f} {bound / most - 1:6.0%}"
                print(f"{lesson.stem:<30} {told}", flush=True)


if __name__ == "__main__":
    main()
