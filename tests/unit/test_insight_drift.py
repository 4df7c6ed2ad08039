"""Drift per stage, worst guesses, and the sentence on real runs."""

from __future__ import annotations

import time
from collections import OrderedDict

import pytest
import torch

import labkit
from labkit.insight import drift_table, sentence, worst
from labkit.insight.drift import in_words, layers_drift, statistics_drift
from labkit.runtime import Precision
from labkit.tuning.freezing import drift_of, parts as parts_of
from tests.bounds import held


@pytest.fixture(scope="module")
def parts():
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=8, seed=0)
    return labkit.load_backbone("resnet10-glyphs", weights=None), data


def fit(parts, plan):
    return labkit.Run(*parts, plan, precision=Precision()).fit()


@pytest.fixture(scope="module")
def partly(parts):
    return fit(parts, labkit.partial("layer4", lr=1e-3, epochs=2))


def test_frozen_stages_show_no_drift_and_trained_ones_do(partly):
    table = drift_table(partly).set_index("stage")
    assert list(table.index) == list(partly.stages)
    frozen = table[~table["trainable"]]
    assert list(frozen.index) == ["stem", "layer1", "layer2", "layer3"]
    assert (frozen["drift"] == 0).all()
    assert set(frozen["moved"]) == {"as it began"}
    assert (table.loc[["layer4", "head"], "drift"] > 0).all()
    assert dict(table["drift"]) == pytest.approx(partly.drift())


def test_running_statistics_show_up_in_stages_that_never_trained(parts):
    trap = fit(parts, labkit.feature_extraction(epochs=1, frozen_statistics="running"))
    table = drift_table(trap).set_index("stage")
    assert table.loc["layer1", "moved"] == "statistics only"
    assert table.loc["layer1", "drift"] == 0
    assert statistics_drift(trap) > 0.01


def test_fixed_statistics_do_not_move_at_all(partly):
    assert statistics_drift(partly) == 0


def test_drift_is_the_way_that_was_gone_over_the_length_at_the_start():
    layer = torch.nn.Linear(3, 2)
    (part,) = parts_of(torch.nn.Sequential(OrderedDict(head=layer)), ["head"])
    start = {name: value.detach().clone() for name, value in layer.named_parameters()}
    with torch.no_grad():
        for value in layer.parameters():
            value *= 3
    assert drift_of(part, start) == pytest.approx(2)


def test_one_number_tells_how_far_the_layers_below_the_head_have_moved(parts, partly):
    def flat(model):
        body = [p for name, p in model.named_parameters() if not name.startswith("head.")]
        return torch.nn.utils.parameters_to_vector(body).detach()

    start = flat(partly.net.build(len(partly.data.classes), seed=0))
    moved = (flat(partly.model) - start).norm() / start.norm()
    assert layers_drift(partly) == pytest.approx(float(moved), rel=1e-4)
    assert layers_drift(fit(parts, labkit.feature_extraction(epochs=1))) == 0


def test_distances_are_said_in_words():
    assert in_words(2.0) == "by 2 times its length"
    assert in_words(61.1) == "by 61 times its length"
    assert in_words(1.5) == "by 150 %"
    assert in_words(0.0) == "as it began"
    assert in_words(0.0, 3) == "statistics only"
    assert in_words(0.004) == "by 0.4 %"


def test_the_worst_guesses_come_first(partly):
    result = partly.evaluate("valid")
    found = worst(result, 20)
    truth = result.probabilities[torch.arange(result.count), result.targets]
    assert [g.true_probability for g in found] == pytest.approx(sorted(truth.tolist())[:20])
    for guess in found:
        assert guess.predicted == int(result.predictions[guess.index])
        assert guess.true == int(result.targets[guess.index])
        assert guess.right == (guess.predicted == guess.true)
    assert len(worst(result, 10_000)) == result.count
    assert worst(result, 0) == ()


def test_the_sentence_follows_a_real_run_from_start_to_end(parts):
    run = labkit.Run(*parts, labkit.feature_extraction(lr=3e-3, epochs=2), precision=Precision())
    assert sentence(run) == "Nothing has been trained yet."
    run.step()
    assert "only the head learns" in sentence(run) or "Paused" in sentence(run)
    run.fit()
    assert sentence(run).startswith("The run ended after 2 epochs")
    run.rewind(1)
    assert sentence(run).startswith("Paused after 1 step")
    run.reset()
    assert sentence(run).startswith("Nothing has been trained yet")


def test_the_sentence_costs_under_two_milliseconds(partly):
    sentence(partly)
    times = []
    for _ in range(50):
        begun = time.thread_time()  # of this thread's processor: a busy machine adds nothing to it
        sentence(partly)
        times.append(time.thread_time() - begun)
    held("the coach's sentence", min(times), 0.002, "s")
