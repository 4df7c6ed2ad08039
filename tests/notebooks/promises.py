"""What a solution promises beyond running straight through, asked while nbval runs it, cell by cell.

`pytest -p tests.notebooks.promises --nbval-lax notebooks/solutions`: every check says that the answer is right, every
figure has words, something has learned soon after the kernel starts, and time and memory stay small. Time is counted
as processor time of the kernel, because wall time also measures what else the machine is doing. What each cell has
shown is kept in `build/executed`, for the browser layer to look at.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import pytest
from nbval.plugin import IPyNbCell

from tests.bounds import held

EXECUTED = Path(__file__).parents[2] / "build" / "executed"
WIDGET = "application/vnd.jupyter.widget-view+json"  # nothing to look at without its kernel

CORES, SECONDS, FIRST_STEP = 2, 90, 15
# Resident, at the peak, in GB: the head of every lesson promises it. `make peaks` prints how far below it each stays;
# 15 % is the room that another machine needs.
MEMORY = re.compile(r"\*\*Memory:\*\* below ([\d.]+) GB")
UNSEEN = "stays inside a widget that is not shown"  # in a cell's comment: nbval sees it, and no learner does
PATIENCE = 60  # seconds for an answer of the kernel

MEASURE = """
import json, sys
try:
    import resource
    _used = resource.getrusage(resource.RUSAGE_SELF)
    _told = {"seconds": _used.ru_utime + _used.ru_stime,
             "bytes": _used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}
except ImportError:  # Windows; psutil comes with ipykernel
    import psutil
    _used = psutil.Process()
    _told = {"seconds": sum(_used.cpu_times()[:2]), "bytes": _used.memory_info().peak_wset}
print(json.dumps(_told))
"""


def pytest_configure(config: pytest.Config) -> None:
    """Kernels have no network, and a learner's progress of their own."""
    config.stash[HOME] = TemporaryDirectory()
    os.environ |= {
        "LABKIT_OFFLINE": "1",
        "LABKIT_PROGRESS": os.path.join(config.stash[HOME].name, "progress.json"),
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[HOME].cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    if isinstance(item, IPyNbCell):
        _keep(item)
        for promise in PROMISES:
            promise(item)


def _keep(cell: Any) -> None:
    """Put what a cell has shown into its notebook, and write that when the last cell has run."""
    for out in _shown(cell):
        out.data.pop(WIDGET, None)
    cell.cell.outputs = cell.test_outputs
    if cell.cell is _code(cell)[-1]:
        EXECUTED.mkdir(parents=True, exist_ok=True)
        nbformat.write(cell.parent.nb, EXECUTED / cell.parent.path.name)


def _a_check_says_that_the_solution_is_right(cell: Any) -> None:
    if "learn.check(" in cell.cell.source:
        said = "\n".join(out.data.get("text/plain", "") for out in _shown(cell))
        assert said.startswith("✓ Right"), said


def _a_figure_has_words(cell: Any) -> None:
    if UNSEEN in cell.cell.source:
        return
    for out in _shown(cell):
        if "image/png" in out.data:
            assert len(out.data["text/plain"].split()) >= 5, out.data["text/plain"]
            assert "alt=" in out.data["text/html"]


def _something_has_learned_soon(cell: Any) -> None:
    first = next((c for c in _code(cell) if "labkit.load_data" in c.source), None)
    if cell.cell is first:
        name = f"{cell.parent.path.name}: processor time until something has learned"
        held(name, _used(cell)["seconds"], CORES * FIRST_STEP, "s")


def promised_memory(notebook: Any) -> float:
    """What the head of a lesson says that it stays below, in MB."""
    found = MEMORY.search(notebook.cells[0].source)
    assert found, "the head of the lesson promises no memory"
    return 1e3 * float(found[1])


def _a_lesson_stays_within_its_time_and_memory(cell: Any) -> None:
    if cell.cell is _code(cell)[-1]:
        used, name = _used(cell), cell.parent.path.name
        held(f"{name}: processor time", used["seconds"], CORES * SECONDS, "s")
        held(
            f"{name}: memory at the peak",
            used["bytes"] / 1e6,
            promised_memory(cell.parent.nb),
            "MB",
        )


PROMISES = (
    _a_check_says_that_the_solution_is_right,
    _a_figure_has_words,
    _something_has_learned_soon,
    _a_lesson_stays_within_its_time_and_memory,
)
HOME = pytest.StashKey[TemporaryDirectory[str]]()


def _shown(cell: Any) -> list[Any]:
    return [out for out in cell.test_outputs if "data" in out]


def _code(cell: Any) -> list[Any]:
    """The code cells of the notebook that a cell belongs to."""
    return [other for other in cell.parent.nb.cells if other.cell_type == "code"]


def _used(cell: Any) -> dict[str, float]:
    """What the kernel has used so far: processor seconds, and bytes at the peak."""
    kernel, said = cell.parent.kernel, ""
    asked = kernel.execute_cell_input(MEASURE, allow_stdin=False)
    kernel.await_reply(asked, timeout=PATIENCE)
    while True:
        message = kernel.get_message("iopub", timeout=PATIENCE)
        if message["parent_header"].get("msg_id") != asked:
            continue
        if message["msg_type"] == "stream":
            said += message["content"]["text"]
        elif message["content"].get("execution_state") == "idle":
            return dict(json.loads(said))
