"""How long a widget lives in a kernel, and what it holds: as long as it can be seen, and no longer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.kernel.conftest import SETUP, Page, Wire

pytestmark = pytest.mark.timeout(300)

BORN = """
import gc, weakref
try:
    born
except NameError:
    born = {}  # what was made, by name, held by nobody here
def alive():
    gc.collect()
    return sorted(name for name, ref in born.items() if ref() is not None)
"""
MADE = SETUP[: SETUP.index("panel")] + "born[{name!r}] = weakref.ref(run)\n"


def show(wire: Wire, name: str, cell: str) -> str:
    """Run a cell that makes a run and shows its console, as `name`; the widget's address."""
    wire.heard.clear()
    wire.run(BORN + MADE.format(name=name) + "labkit.console(run)", cell=cell)
    return address(wire)


def address(wire: Wire) -> str:
    """Where the widget that was just shown is spoken to."""
    shown = wire.listen(lambda message: message["msg_type"] == "display_data")
    model: str = shown["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    return model


def gone(wire: Wire, name: str) -> None:
    """Wait until nothing holds a run any more."""
    deadline = time.monotonic() + 30  # a thread with nothing to do leaves after 10 s
    while name in wire.value("alive()"):
        assert time.monotonic() < deadline, f"{name} is still held"
        time.sleep(0.3)


def test_a_cell_that_is_run_again_lets_go_of_the_run_it_showed(wire: Wire) -> None:
    page = Page(wire, show(wire, "first", cell="a"))
    page.poll()
    page.command("run")
    page.wait_for_steps(2)
    second = Page(wire, show(wire, "second", cell="a"))
    gone(wire, "first")
    assert wire.value("alive()") == ["second"]
    assert second.poll()["state"]["runs"][0]["status"] == "ready"


def test_a_console_that_another_cell_shows_too_stays(wire: Wire) -> None:
    wire.run(BORN + MADE.format(name="kept") + "kept = labkit.console(run)\nkept", cell="b")
    wire.heard.clear()
    wire.run("kept", cell="c")
    page = Page(wire, address(wire))
    wire.run("'something else'", cell="b")
    assert page.poll()["kind"] == "delta"
    wire.run("del kept, run", cell="c")
    gone(wire, "kept")


def test_showing_consoles_leaves_no_handler_behind(wire: Wire) -> None:
    show(wire, "one", cell="d")
    handlers = "len(get_ipython().events.callbacks['post_run_cell'])"
    before = wire.value(handlers)
    for name in ("two", "three"):
        show(wire, name, cell="d")
    assert wire.value(handlers) == before


def test_the_output_history_of_a_cell_run_again_holds_no_console(wire: Wire) -> None:
    before = set(wire.value("[n for n, v in Out.items() if type(v).__name__ == 'Console']"))
    for _ in range(3):
        show(wire, "last", cell="e")
    held: Any = wire.value("[n for n, v in Out.items() if type(v).__name__ == 'Console']")
    shown = wire.value("[n for n in globals() if type(globals()[n]).__name__ == 'Console']")
    assert len(set(held) - before) == 1, held
    assert len([name for name in shown if name[1:].isdecimal()]) == len(held)
