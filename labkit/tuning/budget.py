"""A limit on the processor seconds that training may take, which several runs can share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from labkit.errors import PlanError, shown
from labkit.runtime import real_number

LARGEST = 1e7  # seconds: four months


class Budget:
    """Processor seconds for training. `Run(..., budget=60)` makes one; give the same one to several runs to share it.

    A second counts for each processor that works for a second: two threads spend twice as fast as one. What counts is
    what this process uses while a run takes a step, with the validation and the checkpoint that follow it. Building a
    run and looking into one are free. Where two runs train at the same time, a second counts once. The work of a
    graphics card is not seen.

    Args:
        seconds: a number above 0, at most ten million.

    Raises:
        PlanError: for anything else.
    """

    def __init__(self, seconds: float) -> None:
        number = real_number(seconds)
        if number is None or not 0 < number <= LARGEST:
            raise PlanError(
                f"budget={shown(seconds)} must be a number of processor seconds above 0 and up to {LARGEST:.0f}, such "
                "as 60, or a labkit.Budget that several runs share."
            )
        self.seconds = float(number)
        self._spent, self._since, self._working = 0.0, 0.0, 0
        self._lock = Lock()

    @classmethod
    def of(cls, budget: Budget | float | None) -> Budget | None:
        """The budget itself, a new one of so many seconds, or None for none. Raises PlanError."""
        return budget if budget is None or isinstance(budget, Budget) else cls(budget)

    @property
    def spent(self) -> float:
        """Seconds spent so far; up to one step more than there were."""
        return self._spent

    @property
    def left(self) -> float:
        """Seconds that are left, 0 when it is spent."""
        return max(0.0, self.seconds - self._spent)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Inside, the processor time of this process is taken from the budget."""
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        """Another run has begun or ended to work; what was used since the last change is spent if one was at work."""
        with self._lock:
            now = time.process_time()
            self._spent += now - self._since if self._working else 0.0
            self._since, self._working = now, self._working + change

    def __repr__(self) -> str:
        return f"Budget({self.spent:.1f} of {self.seconds:g} processor seconds spent)"
