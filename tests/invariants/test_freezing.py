"""Frozen means frozen: parameters and BatchNorm statistics, to the bit, whatever happens meanwhile."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import labkit
from labkit.runtime import Precision
from labkit.tuning import Plan, Run, StepDone, find_lr
from tests.invariants.conftest import same_weights
from tests.small import Clouds


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


def test_the_optimiser_has_one_named_group_a_stage_from_the_start(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.feature_extraction(epochs=1))
    assert [group["name"] for group in run.optimizer.param_groups] == list(run.stages)
    counted = sum(p.numel() for group in run.optimizer.param_groups for p in group["params"])
    assert counted == sum(p.numel() for p in run.model.parameters())


def test_a_stage_unfrozen_mid_run_trains_from_the_next_step_with_fresh_optimizer_state(
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
    unfrozen = next(group for group in run.optimizer.param_groups if group["name"] == "layer4")
    assert not any(p in run.optimizer.state for p in unfrozen["params"])


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_rates_fall_by_lr_decay_a_stage(digit_run: Callable[..., Run], decay: float) -> None:
    run = digit_run(labkit.full(lr=1e-3, lr_decay=decay, epochs=1))
    run.step()
    rates = [group["lr"] for group in run.optimizer.param_groups]
    assert rates == pytest.approx([1e-3 * decay**n for n in range(len(run.stages) - 1, -1, -1)])


def test_in_a_step_only_the_stages_that_train_are_in_train_mode_and_between_steps_none(
    digit_run: Callable[..., Run],
) -> None:
    run = digit_run(labkit.full(epochs=2, batch_size=16))
    run.set(trainable_from="layer4")
    seen: dict[str, bool] = {}
    for name, module in run.model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda m, *_, name=name: seen.__setitem__(name, m.training)  # type: ignore[misc]
            )
    run.step()
    assert (
        {name for name, training in seen.items() if training}
        == {name for name in seen if name.startswith("layer4")}
        != set()
    )
    seen.clear()
    run.evaluate("valid")
    assert set(seen.values()) == {False}
    assert not any(module.training for module in run.model.modules())


@pytest.mark.parametrize(
    "plan", [labkit.full(epochs=2, batch_size=16), labkit.partial("layer4", epochs=2)]
)
@pytest.mark.slow
def test_looking_at_the_network_does_not_change_it(
    digit_run: Callable[..., Run], plan: Plan
) -> None:
    run = digit_run(plan, precision=Precision()).fit()
    told, (images, _) = run.evaluate("valid"), run.data.valid.batch(range(len(run.data.valid)))
    with torch.no_grad():
        seen = run.model(images.to(next(run.model.parameters()).device))
        for _ in range(3):
            run.model(images[:8].to(seen.device))
    assert (seen.cpu().softmax(1) - told.probabilities).abs().max() < 1e-5
    again = run.evaluate("valid")
    assert (again.correct, again.loss) == (told.correct, told.loss)
    assert same_weights(run, run.replay())


def freeze_all(model: nn.Module) -> None:
    model.requires_grad_(False)


def unfreeze_all(model: nn.Module) -> None:
    model.requires_grad_(True)


@pytest.mark.parametrize("meddle", [nn.Module.eval, nn.Module.train, freeze_all, unfreeze_all])
@pytest.mark.parametrize("depth", ["all", "middle"])
@pytest.mark.slow
def test_modes_and_gradients_set_by_hand_between_steps_change_no_step(
    tiny_run: Callable[..., Run], meddle: Callable[[nn.Module], Any], depth: str
) -> None:
    calm, run = (tiny_run(labkit.partial(depth, epochs=3, batch_size=16)) for _ in range(2))
    for _ in run.events():
        meddle(run.model)
        run.evaluate("valid")
        meddle(run.model)
    assert same_weights(run, calm.fit())
    assert run.audit().ok
    assert same_weights(run, run.replay())


class Merging(nn.Linear):
    """As some adapters do: in eval mode a part of the weights is merged into the rest, and learns nothing."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.extra = nn.Parameter(torch.zeros_like(self.weight))
        self.merged = False

    def train(self, mode: bool = True) -> Merging:
        if self.merged is mode:  # merged in eval mode, apart in train mode
            self.weight.data += -self.extra.data if mode else self.extra.data
            self.merged = not mode
        return super().train(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = self.weight if self.merged else self.weight + self.extra
        return nn.functional.linear(x, whole, self.bias)


def test_a_layer_with_a_train_of_its_own_is_told_of_every_change() -> None:
    net = labkit.Backbone.from_module(
        lambda n: nn.Sequential(OrderedDict(body=Merging(6, 8), head=nn.Linear(8, n))),
        ["body", "head"],
        "merging",
    )
    run = Run(net, Clouds(), labkit.full(lr=1e-2, epochs=2, batch_size=10), precision=Precision())
    layer = run.model.get_submodule("body")
    run.evaluate("valid")
    run.fit()
    assert layer.merged, "between steps it answers as in eval mode"
    assert float(layer.extra.abs().sum()) > 0, "in a step it learns"


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode], ids=lambda s: s.__name__)
@pytest.mark.parametrize("plan", [labkit.full(epochs=3), labkit.partial("middle", epochs=3)])
def test_gradients_switched_off_around_it_change_nothing(
    tiny_run: Callable[..., Run], switch: Callable[[], Any], plan: Plan
) -> None:
    calm = tiny_run(plan).fit(2)
    with switch():
        run = tiny_run(plan)
        run.evaluate("valid")
        run.fit(1)
        branch = run.branch()
        run.rewind(3)
        run.fit(1)
    assert same_weights(run.fit(1), calm)
    assert same_weights(branch.fit(1), calm)
    torch.set_grad_enabled(False)
    try:
        assert same_weights(run.fit(), calm.fit())
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)


@pytest.mark.parametrize(
    "plan", [labkit.gradual(2, epochs=1), labkit.full(epochs=2, augment="light")]
)
def test_another_default_device_changes_nothing(tiny_run: Callable[..., Run], plan: Plan) -> None:
    calm = tiny_run(plan).fit()
    torch.set_default_device("meta")
    try:
        run = tiny_run(plan).fit()
        run.rewind(5).fit()
        told = run.branch().evaluate("valid")
        find_lr(run.branch(2), steps=10, seconds=None)
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)
    assert same_weights(run, calm)
    assert told.loss == calm.evaluate("valid").loss
