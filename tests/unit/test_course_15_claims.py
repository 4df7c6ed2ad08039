"""Runs that somebody else trains are on record like all others, and the room of evidence knows no framework."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.course import evidence
from labkit.course.lesson_15 import claims as lesson_15
from labkit.errors import EvidenceError
from labkit.records.evidence import making
from labkit.records.evidence.setting import Condition, Experiment
from labkit.tuning import Run

OURS = Condition(
    group="digits-3",
    net="resnet10-glyphs",
    data={"name": "digits", "size": 16, "seed": 0},
    split="test",
    trial_data={},
    trial_split="valid",
    labels=3,
    plan=labkit.feature_extraction(3e-3, 1, name="head"),
)
THEIRS = replace(OURS, plan=OURS.plan.with_(name="theirs"), by="somebody")
BOTH = Experiment("both", "Do they differ?", (OURS, THEIRS), seeds=(0,))


def test_a_run_of_another_trainer_is_kept_under_a_recipe_of_its_own(tmp_path: Path) -> None:
    asked = []

    def somebody(*parts: Any) -> Run:
        asked.append(parts)
        return Run(*parts)

    with pytest.raises(EvidenceError, match="trained by somebody"):
        evidence.at(tmp_path).build(BOTH)
    evidence.at(tmp_path).build(BOTH, trainers={"somebody": somebody})
    assert [plan.name for _, _, plan, _ in asked] == ["theirs"]
    assert list(evidence.at(tmp_path).rows(BOTH)["key"]) == ["digits-3/head", "digits-3/theirs"]
    assert making.recipe(THEIRS) != making.recipe(replace(THEIRS, by=""))
    assert "by" not in OURS.extras()


def test_the_plan_says_what_fine_tune_does() -> None:
    plan = lesson_15.as_plan(4, 20)
    head, rest = plan.phases
    assert (head.trainable_from, head.epochs, head.lr) == ("head", 1, 2e-3)
    assert (rest.trainable_from, rest.epochs, rest.lr) == ("all", 4, 1e-3)
    assert rest.lr_decay ** (len(labkit.load_backbone("resnet10").stages) - 1) == pytest.approx(
        0.01
    )
    every = [setting.plan for setting in lesson_15.FINE_TUNE.settings]
    assert {plan.epochs for plan in every[:6]} == {9}
    assert {plan.epochs for plan in every[6:]} == {3}
