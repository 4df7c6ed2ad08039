"""Who turns the crank: a loop in a cell, or one background thread a run.

The engine owns the lock that is held for one step at a time, the queue of commands and the thread. What a step is, it
does not know: `Run` fills that in.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from labkit.errors import CommandError, shown
from labkit.runtime import whole_number
from labkit.tuning.commands import Ticket
from labkit.tuning.events import (
    CommandApplied,
    EpochDone,
    Event,
    Journal,
    RunFailed,
    StepDone,
)

IDLE_SECONDS = 10.0  # a thread with nothing to do for this long goes home


_serving: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Python ends: no thread may be inside torch when its library goes."""
    for engine in list(_serving):
        engine.stop()


class FairLock:
    """A re-entrant lock that whoever waits gets next.

    The engine lets go of its lock for a moment between two steps. With a plain lock it would take it again before a
    waiting probe wakes up, and the probe would starve.
    """

    def __init__(self) -> None:
        self._lock, self._turnstile = threading.Lock(), threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> FairLock:
        if self._owner != threading.get_ident():
            with self._turnstile:  # whoever stands here is next
                self._lock.acquire()
            self._owner = threading.get_ident()
        self._depth += 1
        return self

    def take_if_free(self) -> bool:
        """Take it as `with` does, if nobody holds it; whether that was so."""
        if self._owner == threading.get_ident() or not self._lock.acquire(blocking=False):
            return False
        self._owner, self._depth = threading.get_ident(), 1
        return True

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()


class Engine:
    """Drives a run step by step, from a loop or from a thread, and lets commands in between steps."""

    status: str
    journal: Journal
    refuses: Mapping[str, str] = MappingProxyType({})
    """What it cannot do, commands and settings by name, and why: a run of ours can do all of it."""

    def __init__(self) -> None:
        self._lock = FairLock()
        self._queue: deque[Ticket] = deque()
        self._loops = 0  # loops in cells that have this run in hand
        self._at_work = (
            0  # those of them that train now; the others wait to be asked for the next event
        )
        self._thread: threading.Thread | None = None
        self._door = threading.Condition()  # guards the three above
        self._leaving = False
        self._resting = True  # the thread has nothing in hand: a command may have left the queue

    # what a run fills in
    @property
    def step_number(self) -> int:
        raise NotImplementedError

    def _advance(self) -> None: ...
    def _apply_commands(self) -> None: ...
    def _do_step(self) -> None: ...
    def _go_on(self) -> None: ...
    def _tell(self, event: Event) -> None: ...
    def _refuse_if_over(self) -> None: ...
    def _check_command(self, kind: str, args: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    # ------------------------------------------------------------ training in a cell

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan or the next pause, and tell every event as it happens."""
        with self._loop():
            seen = len(self.journal)
            self._go_on()
            while True:
                with self._working():
                    self._advance()
                news = self.journal.since(seen)
                seen += len(news)
                yield from (event for _, event in news)
                if not news and self.status != "running":
                    return

    def fit(self, epochs: int | None = None) -> Any:
        """Train to the end of the plan, or for that many epochs of it, and return the run.

        Raises:
            CommandError: `epochs` is not a whole number from 1 on.
        """
        epochs = None if epochs is None else _check_epochs(epochs)
        if self.in_background and epochs is None:
            return self.wait()
        done = 0
        for event in self.events():
            done += isinstance(event, EpochDone) and event.epoch > 0
            if epochs is not None and done >= epochs:
                break
        return self

    def step(self) -> StepDone:
        """Do exactly one optimiser step."""
        with self._loop(), self._working(), self._lock:
            seen = len(self.journal)
            self._apply_commands()
            self._do_step()
            for _, event in self.journal.since(seen):
                if isinstance(event, StepDone):
                    return event
        self._refuse_if_over()
        raise CommandError(
            "The step failed: the loss is not a number any more. Rewind, then lower lr."
        )

    @contextmanager
    def _loop(self) -> Iterator[None]:
        with self._door:
            if self.in_background:
                raise CommandError(
                    "This run is training in the background. Pause it first, or wait() for it."
                )
            self._loops += 1
        try:
            yield
        finally:
            with self._door:
                self._loops -= 1
                if self.status == "running" and not self._loops:
                    self.status = "paused"

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Inside, a loop trains and carries out commands: the thread keeps out."""
        with self._door:
            self._at_work += 1
        try:
            yield
        finally:
            with self._door:
                self._at_work -= 1
                if self._queue and not self._at_work:  # nobody knows when the loop will be back
                    self._hire()

    # ------------------------------------------------------------ training in the background

    @property
    def in_background(self) -> bool:
        """Whether a thread of its own is training this run now."""
        return self._thread is not None and not self._loops and self.status == "running"

    def start(self) -> Any:
        """Train in the background until the plan is done or someone pauses; the cell returns at once.

        Raises:
            CommandError: the run is over, or a loop over `events()` has it in hand.
        """
        self.submit("resume").wait()
        return self

    def pause(self) -> Ticket:
        """Stop before the next step; `resume()` or `fit()` goes on from there."""
        return self._give("pause", {})

    def resume(self) -> Ticket:
        """Go on in the background after a pause."""
        return self.submit("resume")

    def wait(self, timeout: float | None = None) -> Any:
        """Block until the background training has paused, ended or failed, or `timeout` seconds are over."""
        with self._door:
            self._door.wait_for(self._is_at_rest, timeout)
        return self

    def stop(self) -> None:
        """Pause, and let the background thread go."""
        thread = self._thread
        if thread is not None:
            with self._door:
                self._leaving = True
                self._door.notify_all()
            thread.join()
        if self.status == "running":
            self.status = "paused"

    def submit(self, kind: str, /, **args: Any) -> Ticket:
        """Give a command without waiting: it is checked now and takes effect between two steps.

        Kinds: set, pause, resume, step, rewind, reset. A mistake raises at once; `ticket.error` tells a refusal that
        only showed when its turn came.
        """
        ticket = Ticket(kind, self._check_command(kind, args))
        with self._door:
            if kind == "resume" and self._loops and not self._at_work:
                raise CommandError(
                    "A loop in a cell has this run in hand and trains it whenever it asks for the next event. Let the "
                    "loop end, or close the generator that run.events() gave (its close()); then start."
                )
            self._queue.append(ticket)
            if not self._at_work:
                self._hire()
            self._door.notify_all()
        return ticket

    def _hire(self) -> None:
        """See that a thread serves the queue; the door is held."""
        if self._thread is None:
            self._leaving = False
            _serving.add(self)
            self._thread = threading.Thread(target=self._serve, name="labkit-engine", daemon=True)
            self._thread.start()
        self._door.notify_all()

    def _is_at_rest(self) -> bool:
        """Whether the thread has nothing in hand and nothing to do."""
        return self._thread is None or (self._resting and not self._queue)

    def _give(self, kind: str, args: Mapping[str, Any]) -> Ticket:
        """Give a command and, where no thread serves this run, carry it out here and now."""
        if self._thread is not None and not self._loops:
            return self.submit(kind, **args)
        ticket = Ticket(kind, self._check_command(kind, args))
        with self._lock:
            self._queue.append(ticket)
            self._apply_commands()
        return ticket

    def _apply(self, ticket: Ticket) -> None:
        """Carry out a command between two steps and tell it; a refusal changes nothing."""
        error, step = None, self.step_number
        try:
            getattr(self, f"_do_{ticket.kind}")(**ticket.args)
        except CommandError as refusal:
            error = str(refusal)
        except (
            BaseException
        ) as trouble:  # an interrupt, say: whoever waits for the ticket must not wait for ever
            ticket.close(
                step, f"{ticket.kind} was broken off by {type(trouble).__name__} {trouble}"
            )
            raise
        # Told before the ticket closes, so that whoever waits for it finds it in the journal.
        self._tell(CommandApplied(step, ticket.id, ticket.kind, ticket.args, error))
        ticket.close(step, error)

    def _do_pause(self) -> None:
        if self.status == "running":
            self.status = "paused"

    def _do_resume(self) -> None:
        self._refuse_if_over()
        self._go_on()

    def _serve(self) -> None:
        """The engine thread: train while there is something to train, carry out commands, sleep, go home.

        A run that a loop in a cell has in hand is trained by that loop alone.
        """
        while self._wait_for_work():
            try:
                if self._loops:
                    with self._lock:
                        self._apply_commands()
                else:
                    self._advance()
            except Exception as trouble:  # told to whoever watches: a thread has nobody to raise to
                self.status = "failed"
                at = self.step_number
                self._tell(RunFailed(at, f"{type(trouble).__name__}: {trouble}", at))

    def _wait_for_work(self) -> bool:
        def work() -> bool:
            if self._at_work:
                return self._leaving
            trains = self.status == "running" and not self._loops
            return bool(self._queue) or trains or self._leaving

        with self._door:
            if not work():
                self._rest()
                self._door.wait_for(work, IDLE_SECONDS)
            if self._leaving or not work():
                self._thread = None
                self._rest()
                return False
            self._resting = False
        return True

    def _rest(self) -> None:
        self._resting = True
        self._door.notify_all()  # whoever waits


def _check_epochs(epochs: object) -> int:
    whole = whole_number(epochs)
    if whole is None or whole < 1:
        raise CommandError(
            f"epochs={shown(epochs)} must be a whole number from 1 on: how many epochs to train now. fit() alone "
            "trains to the end of the plan; step() does a single step."
        )
    return whole
