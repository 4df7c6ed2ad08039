"""Jobs in processes of this machine: who gets which job, and what happens when a process dies.

Each lane is a thread of the driver with one worker process, to which it speaks in pickles over pipes. That is less
than a pool of `concurrent.futures` and buys three things: a job is known to have killed its worker, because a worker
has one job; jobs that share frozen features stay in one process; and a worker whose driver was killed reads the end
of its pipe and ends, where a pool's would wait for ever. Nor does it import the program that started it, so a
script needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from labkit import runtime
from labkit.errors import PlanError, SweepError, shown
from labkit.sweeps.jobs import Job, SweepRow
from labkit.sweeps.parts import set_up_worker
from labkit.sweeps.work import work

TRIES = 3  # of a job whose worker died, and of a worker that does not come up
SERVE = (
    "import sys, pickle; sys.path[:] = pickle.load(sys.stdin.buffer); import {} as it; it.serve()"
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def lanes_for(workers: int | None, jobs: int) -> int:
    """How many processes: as many as asked for, else one a core, or one where a GPU does the work."""
    if workers is None:
        workers = runtime.threads() if runtime.device().type == "cpu" else 1
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise PlanError(f"workers={shown(workers)} must be a whole number from 1 on.")
    return max(1, min(workers, jobs))


class Backlog:
    """Jobs in groups that belong together, handed out one at a time; a lane that has none left takes from another."""

    def __init__(self, groups: Sequence[Sequence[Job]]) -> None:
        self._fresh = deque(deque(group) for group in groups)
        self._of: dict[int, deque[Job]] = {}
        self._lock = threading.Lock()

    def next(self, lane: int) -> Job | None:
        """The next job of this lane's group, of a fresh group, or of the longest group that another lane has."""
        with self._lock:
            mine = self._of.get(lane)
            if not mine:
                mine = self._of[lane] = self._fresh.popleft() if self._fresh else self._half()
            return mine.popleft() if mine else None

    def give_back(self, lane: int, job: Job) -> None:
        """The lane could not do this job; it will get it again."""
        with self._lock:
            self._of[lane].appendleft(job)

    def _half(self) -> deque[Job]:
        longest = max(self._of.values(), key=len, default=deque())
        return deque(reversed([longest.pop() for _ in range((len(longest) + 1) // 2)]))


class Processes:
    """Does jobs in worker processes; `rows` yields them as they come."""

    def __init__(self, setup: bytes, lanes: int) -> None:
        self.lanes, self._setup = lanes, setup
        self._came: SimpleQueue[SweepRow | Exception | None] = SimpleQueue()  # None: a lane is over
        self._workers: dict[int, Worker] = {}
        self._stopping = False

    def rows(self, groups: Sequence[Sequence[Job]]) -> Iterator[list[SweepRow]]:
        """The rows of all jobs as they finish; raises what keeps the workers from working."""
        backlog, tries = Backlog(groups), Counter[str]()
        for lane in range(self.lanes):
            name, given = f"labkit-sweep-{lane}", (lane, backlog, tries)
            threading.Thread(target=self._lane, args=given, name=name, daemon=True).start()
        running = self.lanes
        while running:
            news = self._news()
            running -= news.count(None)
            if rows := [one for one in news if isinstance(one, SweepRow)]:
                yield rows
            for trouble in news:
                if isinstance(trouble, Exception):
                    raise trouble

    def _news(self) -> list[SweepRow | Exception | None]:
        """Wait for something, and take all that has come by then: one sync of the disk serves many rows."""
        news = [self._came.get()]
        with suppress(Empty):
            while True:
                news.append(self._came.get_nowait())
        return news

    def stop(self) -> None:
        """End the workers now; the jobs they were at are lost, not the rows that came."""
        self._stopping = True
        for worker in list(self._workers.values()):
            worker.kill()

    def pids(self) -> list[int]:
        """The worker processes that live now."""
        return [worker.process.pid for worker in list(self._workers.values())]

    # ------------------------------------------------------------ a lane

    def _lane(self, lane: int, backlog: Backlog, tries: Counter[str]) -> None:
        try:
            while not self._stopping and (job := backlog.next(lane)):
                row = self._try(lane, job, tries)
                if row is not None:
                    self._came.put(row)
                elif not self._stopping:
                    backlog.give_back(lane, job)
        except Exception as trouble:  # raised where the rows are waited for
            if not self._stopping:
                self._came.put(trouble)
        finally:
            if worker := self._workers.pop(lane, None):
                worker.close()
            self._came.put(None)

    def _try(self, lane: int, job: Job, tries: Counter[str]) -> SweepRow | None:
        """The row of a job, or None where its worker died and it shall be tried again."""
        worker = self._worker(lane)
        try:
            return worker.do(job)
        except WorkerDied as death:
            worker.close()
            self._workers.pop(lane, None)
            tries[job.key] += 1
            if tries[job.key] < TRIES or self._stopping:
                return None
            return SweepRow.of(job, "failed", reason=f"{death} It was tried {TRIES} times.")

    def _worker(self, lane: int) -> Worker:
        """The worker of a lane, started when it is first needed and after each death."""
        if lane not in self._workers:
            self._workers[lane] = self._started()
            if self._stopping:  # too late for stop() to have seen it
                self._workers[lane].kill()
        return self._workers[lane]

    def _started(self) -> Worker:
        for attempt in range(1, TRIES + 1):
            try:
                return Worker(self._setup)
            except WorkerDied as death:
                if attempt == TRIES or self._stopping:
                    raise SweepError(
                        f"A worker process did not come up. {death} What it said is on standard error; with too "
                        "little memory, ask for fewer workers."
                    ) from None
        raise AssertionError


class WorkerDied(Exception):  # noqa: N818 - callers treat it as a result, not as a bug
    """The process is gone."""


class Worker:
    """A Python process that does one job after another."""

    def __init__(self, setup: bytes) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(__name__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        try:
            self._send(sys.path)
            refusal = self._ask(setup)
        except BaseException:
            self.close()
            raise
        if refusal is not None:
            self.close()
            raise SweepError(f"A worker process cannot take the network or the data: {refusal}")

    def do(self, job: Job) -> SweepRow:
        """The row of a job; raises WorkerDied where the process does not live to tell."""
        return self._ask(job)

    def kill(self) -> None:
        """End it now."""
        self.process.kill()

    def close(self) -> None:
        """End it, and leave nothing open."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self.process.kill()
        self.process.wait()

    def _ask(self, question: Any) -> Any:
        self._send(question)
        try:
            return pickle.load(self.process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            raise self._death() from None

    def _send(self, message: Any) -> None:
        try:
            pickle.dump(message, self.process.stdin)  # type: ignore[arg-type]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except (OSError, ValueError):
            raise self._death() from None

    def _death(self) -> WorkerDied:
        code = self.process.poll()
        if code is None:
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(5)
        likely = "; the system may have run out of memory" if code in (-9, 137) else ""
        return WorkerDied(f"The worker process died (exit code {code}{likely}).")


# ---------------------------------------------------------------- inside the worker


def serve() -> None:
    """Take what is handed over, then do jobs until the driver hangs up."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a network prints must not come between the answers
    use_one_thread()
    refusal = _taken_over(pickle.load(questions))
    with suppress(EOFError, BrokenPipeError):
        _answer(answers, refusal)
        while True:
            _answer(answers, work(pickle.load(questions)))


def _answer(answers: Any, answer: Any) -> None:
    pickle.dump(answer, answers)
    answers.flush()


def _taken_over(setup: bytes) -> str | None:
    try:
        set_up_worker(setup)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def use_one_thread() -> None:
    """Several workers with several threads each would take each other's cores, and be many times slower."""
    import torch

    runtime.limit_threads()  # else the first run would raise the number again
    torch.set_num_threads(1)
