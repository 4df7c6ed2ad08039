"""Any network in one line: the same outputs to the bit, stages that freeze, a head of its own, and clear refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer, get_model

import labkit
from labkit.errors import BackboneError
from labkit.models import Normalize, wrapping
from labkit.runtime import Precision
from labkit.tuning import Run

FAMILIES = (
    "resnet18", "resnext50_32x4d", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "squeezenet1_1",
    "shufflenet_v2_x0_5", "regnet_y_400mf", "convnext_tiny", "swin", "mnasnet0_5", "vit",
)  # fmt: skip
SIDE = 32


class Forked(nn.Module):
    """A network made by hand, whose layers do not follow each other: two branches, a gain, and a jump to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.first = nn.Conv2d(3, 8, 3, stride=2)
        self.left = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.right = nn.Conv2d(8, 8, 1)
        self.mixed = nn.Conv2d(16, 8, 3)
        self.drop = nn.Dropout(0.5)
        self.scores = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x) * self.gain
        both = torch.cat([self.left(x), self.right(x)], dim=1)
        seen = torch.cat([self.mixed(both).mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.scores(self.drop(seen))


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "vit":
        return VisionTransformer(SIDE, 8, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=32)
    if name == "swin":
        return SwinTransformer([4, 4], 12, [1, 1, 2, 1], [1, 2, 3, 3], [4, 4])
    return get_model(name, weights=None)


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_of_torchvision_is_wrapped_fitted_audited_and_exported(
    family: str, tmp_path: Path
) -> None:
    model = made(family)
    net = labkit.Backbone.wrap(model, name=family)
    plan = wrapping.plan_of(model)
    assert net.stages == plan.names
    assert 4 <= len(net.stages) <= 9

    ours = wrapping.arranged(copy.deepcopy(model), plan).eval()
    with torch.no_grad():
        assert torch.equal(ours(images()), model.eval()(images()))
    held = [id(value) for value in ours.parameters()]
    assert len(held) == len(set(held)) == len(list(model.parameters()))

    data = labkit.load_data("digits", size=SIDE).subset(per_class=2)
    depth = net.stages[-2]
    run = Run(
        net, data, labkit.partial(depth, lr=1e-3, epochs=1, batch_size=10), precision=Precision()
    )
    start = {key: value.clone() for key, value in run.model.state_dict().items()}
    run.fit()
    assert run.audit().ok
    moved = {
        key.split(".")[0]
        for key, value in run.model.state_dict().items()
        if not torch.equal(value, start[key])
    }
    assert moved <= {depth, "head"}
    assert "head" in moved
    labkit.export(run, tmp_path, formats=["safetensors"])
    written = load_file(tmp_path / "model.safetensors")
    assert written.keys() == run.model.state_dict().keys()


def test_a_network_made_by_hand_gives_its_own_outputs_and_stays_as_it_is() -> None:
    model = Forked().eval()
    before, said = copy.deepcopy(model.state_dict()), model(images())
    net = labkit.Backbone.wrap(model)
    assert net.stages == ("stem", "left", "right", "mixed", "head")
    assert net.num_features == 16
    built = net.build(5, seed=0).eval()
    built.get_submodule("head.scores").load_state_dict(model.scores.state_dict())
    assert torch.equal(built(images()), said)
    assert not torch.equal(net.build(5, pretrained=False).eval()(images()), said)
    data = labkit.load_data("digits", size=SIDE).subset(per_class=2)
    Run(net, data, labkit.full(epochs=1, batch_size=10), precision=Precision()).fit()
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_a_wrapped_network_goes_out_as_onnx_and_says_there_what_it_says_here(
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnxruntime", reason="left out: onnxruntime is not installed")
    data = labkit.load_data("digits", size=SIDE).subset(per_class=2)
    net = labkit.Backbone.wrap(Forked())
    run = Run(net, data, labkit.full(epochs=1, batch_size=10), precision=Precision()).fit()
    assert labkit.export(run, tmp_path, formats=["onnx"]).checked == 64


def test_a_dropout_before_the_head_belongs_to_the_head_and_the_modes_are_those_of_the_stages() -> (
    None
):
    net = labkit.Backbone.wrap(Forked())
    model = net.build(2).train()
    model.get_submodule("left").eval()
    original = model._original[0]  # type: ignore[union-attr, index]
    assert original.training
    assert original.drop.training
    assert not original.left.training
    assert any(isinstance(part, nn.Dropout) for part in model.get_submodule("head").modules())
    model.eval()
    assert not any(part.training for part in original.modules())


def test_a_plain_sequence_is_cut_so_that_what_frozen_stages_give_is_kept() -> None:
    layers = [
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3),
    ]
    model = nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(4, 3)
    )
    built = labkit.Backbone.wrap(model).build(3)
    assert isinstance(built, nn.Sequential)
    assert [len(stage) for stage in built] == [2, 2, 1, 4]
    normalised = labkit.Backbone.wrap(
        nn.Sequential(Normalize(), get_model("resnet18", weights=None))
    )
    assert normalised.stages == ("stem", "layer1", "layer2", "layer3", "layer4", "head")


def test_stages_and_head_can_be_said() -> None:
    said = {"low": ["gain", "first"], "high": ["left", "right", "mixed"]}
    net = labkit.Backbone.wrap(Forked(), stages=said, head="scores", name="mine")
    assert (net.name, net.stages) == ("mine", ("low", "high", "head"))
    keys = net.build(2).state_dict()
    assert {"low.gain", "high.right.weight", "head.scores.bias"} <= keys.keys()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"head": "left"}, r"a Sequential.*last one here is 'scores'"),
        ({"head": "nowhere"}, "no layer of the network"),
        ({"head": 3}, "no layer of the network"),
        ({"stages": {"low": ["first"], "high": ["left", "right", "mixed"]}}, "gain is in none"),
        (
            {"stages": {"low": ["gain", "first", "left"], "high": ["left", "right", "mixed"]}},
            "is in two",
        ),
        ({"stages": {"low": ["gain", "first", "lefd"]}}, "'lefd' of 'low' is no layer"),
        ({"stages": {"head": ["gain"]}}, "name of the last one"),
        ({"stages": ["first"]}, "must say for each stage"),
        ({"stages": {}}, "must say for each stage"),
    ],
)
def test_stages_that_cannot_be_are_refused_with_what_is_wrong(
    how: dict[str, Any], told: str
) -> None:
    with pytest.raises(BackboneError, match=told):
        labkit.Backbone.wrap(Forked(), **how)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: "resnet18", "wrap takes a network"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
            "no linear layer that could be its head",
        ),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "nothing to fine-tune"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(given: Any, told: str) -> None:
    with pytest.raises(BackboneError, match=told):
        labkit.Backbone.wrap(given())


def test_the_error_of_from_module_shows_this_way() -> None:
    with pytest.raises(BackboneError, match=r"labkit\.Backbone\.wrap\(model\)"):
        labkit.Backbone.from_module(Forked(), ("stem", "head"), "mine")  # type: ignore[arg-type]
