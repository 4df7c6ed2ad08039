"""What lesson 13 asks of a run: shares of a step that trains everything, and a cache that is empty to begin with."""

from __future__ import annotations

import pandas as pd
import pytest

import labkit
from labkit.course import evidence
from labkit.course.lesson_13 import claims as lesson_13
from labkit.insight import step_costs
from labkit.insight.metrics import Estimate
from labkit.runtime import Precision
from labkit.tuning.cache import shared


@pytest.fixture(scope="module")
def run():
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=2)
    net = labkit.load_backbone("resnet10-glyphs")
    plan = labkit.full(epochs=1, batch_size=10)
    return labkit.Run(net, data, plan, seed=0, precision=Precision())


def test_operations_are_shares_of_a_step_of_everything(run):
    steps = {step.trainable_from: step for step in step_costs(run)}
    whole = steps["stem"].again
    asked = lesson_13._steps()
    for depth, step in steps.items():
        assert asked[f"again-{depth}-operations"].ask(run) == step.again / whole
        assert asked[f"kept-{depth}-operations"].ask(run) == step.kept / whole


def test_time_is_a_share_of_the_same_step_and_milliseconds_beside_it(run, monkeypatch):
    table = pd.DataFrame(
        {"again": [0.4, 0.2], "kept": [0.4, 0.1]}, index=[lesson_13.DEPTHS[0], "head"]
    )
    monkeypatch.setattr(lesson_13, "_timed", lambda run: table)
    asked = lesson_13._steps()
    assert asked["again-head"].ask(run) == pytest.approx(0.5)
    assert asked["kept-head"].ask(run) == pytest.approx(0.25)
    assert asked["kept-head-ms"].ask(run) == pytest.approx(100)
    assert asked["again-stem"].ask(run) == 1


def test_one_timing_answers_for_all_depths(run, monkeypatch):
    calls = []
    table = pd.DataFrame({"again": [1.0] * 6, "kept": [1.0] * 6}, index=list(lesson_13.DEPTHS))
    monkeypatch.setattr(labkit.insight, "step_seconds", lambda *given: calls.append(given) or table)
    lesson_13._timed.cache_clear()
    for name, reading in lesson_13._steps().items():
        if not name.endswith("operations"):
            reading.ask(run)
    lesson_13._timed.cache_clear()
    assert len(calls) == 1


def test_a_reported_run_finds_nothing_that_an_earlier_one_has_computed(run):
    plan = labkit.feature_extraction(epochs=1, batch_size=10)
    labkit.Run(run.net, run.data, plan, precision=Precision()).fit()
    assert shared.held("memory") > 0
    for setting in lesson_13.COST.settings:
        assert setting.change is lesson_13._from_nothing
    assert lesson_13._from_nothing(run.data, 5) is run.data
    assert shared.held("memory") == 0


def test_the_rule_says_yes_only_where_every_step_down_is_cheaper():
    shares = dict(zip(lesson_13.DEPTHS, (1.0, 0.9, 0.8, 0.7, 0.6, 0.4), strict=True))

    def ask(key, against=None):
        value = shares[key.rpartition("again-")[2]]
        value -= shares[against.rpartition("again-")[2]] if against else 0
        return Estimate(value, value - 0.01, value + 0.01, 5)

    claim = lesson_13.CLAIMS[0]
    assert claim.verdict(ask) == "supported"
    shares["layer3"] = 0.795  # no cheaper than layer2, as far as the interval tells
    assert claim.verdict(ask) == "it depends"
    answers = dict(claim.asked(ask))
    assert not answers["digits-10: from layer3 against layer2"]
    shares["head"] = 0.5
    assert not dict(claim.asked(ask))["ants-bees: head alone, below half"]


def test_processor_seconds_of_a_recorded_run_can_be_cited():
    rows = evidence.rows("types")
    key = "digits-10/full"
    mean = rows.loc[rows["key"] == key, "cpu_seconds"].mean()
    assert evidence.estimate(f"types/{key}/seconds").mean == pytest.approx(mean)
    assert evidence.cite(f"types/{key}/seconds").split()[1] == "s"
