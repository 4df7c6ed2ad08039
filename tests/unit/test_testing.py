"""The contract suites pass what the engine can train, and say of everything else what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import labkit
from labkit.errors import ContractError
from labkit.testing import check_data, check_net, check_task
from labkit.tuning.task import CLASSIFY, TASKS, Classify, NextToken
from tests.invariants.conftest import TinyNet
from tests.toys import CASES, TextNet, opinions


@pytest.fixture(scope="module")
def toys(photos: Path) -> dict[str, Any]:
    return {task: load(photos / "text") for task, (load, _) in CASES.items()}


@pytest.fixture(scope="module")
def digits() -> Any:
    return labkit.load_data("digits").subset(per_class=3)


@pytest.mark.parametrize("task", CASES)
def test_toys_of_every_task_keep_the_contracts(toys: dict[str, Any], task: str) -> None:
    data, net = toys[task], CASES[task][1]()
    check_data(data)
    check_net(net, data)
    check_task(TASKS[task], net, data)


def test_a_network_with_adapters_and_one_with_all_its_output_tied_keep_the_contract(
    toys: dict[str, Any],
) -> None:
    check_net(TextNet(adapters=("block0",)), toys["classify"])
    check_net(TextNet("next-token", norm=False), toys["next-token"])


@pytest.mark.slow
def test_our_own_data_and_networks_keep_the_contracts(digits: Any) -> None:
    check_data(digits)
    check_net(labkit.load_backbone("resnet10-glyphs"), digits)
    check_net(labkit.load_backbone("resnet10"))
    check_task(CLASSIFY, labkit.load_backbone("resnet10-glyphs"), digits)


# ---------------------------------------------------------------- networks that do not


def spoilt(**changes: Any) -> Any:
    return type("Spoilt", (TinyNet,), changes)()


def same_module(net: TinyNet) -> Callable[..., nn.Module]:
    kept = net.build(2)
    return lambda self, classes, seed=0, pretrained=True: kept


class Unseeded(TinyNet):
    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        module = super().build(classes, seed, pretrained)
        nn.init.normal_(module.head[-1].weight)
        return module


class Asleep(TinyNet):
    """A stage whose output is detached: no gradient gets below it."""

    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        module = super().build(classes, seed, pretrained)
        module.middle.append(Detach())
        return module


class Detach(nn.Module):
    def forward(self, given: Tensor) -> Tensor:
        return given.detach()


class Dice(nn.Module):
    def forward(self, given: Tensor) -> Tensor:
        return given + torch.rand_like(given)


class Restless(TinyNet):
    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        module = super().build(classes, seed, pretrained)
        module.stem.append(Dice())
        return module


class Count(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, given: Tensor) -> Tensor:
        self.seen += 1
        return given


class Counting(TinyNet):
    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        module = super().build(classes, seed, pretrained)
        module.stem.append(Count())
        return module


class Doubled(nn.Sequential):
    passes_on = True

    def forward(self, given: Tensor) -> Tensor:
        return 2 * super().forward(given)


class Misnamed(TinyNet):
    stages = ("stem", "body", "head")


class TooMany(TinyNet):
    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        return super().build(classes + 1, seed, pretrained)


class LiarOfPassing(TinyNet):
    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        plain = super().build(classes, seed, pretrained)
        module = Doubled()
        for name, stage in plain.named_children():
            module.add_module(name, stage)
        return module


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (TinyNet, "has no"),
        (object(), "has no name, stages, build"),
        (Misnamed(), "named children"),
        (spoilt(build=same_module(TinyNet())), "hold the same tensors"),
        (Unseeded(), "other weights the second time"),
        (TooMany(), "scores"),
        (Restless(), "in two ways in eval mode"),
        (Counting(), "a forward pass in eval mode changes stem.3.seen"),
        (LiarOfPassing(), "one after the other"),
        (Asleep(), "no gradient reaches stem"),
    ],
)
def test_a_network_that_breaks_the_contract_is_told_how(net: Any, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        check_net(net)


# ---------------------------------------------------------------- data that do not


def with_batch(split: Any, batch: Callable[..., Any]) -> Any:
    changed = type("Changed", (type(split),), {"batch": batch})
    clone = object.__new__(changed)
    clone.__dict__.update(vars(split))
    return clone


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (
            lambda self, rows, *_: (
                {"ids": self.ids[:2], "mask": self.ids[:2] > 0},
                self.labels[rows],
            ),
            "2 samples",
        ),
        (lambda self, rows, *_: ({"ids": self.ids[rows]}, 1 - self.labels[rows]), "other labels"),
        (
            lambda self, rows, *_: ({"ids": torch.randn(len(rows), 4)}, self.labels[rows]),
            "when it is asked again",
        ),
        (lambda self, rows, *_: ({"ids": self.ids[rows]}, self.labels[rows]), "lengths says"),
    ],
)
def test_data_whose_batches_are_not_what_they_say_are_told(
    photos: Path, batch: Callable[..., Any], said: str
) -> None:
    data = opinions(photos / "text", count=20)
    data.train = with_batch(data.train, batch)
    with pytest.raises(ContractError, match=said):
        check_data(data)


def test_data_without_parts_or_with_labels_that_are_no_classes_are_told(photos: Path) -> None:
    with pytest.raises(ContractError, match="has no classes, train, valid, test"):
        check_data(TinyNet())
    data = opinions(photos / "text", count=20)
    data.train.labels += 1
    with pytest.raises(ContractError, match="labels of train"):
        check_data(data)


# ---------------------------------------------------------------- tasks that do not


class MeanLoss(Classify):
    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        return super().loss(outputs, targets) / len(targets)


class AlwaysRight(Classify):
    def right(self, outputs: Tensor, targets: Any) -> int:
        return len(targets) + 1


class LossyEvaluation(NextToken):
    def evaluation(self, name: str, batches: Any) -> Any:
        return super().evaluation(name, list(batches)[:1])


@pytest.mark.parametrize(
    ("task", "of", "said"),
    [
        (MeanLoss(), "classify", "reduction='sum'"),
        (AlwaysRight(), "classify", "right"),
        (LossyEvaluation(), "next-token", "an evaluation has"),
        (NextToken(), "classify", "refuses its own data"),
        ("classify", "classify", "has no"),
    ],
)
def test_a_task_that_counts_unlike_is_told(
    toys: dict[str, Any], task: Any, of: str, said: str
) -> None:
    with pytest.raises(ContractError, match=said):
        check_task(task, CASES[of][1](), toys[of])
