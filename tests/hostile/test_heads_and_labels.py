"""A head or labels that do not fit the classes are told in a sentence, before torch tells it in a line of its own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import labkit
from labkit.errors import BackboneError, DataError, SplitError
from labkit.runtime import Precision
from labkit.tuning import Run
from tests.small import Clouds, Points, Small

PLAIN = Precision()


class Head(nn.Module):
    """A head of which nobody can tell by its layers how many scores it gives."""

    def __init__(self, scores: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, scores))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def network(scores: int) -> labkit.Backbone:
    """A network whose head gives so many scores, whatever the classes are."""

    def build(classes: int) -> nn.Module:
        body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 8), nn.ReLU())
        return nn.Sequential(OrderedDict(body=body, head=Head(scores)))

    return labkit.Backbone.from_module(build, ("body", "head"), "own head")


@pytest.fixture(scope="module")
def digits() -> Any:
    return labkit.load_data("digits", size=8).subset(per_class=3)


@pytest.mark.parametrize("plan", [labkit.full(epochs=1), labkit.feature_extraction(epochs=1)])
@pytest.mark.parametrize("scores", [1, 9, 11, 1000])
def test_a_head_of_another_size_than_the_classes_is_told(
    digits: Any, plan: Any, scores: int
) -> None:
    run = Run(network(scores), digits, plan, precision=PLAIN)
    with pytest.raises(BackboneError, match=rf"gives {scores} scores.*10 classes.*lambda classes"):
        run.fit()
    with pytest.raises(BackboneError, match="one score a class"):
        run.step()
    with pytest.raises(BackboneError, match="one score a class"):
        run.evaluate("valid")


def test_without_validation_a_head_that_is_too_small_is_told_in_the_first_step() -> None:
    class Unvalidated(Clouds):
        def __init__(self) -> None:
            super().__init__()
            self.valid = Points(0, 1)

    class TooSmall(Small):
        def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
            return super().build(2, seed, pretrained)

    run = Run(TooSmall(), Unvalidated(), labkit.full(epochs=1), precision=PLAIN)
    with pytest.raises(BackboneError, match="gives 2 scores a sample, and the data have 3 classes"):
        run.step()
    assert run.step_number == 0


def test_a_run_in_the_background_tells_of_its_head_and_ends(digits: Any) -> None:
    run = Run(network(4), digits, labkit.full(epochs=1), precision=PLAIN)
    run.start().wait(30)
    assert run.status == "failed"
    _, last = run.journal.since(0)[-1]
    assert "gives 4 scores" in last.reason  # type: ignore[union-attr]


@dataclass
class Labelled:
    """Points with labels of one's own."""

    labels: Any

    def __len__(self) -> int:
        return 12

    def batch(self, rows: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(rows), 6), torch.as_tensor(self.labels)[rows]


GOOD = torch.arange(12) % 3


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize(
    "labels",
    [GOOD + 1, GOOD - 1, GOOD.float(), GOOD[:5], GOOD.reshape(3, 4), (GOOD + 1).tolist(), GOOD > 0],
    ids=["from 1", "below 0", "float", "too few", "square", "a list", "bool"],
)
def test_labels_that_are_no_classes_are_told_when_the_run_is_built(part: str, labels: Any) -> None:
    data = Clouds()
    setattr(data, part, Labelled(labels))
    with pytest.raises(
        DataError, match=rf"labels of {part} .*(Count the classes|Give a whole number)"
    ):
        Run(Small(), data, labkit.full(epochs=1), precision=PLAIN)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
def test_whole_numbers_of_any_kind_are_labels(kind: torch.dtype) -> None:
    data: Any = Clouds()
    data.train = Labelled(GOOD.to(kind).tolist())
    Run(Small(), data, labkit.full(epochs=1), precision=PLAIN).step()


def test_samples_of_other_classes_are_told_and_not_counted() -> None:
    run = Run(Small(), Clouds(), labkit.full(epochs=1), precision=PLAIN)
    with pytest.raises(DataError, match="labels of sample go from 0 to 7, and the network gives 3"):
        run.evaluate(Labelled(torch.arange(12) % 8))
    with pytest.raises(SplitError, match="This split is empty"):
        run.evaluate(Points(0, 1))
