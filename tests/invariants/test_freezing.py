"""Frozen means frozen: parameters and BatchNorm statistics, to the bit, whatever happens meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import nn

import labkit
from labkit.tuning import Run, StepDone


def tensors_of(run: Run, stages: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return {
        f"{stage}.{key}": value.clone()
        for stage in stages
        for key, value in run.model.get_submodule(stage).state_dict().items()
    }


def test_frozen_stages_stay_bit_identical_for_200_steps_with_commands_flying(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.partial("layer3", epochs=100, batch_size=16))
    frozen = ("stem", "layer1", "layer2")
    before, chance = tensors_of(run, frozen), random.Random(0)
    for event in run.events():
        if not isinstance(event, StepDone):
            continue
        run.set(
            lr=10 ** chance.uniform(-5, -2),
            trainable_from=chance.choice(["layer3", "layer4", "head"]),
        )
        run.set(batch_size=chance.choice([4, 16, 32]), weight_decay=chance.random())
        if event.step == 200:
            run.pause()
    after = tensors_of(run, frozen)
    assert all(torch.equal(before[key], after[key]) for key in before)
    audit = run.audit()
    assert audit.ok
    assert {row.stage for row in audit.rows if row.drift > 0} <= {"layer3", "layer4", "head"}
    assert any(row.drift > 0 for row in audit.rows)


def test_running_statistics_move_a_frozen_stage_and_the_audit_says_so(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.feature_extraction(epochs=1, frozen_statistics="running")).fit()
    audit = run.audit()
    assert not audit.ok
    assert any("layer1" in problem and "buffers" in problem for problem in audit.problems)
    layer1 = next(row for row in audit.rows if row.stage == "layer1")
    assert layer1.tensors_changed == 0
    assert layer1.buffers_changed > 0


def test_frozen_stages_are_in_eval_mode_and_the_others_in_train_mode(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.partial("layer4", epochs=1)).fit()
    run.evaluate("valid")
    for name in run.stages:
        modes = {
            m.training
            for m in run.model.get_submodule(name).modules()
            if isinstance(m, nn.BatchNorm2d)
        }
        assert modes <= {name == "layer4"}


def test_the_optimiser_has_one_named_group_a_stage_from_the_start(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.feature_extraction(epochs=1))
    assert [group["name"] for group in run.optimizer.param_groups] == list(run.stages)
    counted = sum(p.numel() for group in run.optimizer.param_groups for p in group["params"])
    assert counted == sum(p.numel() for p in run.model.parameters())


def test_a_stage_thawed_mid_run_trains_from_the_next_step_with_fresh_moments(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.feature_extraction(epochs=5, batch_size=16))
    for _ in range(4):
        run.step()
    run.set(trainable_from="layer4")
    assert run.drift()["layer4"] == 0
    run.step()
    assert run.drift()["layer4"] > 0
    ages = {
        group["name"]: {
            int(run.optimizer.state[p]["step"]) for p in group["params"] if p in run.optimizer.state
        }
        for group in run.optimizer.param_groups
    }
    assert ages["layer4"] == {1}
    assert ages["head"] == {5}
    run.set(trainable_from="head")
    run.step()
    thawed = next(group for group in run.optimizer.param_groups if group["name"] == "layer4")
    assert not any(p in run.optimizer.state for p in thawed["params"])


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_rates_fall_by_lr_decay_a_stage(digit_run: Callable[..., Run], decay: float) -> None:
    run = digit_run(labkit.full(lr=1e-3, lr_decay=decay, epochs=1))
    run.step()
    rates = [group["lr"] for group in run.optimizer.param_groups]
    assert rates == pytest.approx([1e-3 * decay**n for n in range(len(run.stages) - 1, -1, -1)])
