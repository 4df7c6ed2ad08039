"""Plans are data: validated when built, the same after a round trip, with curves that are pure functions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import labkit
from labkit.errors import LabkitError, LearningRateError, PlanError, StageError
from labkit.tuning import Plan, rate_factor
from labkit.tuning.plans import resolve_depth

STAGES = ("stem", "layer1", "layer2", "head")


@pytest.mark.parametrize(
    "plan",
    [
        labkit.feature_extraction(),
        labkit.partial("layer2", lr=1e-3, schedule="cosine", warmup=0.1),
        labkit.full(lr_decay=0.3, augment="light"),
        labkit.gradual(["head", "layer2", "all"], epochs=1),
        labkit.from_scratch(optimizer="sgd"),
        labkit.full(hold=30.0, rehearse=0.5),
    ],
)
def test_a_plan_survives_being_written_as_json(plan: Plan) -> None:
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: labkit.full(lr=3), LearningRateError, "above 1"),
        (lambda: labkit.full(lr=-1e-3), LearningRateError, "above 0"),
        (lambda: labkit.full(epochs=0), PlanError, "epochs=0"),
        (lambda: labkit.full(epochs=1.5), PlanError, "whole number"),
        (lambda: labkit.full(schedule="wavy"), PlanError, "constant, cosine, linear"),
        (lambda: labkit.full(momentum=1), PlanError, "has no momentum"),
        (lambda: labkit.full(warmup=1.0), PlanError, "warmup"),
        (lambda: labkit.partial(0), PlanError, "train nothing"),
        (lambda: labkit.partial(None), PlanError, "neither a stage name"),  # type: ignore[arg-type]
        (lambda: labkit.full(optimizer="adamm"), PlanError, "adamw, sgd"),
        (lambda: labkit.full(frozen_statistics="off"), PlanError, "fixed, running"),
        (lambda: labkit.full(pretrained="yes"), PlanError, "True or False"),
        (lambda: labkit.gradual([]), PlanError, "at least one stage"),
        (lambda: Plan("empty", ()), PlanError, "at least one Phase"),
        (lambda: Plan.from_dict({"name": "x"}), PlanError, "does not describe"),
        (lambda: labkit.full().with_(depth=3), PlanError, "has no depth"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_when_it_is_built(
    make: Any, error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int64, torch.tensor, np.array])
def test_numbers_out_of_an_array_become_pythons_own(number: Any) -> None:
    plan = labkit.partial(
        number(2) if number not in (np.float32, np.float64) else 2,
        lr=number(1),
        lr_decay=number(1),
        weight_decay=number(0),
        hold=number(3),
    )
    assert all(type(v) in (int, float) for v in (plan.hold, plan.weight_decay, plan.phases[0].lr))
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert resolve_depth(plan.phases[0].trainable_from, STAGES) == "layer2"


def test_plain_numbers_stay_as_they_were_written_so_that_digests_of_older_plans_stay() -> None:
    plan = labkit.full(lr=1, lr_decay=1, weight_decay=0).to_dict()
    assert json.dumps([plan["phases"][0]["lr"], plan["weight_decay"]]) == "[1, 0]"


@pytest.mark.parametrize(
    "make",
    [
        lambda: labkit.full(lr=10**400),
        lambda: labkit.full(weight_decay=10**400),
        lambda: labkit.full(epochs=10**400),
        lambda: labkit.full(batch_size=-(10**400)),
        lambda: labkit.partial(-(10**400)),
    ],
)
def test_a_number_too_large_is_refused_in_a_sentence_that_can_be_read(make: Any) -> None:
    with pytest.raises(LabkitError) as caught:
        make()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("stages", ["layer2", 2.5, None, True])
def test_gradual_says_what_it_takes(stages: Any) -> None:
    with pytest.raises(PlanError, match="number of stages"):
        labkit.gradual(stages)


def test_gradual_takes_a_number_or_a_list_out_of_an_array() -> None:
    assert labkit.gradual(np.int64(2)) == labkit.gradual(2) == labkit.gradual(np.array([1, 2]))


def test_a_remedy_that_is_off_is_not_written_so_that_digests_of_older_plans_stay() -> None:
    off, on = labkit.full().to_dict(), labkit.full(hold=30.0).to_dict()
    assert set(on) - set(off) == {"hold"}
    assert set(off) == {
        "name", "phases", "batch_size", "weight_decay", "optimizer", "augment", "views", "pretrained",
        "frozen_statistics",
    }  # fmt: skip


def test_a_changed_plan_changes_its_phases_and_leaves_the_old_one_alone() -> None:
    plan = labkit.gradual(2, lr=1e-3)
    changed = plan.with_(lr=1e-4, batch_size=8)
    assert [phase.lr for phase in changed.phases] == [1e-4, 1e-4]
    assert changed.batch_size == 8
    assert [phase.lr for phase in plan.phases] == [1e-3, 1e-3]


@pytest.mark.parametrize(
    ("depth", "stage"),
    [("head", "head"), ("all", "stem"), (1, "head"), (4, "stem"), ("layer1", "layer1")],
)
def test_every_way_to_say_a_depth_names_a_stage(depth: str | int, stage: str) -> None:
    assert resolve_depth(depth, STAGES) == stage


@pytest.mark.parametrize("depth", ["layer9", "", 0, 5, -1, True])
def test_a_depth_the_network_has_not_is_refused_with_its_stages(depth: Any) -> None:
    with pytest.raises(StageError, match="stem, layer1, layer2, head"):
        resolve_depth(depth, STAGES)


def test_the_rate_rises_over_the_warm_up_and_falls_along_the_cosine() -> None:
    factors = [rate_factor("cosine", 0.2, progress / 100) for progress in range(101)]
    assert factors[0] == 0
    assert factors[20] == pytest.approx(1)
    assert factors[60] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert factors[:21] == sorted(factors[:21])
    assert factors[20:] == sorted(factors[20:], reverse=True)


def test_a_constant_rate_stays_and_a_linear_one_halves_half_way() -> None:
    assert {rate_factor("constant", 0.0, progress / 10) for progress in range(11)} == {1.0}
    line = [rate_factor("linear", 0.0, done) for done in (0, 0.25, 0.5, 1)]
    assert line == pytest.approx([1, 0.75, 0.5, 0])
