"""Waiting in tests: for something to come true, with a deadline, and never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object], deadline: float, what: str = "", every: float = 0.02
) -> None:
    """Ask again and again until the condition holds; fail when `deadline` seconds are over.

    A deadline is generous: it is only ever waited for where something is broken.
    """
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"{what or 'it'} has not come true within {deadline:g} s"
        time.sleep(every)
