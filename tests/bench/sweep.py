"""What a sweep costs beside its runs: two workers against one, and a driver with a thousand workers.

    python tests/bench/sweep.py workers [--runs 40] [--epochs 6]   the same runs with one worker and with two
    python tests/bench/sweep.py driver [--workers 1000] [--jobs 10000] [--seconds 2]   a driver with simulated workers
    python tests/bench/sweep.py cluster [--jobs 2000]                       a driver, a scheduler and empty jobs

Measure `workers` on an idle machine. The rows go to a temporary folder, on the disk that would hold them.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import labkit
from labkit import sweeps
from labkit.runtime import Precision
from labkit.sweeps import Job, Sweep, SweepRow, jobs_of
from labkit.sweeps.processes import Backlog
from labkit.sweeps.rows_on_disk import RowsOnDisk
from labkit.tuning import Run

RATES = [1e-4, 3e-4, 1e-3, 3e-3]
DEPTHS = ["head", "layer4"]


def base_run(epochs: int) -> Run:
    net, data = labkit.load_backbone("resnet10-glyphs"), labkit.load_data("digits", size=32)
    return Run(net, data, labkit.partial("head", epochs=epochs), precision=Precision())


# ---------------------------------------------------------------- two workers against one


def workers(runs: int, epochs: int) -> dict[str, Any]:
    """The same runs with one worker and with two: seconds from the call to the last row, and from the first row on."""
    base, found = base_run(epochs), {}
    seeds = range(max(1, runs // (len(RATES) * len(DEPTHS))))
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            made = sweeps.sweep(
                base, lr=RATES, trainable_from=DEPTHS, seed=seeds, out=folder, workers=count
            )
            moments = [time.perf_counter() - began for _ in made]
            found[f"{count} worker(s), seconds"] = moments[-1]
            found[f"{count} worker(s), seconds to the first row"] = moments[0]
            found[f"{count} worker(s), seconds in runs"] = float(made.table.seconds.sum())
    first, second = (found[f"{count} worker(s), seconds"] for count in (1, 2))
    return {"runs": len(made), **found, "times as fast": first / second}


# ---------------------------------------------------------------- a thousand workers


class Simulated:
    """Workers that take simulated seconds: what the driver does takes real ones, on the same clock."""

    def __init__(self, lanes: int, seconds: float) -> None:
        self.lanes, self.seconds = lanes, seconds
        self.clock, self.chance, self.batches = 0.0, random.Random(0), 0

    def rows(self, groups: Sequence[Sequence[Job]]) -> Iterator[list[SweepRow]]:
        backlog = Backlog(groups)
        busy = [
            (self._ends(0), lane, job) for lane in range(self.lanes) if (job := backlog.next(lane))
        ]
        heapq.heapify(busy)
        while busy:
            began, rows = time.perf_counter(), []
            self.clock = max(self.clock, busy[0][0])
            while busy and busy[0][0] <= self.clock:
                now, lane, job = heapq.heappop(busy)
                if following := backlog.next(lane):
                    heapq.heappush(busy, (self._ends(now), lane, following))
                facts = {"correct": 300, "count": 359, "loss": 0.5, "train_loss": 0.4}
                rows.append(SweepRow.of(job, "done", **facts, steps=100, where=f"worker-{lane}:1"))
            self.batches += 1
            yield rows
            self.clock += time.perf_counter() - began

    def stop(self) -> None: ...

    def _ends(self, now: float) -> float:
        return now + self.seconds * self.chance.uniform(0.5, 1.5)


def driver(lanes: int, count: int, seconds: float) -> dict[str, Any]:
    """What making the jobs costs, and what each row costs the driver, with everything on disk at once."""
    base = base_run(1)
    axes = {"lr": [10 ** (-4 + 2 * i / 9) for i in range(10)], "trainable_from": list(base.stages)}
    seeds = range(-(-count // (10 * len(base.stages))))
    began = time.perf_counter()
    jobs = jobs_of(base, {**axes, "seed": seeds})[:count]
    made_jobs = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        executor = Simulated(lanes, seconds)
        busy = _driven(jobs, base, executor, Path(folder) / "a")
        resume = _driven(jobs, base, Simulated(lanes, seconds), Path(folder) / "a")
        tracemalloc.start()
        _driven(jobs, base, Simulated(lanes, seconds), Path(folder) / "b")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        sync = _sync_seconds(Path(folder) / "sync")
    return {
        "workers, simulated": lanes,
        "jobs": len(jobs),
        "seconds a run, simulated": seconds,
        "milliseconds to make a job": 1e3 * made_jobs / len(jobs),
        "driver, milliseconds a row": 1e3 * busy / len(jobs),
        "rows to one sync of the disk": len(jobs) / executor.batches,
        "one sync of this disk, milliseconds": 1e3 * sync,
        "share of the sweep in which the driver is busy": busy / executor.clock,
        "seconds of the sweep": executor.clock,
        "seconds of the sweep, if the driver took none": seconds * len(jobs) / lanes,
        "peak memory of rows and queues, MB": peak / 1e6,
        "seconds to read a finished sweep again": resume,
    }


def _driven(jobs: Sequence[Job], base: Run, executor: Simulated, folder: Path) -> float:
    began = time.perf_counter()
    made = Sweep(jobs, executor, RowsOnDisk(folder), base.stages).run(progress=False)
    seconds = time.perf_counter() - began
    assert len(made.rows) == len(jobs)
    return seconds


def _sync_seconds(path: Path, times: int = 300) -> float:
    """What this disk takes to put 400 bytes down for good."""
    import os

    with path.open("ab", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(times):
            file.write(b"x" * 400)
            os.fsync(file.fileno())
    return (time.perf_counter() - began) / times


# ---------------------------------------------------------------- a real scheduler


def empty(job: Job) -> SweepRow:
    """A job that takes no time."""
    return SweepRow.of(job, "done", correct=1, count=2)


def cluster(count: int) -> dict[str, Any]:
    """Driver, dask scheduler and one worker in this process: what a row costs them together."""
    from distributed import Client, LocalCluster

    from labkit.sweeps.cluster import Cluster

    base = base_run(1)
    jobs = jobs_of(base, {"seed": range(count)})
    local = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    with local, Client(local) as client, tempfile.TemporaryDirectory() as folder:
        made = Sweep(jobs, Cluster(client, b"", empty), RowsOnDisk(Path(folder)), base.stages)
        began = time.perf_counter()
        made.run(progress=False)
        seconds = time.perf_counter() - began
    return {"jobs": count, "driver and scheduler, milliseconds a row": 1e3 * seconds / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["workers", "driver", "cluster"])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a simulated run takes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    if given.what == "workers":
        measured = workers(given.runs, given.epochs)
    elif given.what == "driver":
        measured = driver(given.workers, given.jobs or 10_000, given.seconds)
    else:
        measured = cluster(given.jobs or 2_000)
    if given.json:
        json.dump(measured, sys.stdout, indent=1)
        return
    for name, value in measured.items():
        sys.stdout.write(
            f"{name}: {value:.3g}\n" if isinstance(value, float) else f"{name}: {value}\n"
        )


if __name__ == "__main__":
    main()
