"""What a stretch of work really took: seconds, processor seconds, memory and energy.

Memory is what the system says of this process, so it also holds what no tensor is: libraries, Python, scratch space.
Energy is codecarbon's, where it is installed: a counter of the processor where the machine has one and lets us read it,
else the processor's rated power times the share of it that this process used. Nothing is sent anywhere.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labkit.tuning import resting
from labkit.tuning.given import a_flag, takes

KIBI = 1024
MOST_PASSES = 5  # a chain of finalizers without end is nobody's
WORLD = "USA"  # codecarbon wants a country for its emissions, which are not asked for here


@dataclass
class Spent:
    """What a stretch of work took; all None until it ends.

    `peak` is the most that this process held meanwhile beyond what it held before, in bytes; None where the system does
    not tell. `watt_hours` is the energy, None without codecarbon, and `energy_by` says how it is known.
    """

    seconds: float | None = None
    processor_seconds: float | None = None
    peak: int | None = None
    watt_hours: float | None = None
    energy_by: str = "codecarbon is not installed"


@takes(energy=a_flag)
@contextmanager
def meter(energy: bool = True) -> Iterator[Spent]:
    """Measure what is done inside: `with insight.meter() as spent: run.fit()`, then look at `spent`.

    `energy=False` leaves codecarbon out, which takes about a second to start.
    """
    spent, tracker = Spent(), _tracker() if energy else None
    if tracker is not None:
        tracker.start()
    held = _begin_peak()
    began, processor = time.perf_counter(), time.process_time()
    try:
        yield spent
    finally:
        spent.seconds = time.perf_counter() - began
        spent.processor_seconds = time.process_time() - processor
        peak = _kilobytes("VmHWM")
        if held is not None and peak is not None:
            spent.peak = max(0, peak - held) * KIBI
        if tracker is not None:
            tracker.stop()
            spent.watt_hours, spent.energy_by = _energy(tracker)


# ---------------------------------------------------------------- energy


def _tracker() -> Any:
    """codecarbon's tracker that asks no network and writes no file, or None where it is not installed."""
    if find_spec("codecarbon") is None:
        return None
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(
        logging.CRITICAL
    )  # else it tells a lesson of its setup
    return OfflineEmissionsTracker(
        country_iso_code=WORLD,
        tracking_mode="process",
        save_to_file=False,
        save_to_api=False,
        allow_multiple_runs=True,
        log_level="critical",
    )


def _energy(tracker: Any) -> tuple[float | None, str]:
    """Watt-hours, and how codecarbon knows them."""
    found = getattr(tracker, "final_emissions_data", None)
    if found is None:
        return None, "codecarbon could not measure here"
    return 1000 * found.energy_consumed, f"codecarbon, {_method(tracker)}"


def _method(tracker: Any) -> str:
    """How the processor's part is known; that of memory is always a model."""
    modes = [getattr(part, "_mode", "") for part in getattr(tracker, "_hardware", ())]
    counters = [mode for mode in modes if mode in COUNTERS]
    return f"from the counter {counters[0]}" if counters else "rated power times use, an estimate"


COUNTERS = ("intel_rapl", "windows_emi", "intel_power_gadget")


# ---------------------------------------------------------------- memory


def _begin_peak() -> int | None:
    """Kilobytes held now, with the peak set back to that; None where the system knows no peak that can be set back.

    What is garbage, or freed and not yet given back, goes first: if it went meanwhile it would hide what is taken.
    """
    _collect_all()
    resting.trim()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _kilobytes("VmRSS")
    return None


def _collect_all() -> None:
    """Collect until nothing more is found: what goes in one pass may have been all that held a cycle of others."""
    for _ in range(MOST_PASSES):
        if gc.collect() == 0:
            return


def _kilobytes(name: str) -> int | None:
    """A line of what Linux says of this process."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
    return None
