"""What lessons 08 and 10 compare: orders of equal length; the network halfway, asked on the split that is counted."""

from __future__ import annotations

import labkit
from labkit.insight import between
from labkit.insight.evidence.lessons import lesson_08, lesson_10


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
