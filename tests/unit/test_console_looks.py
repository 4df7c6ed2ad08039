"""The closer look of the console: every figure it offers can be drawn, and training keeps its share of the time."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import labkit
from labkit.console.looks import LOOKS, Choice, Looks, looks_of
from labkit.console.session import DELTA_BYTES, Session
from labkit.errors import CommandError
from labkit.runtime import Precision
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
@pytest.mark.slow
def test_every_look_is_an_image_with_words(run: Run, name: str) -> None:
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


@pytest.mark.slow
def test_a_run_that_was_looked_at_goes_on_to_the_bit_as_if_nobody_had(run: Run) -> None:
    looked_at, left_alone, looks = run.branch(), run.branch(), Looks()
    for name in LOOKS:
        looks.choose(name, looked_at)
        looks.refresh(looked_at, "r0")
    looked_at.step()
    left_alone.step()
    assert looked_at.step_number == left_alone.step_number == 3
    other = left_alone.model.state_dict()
    assert all((other[name] == value).all() for name, value in looked_at.model.state_dict().items())


@pytest.mark.slow
def test_what_was_asked_before_is_drawn_again_without_training(run: Run) -> None:
    """The curve of what is left grows with the run, a rewind takes it back, a branch shares it."""
    looks, clone = Looks(), run.branch()
    looks.choose("forgetting", clone)
    looks.refresh(clone, "r0")
    clone.step()
    assert "up to step 3, moments asked: 3;" in words(looks, clone, "r0")
    clone.rewind(2)
    assert "up to step 2, moments asked: 2;" in words(looks, clone, "r0")
    assert "up to step 2, moments asked: 2;" in words(looks, clone.branch(), "r1")


def words(looks: Looks, run: Run, identity: str) -> str:
    looks.refresh(run, identity)
    assert looks.result is not None
    return str(looks.result["words"])


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
    looks, clone = Looks(), run.branch()
    looks.choose("confusion", clone)
    looks.refresh(clone, "r0")
    monkeypatch.setattr(clone.loop, "status", "running")
    clone.journal.append(clone.journal.since(0)[-1][1])
    looks.refresh(clone, "r0")
    assert looks.figure[0] == 1
    looks._due = 0.0  # its time has come
    looks.refresh(clone, "r0")
    assert looks.figure[0] == 2


def test_a_look_that_is_none_is_refused_with_those_there_are(run: Run) -> None:
    with pytest.raises(CommandError, match="confusion, calibration"):
        Looks().choose("<img>", run)
    session = Session([run])
    assert choose(session, "tea leaves")["error"].startswith("There is no look 'tea leaves'")
    assert poll(session)["state"]["look"] == ""


def test_a_look_that_cannot_be_drawn_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOKS, "confusion", Choice("Broken", "predicted.no_such_figure"))
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


def offered(run: Any) -> set[str]:
    return {name for name, _ in looks_of(run)}


def test_what_is_no_image_is_not_offered_looks_of_images(run: Run) -> None:
    class Words:
        def __len__(self) -> int:
            return 3

    reader = run.branch()
    reader.net = replace(run.net, name="minilm")
    reader.data = type("Text", (), {"valid": Words()})()
    assert {"confusion", "cost"} <= offered(reader)
    assert not {"grad_cam", "filters", "forgetting"} & offered(reader)


def test_what_is_left_of_an_old_task_is_offered_where_it_can_be_asked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_of(backbone: labkit.Backbone, plan: labkit.Plan) -> Run:
        return Run(backbone, run.data, plan, precision=Precision())

    assert "forgetting" in offered(run)
    assert "forgetting" not in offered(made_of(run.net, labkit.from_scratch(epochs=1)))
    headless = labkit.load_backbone("resnet10-glyphs", weights=None)
    assert "forgetting" not in offered(made_of(headless, labkit.full(epochs=1)))
    of_photographs = made_of(labkit.load_backbone("resnet10"), labkit.full(epochs=1))
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert "forgetting" not in offered(of_photographs)
    (tmp_path / "tiny-imagenet-200").mkdir()
    assert "forgetting" in offered(of_photographs)


def test_what_is_no_run_of_ours_is_not_offered_what_needs_its_parts(run: Run) -> None:
    learner = SimpleNamespace(data=run.data, net=None, plan=run.plan)  # as a bridge may leave it
    assert "confusion" in offered(learner)
    assert not {"forgetting", "cost"} & offered(learner)


def test_a_figure_that_was_drawn_leaves_no_copy_of_the_network(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where whoever drew it goes on holding the copy, as a ring of objects does until Python finds it."""
    kept: list[Run] = []

    def draws(shown: Run) -> Any:
        kept.append(shown)
        return labkit.confusion(shown)

    looks = Looks()
    looks._pens["confusion"] = draws
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    looks.choose("confusion", run)
    looks.refresh(run, "r0")
    assert looks.figure[1]
    (copy,) = kept
    assert copy is not run
    assert sum(tensor.nbytes for tensor in copy.trainer.held()) == 0
    assert all(torch.equal(before[key], value) for key, value in run.model.state_dict().items())
    assert run.drift()
