"""Adapting: the statistics are those of the images, no weight moves, and the run is none the wiser."""

from __future__ import annotations

import pytest
import torch

import labkit
from labkit import insight, runtime
from labkit.errors import BackboneError, DataError, SplitError
from labkit.insight.adapting import BATCH_NORM
from labkit.insight.inside import given_to
from tests.small import Clouds, Small

PLAN = labkit.full(1e-3, 4, batch_size=10)


@pytest.fixture(scope="module")
def run():
    data = labkit.load_data("digits", size=16).subset(per_class=5)
    net = labkit.load_backbone("resnet10-glyphs")
    return labkit.Run(net, data, PLAN, seed=0, precision=runtime.Precision()).fit()


@pytest.fixture(scope="module")
def washed(run):
    return run.data.shift("contrast")


def parts(model):
    """Weights by name, and the running statistics by name."""
    names = {name for name, _ in model.named_parameters()}
    state = model.state_dict()
    return {n: state[n] for n in names}, {n: state[n] for n in state if n not in names}


def norms(model):
    return [layer for layer in model.modules() if isinstance(layer, BATCH_NORM)]


def test_no_weight_moves_and_every_statistic_does(run, washed):
    adapted = insight.adapt(run, washed.valid)
    weights, statistics = parts(run.model)
    other_weights, other_statistics = parts(adapted.model)
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    for name, value in statistics.items():
        counted = name.endswith("num_batches_tracked")
        assert torch.equal(value, other_statistics[name]) == counted, name


def test_the_run_stays_as_it_was_to_the_bit(run, washed):
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    modes = [module.training for module in run.model.modules()]
    insight.adapt(run, washed.valid).evaluate(washed.test)
    insight.statistics_gap(run, washed.valid)
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert modes == [module.training for module in run.model.modules()]
    assert not any(module._forward_pre_hooks for module in run.model.modules())


def test_every_layer_has_the_moments_of_what_it_is_given(run, washed):
    adapted = insight.adapt(run, washed.valid, count=1000)
    images, _ = washed.valid.batch(range(len(washed.valid)))
    with torch.no_grad():
        for layer in norms(adapted.model):
            values = given_to(layer, adapted.model, images).transpose(0, 1).flatten(1)
            torch.testing.assert_close(layer.running_mean, values.mean(1), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(layer.running_var, values.var(1), rtol=1e-3, atol=1e-5)


def test_labels_are_not_looked_at(run, washed):
    split = washed.valid
    shuffled = type(split)(split.store, split.rows, split.labels.flip(0), split.names)
    one, other = (insight.adapt(run, images).model.state_dict() for images in (split, shuffled))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_it_brings_back_what_washed_out_images_cost(run, washed):
    clean, lost = run.evaluate("test").accuracy, run.evaluate(washed.test).accuracy
    back = insight.adapt(run, washed.valid).evaluate(washed.test).accuracy
    assert lost < clean - 0.1
    assert back > lost + 0.1


def test_old_statistics_that_count_for_much_stay(run, washed):
    strong = insight.adapt(run, washed.valid, count=16, prior=1e9)
    for old, new in zip(norms(run.model), norms(strong.model), strict=True):
        torch.testing.assert_close(old.running_mean, new.running_mean)
    half = insight.adapt(run, washed.valid, count=16, prior=16)
    full = insight.adapt(run, washed.valid, count=16)
    first = [norms(one)[0].running_mean for one in (run.model, half.model, full.model)]
    torch.testing.assert_close(first[1], (first[0] + first[2]) / 2)


def test_the_gap_is_small_where_nothing_shifted_and_closed_once_adapted(run, washed):
    at_home = insight.statistics_gap(run, "valid")
    away = insight.statistics_gap(run, washed.valid)
    adapted = insight.adapt(run, washed.valid, count=1000)
    closed = insight.statistics_gap(adapted, washed.valid, count=1000)
    assert list(away.index) == list(run.stages[:-1])
    assert away.loc["stem", "spread"] < 0.6 < at_home.loc["stem", "spread"]
    assert away["offset"].max() > 2 * at_home["offset"].max()
    assert closed["offset"].max() < 0.01
    assert closed["spread"].to_numpy() == pytest.approx(1, abs=0.01)


def test_a_network_carried_on_answers_as_the_run_did_and_can_be_trained(run):
    again = labkit.Run(insight.carried_on(run), run.data, PLAN, seed=9, precision=run.precision)
    assert torch.equal(again.evaluate("test").probabilities, run.evaluate("test").probabilities)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    again.step()
    assert again.drift()["head"] > 0
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_it_works_on_what_is_no_image():
    clouds = labkit.Run(Small(), Clouds(), labkit.full(1e-2, 1))
    assert list(insight.adapt(clouds, "test").table.index) == ["body"]


def test_what_cannot_be_adapted_to_is_refused(run, washed):
    with pytest.raises(BackboneError, match="no BatchNorm"):
        insight.adapt(labkit.Run(Small(tame=False), Clouds(), labkit.full(1e-2, 1)))
    with pytest.raises(DataError, match="2 or more"):
        insight.adapt(run, washed.valid, count=1)
    with pytest.raises(DataError, match="prior"):
        insight.adapt(run, washed.valid, prior=-1)
    with pytest.raises(SplitError, match="no 'tomorrow'"):
        insight.adapt(run, "tomorrow")
