"""Small real things to train: handwritten digits with the glyph backbone, and a network of a few hundred weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import labkit
from labkit import runtime
from labkit.tuning import Plan, Run


def same_weights(one: Run, other: Run) -> bool:
    """Whether two models agree in every parameter and buffer, to the bit."""
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def same_optimizer_state(one: Run, other: Run) -> bool:
    """Whether two optimisers remember the same, to the bit."""
    ours, theirs = (run.optimizer.state_dict()["state"] for run in (one, other))
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[index][key], theirs[index][key]) for index in ours for key in ours[index]
    )


@pytest.fixture(scope="session")
def digits() -> Any:
    return labkit.load_data("digits").subset(per_class=20)


@pytest.fixture(scope="session")
def glyphs() -> Any:
    return labkit.load_backbone("resnet10-glyphs")


@pytest.fixture
def digit_run(digits: Any, glyphs: Any) -> Callable[..., Run]:
    """A run of the shipped glyph backbone on digits."""

    def make(plan: Plan, **options: Any) -> Run:
        return Run(glyphs, digits, plan, **options)

    return make


class TinyNet:
    """Three stages with BatchNorm and dropout: everything that can go wrong, in 1,500 weights."""

    name = "tiny"
    stages = ("stem", "middle", "head")
    card = None

    def __init__(self, tame: bool = True) -> None:
        # Without BatchNorm and ReLU the network is linear and deep: nothing stops it from running away.
        self.norm = nn.BatchNorm2d if tame else nn.Identity
        self.bend = nn.ReLU if tame else nn.Identity

    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        with runtime.seeded_globals(seed if not pretrained else 7, "tiny"):
            stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), self.norm(8), self.bend())
            middle = nn.Sequential(
                nn.Conv2d(8, 16, 3, 2), self.norm(16), self.bend(), nn.Dropout(0.2)
            )
        with runtime.seeded_globals(seed, "tiny head"):
            head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))
        return nn.Sequential(OrderedDict(stem=stem, middle=middle, head=head))

    def spec(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.fixture
def tiny_run(digits: Any) -> Callable[..., Run]:
    """A run of the tiny network on digits: a step takes a millisecond."""

    def make(plan: Plan, tame: bool = True, **options: Any) -> Run:
        return Run(TinyNet(tame), digits, plan, **{"precision": runtime.Precision(), **options})

    return make
