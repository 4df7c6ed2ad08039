"""The closer look of the console: every figure it offers can be drawn, and training keeps its share of the time."""

from __future__ import annotations

import base64
from typing import Any

import pytest

import labkit
from labkit.errors import CommandError
from labkit.runtime import Precision
from labkit.show.console_looks import LOOKS, Looks, looks_of
from labkit.show.console_session import DELTA_BYTES, Session
from labkit.tuning import Run


@pytest.fixture(scope="module")
def run() -> Run:
    data = labkit.load_data("digits", size=16).subset(per_class=4)
    net = labkit.load_backbone("resnet10-glyphs")
    run = Run(net, data, labkit.partial("layer4", epochs=5, batch_size=16), precision=Precision())
    run.step()
    run.step()
    return run


def poll(session: Session, **more: Any) -> dict[str, Any]:
    return session.answer({"kind": "poll", "client": "test", "since": 0, "hidden": True, **more})


def choose(session: Session, name: str) -> dict[str, Any]:
    command = {"kind": "command", "client": "test", "id": f"look at {name}", "command": "look"}
    return session.answer({**command, "args": {"name": name}})


@pytest.mark.parametrize("name", LOOKS)
def test_every_look_is_a_picture_with_words(run: Run, name: str) -> None:
    looks = Looks()
    looks.choose(name, run)
    looks.refresh(run, "r0")
    assert looks.result is not None
    assert looks.result["error"] == ""
    assert looks.result["name"] == name
    assert looks.result["step"] == 2
    assert len(looks.result["words"].split()) >= 5
    kind, _, data = looks.figure[1].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_looking_leaves_the_run_as_it_was(run: Run) -> None:
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    looks = Looks()
    for name in LOOKS:
        looks.choose(name, run)
        looks.refresh(run, "r0")
    assert run.step_number == 2
    assert all((before[name] == value).all() for name, value in run.model.state_dict().items())


def test_nothing_is_drawn_before_somebody_chooses(run: Run) -> None:
    looks = Looks()
    looks.refresh(run, "r0")
    assert looks.result is None


def test_a_run_that_stands_still_is_drawn_once(run: Run) -> None:
    looks = Looks()
    looks.choose("confusion", run)
    for _ in range(3):
        looks.refresh(run, "r0")
    assert looks.figure[0] == 1
    looks.refresh(run, "r1")  # another run of the family
    assert looks.figure[0] == 2


def test_a_run_that_trains_is_drawn_again_only_when_it_has_had_its_share(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, twin = Looks(), run.branch()
    looks.choose("confusion", twin)
    looks.refresh(twin, "r0")
    monkeypatch.setattr(twin, "status", "running")
    twin.journal.append(twin.journal.since(0)[-1][1])
    looks.refresh(twin, "r0")
    assert looks.figure[0] == 1
    looks._due = 0.0  # its time has come
    looks.refresh(twin, "r0")
    assert looks.figure[0] == 2


def test_a_look_that_is_none_is_refused_with_those_there_are(run: Run) -> None:
    with pytest.raises(CommandError, match="confusion, calibration"):
        Looks().choose("<img>", run)
    session = Session([run])
    assert choose(session, "tea leaves")["error"].startswith("There is no look 'tea leaves'")
    assert poll(session)["state"]["look"] == ""


def test_a_look_that_cannot_be_drawn_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOKS, "confusion", ("Broken", "predicted.no_such_figure"))
    looks = Looks()
    looks.choose("confusion", run)
    looks.refresh(run, "r0")
    assert looks.result is not None
    assert "no_such_figure" in looks.result["error"]
    assert looks.figure[1] == ""


def test_the_figure_travels_on_request_and_a_delta_stays_small(run: Run) -> None:
    session = Session([run])
    assert choose(session, "confusion")["ok"]
    session.prober.looks.refresh(run, "r0")
    delta = poll(session)
    assert delta["state"]["look"] == "confusion"
    assert len(repr(delta)) < DELTA_BYTES
    assert delta["look"]["version"] == 1
    figure = session.answer({"kind": "figure", "client": "test"})
    assert figure["version"] == 1
    assert figure["address"].startswith("data:image/png")
    assert "look" not in poll(session, look=1)


def test_what_is_no_picture_is_not_offered_looks_of_pictures(run: Run) -> None:
    class Words:
        def __len__(self) -> int:
            return 3

    reader = run.branch()
    reader.data = type("Text", (), {"valid": Words()})()
    offered = [name for name, _ in looks_of(reader)]
    assert "confusion" in offered
    assert not {"grad_cam", "filters"} & set(offered)
