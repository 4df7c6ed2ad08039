"""What lessons 08 and 10 compare: orders of equal length; the network halfway, asked on the split that is counted."""

from __future__ import annotations

import pytest

import labkit
from labkit.course import evidence
from labkit.course.lesson_08 import claims as lesson_08
from labkit.course.lesson_10 import claims as lesson_10
from labkit.insight import between


def test_orders_differ_in_nothing_but_what_trains_when_and_how_fast():
    for place in ("digits-10", "ants-bees"):
        plans = [s.plan for s in lesson_08.GRADUAL.settings if s.group == place]
        assert len(plans) == 6
        assert {plan.epochs for plan in plans} == {lesson_08.STAGES * lesson_08.PHASE}
        shared = {(plan.batch_size, plan.augment, plan.weight_decay) for plan in plans}
        assert len(shared) == 1
        assert {(p.schedule, p.warmup) for plan in plans for p in plan.phases} == {("cosine", 0.1)}


def test_every_order_had_as_many_rates_to_choose_from():
    assert {len(setting.rates) for setting in lesson_08.GRADUAL.settings} == {4}


@pytest.mark.slow
def test_the_network_halfway_is_asked_on_the_split_that_is_counted():
    asked = {s.split: s.readings for s in lesson_10.FORGETTING.settings if s.plan.name == "usual"}
    assert {split: asked[split]["halfway-new"].ask.split for split in asked} == {
        "test": "test",
        "valid": "valid",
    }
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=2)
    run = labkit.Run(
        labkit.load_backbone("resnet10-glyphs"), data, labkit.full(1e-3, 1, batch_size=10)
    )
    run.fit()
    middle = between(run, [0.5], split="test").iloc[0]
    assert lesson_10.Halfway("old", "test")(run) == middle["old"]
    assert lesson_10.Halfway("new", "test")(run) == middle["new"]


def test_the_strengths_on_record_are_those_that_the_rule_chose_from_the_trials():
    def found(plan):
        key = f"remedies-tried/digits-10/{plan}"
        return evidence.estimate(f"{key}/old").mean, evidence.estimate(key).mean

    for remedy, strengths in lesson_10.STRENGTHS.items():
        tried = {one: found(f"{remedy}-{one:g}") for one in strengths}
        assert lesson_10.choose({0: found("without"), **tried}) == lesson_10.CHOSEN[remedy], remedy
    assert not set(lesson_10.REMEDIES_TRIED.seeds) & set(lesson_10.FORGETTING.seeds)


def test_the_rule_takes_what_keeps_most_of_what_learns_well_enough():
    assert lesson_10.choose({0: (0.1, 0.9), 1: (0.5, 0.89), 2: (0.8, 0.885), 3: (0.9, 0.8)}) == 2
    assert lesson_10.choose({0: (0.1, 0.9), 1: (0.5, 0.7), 2: (0.8, 0.6)}) == 1


def test_held_and_rehearsing_differ_from_the_usual_run_in_nothing_else():
    for place in ("digits-10", "ants-bees"):
        of = {s.plan.name: s for s in lesson_10.FORGETTING.settings if s.group == place}
        usual, held, rehearsing = (
            of[name] for name in ("usual", "usual, held", "usual, rehearsing")
        )
        assert held.plan.with_(name="usual", hold=0.0) == usual.plan
        assert rehearsing.plan.with_(name="usual", rehearse=0.0) == usual.plan
        share = held.plan.hold * held.plan.phases[0].lr  # of the way back, the same in both places
        assert abs(share - lesson_10.CHOSEN["hold"] * lesson_10.RATE) < 1e-9
        assert (held.change, usual.change) == (None, None)
