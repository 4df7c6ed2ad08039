"""The experiment on wrong labels: what is changed in the data, what is counted, and what the rule asks."""

from __future__ import annotations

import pytest
import torch

import labkit
from labkit.course.lesson_03 import claims as lesson_03
from labkit.course.lesson_03.claims import (
    CLAIMS,
    LABEL_NOISE,
    Found,
    LookedThrough,
    WrongLabels,
)
from labkit.insight.metrics import Estimate

NET = "resnet10-glyphs"


@pytest.fixture(scope="module")
def data():
    return labkit.load_data("digits", size=16).subset(per_class=10)


@pytest.fixture(scope="module")
def run(data):
    plan = labkit.feature_extraction(1e-2, 3, batch_size=20)
    return labkit.Run(labkit.load_backbone(NET), WrongLabels(0.3)(data, 4), plan, seed=4).fit()


def test_looking_through_mends_some_labels_and_spoils_none(data):
    wrong = WrongLabels(0.3)(data, 4)
    mended = LookedThrough(0.3, 0.3, NET)(data, 4)
    still = (mended.train.labels != data.train.labels).nonzero().flatten()
    assert set(still.tolist()) < set(wrong.mislabelled.tolist())
    assert len(still) < 0.7 * len(wrong.mislabelled)


def test_what_is_found_is_counted_among_the_wrong_and_among_the_looked_at(run):
    wrong = run.data.mislabelled
    order = lesson_03._by_others(run)
    hits = int(torch.isin(order[:10], wrong).sum())
    assert Found(0.1)(run) == hits / 30
    assert Found(0.1, precise=True)(run) == hits / 10
    assert Found(1.0)(run) == 1
    assert Found(1.0, precise=True, learned=True)(run) == 0.3


def test_every_place_has_both_sides_and_the_same_plan_for_them():
    settings = {f"label-noise/{one.key}": one for one in LABEL_NOISE.settings}
    asked = []

    def ask(clean, more):
        asked.append((settings[clean], settings[more]))
        return Estimate(0.0, -0.1, 0.1, 5)

    assert CLAIMS[0].verdict(ask) == "not supported"
    assert len(asked) == 16
    for clean, more in asked:
        assert clean.change is None
        assert more.change is not None
        assert more.labels in (2 * clean.labels, 4 * clean.labels)
        assert clean.plan.with_(name="one") == more.plan.with_(name="one")
        assert (clean.data, clean.split, clean.net) == (more.data, more.split, more.net)
