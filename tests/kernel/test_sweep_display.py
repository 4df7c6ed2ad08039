"""A sweep in a notebook: the cell returns at once, and its figure fills in while the runs go on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

SETUP = """
import labkit
from labkit.runtime import Precision
from tests.small import Clouds, Small
base = labkit.Run(Small(slow=0.4), Clouds(), labkit.partial("head", epochs=1), precision=Precision())
"""
SWEEP = 'made = labkit.sweep(base, lr=[1e-3, 1e-2], seed=range(3), out="OUT", workers=1)'


@pytest.fixture
def client() -> Iterator[Any]:
    """A kernel whose working directory is the checkout."""
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    )
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(120)
    try:
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_the_heat_map_fills_in_after_the_cell_has_returned(client: Any, tmp_path: Any) -> None:
    heard: list[dict[str, Any]] = []
    assert client.execute_interactive(SETUP, timeout=240)["content"]["status"] == "ok"
    reply = client.execute_interactive(
        SWEEP.replace("OUT", tmp_path.as_posix()), timeout=120, output_hook=heard.append
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    (first,) = [message for message in heard if message["msg_type"] == "display_data"]
    assert "0 of 6 runs" in first["content"]["data"]["text/plain"]
    updates = list(_updates(client))
    assert len(updates) >= 2
    assert {u["content"]["transient"]["display_id"] for u in updates} == {
        first["content"]["transient"]["display_id"]
    }
    assert (
        'alt="Heat map of mean validation accuracy' in updates[-1]["content"]["data"]["text/html"]
    )


def _updates(client: Any) -> Iterator[dict[str, Any]]:
    """The figures that come after the cell, up to the one with all runs."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=240)
        if message["msg_type"] == "update_display_data":
            yield message
            if "6 of 6 runs" in message["content"]["data"]["text/plain"]:
                return
