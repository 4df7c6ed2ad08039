"""A real kernel of this interpreter, spoken to over its own wires, the way JupyterLab speaks to it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import Any
from uuid import uuid4

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from tests.waiting import wait_until

SETUP = """
import time
import labkit
data = labkit.load_data("digits").subset(per_class=20)
net = labkit.load_backbone("resnet10-glyphs")
run = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=16), seed=0)
panel = labkit.console(run)
panel
"""


@dataclass
class Wire:
    """A kernel and what a page does with it: run cells, open a subshell, talk on a widget's comm."""

    client: Any
    subshell: str | None = None
    heard: list[dict[str, Any]] = field(default_factory=list)

    def run(self, code: str, seconds: float = 120, cell: str = "") -> None:
        """Run a cell and wait for its end; an error in it is an error here. `cell` is what JupyterLab calls it."""
        with self._from_cell(cell):
            reply = self.client.execute_interactive(code, timeout=seconds, output_hook=self._hear)
        assert reply["content"]["status"] == "ok", "\\n".join(reply["content"].get("traceback", []))

    @contextmanager
    def _from_cell(self, name: str) -> Iterator[None]:
        session, plain = self.client.session, self.client.session.msg

        def named(kind: str, content: Any = None, **rest: Any) -> Any:
            return plain(kind, content, metadata={"cellId": name} if name else None, **rest)

        session.msg = named
        try:
            yield
        finally:
            session.msg = plain

    def start(self, code: str) -> None:
        """Run a cell and do not wait for it."""
        self.client.execute(code)

    def value(self, expression: str) -> Any:
        """A Python literal from the kernel."""
        reply = self.client.execute_interactive(
            "", user_expressions={"value": expression}, timeout=60, output_hook=self._hear
        )
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return __import__("ast").literal_eval(value["data"]["text/plain"])

    def open_subshell(self) -> bool:
        """Ask for a subshell on the control channel, as JupyterLab 4.4 and later do for comms.

        Like JupyterLab, ask first whether the kernel has any: an ipykernel before 7 never answers the request.
        """
        about = self.client.kernel_info(reply=True, timeout=30)["content"]
        if "kernel subshells" not in about.get("supported_features", []):
            return False
        request = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(request)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            reply = self.client.get_control_msg(timeout=30)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                self.subshell = reply["content"].get("subshell_id")
                return self.subshell is not None
        return False

    def send(self, comm: str, content: Any) -> None:
        """A custom message to a widget, addressed to the subshell where there is one."""
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def listen(
        self, wanted: Callable[[dict[str, Any]], bool], seconds: float = 30
    ) -> dict[str, Any]:
        """The first message on iopub that is wanted, kept ones first."""
        for message in list(self.heard):
            if wanted(message):
                self.heard.remove(message)
                return message
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                break
            if wanted(message):
                return message
            self._hear(message)
        raise AssertionError(f"no such message within {seconds} s")

    def _hear(self, message: dict[str, Any]) -> None:
        if message["msg_type"] in ("comm_open", "comm_msg", "display_data"):
            self.heard.append(message)


@dataclass
class Page:
    """A page with the console in it: asks, commands, and keeps what the console's story would keep."""

    wire: Wire
    comm: str
    client: str = field(default_factory=lambda: uuid4().hex[:8])
    points: list[Any] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    count: int = 0

    def ask(self, seconds: float = 30, **message: Any) -> dict[str, Any]:
        """Send a message and wait for the answer to this page."""
        self.wire.send(self.comm, {"client": self.client, **message})
        reply = self.wire.listen(self._is_mine, seconds)
        self.sizes.append(len(self.wire.client.session.pack(reply["content"]["data"]["content"])))
        content: dict[str, Any] = reply["content"]["data"]["content"]
        return content

    def _is_mine(self, message: dict[str, Any]) -> bool:
        if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != self.comm:
            return False
        return message["content"]["data"].get("content", {}).get("client") == self.client

    def poll(self, seconds: float = 30, **seen: int) -> dict[str, Any]:
        """Ask for what is new; `seen` are the versions of what a page already has."""
        self.count += 1
        asked = {"n": self.count, "since": len(self.points), "probes": 0, **seen}
        delta = self.ask(seconds, kind="poll", **asked)
        assert delta["kind"] == "delta", delta
        self.points += delta["points"]
        return delta

    def catch_up(self) -> dict[str, Any]:
        """Ask until there is no more; the state."""
        while (delta := self.poll())["more"]:
            pass
        return delta["state"]

    def wait_for_steps(self, count: int, seconds: float = 60) -> None:
        """Ask, ten times a second, until the active run has done that many steps more."""
        goal = self._step() + count
        wait_until(lambda: self._step() >= goal, seconds, "a run that trains", every=0.1)

    def _step(self) -> int:
        state = self.catch_up()
        return next(row["step"] for row in state["runs"] if row["id"] == state["active"])

    def command(self, command: str, seconds: float = 30, **args: Any) -> dict[str, Any]:
        """Give a command and wait for its acknowledgement."""
        self.count += 1
        return self.ask(
            seconds, kind="command", id=f"{self.client}-{self.count}", command=command, args=args
        )


@contextmanager
def a_kernel() -> Iterator[Wire]:
    """A kernel of this interpreter that ends with the block."""
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="this interpreter",
        language="python",
    )
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Wire(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """A kernel started for these tests; it ends with them."""
    with a_kernel() as kernel:
        yield kernel


@pytest.fixture
def page(wire: Wire) -> Iterator[Page]:
    """A page that just showed the console of a fresh run."""
    wire.run("run = None")
    wire.heard.clear()
    wire.run(SETUP)
    shown = wire.listen(lambda message: message["msg_type"] == "display_data")
    model = shown["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    yield Page(wire, model)
    wire.run("run.stop(); [each.stop() for each in panel.runs]")
