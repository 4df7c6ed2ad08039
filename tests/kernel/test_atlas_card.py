"""The atlas card over a live kernel: a real run starts and is told, whatever else the kernel does."""

from __future__ import annotations

import statistics
import time

import pytest

from tests.bounds import held
from tests.kernel.conftest import Page, Wire

pytestmark = pytest.mark.timeout(300)

SETUP = """
import tempfile, time
from pathlib import Path
from labkit.learn.atlas_panel import AtlasCard
from tests.small_atlas import SHEET, write_made_up
card = AtlasCard(SHEET, write_made_up(Path(tempfile.mkdtemp())))
display(card)
"""


def test_a_real_run_ends_with_its_verdict_while_a_cell_is_busy(wire: Wire) -> None:
    wire.run(SETUP)
    shown = wire.listen(lambda message: message["msg_type"] == "display_data")
    data = shown["content"]["data"]
    assert "The atlas expects" in data["text/plain"]
    assert data["image/png"]
    page = Page(wire, data["application/vnd.jupyter.widget-view+json"]["model_id"])
    if not wire.open_subshell():
        pytest.skip("left out: this kernel has no subshells")
    assert page.ask(kind="poll")["attempt"] is None
    wire.start("time.sleep(120)")
    wish = {"lr": 1e-2, "trainable_from": "head", "per_class": 3}
    began = time.monotonic()
    state, trips = page.ask(kind="run", **wish), []
    while state["attempt"]["status"] != "over" and time.monotonic() < began + 100:
        asked = time.monotonic()
        state = page.ask(kind="poll")
        trips.append(time.monotonic() - asked)
        time.sleep(0.05)
    assert state["attempt"]["sentence"].startswith("After epoch 1 the run has")
    assert time.monotonic() < began + 100  # the cell still sleeps
    held("a poll of the atlas while a cell sleeps, median", statistics.median(trips), 0.25, "s")
    assert max(page.sizes) < 2000
