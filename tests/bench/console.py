"""Measure the console in a real JupyterLab, while ResNet-18 trains and another cell sleeps.

`make bench-console`. Everything is taken from outside: the page's clock and the bytes on its wires
(probe.js), the run's own journal, and the kernel's clock. The answer is one JSON file.

What the words mean. An *answer* is a delta that reached the page; a *frame* is a chart drawn anew,
which happens when something new came and only then. ResNet-18 makes a few steps a second, so of it
is asked how long new points wait to be drawn, and how long the page heard nothing of the kernel.
Frames a second are counted on a shipped backbone, which makes more than ten steps a second. The
*slow-down* is against the same JupyterLab page with the console closed; a blank page instead of it
says what JupyterLab itself takes. Beside each pace stands the processor time of browser, server and
this driver together, which tells more than the pace does on a machine that others use too.
`--kernel-path` puts a folder before the kernel's own packages, so that another ipykernel can be
measured: `pip install --no-deps --target DIR ipykernel==7.3.0`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

from console_page import QUESTIONS, Console
from lab_driver import NO_BROWSER, Notebook, find_chromium, launch, serve, write_notebook

PROBE = (Path(__file__).parent / "probe.js").read_text()
CELLS = (
    """
    import time
    import labkit
    data = labkit.load_data("digits", size=64)
    net = labkit.load_backbone("resnet18", weights=None)
    run = labkit.Run(net, data, labkit.from_scratch(lr=1e-3, epochs=1000), seed=0)
    """,
    """
    started = time.perf_counter()
    panel = labkit.console(run)
    opened_in = time.perf_counter() - started
    panel
    """,
    "time.sleep(5)",
)
CONSOLE_CELL, BUSY_CELL = 1, 2
ROUNDS = 3
QUICK = (
    """
    import labkit
    data = labkit.load_data("digits")
    net = labkit.load_backbone("resnet10-glyphs")
    run = labkit.Run(net, data, labkit.full(epochs=1000, batch_size=16), seed=0)
    labkit.console(run)
    """,
)
# The pace of a run, measured in the kernel itself, so that no page has to ask while it is measured.
PACE = """
import threading, time
def at_next_step(after=0):
    time.sleep(after)
    now = run.step_number
    while run.step_number == now:
        time.sleep(0.005)
    return time.perf_counter(), run.step_number
def pace(seconds):
    (began, first), (ended, last) = at_next_step(after=1.5), at_next_step(after=seconds)
    paces.append((last - first) / (ended - began))
def take_pace(seconds):
    threading.Thread(target=pace, args=(seconds,), daemon=True).start()
paces = []
"""
TARGETS = {
    "key_to_ack_p95_ms": ("<=", 60),
    "longest_wait_for_an_answer_ms": ("<=", 500),
    "frames_per_second": (">=", 9),
    "longest_gap_ms": ("<=", 500),
    "largest_delta_bytes": ("<=", 8192),
    "late_values": ("<=", 0),
    "slow_down_percent": ("<=", 5),
    "open_ms": ("<=", 100),
    "lost_events": ("<=", 0),
}


def measure(notebook: Notebook, minutes: float, window: float) -> dict[str, Any]:
    """Every number of the bench, on an open notebook of `CELLS` whose page carries the probe."""
    console = Console(notebook)
    notebook.run_all()
    opened = 1000 * notebook.evaluate("opened_in")
    console.press("run", "Enter")
    notebook.wait_for("run.step_number >= 5")  # past the first steps, which allocate
    measured = {"open_ms": round(opened, 2)}
    measured |= drive(console, 60 * minutes)
    measured |= rejoin(console)
    measured |= slow_down(console, window)
    return measured


def quick_frames(notebook: Notebook, seconds: float) -> dict[str, Any]:
    """Frames of a run that makes many steps a second, on an open notebook of `QUICK`."""
    console = Console(notebook)
    notebook.run_all()
    console.wait_open()
    console.press("run", "Enter")
    console.wait_steps(10)
    forget(notebook)
    before = console.ask("step_number")
    notebook.page.wait_for_timeout(1000 * seconds)
    gaps = _gaps(notebook.page.evaluate("() => labkitProbe.draws"))
    steps = (console.ask("step_number") - before) / seconds
    return {"quick_steps_per_second": round(steps, 1)} | _frames(gaps)


def forget(notebook: Notebook) -> None:
    """Have the probe begin anew."""
    notebook.page.evaluate(
        "() => { for (const list of Object.values(labkitProbe)) list.length = 0; }"
    )


def _frames(gaps: Sequence[float]) -> dict[str, Any]:
    return {
        "frames_per_second": round(1000 / statistics.mean(gaps), 2),
        "longest_gap_ms": _quantile(gaps, 1),
    }


def where_it_ran(notebook: Notebook) -> dict[str, Any]:
    """The machine and the versions that the numbers belong to."""
    versions = notebook.evaluate(
        "{name: version(name) for name in ('ipykernel', 'jupyterlab', 'anywidget', 'torch')}",
        "from importlib.metadata import version",
    )
    threads = notebook.evaluate("runtime.threads()", "from labkit import runtime")
    return {"machine": platform.machine(), "threads": threads, **versions}


def drive(console: Console, seconds: float) -> dict[str, Any]:
    """Press a key twice a second while a cell sleeps 5 s over and over; what the probe saw."""
    page = console.notebook.page
    forget(console.notebook)
    deadline, presses = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        if not console.notebook.is_busy():
            console.notebook.start_cell(BUSY_CELL)
        console.press("lr", "ArrowRight" if presses % 2 else "ArrowLeft")
        presses += 1
        page.wait_for_timeout(500 + 37 * (presses % 7))  # never in step with the poll
    seen = page.evaluate("() => labkitProbe")
    pairs = console.notebook.evaluate("rates(run)", QUESTIONS)
    return summary(seen) | {"late_values": sum(given != used for given, used in pairs)}


def summary(seen: dict[str, Any]) -> dict[str, Any]:
    """Latency, frames and bytes from what the probe noted."""
    latencies = list(_latencies(seen))
    deltas = _of_kind(seen["received"], "delta")
    gaps, waits = _gaps(seen["draws"]), _gaps([note["at"] for note in deltas])
    drawn = _waits_to_be_drawn(deltas, seen["draws"])
    return {
        "keys": len(latencies),
        "key_to_ack_p50_ms": _quantile(latencies, 0.5),
        "key_to_ack_p95_ms": _quantile(latencies, 0.95),
        "key_to_ack_max_ms": _quantile(latencies, 1),
        "answers_per_second": round(1000 / statistics.mean(waits), 2),
        "longest_wait_for_an_answer_ms": _quantile(waits, 1),
        "answers_with_points": len(drawn),
        "frames": len(gaps),
        "points_to_frame_p50_ms": _quantile(drawn, 0.5),
        "points_to_frame_p95_ms": _quantile(drawn, 0.95),
        "mean_delta_bytes": round(statistics.mean(note["bytes"] for note in deltas)),
        "largest_delta_bytes": max(note["bytes"] for note in deltas),
    }


def _waits_to_be_drawn(deltas: list[dict[str, Any]], draws: Sequence[float]) -> list[float]:
    """Milliseconds from each answer that brought points to the frame that shows them."""
    news = [note["at"] for note in deltas if note["content"]["points"] and note["at"] < draws[-1]]
    return [draws[bisect_left(draws, at)] - at for at in news]


def _of_kind(notes: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [note for note in notes if note["content"].get("kind") == kind]


def _latencies(seen: dict[str, Any]) -> Sequence[float]:
    """Milliseconds from each key to the acknowledgement of the command it caused."""
    acked = {note["content"]["id"]: note["at"] for note in _of_kind(seen["received"], "ack")}
    commands = _of_kind(seen["sent"], "command")
    found = []
    for command in commands:
        key = max((key["at"] for key in seen["keys"] if key["at"] <= command["at"]), default=None)
        if key is not None:
            found.append(acked[command["content"]["id"]] - key)
    return found


def slow_down(console: Console, window: float) -> dict[str, Any]:
    """Pace and processor time with the console shown, closed, and no page, in turns, as machines drift."""
    notebook = console.notebook
    notebook.execute(PACE)
    work: dict[str, list[float]] = {"shown": [], "closed": [], "blank": []}
    for _ in range(ROUNDS):
        work["shown"].append(_at_work(notebook, window))
        notebook.execute("panel.close()")
        expect(console.root).to_have_count(0)
        work["closed"].append(_at_work(notebook, window))
        work["blank"].append(_at_work(notebook, window, blank=True))
        notebook.start_cell(CONSOLE_CELL)
        console.wait_open()
    paces = notebook.evaluate("paces")
    pace = {name: statistics.median(paces[turn :: len(work)]) for turn, name in enumerate(work)}
    used = {name: round(statistics.median(shares), 1) for name, shares in work.items()}
    return {
        "steps_per_second": {name: round(value, 3) for name, value in pace.items()},
        "slow_down_percent": round(100 * (1 - pace["shown"] / pace["closed"]), 2),
        "jupyterlab_slow_down_percent": round(100 * (1 - pace["closed"] / pace["blank"]), 2),
        "processor_ms_per_second": used,
        "console_processor_ms_per_second": round(used["shown"] - used["closed"], 1),
    }


def _at_work(notebook: Notebook, window: float, blank: bool = False) -> float:
    """Let the kernel take its pace for a window; the processor time of all that is not the kernel, ms a second."""
    page, taken = notebook.page, notebook.evaluate("len(paces)")
    notebook.execute(f"take_pace({window})")
    if blank:
        page.goto("about:blank")
    page.wait_for_timeout(1500)  # what opened or closed is settled
    before, began = _processor_seconds(), time.perf_counter()
    page.wait_for_timeout(1000 * window)
    used = (_processor_seconds() - before) / (time.perf_counter() - began)
    if blank:
        notebook.come_back()
    notebook.wait_for(f"len(paces) > {taken}")
    return 1000 * used


def _processor_seconds() -> float:
    """Of this process and its children, without kernels."""
    here = psutil.Process()
    parts = [here, *here.children(recursive=True)]
    return sum(
        sum(part.cpu_times()[:2]) for part in parts if "ipykernel" not in str(part.cmdline())
    )


def rejoin(console: Console) -> dict[str, Any]:
    """Reload the page while the run trains: how long until the view is level, and what it lacks."""
    notebook = console.notebook
    notebook.save()
    notebook.reload()
    console.wait_open()
    level_at = notebook.page.evaluate("() => performance.now()")  # since the reload began
    deltas = _of_kind(notebook.page.evaluate("() => labkitProbe.received"), "delta")
    read = sum(note["content"]["points"] for note in deltas)
    return {
        "rejoin_s": round(level_at / 1000, 2),
        "events_read_again": read,
        "lost_events": deltas[-1]["content"]["seq"] - read,
    }


def _gaps(times: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def verdicts(measured: dict[str, Any]) -> dict[str, str]:
    """Each target with what was measured, in words."""
    words = {}
    for name, (sign, target) in TARGETS.items():
        kept = measured[name] <= target if sign == "<=" else measured[name] >= target
        words[name] = f"{measured[name]} (target {sign} {target}): {'kept' if kept else 'MISSED'}"
    return words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of keys and frames")
    parser.add_argument("--window", type=float, default=30, help="seconds, ten times")
    parser.add_argument("--kernel-path", default="", help="packages to prefer")
    parser.add_argument("--out", type=Path, default=Path("build/bench-console.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        root = Path(home) / "notebooks"
        root.mkdir()
        write_notebook(root / "bench.ipynb", CELLS)
        write_notebook(root / "quick.ipynb", QUICK)
        executable = find_chromium(playwright)
        if executable is None:
            parser.error(NO_BROWSER)
        with serve(Path(home), root, {"PYTHONPATH": options.kernel_path}) as server:
            page = launch(playwright, executable).new_page(viewport={"width": 1280, "height": 900})
            page.add_init_script(PROBE)
            notebook = Notebook.open(page, server, "bench.ipynb")
            measured = where_it_ran(notebook) | measure(notebook, options.minutes, options.window)
            notebook.shut_down()
            notebook = Notebook.open(page, server, "quick.ipynb")
            measured |= quick_frames(notebook, options.window)
            notebook.shut_down()
    measured["verdicts"] = verdicts(measured)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(measured, indent=2) + "\n")
    sys.stdout.write(options.out.read_text())


if __name__ == "__main__":
    main()
