"""What the checks share: a small model of the shape of the lab's networks, and known mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.runtime import generator, seeded_globals

CHANNELS, CLASSES = 6, 4


def model(seed: int = 0, classes: int = CLASSES) -> nn.Sequential:
    """Named stages `stem`, `layer1` (both with BatchNorm) and `head`, which pools and decides."""
    with seeded_globals(seed, "small model"):
        net = nn.Sequential()
        net.add_module("stem", _block(3, CHANNELS))
        net.add_module("layer1", _block(CHANNELS, CHANNELS))
        net.add_module("head", _head(classes))
    return net


def images(count: int = 12, seed: int = 0, size: int = 8) -> Tensor:
    """Random images, float32 (count, 3, size, size), far from a fresh BatchNorm's statistics."""
    return torch.rand(count, 3, size, size, generator=generator(seed, "small images")) * 2 + 1


def labels(count: int = 12, seed: int = 0) -> Tensor:
    """Random classes, int64 (count,)."""
    return torch.randint(CLASSES, (count,), generator=generator(seed, "small labels"))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    """A few optimiser steps in whatever mode the model is in."""
    for seed in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images(seed=seed)), labels(seed=seed)).backward()
        optimizer.step()


def snapshot(net: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def moved(net: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """The names of the weights and buffers that are no longer bit for bit what they were."""
    return {name for name, now in net.state_dict().items() if not torch.equal(now, before[name])}


def reason(given: float, known: Sequence[tuple[float, str]], otherwise: str) -> str:
    """What a wrong number gives away: the sentence beside the value it equals, else `otherwise`."""
    return next((said for value, said in known if abs(given - value) < 1e-5), otherwise)


def _block(before: int, after: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _head(classes: int) -> nn.Sequential:
    head = nn.Sequential()
    head.add_module("pool", nn.AdaptiveAvgPool2d(1))
    head.add_module("flatten", nn.Flatten())
    head.add_module("fc", nn.Linear(CHANNELS, classes))
    return head
