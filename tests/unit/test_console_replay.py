"""A recording holds what a console would have shown of the run, all of it, in order, and nothing that is markup."""

from __future__ import annotations

import json
from collections import OrderedDict
from itertools import pairwise
from typing import Any

import pytest
from torch import nn

import labkit
from labkit import runtime
from labkit.console import assets, replay
from labkit.console.session import Session, short
from labkit.errors import LabkitError
from labkit.tuning import Run


def tiny(classes: int) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    return nn.Sequential(OrderedDict(stem=stem, head=head))


@pytest.fixture
def run() -> Run:
    data = labkit.load_data("digits", size=16).subset(per_class=4)
    net = labkit.Backbone.from_module(tiny, ("stem", "head"), "tiny")
    plan = labkit.full(lr=1e-3, epochs=20, batch_size=10)
    return Run(net, data, plan, precision=runtime.Precision())


def steered(run: Run) -> replay.Recorder:
    recorder = replay.Recorder(run)
    recorder.train(6)
    recorder.set(lr=1e-2)
    recorder.train(4)
    recorder.rewind(8)
    recorder.train(3)
    return recorder


def points(recording: dict[str, Any], kind: str = "") -> list[Any]:
    return [p for frame in recording["frames"] for p in frame["points"] if kind in (p[0], "")]


def state(recording: dict[str, Any]) -> dict[str, Any]:
    """What a page knows at the end: the changes of all frames, one over the other."""
    whole: dict[str, Any] = {}
    for frame in recording["frames"]:
        whole |= frame.get("state", {})
    return whole


def test_a_recording_has_every_point_of_the_run(run: Run) -> None:
    recording = steered(run).recording()
    told = Session([run]).answer({"kind": "poll", "since": 0, "hidden": True})
    assert not told["more"]
    assert points(recording) == told["points"]
    end = state(recording)
    assert {**end, "sentence": "", "expected": ""} == told["state"]


def test_its_losses_are_those_of_the_history(run: Run) -> None:
    recorded = points(steered(run).recording(), "s")
    assert len(recorded) == 6 + 4 + 3  # of which the two that were rewound are no longer history
    held = recorded[:8] + recorded[10:]
    trained = run.history.query("split == 'train'")
    columns = trained[["step", "loss", "correct", "count"]].itertuples(index=False)
    assert [p[2:] for p in held] == [[s, short(loss), *counts] for s, loss, *counts in columns]


def test_every_step_has_a_time_of_its_own_in_order(run: Run) -> None:
    recording = steered(run).recording()
    times = [frame["t"] for frame in recording["frames"]]
    assert times == sorted(times)
    assert times[-1] <= recording["seconds"]
    steps = [f["t"] for f in recording["frames"] if any(p[0] == "s" for p in f["points"])]
    assert len(steps) == 13
    assert min(b - a for a, b in pairwise(steps)) >= replay.LEAST - 0.002
    assert 0 < recording["trained"] < recording["seconds"]


def test_it_is_looked_at_again_and_again_and_every_image_is_there(run: Run) -> None:
    recording = steered(run).recording()
    looks = [frame["probes"] for frame in recording["frames"] if "probes" in frame]
    assert {look["step"] for look in looks} >= {0, 6, 8, 10, 11}
    assert looks[0]["drift"]["head"] == 0 < looks[-1]["drift"]["head"]
    named = {item["key"] for look in looks for item in look["strip"]}
    assert recording["pictures"].keys() == named
    assert all(text.startswith("data:image/") for text in recording["pictures"].values())


def test_a_branch_joins_the_family_and_is_steered_from_then_on(run: Run) -> None:
    recorder = replay.Recorder(run)
    recorder.train(4)
    recorder.branch(2)
    recorder.train(3)
    assert recorder.run is not run
    assert (run.step_number, recorder.run.step_number) == (4, 5)
    end = state(recorder.recording())
    assert [row["step"] for row in end["runs"]] == [4, 5]
    assert end["active"] == end["runs"][1]["id"]


def test_what_cannot_be_done_is_said(run: Run) -> None:
    recorder = replay.Recorder(run)
    with pytest.raises(LabkitError, match="lr=7"):
        recorder.set(lr=7)
    with pytest.raises(LabkitError, match="step=9"):
        recorder.rewind(9)


def test_recording_changes_nothing_in_the_run(run: Run) -> None:
    recorder = replay.Recorder(run)
    recorder.train(7)
    other = Run(run.net, run.data, run.plan, precision=run.precision)
    for _ in range(7):
        other.step()
    columns = ["step", "loss", "correct"]
    assert run.history[columns].equals(other.history[columns])


def test_it_is_a_few_hundred_kilobytes_of_json(run: Run) -> None:
    recorder = replay.Recorder(run)
    recorder.train(80)
    text = json.dumps(recorder.recording())
    assert len(text) < 300_000
    assert json.loads(text)["frames"][0]["points"][0][0] == "n"


def test_the_script_is_the_console_as_it_is_and_needs_no_module() -> None:
    console = assets.console_script()
    before, after = console.split("export default")
    assert before in replay.script()
    assert after in replay.script()
    assert "export " not in replay.script().replace(before, "").replace(after, "")
    assert "import " not in "".join(replay.script().splitlines(keepends=True)[-250:])
