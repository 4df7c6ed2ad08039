"""Looking changes nothing: after every probe a run is the same to the bit, and so is what it does next."""

from __future__ import annotations

import pytest
import torch

import labkit
from labkit import insight
from labkit.runtime import Precision

PROBES = {
    "confusion": lambda run: insight.confusion(run),
    "calibration": lambda run: insight.calibration(run),
    "temperature": lambda run: insight.fit_temperature(run),
    "uncertain": lambda run: insight.uncertain(run.evaluate("valid")),
    "similarity": lambda run: insight.similarity(run, count=60),
    "similarity of two": lambda run: insight.similarity(run, run.branch(3), count=60),
    "feature map": lambda run: insight.feature_map(run, count=40),
    "filters": lambda run: insight.filters(run),
    "activations": lambda run: insight.activations(run, 3),
    "Grad-CAM": lambda run: insight.grad_cam(run, [0, 1, 2], "layer2"),
    "Grad-CAM refused": lambda run: refused(run),
    "gradient norms": lambda run: insight.gradient_norms(run, count=4),
}


def refused(run):
    with pytest.raises(labkit.LabkitError):
        insight.grad_cam(run, 0, "head")


def trained(precision=None):
    data = labkit.load_data("digits", size=16).subset(per_class=6)
    net = labkit.load_backbone("resnet10-glyphs")
    plan = labkit.partial("layer3", lr=1e-3, epochs=3, augment="light")
    run = labkit.Run(net, data, plan, precision=precision or Precision())
    for _ in range(3):
        run.step()
    run.set(lr=3e-4)
    run.step()
    return run


@pytest.fixture(scope="module")
def run():
    return trained()


@pytest.fixture(scope="module")
def untouched():
    return trained()


def everything(run):
    """All that a run holds and all that decides what it does next."""
    modules = list(run.model.modules())
    return {
        "state": {name: value.clone() for name, value in run.model.state_dict().items()},
        "gradients": [parameter.grad for parameter in run.model.parameters()],
        "frozen": [parameter.requires_grad for parameter in run.model.parameters()],
        "modes": [module.training for module in modules],
        "hooks": sum(len(module._forward_hooks) for module in modules),
        "optimizer_state": [
            {name: value.clone() for name, value in state.items()}
            for state in run.optimizer.state.values()
        ],
        "position": (run.step_number, run.epoch, run.status, run.settings),
        "told": (len(run.journal), run.log),
        "chance": torch.get_rng_state(),
    }


def same(one, two):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_leaves_the_run_as_it_was(run, name):
    before = everything(run)
    PROBES[name](run)
    after = everything(run)
    for part, value in before.items():
        assert same(value, after[part]), part


def test_a_run_that_was_looked_at_goes_on_as_one_that_was_not(run, untouched):
    for probe in PROBES.values():
        probe(run)
    for _ in range(2):
        assert run.step().loss == untouched.step().loss
    assert same(everything(run)["state"], everything(untouched)["state"])
