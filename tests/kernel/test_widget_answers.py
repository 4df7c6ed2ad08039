"""Every widget of ours answers whatever a page says to it over a live kernel, and nothing of it is a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.conftest import Wire
from tests.nonsense import HUGE

pytestmark = pytest.mark.timeout(300)

SETUP = """
import labkit
from labkit.course.lesson_14.clinic import Clinic
from labkit import learn
from labkit.course.lesson_14.card import ClinicCard
data = labkit.load_data("digits", size=16).subset(per_class=4)
run = labkit.Run(labkit.load_backbone("resnet10-glyphs"), data, labkit.full(epochs=1))
made = {
    "console": labkit.console(run),
    "atlas": learn.atlas_card(),
    "clinic": ClinicCard(Clinic(seed=0)),
    "quiz": learn.quiz("05"),
    "prediction": learn.predict("00-answers", "Which?", ["a", "b"]),
    "predict panel": learn.predict_panel(run),
}
"""
WIDGETS = ("console", "atlas", "clinic", "quiz", "prediction", "predict panel")
COMMANDS = [
    {"kind": "command", "id": "a", "command": "set", "args": {"lr": HUGE}},
    {"kind": "command", "id": "b", "command": "rewind", "args": {"step": HUGE, "kind": 1}},
    {"kind": "command", "id": "c", "command": ["set"], "args": 7},
    {"kind": "poll", "since": HUGE},
]
MESSAGES: tuple[Any, ...] = (
    None,
    7,
    [[[]]],
    "poll",
    {},
    {"kind": "no-such"},
    {"kind": "run", "lr": HUGE, "trainable_from": [], "per_class": HUGE},
    {"kind": "examine", "patient": HUGE, "name": "audit"},
    {"kind": "choose", "question": HUGE, "option": "x"},
    {"kind": "commit", "guess": {"a": []}, "confidence": HUGE},
    {"kind": "commit", "guess": "a", "confidence": "very"},
    {"kind": "look", "name": ["a.png"]},
    *COMMANDS,
)


@pytest.fixture(scope="module")
def widgets(wire: Wire) -> Iterator[dict[str, str]]:
    """The comm of each widget by what it is."""
    wire.run(SETUP)
    yield wire.value("{name: each.comm.comm_id for name, each in made.items()}")
    wire.run("run.stop()")


@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_answers_whatever_a_page_says(
    wire: Wire, widgets: dict[str, str], name: str
) -> None:
    comm = widgets[name]
    for message in MESSAGES:
        wire.heard.clear()
        wire.send(comm, message)
        answer = wire.listen(lambda heard: is_answer(heard, comm))
        told = answer["content"]["data"]["content"]
        said = told.get("error") or told.get("problem")
        assert isinstance(said, str), (message, told)
        assert "Traceback" not in said
        assert "could not do this" not in said, (message, said)


def is_answer(message: dict[str, Any], comm: str) -> bool:
    """Whether it is a widget's own message; tracebacks and warnings of the kernel come as others do."""
    assert message["msg_type"] not in ("error", "stream"), message["content"]
    content = message["content"]
    told = message["msg_type"] == "comm_msg" and content["comm_id"] == comm
    return told and content["data"].get("method") == "custom"
