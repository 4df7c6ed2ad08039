"""Every network is cut into stages that mean the same, and cutting changes no number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from labkit.errors import BackboneError
from labkit.models import Staged, cut
from labkit.models.vision.resnet10 import ResNet10
from labkit.models.vision.staging import IMAGENET_MEAN, IMAGENET_STD

RESNET = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
PYRAMID = ("stem", "stage1", "stage2", "stage3", "stage4", "head")
TRANSFORMER = ("stem", *(f"block{i}" for i in range(1, 13)), "head")
STAGES = {
    "resnet18": (RESNET, 64),
    "resnet50": (RESNET, 64),
    "mobilenet_v3_small": (PYRAMID, 64),
    "convnext_tiny": (PYRAMID, 64),
    "vit_b_16": (TRANSFORMER, 224),
    "efficientnet_b0": (("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "head"), 64),
}


@pytest.fixture(autouse=True)
def leave_chance_alone() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size)


def normalised(x: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return (x - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def make(name: str) -> nn.Module:
    """A network of torchvision whose head is not zero, as some of them start, so that the outcome tells something."""
    net = get_model(name, weights=None, num_classes=10)
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
    return net.eval()


@pytest.mark.parametrize("name", STAGES)
@torch.no_grad()
@pytest.mark.slow
def test_cutting_changes_no_number_of_torchvisions_forward(name: str) -> None:
    stages, size = STAGES[name]
    net, x = make(name), images(size)
    expected = net(normalised(x))
    parameters = sum(p.numel() for p in net.parameters())
    staged = cut(net).eval()
    assert tuple(child for child, _ in staged.named_children()) == stages
    assert torch.equal(staged(x), expected)
    assert expected.abs().max() > 0
    assert sum(p.numel() for p in staged.parameters()) == parameters


@torch.no_grad()
def test_running_the_stages_one_by_one_is_the_forward() -> None:
    staged, x = cut(ResNet10(5)).eval(), images(64)
    step = x
    for _, stage in staged.named_children():
        step = stage(step)
    assert torch.equal(step, staged(x))


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny", "vit_b_16", "resnet50"])
def test_the_head_is_one_linear_layer_and_all_else_is_body(name: str) -> None:
    head = cut(make(name)).head
    learned = [module for module in head.modules() if list(module.parameters(recurse=False))]
    assert [type(module) for module in learned] == [nn.Linear]


@pytest.mark.parametrize("size", [64, 96])
@torch.no_grad()
def test_a_transformer_takes_small_images_by_fitting_its_positions(size: int) -> None:
    staged = cut(make("vit_b_16")).eval()
    assert staged.stem(images(size, 1)).shape == (1, 1 + (size // 16) ** 2, 768)
    assert staged(images(size, 1)).isfinite().all()


@pytest.mark.parametrize(("name", "smallest"), [("vit_b_16", 16), ("convnext_tiny", 32)])
@torch.no_grad()
def test_images_too_small_for_a_network_are_refused_with_the_size_it_needs(
    name: str, smallest: int
) -> None:
    stem = cut(make(name)).eval().stem
    assert stem(images(smallest, 1)).isfinite().all()
    for shape in ((smallest - 1, 64), (64, smallest - 1), (8, 8)):
        with pytest.raises(BackboneError, match=rf"{shape[0]} x {shape[1]}.*{smallest} or more"):
            stem(torch.rand(1, 3, *shape))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0"])
@torch.no_grad()
def test_networks_that_pad_take_images_of_any_size(name: str) -> None:
    assert cut(make(name)).eval()(images(3, 1)).isfinite().all()


def test_normalisation_is_no_weight_and_travels_with_the_module() -> None:
    staged = cut(ResNet10(2))
    assert not any("normalize" in key for key in staged.state_dict())
    assert staged.double().stem.normalize.mean.dtype == torch.float64


def test_a_network_nobody_can_cut_is_refused_with_a_way_out() -> None:
    with pytest.raises(BackboneError, match="from_module"):
        cut(nn.Linear(2, 2))


def test_resnet10_is_torchvisions_resnet_made_small() -> None:
    net = ResNet10(200)
    assert sum(p.numel() for p in net.parameters()) < 2.8e6
    assert isinstance(cut(net), Staged)
    assert cut(ResNet10(3)).stem(images(64)).shape == (2, 32, 32, 32)
