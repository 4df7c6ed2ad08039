"""Jobs on a cluster, by a `dask.distributed` client: what is lost with a worker is done again elsewhere.

The cluster schedules: every group of jobs names the worker it would like, any other may take it. What only the
driver has travels once to every worker, also to those that join later, as a plugin.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Any
from uuid import uuid4

from labkit.errors import SweepError, shown
from labkit.hosts import how_to_install
from labkit.sweeps.jobs import Job, SweepRow
from labkit.sweeps.parts import set_up_worker
from labkit.sweeps.processes import TRIES, use_one_thread
from labkit.sweeps.work import work

try:
    from distributed import WorkerPlugin, as_completed
except ImportError as error:
    raise SweepError(
        f"A sweep on a cluster needs dask and distributed. Install them with: {how_to_install('scale')}"
    ) from error


class WorkerSetup(WorkerPlugin):  # type: ignore[misc,unused-ignore]
    """Dask plugin: sends network and data to each worker once, as it joins."""

    def __init__(self, setup: bytes) -> None:
        self.given, self.driver = setup, (socket.gethostname(), os.getpid())

    def setup(self, worker: Any) -> None:
        """Runs once in each worker; one that is a thread of the driver leaves the driver's threads alone."""
        if (socket.gethostname(), os.getpid()) != self.driver:
            use_one_thread()
        set_up_worker(self.given)


class Cluster:
    """Does jobs on the workers of a client; `rows` yields them as they come."""

    def __init__(self, client: Any, setup: bytes, do: Callable[[Job], SweepRow] = work) -> None:
        if not hasattr(client, "submit") or getattr(client, "asynchronous", False):
            raise SweepError(
                f"client={shown(client)} is not a dask client that answers at once. "
                "Make one with distributed.Client(address), without asynchronous=True."
            )
        self._client, self._setup, self._do = client, setup, do
        self._jobs: dict[Any, Job] = {}  # future -> job, of those that are not done
        self._stopping = False

    @property
    def lanes(self) -> int:
        """How many jobs the cluster does at once, as it is now."""
        return max(1, sum(self._client.nthreads().values()))

    def rows(self, groups: Sequence[Sequence[Job]]) -> Iterator[list[SweepRow]]:
        """The rows of all jobs as they finish."""
        tries = Counter[str]()
        with self._handed_out():
            self._submit_all(groups)
            finished = as_completed(list(self._jobs))
            for batch in finished.batches():
                done = [(job := self._jobs.pop(f), self._row(f, job, tries)) for f in batch]
                if rows := [row for _, row in done if row is not None]:
                    yield rows
                if self._stopping:
                    return
                if again := [job for job, row in done if row is None]:
                    finished.update(self._submit(again, None))

    def stop(self) -> None:
        """Take back the jobs that are not done."""
        self._stopping = True
        self._client.cancel(list(self._jobs), force=True)

    def _submit_all(self, groups: Sequence[Sequence[Job]]) -> None:
        addresses = cycle(self._client.nthreads() or [None])
        for group, address in zip(groups, addresses, strict=False):
            self._submit(group, address)

    def _submit(self, jobs: Sequence[Job], address: str | None) -> list[Any]:
        """Hand in jobs; the cluster tries a job again whose worker died, and so do we where it gives up."""
        keys = [f"labkit-sweep-{job.key}-{uuid4().hex[:8]}" for job in jobs]
        there = {"workers": [address], "allow_other_workers": True} if address else {}
        futures = self._client.map(
            self._do, jobs, key=keys, pure=False, retries=TRIES - 1, batch_size=1000, **there
        )
        self._jobs.update(zip(futures, jobs, strict=True))
        return list(futures)

    def _row(self, future: Any, job: Job, tries: Counter[str]) -> SweepRow | None:
        """What came of a job, or None where it shall be tried again."""
        if future.status == "finished":
            row: SweepRow = future.result()
            return row
        tries[job.key] += 1
        # Cancelled or lost is not its own fault.
        if future.status != "error" and tries[job.key] < TRIES:
            return None
        trouble = future.exception() if future.status == "error" else f"it was {future.status}"
        reason = (
            f"{type(trouble).__name__}: {trouble}" if isinstance(trouble, Exception) else trouble
        )
        return SweepRow.of(job, "failed", reason=f"The cluster gave up on it. {reason}")

    @contextmanager
    def _handed_out(self) -> Iterator[None]:
        name = f"labkit-{uuid4().hex}"
        self._client.register_plugin(WorkerSetup(self._setup), name=name)
        try:
            yield
        finally:
            with suppress(Exception):  # the cluster may be gone, which is no news by now
                self._client.unregister_worker_plugin(name)
