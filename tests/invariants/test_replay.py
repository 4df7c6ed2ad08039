"""A run is data: from model, data, plan, seed and log the same bits come again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

import labkit
from labkit.runtime import Precision
from labkit.tuning import Run, StepDone
from tests.invariants.conftest import same_optimizer_state, same_weights


def steered(run: Run) -> Run:
    """Train for 100 steps and steer on the way."""
    commands: dict[int, dict[str, Any]] = {
        10: {"lr": 3e-3},
        25: {"trainable_from": "head"},
        40: {"trainable_from": "all", "lr_decay": 0.5},
        60: {"batch_size": 8, "augment": "strong"},
        80: {"weight_decay": 0.2, "lr": 1e-4},
    }
    for event in run.events():
        if isinstance(event, StepDone) and event.step in commands:
            run.set(**commands[event.step])
        if isinstance(event, StepDone) and event.step == 100:
            run.pause()
    return run


def both_go_on(run: Run, other: Run, steps: int) -> None:
    """Some steps of both, in turn; then they agree to the bit."""
    for _ in range(steps):
        run.step()
        other.step()
    assert same_weights(run, other)
    assert same_optimizer_state(run, other)


def test_replay_is_bitwise_over_100_steered_steps(digit_run: Callable[..., Run]) -> None:
    run = steered(digit_run(labkit.gradual(3, epochs=5, batch_size=16, augment="light")))
    again = run.replay()
    assert run.step_number == again.step_number == 100
    assert same_weights(run, again)
    assert same_optimizer_state(run, again)
    assert list(run.history.loss) == list(again.history.loss)
    assert run.log == again.log
    assert run.settings == again.settings


def test_a_branch_without_a_change_is_bitwise_the_run_itself(digit_run: Callable[..., Run]) -> None:
    run = steered(digit_run(labkit.full(epochs=20, batch_size=16)))
    branch = run.branch()
    both_go_on(run, branch, steps=3)
    assert list(run.history.loss) == list(branch.history.loss)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.slow
def test_a_checkpoint_brings_back_bits_and_memory_layout(
    dtype: str, memory_format: str, digits: Any, glyphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 0)
    monkeypatch.setattr("labkit.tuning.run.CHECKPOINT_SHARE", 0)
    precision = Precision(dtype, memory_format)
    run = Run(glyphs, digits, labkit.full(epochs=2, batch_size=16), seed=0, precision=precision)
    for _ in range(8):
        run.step()
    branch = run.branch()
    both_go_on(run, branch, steps=4)
    ours, theirs = (one.optimizer.state_dict()["state"] for one in (run, branch))
    for index, state in ours.items():
        for key, value in state.items():
            assert theirs[index][key].stride() == value.stride(), (index, key)


@pytest.mark.slow
def test_a_branch_shares_exactly_the_steps_it_says(digit_run: Callable[..., Run]) -> None:
    run = steered(digit_run(labkit.full(epochs=20, batch_size=16)))
    branch = run.branch(step=50, lr=1e-4)
    assert branch.step_number == 50
    assert branch.history[branch.history.step <= 50].equals(run.history[run.history.step <= 50])
    assert [command.step for command in branch.log] == [10, 25, 40, 50]
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    branch.fit(epochs=1)
    assert all(torch.equal(before[key], value) for key, value in run.model.state_dict().items())


@pytest.mark.slow
def test_rewinding_undoes_everything_that_came_later(digit_run: Callable[..., Run]) -> None:
    plan = labkit.full(epochs=20, batch_size=16)
    run, straight = steered(digit_run(plan)), digit_run(plan)
    for step in (70, 33, 7):
        run.rewind(step)
        assert run.step_number == step
        assert run.history.step.max() == step
        assert all(command.step < step for command in run.log)
    for _ in range(7):
        straight.step()
    assert same_weights(run, straight)
    assert same_optimizer_state(run, straight)


@pytest.mark.slow
def test_reset_gives_the_same_initial_weights(digit_run: Callable[..., Run]) -> None:
    plan = labkit.full(epochs=20, batch_size=16)
    run = steered(digit_run(plan)).reset()
    assert run.status == "ready"
    assert run.log == ()
    assert same_weights(run, digit_run(plan))


def test_the_number_of_steps_between_checkpoints_changes_nothing(
    tiny_run: Callable[..., Run], monkeypatch: Any
) -> None:
    dense, sparse = (tiny_run(labkit.gradual(3, epochs=3)) for _ in range(2))
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 0.0)
    monkeypatch.setattr("labkit.tuning.run.CHECKPOINT_SHARE", 0)
    dense.fit().rewind(17)
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 1e9)
    sparse.fit().rewind(17)
    assert len(dense._checkpoints) > len(sparse._checkpoints) == 1
    assert same_weights(dense, sparse)
    assert same_optimizer_state(dense, sparse)


def test_chance_outside_does_not_reach_the_run(tiny_run: Callable[..., Run]) -> None:
    calm, disturbed = (tiny_run(labkit.full(epochs=2, augment="strong")) for _ in range(2))
    calm.fit()
    for _ in disturbed.events():
        torch.rand(3)
    assert same_weights(calm, disturbed)


def test_the_run_leaves_chance_outside_alone(tiny_run: Callable[..., Run]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    tiny_run(labkit.full(epochs=1, augment="strong")).fit()
    assert torch.equal(torch.rand(4), expected)


def test_other_seeds_give_other_runs(tiny_run: Callable[..., Run]) -> None:
    first, second = (tiny_run(labkit.full(epochs=1), seed=seed).fit() for seed in (0, 1))
    assert not same_weights(first, second)


def test_a_shared_line_brings_the_same_run(digit_run: Callable[..., Run]) -> None:
    run = digit_run(labkit.partial("layer4", epochs=3, batch_size=32))
    for event in run.events():
        if isinstance(event, StepDone) and event.step == 5:
            run.set(lr=1e-4, trainable_from="layer3")
    line = labkit.to_line(run)
    assert "\n" not in line
    assert line.isprintable()
    again = labkit.from_line(line).fit()
    assert same_weights(run, again)


def test_lines_pasted_one_after_the_other_hold_their_network_and_data_once(
    digit_run: Callable[..., Run],
) -> None:
    """A learner pastes many lines in an hour, and each copy of the digits and the weights takes 15 MB."""
    line = labkit.to_line(digit_run(labkit.full(lr=1e-3, epochs=1)))
    first, second = labkit.from_line(line), labkit.from_line(line)
    assert second.data is first.data
    assert second.net is first.net
    assert second.model is not first.model
    gone = weakref.ref(first.data)
    del first, second
    gc.collect()
    assert gone() is None


def test_a_run_that_went_back_and_on_another_way_knows_nothing_of_the_first_way(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 0.0)
    monkeypatch.setattr("labkit.tuning.run.CHECKPOINT_SHARE", 0)
    run, straight = (tiny_run(labkit.full(epochs=100, batch_size=32)) for _ in range(2))
    for _ in range(12):
        run.step()
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 1e9)  # none are kept from here on
    run.rewind(2)
    straight.step()
    straight.step()
    for each in (run, straight):
        each.set(lr=5e-3)
        for _ in range(5):
            each.step()
    run.step()
    run.rewind(7)  # on the first way there was a checkpoint
    assert same_weights(run, straight)
    assert same_optimizer_state(run, straight)


def test_a_branch_goes_back_to_its_own_past_and_not_to_its_parents_future(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 0.0)
    monkeypatch.setattr("labkit.tuning.run.CHECKPOINT_SHARE", 0)
    parent = tiny_run(labkit.full(epochs=100, batch_size=32))
    for _ in range(100):
        parent.step()
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 1e9)  # branches keep none of their own
    branch, straight = (parent.branch(2, lr=5e-3) for _ in range(2))
    for _ in range(6):
        branch.step()
    for _ in range(5):
        straight.step()
    branch.rewind(7)  # the parent has a checkpoint there
    assert same_weights(branch, straight)
    assert same_optimizer_state(branch, straight)


def test_a_branch_of_a_branch_has_a_short_name(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=3))
    for _ in range(4):
        run.step()
    first = run.branch(step=2, lr=1e-4)
    assert first.name == f"{run.name} / step 2: lr 0.0001"
    first.step()
    assert first.branch().name == f"{run.name} / step 3"
