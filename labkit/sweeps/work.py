"""Doing a job: from what a job says to the row that comes of it, the same in every process."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from labkit.sweeps.jobs import Job, SweepRow
from labkit.sweeps.parts import data_of, net_of
from labkit.tuning.events import EpochDone, RunFailed
from labkit.tuning.run import Run


def work(job: Job) -> SweepRow:
    """Train and count. A run that diverges and a run that cannot be made are rows too: nothing is raised."""
    began = time.perf_counter()
    try:
        net = net_of(job.net)
        data = data_of(job.data, job.per_class, job.seed if job.per_class is not None else 0)
        began = time.perf_counter()  # loading is done once a worker: no run is charged for it
        run = Run(net, data, job.plan, job.seed, precision=job.precision).fit()
        return _row(job, run, began)
    except Exception as trouble:
        reason = f"{type(trouble).__name__}: {trouble}"
        return SweepRow.of(job, "failed", reason=reason, where=_here(), seconds=_since(began))


def _row(job: Job, run: Run, began: float) -> SweepRow:
    events = [event for _, event in run.journal.since(0)]
    epochs = [event for event in events if isinstance(event, EpochDone)]
    facts: dict[str, Any] = {"epochs": run.epoch, "steps": run.step_number, "where": _here()}
    facts["curve"] = tuple(epoch.valid_correct for epoch in epochs)
    trouble = next((event for event in events if isinstance(event, RunFailed)), None)
    if trouble is not None:
        return SweepRow.of(job, "diverged", reason=trouble.reason, seconds=_since(began), **facts)
    last, best = epochs[-1], max(epochs, key=lambda epoch: epoch.valid_correct)
    facts |= {"correct": last.valid_correct, "count": last.valid_count}
    facts |= {"loss": last.valid_loss, "train_loss": last.train_loss}
    facts |= {"best_epoch": best.epoch, "best_correct": best.valid_correct}
    if job.test:
        end = run.evaluate("test")
        facts |= {"test_correct": end.correct, "test_count": end.count}
    return SweepRow.of(job, "done", seconds=_since(began), **facts)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 4)


def _here() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
