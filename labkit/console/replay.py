"""A run of the console, recorded, so that a page replays it where there is no kernel.

The recorder asks a `Session` what a browser asks, after every step, and keeps each answer with the time at which it
came. In the page `replay.js` plays the kernel's side from that: the console's script cannot tell the difference,
and is not changed. A recording is plain data, of which JSON takes some 100 kB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from labkit.console import assets
from labkit.console.session import Session
from labkit.console.wire import Message
from labkit.errors import CommandError
from labkit.tuning import Run, StepDone

LEAST = 0.08  # seconds that a step takes in a recording: shorter ones cannot be followed
REACH = 1.5  # seconds between two acts: as long as a hand takes to get to a control
LOOKS = 12  # times the drift and the images are looked at in one stretch of training
PATIENCE = 60.0  # seconds for a branch to be built


class Recorder:
    """Trains and steers a run as its methods are called, and keeps what a console would have shown of it.

    Args:
        run: at step 0; it is trained in the calling thread.
    """

    def __init__(self, run: Run) -> None:
        self._session = Session([run])
        self._frames: list[dict[str, Any]] = []
        self._state: Message = {}
        self._asked: Message = {
            "kind": "poll",
            "since": 0,
            "probes": 0,
            "known": "",
            "hidden": True,
        }
        self._acts = 0
        self.seconds = 0.0  # of the recording
        self.trained = 0.0  # seconds that the steps took in truth
        self._keep(look=True)

    @property
    def run(self) -> Run:
        """The run that is steered now: after `branch` it is the branch."""
        return self._session.run

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs that are shown."""
        return self._session.runs

    def train(self, steps: int) -> None:
        """Train so many steps on; fewer when the run ends or fails before."""
        every, done = max(1, steps // LOOKS), 0
        for event in self.run.events():
            if isinstance(event, StepDone):
                done += 1
                self.trained += event.seconds
                self.seconds += max(event.seconds, LEAST)
                self._keep(look=done % every == 0)
            if done == steps:
                break
        self._keep(look=True)

    def set(self, **settings: Any) -> None:
        """Change settings, as `Run.set` does."""
        self._act(lambda: self.run.set(**settings))

    def rewind(self, step: int) -> None:
        """Take the run back to where it was after `step` steps."""
        self._act(lambda: self.run.rewind(step))

    def branch(self, step: int) -> None:
        """Branch the run at `step`, and steer the branch from now on."""
        self._act(lambda: self._branch(step))

    def recording(self) -> dict[str, Any]:
        """What was kept: `frames` with the second `t` at which each came, and `pictures` by name."""
        return {
            "seconds": round(self.seconds, 3),
            "trained": round(self.trained, 3),
            "frames": self._frames,
            "pictures": self._thumbnails(),
        }

    def _act(self, act: Callable[[], object]) -> None:
        self.seconds += REACH
        act()
        self._keep(look=True)
        self.seconds += REACH

    def _branch(self, step: int) -> None:
        """The console's own way, so that the branch joins the family; it works in a thread."""
        self._acts += 1
        family, until = len(self._session.runs), time.monotonic() + PATIENCE
        wish = {"id": f"act {self._acts}", "command": "branch", "args": {"step": step}}
        self._answer({"kind": "command", **wish})
        while len(self._session.runs) == family:
            if time.monotonic() > until:
                raise CommandError(f"There was no branch at step {step} within {PATIENCE:.0f} s.")
            time.sleep(0.01)

    def _keep(self, look: bool) -> None:
        """One frame: what is new since the last one."""
        if look:
            self._session.look_now()
        frame: dict[str, Any] = {"t": round(self.seconds, 3), "points": []}
        more = True
        while more:
            delta = self._answer(self._asked)
            frame["points"] += delta["points"]
            more = delta["more"]
            self._asked |= {
                "since": delta["seq"],
                "known": delta.get("known", self._asked["known"]),
            }
            if changed := self._changes(delta.get("state", {})):
                self._state |= changed
                frame["state"] = frame.get("state", {}) | changed
            if "probes" in delta:
                frame["probes"] = delta["probes"]
                self._asked["probes"] = delta["probes"]["version"]
        self._frames.append(frame)

    def _changes(self, state: Message) -> Message:
        return {k: v for k, v in state.items() if k not in self._state or self._state[k] != v}

    def _thumbnails(self) -> dict[str, str]:
        """Every thumbnail that a strip names, by its key."""
        wanted = {p["key"]: "" for f in self._frames for p in f.get("probes", {}).get("strip", ())}
        while missing := [key for key, address in wanted.items() if not address]:
            wanted |= dict(self._answer({"kind": "images", "keys": missing})["images"])
        return wanted

    def _answer(self, message: Message) -> Message:
        reply = self._session.answer(message)
        if reply["kind"] == "error" or reply.get("error"):
            raise CommandError(reply["error"])
        return reply


def script() -> str:
    """The console's script and replay.js as one script for a page.

    A classic one, because a page that is opened from a file may not load modules.
    """
    console, player = (
        f"(() => {{\n{module.replace('export default', 'return')}}})()"
        for module in (assets.console_script(), assets.script_beside(__file__, "replay.js"))
    )
    return f"{player}.start({console});\n"


def style() -> str:
    """The theme, console.css and replay.css as one sheet."""
    return assets.style_beside(__file__, "console.css", "replay.css")
