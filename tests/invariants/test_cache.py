"""The frozen-prefix cache cannot be seen: not in losses, weights, predictions, replays, nor by anyone who meddles."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import labkit
from labkit import runtime
from labkit.tuning import Plan, Run, prefix, trainer
from labkit.tuning.cache import PrefixCache
from labkit.tuning.prefix import Prefix
from tests.invariants.conftest import same_weights
from tests.invariants.test_text import Reviews, TextNet
from tests.small import Clouds

FP32 = runtime.Precision()
PLANS = (
    labkit.feature_extraction(lr=3e-3, epochs=15),
    labkit.partial("layer4", lr=1e-3, epochs=15),
    labkit.partial("layer4", lr=1e-3, epochs=15, augment="light", views=3),
)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> PrefixCache:
    """An empty cache for every test."""
    cache = PrefixCache()
    monkeypatch.setattr(trainer, "shared", cache)
    return cache


@contextmanager
def no_cache() -> Iterator[None]:
    """Inside, the whole model runs for every batch, as in a plain loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Prefix, "below", lambda *_: None)
        yield


def losses(run: Run) -> torch.Tensor:
    rows = run.history
    return torch.tensor(rows[rows["split"] == "train"]["loss"].to_numpy())


def steps(run: Run, count: int) -> Run:
    for _ in range(count):
        run.step()
    return run


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.name}, {plan.augment}")
@pytest.mark.slow
def test_losses_and_predictions_are_those_of_a_plain_loop(
    digit_run: Callable[..., Run], plan: Plan
) -> None:
    with no_cache():
        plain = steps(digit_run(plan, precision=FP32), 100)
        expected = plain.evaluate("valid").predictions
    kept = steps(digit_run(plan, precision=FP32), 100)
    assert kept.trainer.prefix is not None
    assert (losses(kept) - losses(plain)).abs().max() <= 1e-4
    assert torch.equal(kept.evaluate("valid").predictions, expected)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.name}, {plan.augment}")
@pytest.mark.slow
def test_remembering_and_computing_again_are_the_same_to_the_bit(
    digit_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    kept = steps(digit_run(plan), 40)
    monkeypatch.setattr(trainer, "shared", PrefixCache(memory=0, disk=0))
    computed = steps(digit_run(plan), 40)
    assert len(trainer.shared) == 0
    assert torch.equal(losses(kept), losses(computed))
    assert same_weights(kept, computed)


def test_a_replay_that_finds_everything_known_is_bitwise_the_run_that_found_nothing(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.feature_extraction(lr=3e-3, epochs=15, batch_size=13))
    steps(run, 20).set(trainable_from="layer3")
    steps(run, 10).set(trainable_from="head", augment="light")
    steps(run, 20).set(batch_size=24)
    steps(run, 20)
    assert same_weights(run, run.replay())
    run.rewind(25)
    assert same_weights(run, run.replay())


def test_a_second_run_computes_nothing_again(
    digit_run: Callable[..., Run], own_cache: PrefixCache
) -> None:
    plan = labkit.feature_extraction(lr=3e-3, epochs=2)
    digit_run(plan, seed=1).fit()
    computed = sum(entry.computed for entry in own_cache._entries.values())
    digit_run(plan.with_(lr=1e-3), seed=2).fit()
    assert sum(entry.computed for entry in own_cache._entries.values()) == computed


def test_another_network_other_images_or_another_precision_share_nothing(
    digits: Any, glyphs: Any, own_cache: PrefixCache
) -> None:
    plan = labkit.feature_extraction(epochs=1)
    Run(glyphs, digits, plan, precision=FP32).step()
    alike = len(own_cache)
    others = (
        (labkit.load_backbone("resnet10"), digits, FP32),
        (glyphs, labkit.load_data("digits").subset(per_class=20, seed=1), FP32),
        (glyphs, digits, runtime.Precision("bf16")),
    )
    for count, (net, data, precision) in enumerate(others, start=1):
        Run(net, data, plan, precision=precision).step()
        assert len(own_cache) >= alike + count


def test_a_frozen_weight_that_someone_changes_by_hand_is_noticed_at_once(
    digit_run: Callable[..., Run],
) -> None:
    run = steps(digit_run(labkit.feature_extraction(lr=3e-3, epochs=15)), 20)
    before = run.evaluate("valid").probabilities
    with torch.no_grad():
        run.model.get_submodule("layer2")[0].bn1.running_mean.add_(0.5)
    after = run.evaluate("valid").probabilities
    assert not torch.equal(before, after)
    with no_cache():
        fresh = digit_run(labkit.feature_extraction(lr=3e-3, epochs=15))
        fresh.model.load_state_dict(run.model.state_dict())
        assert torch.allclose(fresh.evaluate("valid").probabilities, after, atol=1e-2)


def test_a_change_behind_torchs_back_is_noticed_after_a_while(
    digit_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = steps(digit_run(labkit.feature_extraction(lr=3e-3, epochs=15)), 20)
    before = run.evaluate("valid").probabilities
    run.model.get_submodule("layer2")[0].bn1.running_mean.data += 0.5
    run.trainer.prefix._reading_took = 0.0  # a while has passed
    assert not torch.equal(before, run.evaluate("valid").probabilities)


def test_a_cache_grows_from_the_one_below_it(
    digit_run: Callable[..., Run], own_cache: PrefixCache
) -> None:
    run = steps(digit_run(labkit.partial("layer4", lr=1e-3, epochs=15)), 20)
    run.evaluate("valid")
    seen: list[int] = []
    run.model.get_submodule("stem").register_forward_hook(lambda *_: seen.append(1))
    run.set(trainable_from="head")
    steps(run, 10)
    run.evaluate("valid")
    assert not seen, "the stem ran again, though layer3's output was at hand"


def test_statistics_left_running_are_never_remembered(
    digit_run: Callable[..., Run], own_cache: PrefixCache
) -> None:
    run = digit_run(labkit.feature_extraction(epochs=2, frozen_statistics="running")).fit()
    assert len(own_cache) == 0
    assert not run.audit().ok


def test_augmented_views_come_in_turn_and_no_others(
    digit_run: Callable[..., Run], own_cache: PrefixCache
) -> None:
    digit_run(labkit.feature_extraction(epochs=7, augment="strong", views=3)).fit()
    views = {key.view for key in own_cache._entries}
    assert views == {"", *(f"strong {number} of seed 0" for number in range(3))}


def test_text_is_remembered_in_the_same_way(photos: Path, own_cache: PrefixCache) -> None:
    reviews = Reviews(photos / "text" / "rt-polarity")
    plan = labkit.feature_extraction(lr=3e-3, epochs=5, batch_size=64)
    with no_cache():
        plain = steps(Run(TextNet(), reviews, plan, precision=FP32), 60)
    kept = steps(Run(TextNet(), reviews, plan, precision=FP32), 60)
    assert len(own_cache) > 0
    assert (losses(kept) - losses(plain)).abs().max() <= 1e-4
    assert torch.equal(kept.evaluate("valid").predictions, plain.evaluate("valid").predictions)


def test_a_run_that_nobody_holds_gives_its_memory_back_at_once(
    digit_run: Callable[..., Run],
) -> None:
    run = steps(digit_run(labkit.feature_extraction()), 3)
    model = weakref.ref(run.model)
    gc.disable()  # no waiting for the collector of cycles: it comes too late for a small machine
    try:
        del run
        assert model() is None
    finally:
        gc.enable()


def test_an_epoch_tells_what_it_saved(digit_run: Callable[..., Run]) -> None:
    run = digit_run(labkit.feature_extraction(epochs=3)).fit()
    first, *later = [
        event.saved_seconds for event in run.journal.current if type(event).__name__ == "EpochDone"
    ][1:]
    assert first < min(later)
    assert min(later) > 0


def test_what_a_sample_gives_does_not_depend_on_whom_it_came_with(
    digit_run: Callable[..., Run], own_cache: PrefixCache
) -> None:
    run = digit_run(labkit.feature_extraction(), precision=FP32)
    prefix, split = run.trainer.prefix, run.data.train
    assert prefix is not None
    (together,) = prefix.features(split, torch.arange(64))
    for rows in ([5], [40, 7], list(range(50, 63))):
        own_cache.clear()
        (alone,) = prefix.features(split, torch.tensor(rows))
        assert torch.equal(alone, together[rows])


# ---------------------------------------------------------------- networks that do more than pass on


class Negated(nn.Sequential):
    """Its own forward turns the sign."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class Joined(nn.Sequential):
    """Its head sees the images beside what the body makes of them."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([x, self.body(x)], 1))  # type: ignore[operator]


def negated(classes: int) -> nn.Module:
    return Negated(OrderedDict(body=nn.Linear(6, 8), head=nn.Linear(8, classes)))


def joined(classes: int) -> nn.Module:
    return Joined(OrderedDict(body=nn.Linear(6, 8), head=nn.Linear(14, classes)))


def negated_inside(classes: int) -> nn.Module:
    head = Negated(nn.Identity(), nn.Linear(8, classes))
    return nn.Sequential(OrderedDict(body=nn.Linear(6, 8), head=head))


def hooked(classes: int) -> nn.Module:
    head = nn.Sequential(nn.Identity(), nn.Linear(8, classes))
    head.register_forward_hook(lambda module, given, made: -made)
    return nn.Sequential(OrderedDict(body=nn.Linear(6, 8), head=head))


def one_layer_twice(classes: int) -> nn.Module:
    turn = nn.Linear(8, 8)
    head = nn.Sequential(turn, nn.Tanh(), turn, nn.Linear(8, classes))
    return nn.Sequential(OrderedDict(body=nn.Linear(6, 8), head=head))


@pytest.mark.parametrize(
    "factory",
    [negated, joined, negated_inside, hooked, one_layer_twice],
    ids=lambda factory: factory.__name__,
)
def test_a_network_that_does_more_than_pass_on_is_trained_and_asked_as_it_is(
    factory: Callable[[int], nn.Module],
) -> None:
    net = labkit.Backbone.from_module(factory, ["body", "head"], factory.__name__)
    plan, data = labkit.feature_extraction(lr=1e-2, epochs=3, batch_size=10), Clouds()
    run = Run(net, data, plan, precision=FP32).fit()
    with no_cache():
        plain = Run(net, data, plan, precision=FP32).fit()
    assert (losses(run) - losses(plain)).abs().max() <= 1e-5
    told, (points, _) = run.evaluate("valid"), data.valid.batch(torch.arange(len(data.valid)))
    with torch.no_grad():
        said = run.model(points.to(run.trainer.device)).cpu().softmax(1)
    assert (said - told.probabilities).abs().max() < 1e-5


def test_a_network_that_says_it_passes_on_is_remembered() -> None:
    class Says(nn.Sequential):
        passes_on = True

        def forward(self, x: Tensor) -> Tensor:
            for stage in self:
                x = stage(x)
            return x

    class Derived(Says):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    assert prefix.passes_on(Says())
    assert prefix.passes_on(nn.Sequential())
    assert not prefix.passes_on(Derived()), (
        "what a class says does not hold for those derived from it"
    )
