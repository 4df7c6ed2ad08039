"""The range test looks and touches nothing: the run goes on as if nobody had asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import labkit
from labkit.errors import CommandError, LearningRateError
from labkit.tuning import Finder, Run, StepDone, find_lr
from tests.invariants.conftest import TinyNet, same_optimizer_state, same_weights
from tests.invariants.test_text import Reviews, TextNet
from tests.toys import Stages


def steps(run: Run, count: int) -> Run:
    for _ in range(count):
        run.step()
    return run


# ---------------------------------------------------------------- the run is untouched


def test_the_run_is_untouched_to_the_bit_and_goes_on_as_if_nobody_had_asked(
    digit_run: Callable[..., Run],
) -> None:
    plan = labkit.partial("layer4", epochs=5, batch_size=16, augment="light")
    run, calm = (steps(digit_run(plan), 7) for _ in range(2))
    for each in (run, calm):
        each.set(lr=3e-4, trainable_from="layer4")
    position, journal, log = run.trainer.at.copy(), len(run.journal), run.log
    history, checkpoints, status = run.history, list(run._checkpoints._kept), run.status
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    find_lr(run, steps=30, seconds=None)

    assert torch.equal(torch.rand(3), expected)
    assert same_weights(run, calm)
    assert same_optimizer_state(run, calm)
    assert run.trainer.at == position
    assert (len(run.journal), run.log, run.status) == (journal, log, status)
    assert list(run._checkpoints._kept) == checkpoints
    assert run.history.equals(history)
    assert same_weights(steps(run, 5), steps(calm, 5))
    assert list(run.history.loss) == list(calm.history.loss)
    assert run.audit().ok


def test_a_run_in_the_background_trains_on_and_replays_to_the_bit(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=1000)).start()
    seen = find_lr(run, steps=50, seconds=None)
    assert run.in_background
    run.stop()
    assert run.step_number > seen.step
    assert len(seen.lrs) >= 10
    assert same_weights(run, run.replay())


def test_it_sees_what_commands_and_steps_on_a_branch_would_see(
    digit_run: Callable[..., Run],
) -> None:
    """Frozen depth, batch size, augmentation, rate decay and moments are the run's own."""
    run = digit_run(
        labkit.partial("layer4", epochs=9, batch_size=16, lr_decay=0.5, schedule="cosine")
    )
    steps(run, 5).set(augment="light", weight_decay=0.1)
    seen = find_lr(run, 1e-5, 1e-2, steps=12, seconds=None)
    branch = run.branch()
    for lr in [*seen.lrs, 1e-2]:
        branch.set(lr=float(lr))
        branch.step()
    told = [event for _, event in branch.journal.since(0) if isinstance(event, StepDone)][5:]
    assert list(seen.losses) == [event.loss for event in told[1:]]
    assert list(seen.counts) == [event.count for event in told[1:]]
    assert seen.lrs == pytest.approx(np.geomspace(1e-5, 1e-2, 12))
    assert (seen.step, seen.current) == (5, run.settings.lr)


def test_asked_twice_it_says_the_same(tiny_run: Callable[..., Run]) -> None:
    run = steps(tiny_run(labkit.full(epochs=3)), 4)
    one, two = (find_lr(run, steps=40, seconds=None) for _ in range(2))
    assert list(one.losses) == list(two.losses)
    assert one.explain() == two.explain()


# ---------------------------------------------------------------- runs in every state


def test_it_works_at_the_start_in_a_pause_and_at_the_end(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.gradual(3, epochs=1))
    for status in ("ready", "paused", "ended"):
        assert run.status == status
        assert len(find_lr(run, steps=20, seconds=None).lrs) >= 10
        assert run.status == status
        run.fit(epochs=1 if status == "ready" else None)


def test_a_failed_run_is_refused_and_serves_again_after_a_rewind(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(lr=1.0, epochs=50, optimizer="sgd"), tame=False).fit()
    assert run.status == "failed"
    with pytest.raises(CommandError, match="Rewind it"):
        find_lr(run)
    run.rewind(0)
    seen = find_lr(run, seconds=None)
    assert len(seen.lrs) >= 10
    assert np.isfinite(seen.losses).all()


def test_a_run_whose_weights_are_no_numbers_is_refused_by_name(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=2), tame=False)

    class Broken(TinyNet):
        def build(self, *args: Any, **options: Any) -> torch.nn.Module:
            net = super().build(*args, **options)
            torch.nn.init.constant_(net.get_submodule("head")[2].weight, float("nan"))
            return net

    broken = Run(Broken(), run.data, run.plan, precision=run.precision)
    with pytest.raises(CommandError, match="no rate to find"):
        find_lr(broken)


@pytest.mark.parametrize(
    "wrong",
    [
        {"high": 3},
        {"low": 0},
        {"low": 1e-3, "high": 2e-3},
        {"steps": 5},
        {"seconds": 0},
        {"steps": 1e2},
    ],
)
def test_a_wrong_question_is_refused_before_anything_runs(
    tiny_run: Callable[..., Run], wrong: dict[str, Any]
) -> None:
    run = tiny_run(labkit.full(epochs=1))
    with pytest.raises(LearningRateError if {"low", "high"} & set(wrong) else CommandError):
        Finder(run, **wrong)
    with pytest.raises(CommandError, match="needs a run"):
        find_lr(run.model)


# ---------------------------------------------------------------- time


class Clock:
    """The finder's clock, on which nothing takes time but a step, and a step takes 0.02 seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Slow(TinyNet):
    """The tiny network on a slow machine."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def build(self, *args: Any, **options: Any) -> torch.nn.Module:
        net = super().build(*args, **options)
        net.register_forward_pre_hook(self._step_takes_time)
        return net

    def _step_takes_time(self, *_: Any) -> None:
        self.clock.now += 0.02


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("labkit.tuning.finder.time", clock)
    return clock


def test_a_slow_network_takes_fewer_and_wider_steps_within_its_time(
    tiny_run: Callable[..., Run], clock: Clock
) -> None:
    run = tiny_run(labkit.full(epochs=1))
    slow = Run(Slow(clock), run.data, run.plan, precision=run.precision)
    clock.now = 0.0
    seen = find_lr(slow, steps=150, seconds=1.0)
    assert clock.now <= 1.0 + 0.02  # 50 of the 150 steps, and the one in hand
    assert 10 <= len(seen.lrs) <= 50
    assert seen.stopped == "rose" or seen.lrs[-1] > 0.01
    assert (np.diff(seen.lrs) > 0).all()


def test_a_time_too_short_for_a_curve_says_so(tiny_run: Callable[..., Run], clock: Clock) -> None:
    run = tiny_run(labkit.full(epochs=1))
    seen = find_lr(Run(Slow(clock), run.data, run.plan, precision=run.precision), seconds=0.05)
    assert seen.suggestion is None
    assert "too few for a curve" in seen.explain()


def test_one_step_at_a_time_gives_the_same_and_can_be_left_at_any_point(
    tiny_run: Callable[..., Run],
) -> None:
    run = steps(tiny_run(labkit.full(epochs=3)), 3)
    whole, finder = find_lr(run, steps=40, seconds=None), Finder(run, steps=40, seconds=None)
    progress = [finder.progress]
    while finder.advance():
        progress.append(finder.progress)
        assert len(finder.result.as_message()["lrs"]) == len(finder.result.lrs)
    assert list(finder.result.losses) == list(whole.losses)
    assert progress == sorted(progress)
    assert finder.progress == 1
    assert not finder.advance()
    left = Finder(run, steps=40, seconds=None)
    left.advance()
    assert left.result.stopped == "not yet"


# ---------------------------------------------------------------- real tasks


@pytest.mark.parametrize(
    ("plan", "low", "high"), [("feature_extraction", 1e-3, 3e-2), ("full", 5e-5, 2e-3)]
)
@pytest.mark.slow
def test_the_suggested_rate_teaches_the_digits(
    digits: Any, glyphs: Any, plan: str, low: float, high: float
) -> None:
    run = Run(glyphs, digits, getattr(labkit, plan)(epochs=2))
    seen = find_lr(run, steps=40, seconds=None)
    assert low < seen.suggestion < high, seen.explain()
    assert seen.diverges_at is None or seen.diverges_at > 10 * seen.suggestion
    run.set(lr=seen.suggestion)
    assert run.fit().evaluate("valid").accuracy > 0.8


def test_random_labels_give_no_suggestion(glyphs: Any) -> None:
    data = labkit.load_data("digits")
    shuffled = data.train.labels[torch.randperm(len(data.train), generator=torch.manual_seed(0))]
    noise = replace(data, train=replace(data.train, labels=shuffled))
    seen = find_lr(Run(glyphs, noise, labkit.feature_extraction()), seconds=None)
    assert seen.suggestion is None, seen.explain()
    assert "check the labels" in seen.explain()


def test_rates_too_low_to_move_anything_are_called_so(digit_run: Callable[..., Run]) -> None:
    seen = find_lr(digit_run(labkit.feature_extraction()), 1e-9, 1e-6, seconds=None)
    assert seen.suggestion is None
    assert "too low" in seen.explain()


def test_a_text_model_of_ones_own_gets_a_rate(photos: Path) -> None:
    reviews = Reviews(photos / "text" / "rt-polarity")
    net = labkit.Backbone.from_module(
        lambda classes: TextNet().build(classes), TextNet.stages, "reader"
    )
    assert isinstance(net.build(2), Stages)
    run = Run(net, reviews, labkit.full(batch_size=64))
    seen = find_lr(run, steps=200, seconds=None)
    assert 1e-3 < seen.suggestion < 0.1, seen.explain()
