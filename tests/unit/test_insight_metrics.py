"""Means over seeds and their intervals, against scipy's own."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import labkit
from labkit.errors import EvidenceError
from labkit.insight.metrics import mean_interval, paired_difference
from labkit.insight.reading import in_columns
from labkit.insight.speed import epoch_seconds

values = st.lists(st.floats(0, 1), min_size=2, max_size=12)


@given(values)
def test_the_interval_is_students_t(numbers):
    estimate = mean_interval(numbers)
    error = stats.sem(numbers)
    if error > 1e-12:
        low, high = stats.t.interval(0.95, len(numbers) - 1, sum(numbers) / len(numbers), error)
        assert estimate.low == pytest.approx(low)
        assert estimate.high == pytest.approx(high)
    assert estimate.low <= estimate.mean <= estimate.high


def test_one_value_has_no_interval_and_none_is_an_error():
    assert math.isnan(mean_interval([0.8]).low)
    assert mean_interval([0.8]).percent() == "80 % (1 seed, no interval)"
    with pytest.raises(EvidenceError, match="at least one"):
        mean_interval([])


def test_pairing_removes_what_seeds_have_in_common():
    theirs = {0: 0.50, 1: 0.70, 2: 0.90}
    ours = {seed: value + 0.02 for seed, value in theirs.items()}
    difference = paired_difference(ours, theirs)
    assert difference.mean == pytest.approx(0.02)
    assert difference.half_width < 1e-9
    assert mean_interval(ours.values()).half_width > 0.3


def test_only_the_same_seeds_can_be_paired():
    with pytest.raises(EvidenceError, match=r"\[0, 1\] and \[0, 2\]"):
        paired_difference({0: 0.5, 1: 0.5}, {0: 0.5, 2: 0.5})


def test_an_estimate_reads_well():
    estimate = mean_interval([0.80, 0.82, 0.83, 0.81, 0.84])
    assert estimate.percent() == "82 % (80 to 84, 5 seeds)"
    gain = paired_difference({0: 0.85, 1: 0.84, 2: 0.86}, {0: 0.82, 1: 0.82, 2: 0.82})
    assert gain.points() == "+3.0 points (+0.5 to +5.5, 3 seeds)"
    assert paired_difference({0: 0.5, 1: 0.5}, {0: 0.5, 1: 0.5}).points().startswith("0.0 points")


def test_an_epoch_costs_what_its_steps_took_and_would_have_cost_more_without_the_cache():
    data = labkit.load_data("digits").subset(per_class=4)
    net = labkit.load_backbone("resnet10-glyphs")
    frozen = epoch_seconds(labkit.Run(net, data, labkit.feature_extraction(epochs=3)).fit())
    moving = epoch_seconds(labkit.Run(net, data, labkit.full(epochs=1)).fit())
    assert list(frozen.index) == [1, 2, 3]
    assert (frozen["seconds"] > 0).all()
    assert (frozen["frozen stages run again"] > frozen["seconds"])[1:].all()
    assert (moving["frozen stages run again"] == moving["seconds"]).all()


def test_rows_in_columns_look_as_pandas_shows_them():
    rows = [
        {"plan": "head", "accuracy (%)": 9.04, "n": 5, "over seeds": "8 to 10"},
        {"plan": "layer4 + head", "accuracy (%)": float("nan"), "n": 10000, "over seeds": ""},
    ]
    for some in (rows, rows[:1], [{"epoch": 0}], [{"group": "digits"}]):
        shown = pd.DataFrame(some).to_string(index=False, float_format="{:.1f}".format)
        assert in_columns(some) == shown
    assert in_columns([]) == ""
    assert in_columns([{"plan": "a", "n": 1}, {"plan": "b"}]).splitlines()[2].split() == [
        "b",
        "NaN",
    ]
