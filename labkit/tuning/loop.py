"""Runs the training loop: in the cell that calls it, or in one background thread per run.

A loop has the lock that is held for one step at a time, the queue of commands, the thread, and the status. It does not
know what a step is or what a command does: it asks whoever owns it (`Driven`), a run of ours or a fastai Learner.
Commands are checked before they come here, and wait in the queue until the step in hand is done.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

from labkit.errors import CommandError, shown
from labkit.runtime import whole_number
from labkit.tuning.commands import KINDS, LoggedCommand, Ticket
from labkit.tuning.events import CommandApplied, EpochDone, Event, Journal, RunFailed

Status = Literal["ready", "running", "paused", "ended", "failed"]
IDLE_SECONDS = 10.0  # an idle thread ends after this many seconds

_with_threads: weakref.WeakSet[Loop] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Python ends: no thread may be inside torch when its library is unloaded."""
    for loop in list(_with_threads):
        loop.stop()


class Driven(Protocol):
    """What a loop asks of its owner.

    `handlers` do what each kind of command says, between two steps. `go_on` turns ready or paused to running. `advance`
    trains a step if it is running; or, where the steps are not ours to take, to the end.
    """

    @property
    def step_number(self) -> int: ...

    @property
    def handlers(self) -> Mapping[str, Callable[..., None]]: ...

    def go_on(self) -> None: ...

    def advance(self) -> None: ...


class Steerable(Protocol):
    """What trains in a loop that can be steered: a run, or what a bridge makes of a loop that is not ours."""

    @property
    def loop(self) -> Loop: ...


class FairLock:
    """A re-entrant lock that is given to threads in the order in which they ask.

    The loop releases its lock for a moment between two steps. With a plain lock it would take it again before a
    waiting thread wakes up, and that thread might wait for ever.
    """

    def __init__(self) -> None:
        self._lock, self._next_in_line = threading.Lock(), threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> FairLock:
        if self._owner != threading.get_ident():
            with self._next_in_line:
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


class NotHere(BaseException):
    """Raised by a command that cannot be carried out so deep in a loop: it stays first in the queue."""


class Loop:
    """Drives its owner step by step, from a cell or from a thread, and lets commands in between steps."""

    def __init__(self, owner: Driven, journal: Journal) -> None:
        self.status: Status = "ready"
        self.lock = FairLock()  # held during a step, and by whoever looks at the model
        self._owner = weakref.ref(owner)  # weak: a run that nobody needs any more is freed at once
        self._journal = journal
        self._queue: deque[Ticket] = deque()
        self._repeated: deque[LoggedCommand] = deque()
        self._changed = threading.Condition()  # protects all below
        self._cells = 0  # cells with a loop over the events of this run
        self._working = 0  # those of them that train now, and do not wait between two events
        self._thread: threading.Thread | None = None
        self.leaving = False  # the thread is to end
        self._resting = (
            True  # the thread does nothing; else a command may be neither queued nor done
        )

    # ------------------------------------------------------------ training in a cell

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan or the next pause, and tell every event as it happens."""
        with self._in_hand():
            seen = len(self._journal)
            self._driven.go_on()
            while True:
                with self._at_work():
                    self.apply_commands()
                    self._driven.advance()
                news = self._journal.since(seen)
                seen += len(news)
                yield from (event for _, event in news)
                if not news and self.status != "running":
                    return

    def fit(self, epochs: int | None = None) -> None:
        """Train to the end of the plan, or for that many epochs of it."""
        epochs = None if epochs is None else _check_epochs(epochs)
        if self.in_background and epochs is None:
            return self.wait()
        done = 0
        for event in self.events():
            done += isinstance(event, EpochDone) and event.epoch > 0
            if epochs is not None and done >= epochs:
                break

    @contextmanager
    def in_cell(self) -> Iterator[None]:
        """Inside, the calling cell trains; the commands that waited have been carried out."""
        with self._in_hand(), self._at_work(), self.lock:
            self.apply_commands()
            yield

    @contextmanager
    def _in_hand(self) -> Iterator[None]:
        """Inside, a cell decides when to train; what else it does in between may take long."""
        with self._changed:
            if self.in_background:
                raise CommandError(
                    "This run is training in the background. Pause it first, or wait() for it."
                )
            self._cells += 1
        try:
            yield
        finally:
            with self._changed:
                self._cells -= 1
                if not self._cells:
                    self.pause()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Inside, a cell trains and carries out commands: the thread does neither."""
        with self._changed:
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                if self._queue and not self._working:  # the cell may not go on soon, or ever
                    self._wake_thread()

    # ------------------------------------------------------------ training in the background

    @property
    def in_background(self) -> bool:
        """Whether the thread is training now."""
        return self._thread is not None and not self._cells and self.status == "running"

    @property
    def in_thread(self) -> bool:
        """Whether the caller is the thread."""
        return threading.current_thread() is self._thread

    @property
    def idle(self) -> bool:
        """Whether nobody trains, nor is in the middle of a loop over the events."""
        return self.status != "running" and not self._cells

    def wait(self, timeout: float | None = None) -> None:
        """Block until the background training has paused, ended or failed, or `timeout` seconds are over."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._thread is None or (self._resting and not self._queue), timeout
            )

    def pause(self) -> None:
        """Stop before the next step."""
        if self.status == "running":
            self.status = "paused"

    def stop(self) -> None:
        """Pause, and end the thread."""
        thread = self._thread
        if thread is not None:
            with self._changed:
                self.leaving = True
                self._changed.notify_all()
            thread.join()
        self.pause()

    def stand_by(self) -> bool:
        """In the thread, while paused in a loop that is not ours: wait for a command. False if the thread is to end."""
        with self._changed:
            self._rest()
            self._changed.wait_for(lambda: self._queue or self.leaving)
            self._resting = False
        return not self.leaving

    @property
    def _driven(self) -> Driven:
        owner = self._owner()
        assert owner is not None  # whoever calls a loop holds its owner, the thread too
        return owner

    def _wake_thread(self) -> None:
        """See that a thread serves the queue; `_changed` is held."""
        if self._thread is None:
            self.leaving = False
            _with_threads.add(self)
            self._thread = threading.Thread(
                target=self._serve, args=(self._driven,), name="labkit-engine", daemon=True
            )
            self._thread.start()
        self._changed.notify_all()

    def _serve(self, owner: Driven) -> None:
        """The thread: carry out commands, train while there is something to train, wait, and end when idle.

        A run that a loop in a cell has in hand is trained by that loop alone.
        """
        while self._wait_for_work():
            try:
                self.apply_commands()
                if not self._cells:
                    owner.advance()
            except Exception as trouble:  # told as an event: nobody could catch it in a thread
                self.status, at = "failed", owner.step_number
                self._journal.append(RunFailed(at, f"{type(trouble).__name__}: {trouble}", at))

    def _wait_for_work(self) -> bool:
        def work() -> bool:
            if self._working:
                return self.leaving
            trains = self.status == "running" and not self._cells
            return bool(self._queue) or trains or self.leaving

        with self._changed:
            if not work():
                self._rest()
                self._changed.wait_for(work, IDLE_SECONDS)
            if self.leaving or not work():
                self._thread = None
                self._rest()
                return False
            self._resting = False
        return True

    def _rest(self) -> None:
        self._resting = True
        self._changed.notify_all()

    # ------------------------------------------------------------ commands

    def submit(self, ticket: Ticket) -> Ticket:
        """Queue a checked command without waiting for it."""
        with self._changed:
            if ticket.kind == "resume" and self._cells and not self._working:
                raise CommandError(
                    "A loop in a cell has this run in hand and trains it whenever it asks for the next event. Let the "
                    "loop end, or close the generator that run.events() gave (its close()); then start."
                )
            self._queue.append(ticket)
            if not self._working:
                self._wake_thread()
            self._changed.notify_all()
        return ticket

    def give(self, ticket: Ticket) -> Ticket:
        """Queue a checked command and, unless there is a thread to do it, carry it out here and now."""
        if self._thread is not None and not self._cells:
            return self.submit(ticket)
        with self.lock:
            self._queue.append(ticket)
            self.apply_commands()
        return ticket

    def repeat(self, log: Iterable[LoggedCommand]) -> None:
        """Give the commands of a log again, each when its step comes."""
        self._repeated = deque(log)

    def apply_commands(self) -> None:
        """Carry out, in order, what is to be repeated here and what waits; one that is refused changes nothing."""
        with self.lock:
            while ticket := self._next_ticket():
                error, step = None, self._driven.step_number
                try:
                    self._driven.handlers[ticket.kind](**ticket.args)
                except CommandError as refusal:
                    error = str(refusal)
                except NotHere:
                    self._queue.appendleft(ticket)
                    raise
                except BaseException as trouble:  # say, an interrupt: who waits for it must be told
                    why = f"{type(trouble).__name__} {trouble}"
                    ticket.close(step, f"{ticket.kind} was broken off by {why}")
                    raise
                if ticket.kind in KINDS:  # not the end of a budget, which a log repeats, too
                    # Told before the ticket closes, so that whoever waits for it finds it in the journal.
                    told = CommandApplied(step, ticket.id, ticket.kind, ticket.args, error)
                    self._journal.append(told)
                ticket.close(step, error)

    def _next_ticket(self) -> Ticket | None:
        if self._repeated and self._repeated[0].step <= self._driven.step_number:
            again = self._repeated.popleft()
            return Ticket(again.kind, dict(again.args))
        return self._queue.popleft() if self._queue else None


def _check_epochs(epochs: object) -> int:
    whole = whole_number(epochs)
    if whole is None or whole < 1:
        raise CommandError(
            f"epochs={shown(epochs)} must be a whole number from 1 on: how many epochs to train now. fit() alone "
            "trains to the end of the plan; step() does a single step."
        )
    return whole
