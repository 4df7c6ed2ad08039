"""What the console leaves undone: it sends nothing twice, and it looks at a run only for somebody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import labkit
from labkit.console import wire as console_wire
from labkit.console.session import Session
from labkit.runtime import Precision
from labkit.tuning import Run
from tests.waiting import wait_until


@pytest.fixture
def run() -> Iterator[Run]:
    data = labkit.load_data("digits", size=16).subset(per_class=4)
    net = labkit.load_backbone("resnet10-glyphs")
    run = Run(net, data, labkit.feature_extraction(epochs=5), precision=Precision())
    yield run
    run.stop()


def poll(session: Session, **more: Any) -> dict[str, Any]:
    return session.answer({"kind": "poll", "client": "test", "since": 0, **more})


def test_a_state_that_is_known_is_not_sent_again(run: Run) -> None:
    session = Session([run])
    first = poll(session, hidden=True)
    again = poll(session, hidden=True, known=first["known"])
    assert "state" not in again
    assert "state" in poll(session, hidden=True, known="another")
    run.step()
    assert poll(session, hidden=True, known=first["known"])["state"]["runs"][0]["step"] == 1


def test_a_view_out_of_sight_does_not_have_the_run_looked_at(run: Run) -> None:
    others = set(threading.enumerate())
    session = Session([run])
    poll(session, hidden=True)
    assert not session.prober.ever_watched
    fresh = set(threading.enumerate()) - others
    assert not any(thread.name == "labkit-probe" for thread in fresh)
    poll(session)
    assert session.prober.ever_watched


def test_what_was_looked_at_says_at_which_step(run: Run) -> None:
    session = Session([run])
    run.step()
    assert probes(session)["step"] == 1


def probes(session: Session, seconds: float = 60) -> dict[str, Any]:
    found: dict[str, Any] = {}
    wait_until(lambda: found.update(poll(session).get("probes") or {}) or found, seconds)
    return found


class Kernel:
    """As much of ipykernel's as speaks about being busy."""

    def __init__(self) -> None:
        self.asked_by = "nobody"
        self.said: list[tuple[str, str]] = []

    def get_parent(self, channel: str) -> dict[str, Any]:
        return {"content": {"comm_id": self.asked_by}}

    def _publish_status(self, status: str, channel: str, parent: Any = None) -> None:
        self.said.append((self.asked_by, status))


def test_only_the_consoles_own_questions_do_not_look_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    monkeypatch.setattr(console_wire, "_kernel", lambda: kernel)
    for comm in ("first", "second"):
        console_wire.answer_quietly(SimpleNamespace(comm_id=comm))
    for kernel.asked_by in ("first", "second", "another"):
        kernel._publish_status("busy", "shell")
        kernel._publish_status("idle", "shell")
    assert kernel.said == [
        ("first", "idle"),
        ("second", "idle"),
        ("another", "busy"),
        ("another", "idle"),
    ]


def test_without_such_a_kernel_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = SimpleNamespace()
    monkeypatch.setattr(console_wire, "_kernel", lambda: kernel)
    console_wire.answer_quietly(SimpleNamespace(comm_id="first"))
    assert vars(kernel) == {}
