"""The range test for the console: one at a time, in a thread, while the run stands still."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from labkit.errors import CommandError, LabkitError
from labkit.tuning import Run, resting
from labkit.tuning.finder import Finder

SECONDS = 10.0  # a test may take: longer than that nobody watches a slider stand still


class RateSearch:
    """`progress` (0 to 1, None while nothing is tested) and `result` are replaced whole, so reading is free.

    A result is the finder's message with the run it belongs to and a version, or with an error in its place.
    """

    def __init__(self) -> None:
        self.progress: float | None = None
        self.result: dict[str, Any] | None = None
        self._wanted = False

    def start(self, run: Run, identity: str) -> None:
        """Begin testing; a run that trains is paused meanwhile, as two would only make each other slow.

        Raises:
            CommandError: a test goes on already, or the run has failed.
        """
        if self.progress is not None:
            raise CommandError("A range test goes on: wait for it, or stop it first.")
        finder = Finder(run, seconds=SECONDS)
        trained = run.status == "running"
        if trained:
            run.submit("pause")
        self.progress, self._wanted = 0.0, True
        work = threading.Thread(
            target=self._work, args=(finder, run, identity, trained), name="labkit-finder"
        )
        work.daemon = True
        work.start()

    def stop(self) -> None:
        """End the test after the rate it is at; what was seen until then is not shown."""
        self._wanted = False

    def _work(self, finder: Finder, run: Run, identity: str, go_on: bool) -> None:
        said: dict[str, Any] | None = None
        try:
            while self._wanted and finder.advance():
                self.progress = finder.progress
            said = finder.result.as_message() if self._wanted else None
        except Exception as trouble:  # a thread has nobody to raise to: the panel tells it
            said = {"error": str(trouble) if isinstance(trouble, LabkitError) else repr(trouble)}
        finally:
            version = (self.result["version"] if self.result else 0) + 1
            self.result = {"version": version, "run": identity, **(said or {})}
            self.progress = None
            resting.make_room(run)
            if go_on and run.status == "paused":
                with suppress(CommandError):  # a loop in a cell has it in hand, and goes on itself
                    run.submit("resume")
