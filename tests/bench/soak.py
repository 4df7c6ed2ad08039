"""Half an hour of play: a lesson's solution is run, then its console is used as a wild learner would, and the kernel's
memory is noted after every round.

`make soak`, or `python -m tests.bench.soak 00 05 --minutes 30`. A round takes every look there is, sets every depth,
makes branches and range tests, pastes a shared line, rewinds, and trains to the end; every third one runs the console's
cell again. `--census` tells what lives in the kernel, too. Linux only, as it reads /proc.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labkit.console.probe import WATCHED
from tests.bench.peaks import SOLUTIONS, cells_of, held
from tests.kernel.conftest import Page, Wire, a_kernel

WIDGET = "application/vnd.jupyter.widget-view+json"
LONGEST = 120  # seconds for anything that a round waits for
ROUNDS_A_PANEL = 3
CENSUS = """
def _census():
    import ctypes, gc, sys, torch, ipywidgets
    from collections import Counter
    every = gc.get_objects()
    kinds = Counter(type(each).__name__ for each in every)
    storages = {}
    for each in every:
        try:
            held = [each] if isinstance(each, torch.Tensor) else []
            if isinstance(each, torch.nn.Parameter) and each.grad is not None:
                held.append(each.grad)
        except ReferenceError:
            continue
        for tensor in held:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    class Info(ctypes.Structure):
        _fields_ = [(n, ctypes.c_size_t) for n in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost").split()]
    libc = ctypes.CDLL("libc.so.6"); libc.mallinfo2.restype = Info
    info = libc.mallinfo2()
    from labkit.tuning.cache import shared
    from labkit.tuning.checkpoints import CheckpointStore
    stores = [each for each in every if isinstance(each, CheckpointStore)]
    rss = {line.split(":")[0]: int(line.split()[1]) // 1000
           for line in open("/proc/self/status") if line.startswith(("RssAnon", "RssFile"))}
    return {"runs": kinds["Run"], "consoles": kinds["Console"], "figures": kinds["Figure"],
        "frames": kinds["DataFrame"], "tensors_mb": sum(storages.values()) // 10**6,
        "cache_mb": shared.held("memory") // 10**6, "modules": len(sys.modules),
        "checkpoints_mb": sum(s.in_memory() for s in stores) // 10**6, "objects": len(every),
        "heap_used": info.uordblks // 10**6, "heap_free": info.fordblks // 10**6,
        "mmapped": info.hblkhd // 10**6, "threads": __import__("threading").active_count(),
        "out": len(get_ipython().user_ns["_oh"]), **rss}
"""


@dataclass
class Learner:
    """Somebody at the console: what they have seen, and what they do."""

    wire: Wire
    code: str  # of the console's cell
    page: Page = field(init=False)
    stages: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)

    def open(self) -> None:
        """Run the console's cell, once more."""
        self.wire.heard.clear()
        self.wire.run(self.code, cell=name_of(self.code))
        shown = self.wire.listen(lambda message: message["msg_type"] == "display_data")
        self.page = Page(self.wire, shown["content"]["data"][WIDGET]["model_id"])
        self.seen, self.last = {}, {}
        self.poll()
        about = self.page.points[0][2]
        self.stages = [name for name, _ in about["stages"]]
        self.looks = [name for name, _ in about["looks"]]

    def poll(self) -> None:
        """Ask as the page does, ten times a second, and keep what came."""
        while (delta := self.page.poll(**self.seen))["more"]:
            pass
        self.state = delta.get("state", self.state)
        for name in ("probes", "finder", "look"):
            if name in delta:
                self.seen[name], self.last[name] = delta[name]["version"], delta[name]
        self.wire.heard.clear()
        time.sleep(0.1)

    def until(self, true: Callable[[], object], what: str) -> None:
        """Ask until something is so."""
        deadline = time.monotonic() + LONGEST
        while not true():
            assert time.monotonic() < deadline, f"{what}: not within {LONGEST} s"
            self.poll()

    def do(self, command: str, **args: Any) -> dict[str, Any]:
        """Give a command; what it refuses is the learner's to see, not an error here."""
        ack = self.page.command(command, seconds=LONGEST, **args)
        self.wire.heard.clear()
        if ack.get("pending"):
            told = ack["id"]
            self.until(lambda: any(p[:2] == ["o", told] for p in self.page.points), command)
        return ack

    @property
    def row(self) -> dict[str, Any]:
        """The run that is shown."""
        return next(row for row in self.state["runs"] if row["id"] == self.state["active"])

    def train(self, steps: int) -> None:
        """Let the run that is shown go on for some steps, or to its end, then pause."""
        self.poll()
        goal = self.row["step"] + steps
        self.do("run")
        self.until(lambda: self.row["step"] >= goal or self.row["status"] == "ended", "train")
        self.do("pause")
        self.until(lambda: self.row["status"] != "running", "pause")

    def look(self, name: str) -> None:
        """Choose a look and wait for its figure."""
        self.do("look", name=name)
        before = self.seen.get("look", 0)
        self.until(
            lambda: self.seen.get("look", 0) > before and self.last["look"]["name"] == name, name
        )
        self.page.ask(kind="figure")

    def find_rate(self) -> None:
        """A range test, from its start to its curve."""
        before = self.seen.get("finder", 0)
        self.do("find_lr")
        self.until(lambda: self.seen.get("finder", 0) > before, "find_lr")

    def finish(self) -> None:
        """Train to the end of the epoch that is going on, which is made the last."""
        self.do("set", epochs=self.row["epoch"] + 1)
        self.do("run")
        self.until(lambda: self.row["status"] in ("ended", "failed"), "finish")

    def rest(self) -> None:
        """Look away, until the panel has noticed and put its things in order."""
        time.sleep(WATCHED + 3)

    def play(self, looks: int | None = None) -> None:
        """A round of everything."""
        for number, stage in enumerate(self.stages):
            self.do("set", trainable_from=stage, lr=1e-3 / (1 + number))
            self.train(3)
        for name in self.looks[:looks]:
            self.look(name)
        self.train(10)
        self.do("branch")
        self.train(10)
        self.find_rate()
        line = self.do("share")["value"]
        self.do("paste", line=line)
        self.train(5)
        self.do("rewind", step=2)
        self.until(lambda: self.row["step"] == 2, "rewind")
        self.do("branch", step=1)
        self.do("plan", preset="full")
        self.train(10)
        self.finish()
        self.do("look", name="")
        self.do("select", run="r0")


def console_cell(cells: list[str]) -> str:
    """The cell of a lesson that opens its playground."""
    return next(code for code in cells if "labkit.console(playground)" in code)


def name_of(code: str) -> str:
    """What the page calls the cell with this code: the same whenever it is run."""
    return f"cell-{zlib.crc32(code.encode())}"


def soak(number: str, minutes: float, rounds: int, census: bool) -> list[float]:
    """Run a lesson, then play until the time is over; megabytes after the lesson and after each round."""
    lesson = next(SOLUTIONS.glob(f"{number}_*.ipynb"))
    cells = cells_of(lesson)
    with a_kernel() as wire:
        pid = wire.value("__import__('os').getpid()")
        for code in cells:
            wire.run(code, seconds=300, cell=name_of(code))
            wire.heard.clear()
        told = [held(pid)[0]]
        print(f"{lesson.stem}: {told[0]:.0f} MB after Run All", flush=True)
        if census:
            wire.run(CENSUS)
            print("   ", wire.value("_census()"), flush=True)
        learner, began, done = Learner(wire, console_cell(cells)), time.monotonic(), 0
        while time.monotonic() - began < 60 * minutes and done < rounds:
            if done % ROUNDS_A_PANEL == 0:
                learner.open()
            learner.play()
            learner.rest()
            done += 1
            now, most = held(pid)
            told.append(now)
            spent = time.monotonic() - began
            print(f"  round {done:3} {spent:6.0f} s {now:7.0f} MB, peak {most:.0f}", flush=True)
            if census:
                wire.run("import gc; gc.collect()")
                print("   ", wire.value("_census()"), flush=True)
    return told


def main() -> None:
    """Soak the lessons asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lessons", nargs="*", default=["00", "05"])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--census", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"LABKIT_OFFLINE": "1", "LABKIT_PROGRESS": f"{home}/progress.json"}
        for number in asked.lessons:
            told = soak(number, asked.minutes, asked.rounds, asked.census)
            print(
                f"{number}: after Run All {told[0]:.0f}, after play {told[-1]:.0f} MB", flush=True
            )


if __name__ == "__main__":
    main()
