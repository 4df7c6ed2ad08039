"""Measure the console in a real JupyterLab, while ResNet-18 trains and another cell sleeps.

`make bench-console`. Everything is taken from outside: the page's clock and the bytes on its wires
(probe.js), the run's own journal, and the kernel's clock. The answer is one JSON file.
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
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

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
TARGETS = {
    "key_to_ack_p95_ms": ("<=", 60),
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
    measured |= slow_down(console, window)
    measured |= rejoin(console)
    return measured


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
    page.evaluate("() => { for (const list of Object.values(labkitProbe)) list.length = 0; }")
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
    return {
        "keys": len(latencies),
        "key_to_ack_p50_ms": _quantile(latencies, 0.5),
        "key_to_ack_p95_ms": _quantile(latencies, 0.95),
        "key_to_ack_max_ms": _quantile(latencies, 1),
        "frames": len(gaps),
        "frames_per_second": round(1000 / statistics.mean(gaps), 2),
        "longest_gap_ms": _quantile(gaps, 1),
        "deltas_per_second": round(1000 / statistics.mean(waits), 2),
        "longest_wait_for_a_delta_ms": _quantile(waits, 1),
        "mean_delta_bytes": round(statistics.mean(note["bytes"] for note in deltas)),
        "largest_delta_bytes": max(note["bytes"] for note in deltas),
    }


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
    """Steps a second with the console shown and closed, in turns, as machines drift."""
    notebook = console.notebook
    shown, headless = [], []
    for _ in range(3):
        shown.append(_steps_per_second(notebook, window))
        notebook.execute("panel.close()")
        expect(console.root).to_have_count(0)
        headless.append(_steps_per_second(notebook, window))
        notebook.start_cell(CONSOLE_CELL)
        console.wait_open()
    fast, slow = statistics.median(headless), statistics.median(shown)
    return {
        "steps_per_second_headless": round(fast, 3),
        "steps_per_second_with_console": round(slow, 3),
        "slow_down_percent": round(100 * (1 - slow / fast), 2),
    }


def _steps_per_second(notebook: Notebook, window: float) -> float:
    """Steps the run makes a second, over a window that begins and ends with a step."""
    (began, first), (ended, last) = _at_next_step(notebook), _at_next_step(notebook, window)
    return (last - first) / (ended - began)


def _at_next_step(notebook: Notebook, after: float = 0) -> tuple[float, int]:
    """The kernel's clock and the step's number as the next step ends, `after` seconds from now."""
    wait = f"""time.sleep({after})
now = run.step_number
while run.step_number == now:
    time.sleep(0.002)
"""
    clock, step = notebook.evaluate("[time.perf_counter(), run.step_number]", wait)
    return clock, step


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
    parser.add_argument("--window", type=float, default=30, help="seconds, six times")
    parser.add_argument("--kernel-path", default="", help="packages to prefer")
    parser.add_argument("--out", type=Path, default=Path("build/bench-console.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        root = Path(home) / "notebooks"
        root.mkdir()
        write_notebook(root / "bench.ipynb", CELLS)
        executable = find_chromium(playwright)
        if executable is None:
            parser.error(NO_BROWSER)
        with serve(Path(home), root, {"PYTHONPATH": options.kernel_path}) as server:
            page = launch(playwright, executable).new_page(viewport={"width": 1280, "height": 900})
            page.add_init_script(PROBE)
            notebook = Notebook.open(page, server, "bench.ipynb")
            measured = where_it_ran(notebook) | measure(notebook, options.minutes, options.window)
            notebook.shut_down()
    measured["verdicts"] = verdicts(measured)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(measured, indent=2) + "\n")
    sys.stdout.write(options.out.read_text())


if __name__ == "__main__":
    main()
