"""The quiz over a live kernel: a choice comes in by message, is kept on disk, and is told to every view."""

from __future__ import annotations

import pytest

from tests.kernel.conftest import Wire

pytestmark = pytest.mark.timeout(120)

SETUP = """
import os, tempfile
os.environ["LABKIT_PROGRESS"] = os.path.join(tempfile.mkdtemp(), "progress.json")
from labkit import learn
from labkit.learn import progress
card = learn.quiz("05")
display(card)
"""


def test_a_choice_by_message_is_kept_and_told(wire: Wire) -> None:
    wire.run(SETUP)
    shown = wire.listen(lambda message: message["msg_type"] == "display_data")
    data = shown["content"]["data"]
    assert "<details>" in data["text/html"]
    comm = data["application/vnd.jupyter.widget-view+json"]["model_id"]

    for hostile in (None, "choose", {"kind": "choose", "question": "0", "option": 9}):
        wire.send(comm, hostile)
    wire.send(comm, {"kind": "choose", "question": 1, "option": 2})
    wire.send(comm, {"kind": "choose", "question": 1, "option": 0})

    def tells_first(message: dict) -> bool:
        told = message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == comm
        return told and "first" in message["content"]["data"].get("state", {})

    told = wire.listen(tells_first)["content"]["data"]["state"]["first"]
    assert told[:2] == [-1, 2]
    assert wire.value("card.latest[:2]") == [-1, 0]
    assert wire.value("list(progress.read('quizzes')['05'].values())") == [
        wire.value("card.asked[1].options[2].text")
    ]
