"""The coach on real runs: every fault is found where it was made, and nothing is found where none was."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

import labkit
from labkit.errors import EvidenceError
from labkit.insight import diagnosis, probes
from labkit.insight.diagnosis import Diagnosis, diagnose, judge
from labkit.records import sabotage
from labkit.records.sabotage import Case
from labkit.runtime import Precision
from labkit.tuning import EpochDone
from tests.small import Clouds, Small

QUICK = {  # of the development runs of each kind, the seed of one that is soon trained
    "statistics-drift": 3,
    "head-left-out": 2,
    "eval-mode": 3,
    "leakage": 3,
    "normalisation": 3,
    "rate-too-large": 3,
    "averaged-averages": 3,
    "stale-moments": 4,
    "not-a-number": 4,
    "rate-too-small": 7,
    "overfitting": 13,
    "underfitting": 13,
    "frozen-moves": 2,
    "little-validation": 4,
    "augmented": 13,
}
FAULTS = [kind for kind in sabotage.KINDS if kind != "sound"]


@cache
def found(kind: str) -> Diagnosis:
    """The diagnosis of a development run of a kind."""
    return diagnose(sabotage.train(Case(kind, QUICK[kind], "development")))


def small_run(**plan) -> labkit.Run:
    return labkit.Run(
        Small(), Clouds(), labkit.partial("middle", epochs=3, **plan), precision=Precision()
    )


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.slow
def test_each_fault_is_the_first_thing_said_of_a_run_that_has_it(kind):
    assert found(kind).kind == kind, str(found(kind))
    assert found(kind).first.sentence.endswith(".")


@pytest.mark.parametrize("seed", [12, 13, 14])
def test_nothing_is_said_of_a_sound_run(seed):
    sound = diagnose(sabotage.train(Case("sound", seed, "development")))
    assert [finding.kind for finding in sound.findings if not finding.note] == []


@pytest.mark.parametrize("rule", diagnosis.RULES, ids=lambda rule: rule.kind)
@pytest.mark.slow
def test_each_rule_is_silent_on_a_run_with_another_fault_and_says_what_speaks_against_it(rule):
    other = "little-validation" if rule.kind == "leakage" else "leakage"
    evidence = found(other).observations
    assert rule.finds(evidence) is None
    assert diagnosis.against(rule.kind, evidence).endswith(".")


def test_there_is_a_rule_for_every_kind_of_sabotage_and_no_other():
    assert {rule.kind for rule in diagnosis.RULES} == set(FAULTS)
    assert "signs of it" in diagnosis.against("leakage", found("leakage").observations)
    with pytest.raises(EvidenceError, match="leakage"):
        diagnosis.against("the weather", found("leakage").observations)


def test_rewinding_branching_and_unfreezing_are_no_faults():
    run = small_run().fit(epochs=1)
    run.rewind(2)
    run.set(trainable_from="body")
    run.fit(epochs=1)
    branch = run.branch(lr=5e-4)
    branch.fit()
    for one in (run, branch):
        assert [row.remembers for row in probes.memory(one).rows] == [
            row.trained for row in probes.memory(one).rows
        ]
        assert diagnose(one).kind in ("sound", "rate-too-small", "underfitting")


def test_a_run_is_the_same_after_it_was_looked_at():
    run, clone = small_run(), small_run()
    run.fit(epochs=1)
    diagnose(run)
    assert run.fit().history["loss"].tolist() == clone.fit().history["loss"].tolist()


def test_data_that_are_no_images_have_no_scale_and_no_twins():
    run = small_run().fit()
    assert probes.scales(run) is None
    assert probes.twins(run) is None
    assert isinstance(str(diagnose(run)), str)


def test_a_few_dead_channels_in_the_stem_are_not_taken_for_another_normalisation():
    net = labkit.load_backbone("resnet10-glyphs")
    state = {key: value.clone() for key, value in net.state.items()}
    state["stem.conv1.weight"][:4] = 0  # four of 32 channels give nothing, whatever comes in
    data = labkit.load_data("digits").subset(per_class=20)
    dead = labkit.Run(
        replace(net, state=state), data, labkit.partial("layer4", epochs=1), seed=0
    ).fit()
    whole = labkit.Run(net, data, labkit.partial("layer4", epochs=1), seed=0)
    spreads = [probes.scales(run).train.spread for run in (dead, whole)]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.15)
    assert "normalisation" not in [finding.kind for finding in diagnose(dead).findings]


def test_a_run_that_has_not_begun_has_nothing_wrong():
    assert diagnose(small_run()).findings == ()
    assert "Nothing is wrong" in str(diagnose(small_run()))


def test_a_recount_is_only_made_while_the_model_stands_where_it_was_counted():
    run = small_run()
    assert probes.recount(run) is None
    run.fit(epochs=1)
    assert probes.recount(run).agrees
    run.step()
    assert probes.recount(run) is None


def test_one_epoch_that_is_no_count_gives_averaged_averages_away():
    evidence = found("leakage").observations
    honest = evidence.trace.epochs[-1]
    wrong: EpochDone = replace(honest, valid_correct=honest.valid_correct - 0.4)
    trace = replace(evidence.trace, epochs=[*evidence.trace.epochs[:-1], wrong])
    assert judge(replace(evidence, trace=trace, twins=None)).kind == "averaged-averages"


def test_a_fault_comes_before_a_note():
    kinds = judge(
        replace(found("augmented").observations, twins=found("leakage").observations.twins)
    )
    assert [finding.kind for finding in kinds.findings] == ["leakage", "augmented"]
    assert list(kinds.table()["weight"]) == ["fault", "note"]


@pytest.mark.slow
def test_the_curves_alone_give_a_diagnosis_where_nothing_else_is_known():
    for kind in ("rate-too-small", "overfitting", "little-validation", "not-a-number"):
        assert judge(diagnosis.Observations(found(kind).observations.trace)).kind == kind


def test_the_optimisers_memory_is_shown_a_row_a_stage():
    table = probes.memory(small_run().fit(epochs=1)).table()
    assert list(table.index) == ["body", "middle", "head"]
    assert table.loc["head", "held"] == table.loc["head", "parameters"]
    assert table.loc["body", "remembers"] != table.loc["body", "remembers"]  # nothing: nan
    assert table.loc["head", "remembers"] == table.loc["head", "trained"] > 0
