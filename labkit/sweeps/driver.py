"""The sweep itself: hands out the jobs that have no row yet, keeps each row as it comes, and tells whoever listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import nan, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal, Protocol

from labkit import runtime
from labkit.sweeps.jobs import Job, SweepRow, digest, grouped
from labkit.sweeps.rows_on_disk import RowsOnDisk

if TYPE_CHECKING:
    import pandas as pd

State = Literal["ready", "running", "done", "stopped", "failed"]
RESULTS = ["status", "accuracy", "correct", "count", "loss", "train_loss", "best_epoch"]
TEST_RESULTS = ["test_accuracy", "test_correct", "test_count"]
COSTS = ["epochs", "steps", "seconds", "reason"]
FINAL_CALLBACK_TIMEOUT = 10.0  # seconds the last progress callback may take
HEARTBEAT = 0.5  # seconds: on Windows a wait without an end cannot be interrupted


class Executor(Protocol):
    """Whoever does the jobs."""

    @property
    def lanes(self) -> int:
        """How many jobs it does at once."""

    def rows(self, groups: Sequence[Sequence[Job]]) -> Iterator[list[SweepRow]]:
        """The rows of all jobs as they finish, each time all that have come since."""

    def stop(self) -> None:
        """Give up on what is not done."""


def default_folder(jobs: Sequence[Job]) -> Path:
    """Where the rows of these jobs are kept unless someone says otherwise."""
    return runtime.cache_dir() / "sweeps" / digest(sorted(job.key for job in jobs))


class Sweep:
    """Many runs and what came of them.

    `run()` does them all and returns the sweep; `start()` does them in the background; `for row in sweep:` gives each
    row as it comes, those of an earlier, cut-off sweep first. `table` and `summary()` hold what there is so far.
    """

    def __init__(
        self, jobs: Sequence[Job], executor: Executor, disk: RowsOnDisk, stages: Sequence[str]
    ) -> None:
        self.jobs, self.stages = tuple(jobs), tuple(stages)
        self.axes = tuple(name for name, _ in jobs[0].cell)
        self.executor, self.folder = executor, disk.folder
        self._disk = disk
        self._rows: dict[str, SweepRow] = {}  # by key, in the order in which they came
        self._came: list[SweepRow] = []
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._trouble: BaseException | None = None
        self.watchers: list[
            threading.Thread
        ] = []  # that draw it and end by themselves after the last row
        self.state: State = "ready"

    # ------------------------------------------------------------ going

    def start(self) -> Sweep:
        """Go on in the background with what is not done; raises SweepError where another driver is at it."""
        if self._thread is None:
            jobs = {job.key: job for job in self.jobs}
            for row in self._disk.open(self._about()):
                if row.key in jobs and row.status != "failed":  # what failed is tried again
                    self._take([replace(row, axes=dict(jobs[row.key].cell))])
            self.state = "running"
            self._thread = threading.Thread(target=self._drive, name="labkit-sweep", daemon=True)
            self._thread.start()
        return self

    def run(self, progress: bool = True) -> Sweep:
        """Do all runs, with a progress bar, until the last figure is drawn.

        An interrupt stops the sweep, and what is done is kept.
        """
        from tqdm import tqdm

        with tqdm(total=len(self.jobs), desc="sweep", unit="run", disable=not progress) as bar:
            try:
                for _ in self:
                    bar.update()
            except KeyboardInterrupt:
                self.stop()
                raise
        for watcher in self.watchers:
            watcher.join(FINAL_CALLBACK_TIMEOUT)
        return self

    def stop(self) -> Sweep:
        """End the workers; what they were at is lost, what is done is kept, and the same sweep again goes on."""
        if self.state == "running":
            self.state = "stopped"
            self.executor.stop()
        return self.wait()

    def wait(self, timeout: float | None = None) -> Sweep:
        """Block until it is over, or `timeout` seconds have passed."""
        thread = self._thread
        until = None if timeout is None else time.monotonic() + timeout
        while thread is not None and thread.is_alive():
            left = HEARTBEAT if until is None else min(HEARTBEAT, until - time.monotonic())
            if left <= 0:
                break
            thread.join(left)
        return self

    @property
    def over(self) -> bool:
        """Whether no more rows will come."""
        return self.state not in ("ready", "running")

    def _drive(self) -> None:
        try:
            waiting = [job for job in self.jobs if job.key not in self._rows]
            if waiting:
                groups = grouped(waiting, self.stages, self.executor.lanes)
                for rows in self.executor.rows(groups):
                    fresh = {row.key: row for row in rows if row.key not in self._rows}
                    self._disk.append(list(fresh.values()))
                    self._take(list(fresh.values()))
            self._end("done")
        except BaseException as trouble:  # raised where the rows are waited for
            self._trouble = trouble
            self.executor.stop()
            self._end("failed")
        finally:
            self._disk.close()

    def _take(self, rows: Sequence[SweepRow]) -> None:
        with self._news:
            self._rows.update((row.key, row) for row in rows)
            self._came.extend(rows)
            self._news.notify_all()

    def _end(self, state: State) -> None:
        with self._news:
            self.state = "stopped" if self.state == "stopped" else state
            self._news.notify_all()

    # ------------------------------------------------------------ what came

    def __iter__(self) -> Iterator[SweepRow]:
        """Every row, in the order in which they come; raises what kept the sweep from going on."""
        self.start()
        seen = 0
        while True:
            with self._news:
                while seen == len(self._came) and not self.over:
                    self._news.wait(HEARTBEAT)
                news = self._came[seen:]
            if not news:
                break
            seen += len(news)
            yield from news
        if self._trouble is not None and self.state == "failed":
            raise self._trouble

    @property
    def rows(self) -> tuple[SweepRow, ...]:
        """The rows so far, in the order of the jobs."""
        with self._news:
            return tuple(self._rows[job.key] for job in self.jobs if job.key in self._rows)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def table(self) -> pd.DataFrame:
        """One row a finished run, in the order of the jobs; accuracies are fractions, losses in nats."""
        import pandas as pd

        results = [*RESULTS, *(TEST_RESULTS if self.jobs[0].test else []), *COSTS]
        return pd.DataFrame(
            [
                [*row.axes.values(), row.seed, *(getattr(row, name) for name in results)]
                for row in self.rows
            ],
            columns=[*self.axes, "seed", *results],
        )

    def summary(self, of: Literal["accuracy", "test_accuracy"] = "accuracy") -> pd.DataFrame:
        """One row a combination: the mean over its finished seeds with the 95 % interval of Student's t.

        `low` and `high` are nan for a single seed. Runs that diverged or failed are counted, not averaged.
        """
        import pandas as pd

        cells: dict[tuple[Any, ...], list[SweepRow]] = {}
        for job in self.jobs:
            cells.setdefault(tuple(value for _, value in job.cell), [])
        for row in self.rows:
            cells[tuple(row.axes.values())].append(row)
        columns = [*self.axes, "seeds", "mean", "low", "high", "diverged", "failed", "seconds"]
        return pd.DataFrame(
            [[*cell, *_summed_up(rows, of)] for cell, rows in cells.items()], columns=columns
        )

    def _about(self) -> dict[str, Any]:
        """What a reader of the folder wants to know."""
        first = self.jobs[0]
        values = {
            name: [*dict.fromkeys(dict(j.cell)[name] for j in self.jobs)] for name in self.axes
        }
        return {
            "net": first.net.spec or first.net.digest,
            "data": first.data.spec or first.data.digest,
            "plan": first.plan.to_dict(),
            "axes": {**values, "seed": sorted({job.seed for job in self.jobs})},
            "precision": str(first.precision),
            "runs": len(self.jobs),
        }

    def __repr__(self) -> str:
        kinds = [row.status for row in self.rows]
        told = [f"{kinds.count(kind)} {kind}" for kind in ("diverged", "failed") if kind in kinds]
        also = f" ({', '.join(told)})" if told else ""
        return f"Sweep({len(kinds)} of {len(self)} runs{also}, {self.state}, kept in {self.folder})"


def _summed_up(rows: Sequence[SweepRow], of: str) -> list[Any]:
    """Seeds, mean, low, high, how many diverged and failed, and their seconds, for one combination."""
    values = [getattr(row, of) for row in rows if getattr(row, of) is not None]
    mean, half = (fmean(values), _half_width(values)) if values else (nan, nan)
    kinds = [row.status for row in rows]
    seconds = fmean(row.seconds for row in rows) if rows else nan
    bad = [kinds.count("diverged"), kinds.count("failed")]
    return [len(values), mean, mean - half, mean + half, *bad, seconds]


def _half_width(values: Sequence[float]) -> float:
    if len(values) < 2:
        return nan
    return runtime.student(len(values) - 1) * stdev(values) / sqrt(len(values))
