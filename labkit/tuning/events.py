"""What a run tells while it trains: small frozen records, kept in a journal that only grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, TypeVar

EndReason = Literal["plan", "budget"]


@dataclass(frozen=True)
class StepDone:
    """One optimiser step: mean loss and exact counts over its batch; `epoch` counts passes over the data so far."""

    step: int
    epoch: float
    loss: float
    correct: int
    count: int
    lr: float
    trainable_from: str
    seconds: float


@dataclass(frozen=True)
class EpochDone:
    """An epoch ended. Training counts were taken while the model moved; validation counts after. Epoch 0: before.

    `saved_seconds` is how much longer it would have taken to run the frozen stages again for every sample.
    """

    step: int
    epoch: int
    train_loss: float | None
    train_correct: int
    train_count: int
    valid_loss: float | None
    valid_correct: int
    valid_count: int
    seconds: float
    saved_seconds: float = 0.0


@dataclass(frozen=True)
class PhaseChanged:
    """A phase of the plan begins."""

    step: int
    phase: int
    trainable_from: str
    lr: float


@dataclass(frozen=True)
class CommandApplied:
    """A command took effect after `step` steps, or was refused (`error` says why)."""

    step: int
    id: int
    kind: str
    args: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Rewound:
    """The run is back where it was after `step` steps; whatever came later no longer happened."""

    step: int
    from_step: int


@dataclass(frozen=True)
class RunFailed:
    """Training cannot go on from here; `last_good_step` can be rewound to."""

    step: int
    reason: str
    last_good_step: int


@dataclass(frozen=True)
class RunEnded:
    """The plan is done, or the budget is spent."""

    step: int
    epoch: int
    reason: EndReason = "plan"


E = TypeVar("E")
Event = StepDone | EpochDone | PhaseChanged | CommandApplied | Rewound | RunFailed | RunEnded


class Journal:
    """All events of a run in the order in which they happened. Any thread may read while the engine writes.

    `current` are those that still hold: not those that a rewind took back, nor how training came to a stop.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._current: list[Event] = []
        self._lock = Lock()

    @property
    def current(self) -> tuple[Event, ...]:
        """The events that still hold, in order."""
        return tuple(self._current)

    def last(self, kind: type[E]) -> E | None:
        """The last event of a kind among those that still hold."""
        return next((event for event in reversed(self._current) if isinstance(event, kind)), None)

    def append(self, event: Event) -> int:
        """Add an event and return its sequence number."""
        with self._lock:
            self._events.append(event)
            if not isinstance(event, Rewound | RunFailed | RunEnded):
                self._current.append(event)
            return len(self._events) - 1

    def take_back(self, still_holds: Callable[[Event], bool]) -> None:
        """Keep those of the current events for which `still_holds` says so; all stay in the journal."""
        with self._lock:
            self._current = [event for event in self._current if still_holds(event)]

    def since(self, seq: int = 0) -> list[tuple[int, Event]]:
        """The events from sequence number `seq` on, numbered; costs only what is new."""
        start = max(0, seq)
        with self._lock:
            return list(enumerate(self._events[start:], start))

    def __len__(self) -> int:
        return len(self._events)


def happened_by(event: Event, step: int) -> bool:
    """Whether an event is part of the first `step` steps. A command told at s took effect after s."""
    return event.step < step or (event.step == step and not isinstance(event, CommandApplied))
