"""The live console as a learner meets it in a page: its controls by name, and what it shows.

Hooks are the `data-labkit="..."` attributes that view.js documents.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import numpy as np
from lab_driver import SECOND, Notebook
from playwright.sync_api import Locator, expect

# What tests and bench ask the kernel about a run, beyond what it says of itself.
QUESTIONS = """
import hashlib
from labkit.tuning import CommandApplied, Rewound, StepDone


def rates(run):
    "For each rate that was set: the rate that was given, and the one that the next step used."
    given, pairs = None, []
    for _, event in run.journal.since(0):
        if isinstance(event, CommandApplied) and not event.error and "lr" in event.args:
            given = event.args["lr"]
        if isinstance(event, StepDone) and given is not None:
            pairs.append((given, event.lr))
            given = None
    return pairs


def rewinds(run):
    "From which step to which the run was taken back."
    events = [event for _, event in run.journal.since(0)]
    return [(event.from_step, event.step) for event in events if isinstance(event, Rewound)]


def fingerprint(run, stage):
    "What a stage holds, parameters and buffers, to the bit."
    with run.paused():
        state = getattr(run.model, stage).state_dict()
        return hashlib.sha256(b"".join(t.numpy().tobytes() for t in state.values())).hexdigest()
"""


@dataclass
class Console:
    """The first console in a notebook's page."""

    notebook: Notebook
    run: str = "run"  # what its run is called in the notebook

    @property
    def root(self) -> Locator:
        return self.notebook.page.locator("[data-labkit='console']").first

    def hook(self, name: str) -> Locator:
        return self.root.locator(f"[data-labkit='{name}']")

    def ask(self, about: str) -> Any:
        """What the run itself says, e.g. `ask("settings.lr")`."""
        return self.notebook.evaluate(f"{self.run}.{about}")

    def wait(self, about: str) -> None:
        """Wait until the run says so, e.g. `wait("step_number > 5")`."""
        self.notebook.wait_for(f"{self.run}.{about}")

    def wait_steps(self, count: int) -> None:
        """Wait until the run has made so many more steps."""
        self.wait(f"step_number >= {self.ask('step_number') + count}")

    def press(self, name: str, key: str, times: int = 1) -> None:
        """Go to a control (the last of that name) and press a key there: no pointer is used."""
        self.hook(name).last.focus()
        for _ in range(times):
            self.notebook.page.keyboard.press(key)

    def wait_open(self, seconds: float = 60) -> None:
        """Wait until the console has drawn what the kernel told; out of sight it would go on drawing nothing."""
        self.root.scroll_into_view_if_needed()
        expect(self.hook("status")).to_be_visible(timeout=seconds * SECOND)

    def wait_status(self, status: str, seconds: float = 60) -> None:
        """Wait until it says ready, running, paused, ended or failed."""
        expect(self.hook("status")).to_have_attribute(
            "data-status", status, timeout=seconds * SECOND
        )

    @property
    def names_shown(self) -> Locator:
        """Where it lists the runs."""
        return self.root.locator(".lk-run-name")

    def names(self) -> list[str]:
        """The runs it lists, in order."""
        return self.names_shown.all_inner_texts()

    def fill(self, name: str, text: str) -> None:
        """Type into a field and press Enter, as one does."""
        self.hook(name).focus()
        self.notebook.page.keyboard.press("Control+a")
        self.notebook.page.keyboard.type(text)
        self.notebook.page.keyboard.press("Enter")

    def acknowledged(self) -> str:
        """What the console tells of the last acknowledgement: milliseconds after the command."""
        return self.root.get_attribute("data-ack-ms") or ""

    def table(self) -> list[str]:
        """The rows of its table of epochs, opened when it is closed."""
        if self.hook("table").is_hidden():
            self.press("table-toggle", "Enter")
        return self.hook("table").locator("tbody tr").all_inner_texts()

    def commands(self) -> list[str]:
        """What it lists as the commands given, below the table."""
        self.table()
        return self.hook("table").locator("li").all_inner_texts()

    def chart(self, what: str, number: str) -> int:
        """A number that a chart ("loss" or "accuracy") tells of itself: points, frames, marks, runs."""
        return int(self.hook(f"chart-{what}").get_attribute(f"data-{number}") or 0)

    def wait_frames(self, count: int, seconds: float = 60) -> None:
        """Wait until its charts have been drawn so many times."""
        self.notebook.page.wait_for_function(
            "([canvas, count]) => Number(canvas.dataset.frames) >= count",
            arg=[self.hook("chart-loss").element_handle(), count],
            timeout=seconds * SECOND,
        )

    def shows_ink(self, what: str, ink: str) -> bool:
        """Whether a chart's canvas has a pixel in one of the theme's colours, e.g. "line"."""
        found: bool = self.hook(f"chart-{what}").evaluate(
            """(canvas, ink) => {
              const style = getComputedStyle(canvas.closest("[data-labkit='console']"));
              const hex = style.getPropertyValue(`--lk-${ink}`).trim().slice(1);
              const wanted = [0, 2, 4].map(at => parseInt(hex.slice(at, at + 2), 16)).join();
              const paint = canvas.getContext("2d");
              const { data } = paint.getImageData(0, 0, canvas.width, canvas.height);
              for (let at = 0; at < data.length; at += 4)
                if (data.slice(at, at + 3).join() === wanted && data[at + 3] === 255) return true;
              return false;
            }""",
            ink,
        )
        return found

    def pixels(self, what: str) -> np.ndarray:
        """What a chart's canvas holds: uint8 of shape (height, width, 4)."""
        width, height, flat = self.hook(f"chart-{what}").evaluate(
            """canvas => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              return [width, height, btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), ""))];
            }"""
        )
        return np.frombuffer(b64decode(flat), np.uint8).reshape(height, width, 4)

    def colours(self, what: str) -> int:
        """How many colours a chart's canvas shows: an empty one has at most one."""
        count: int = self.hook(f"chart-{what}").evaluate(
            """canvas => {
              const paint = canvas.getContext("2d");
              const { data } = paint.getImageData(0, 0, canvas.width, canvas.height);
              return new Set(new Uint32Array(data.buffer)).size;
            }"""
        )
        return count
