"""Exact counts, and an interval that says how far to trust them."""

from __future__ import annotations

import pytest
import torch

import labkit
from labkit.tuning import wilson
from labkit.tuning.task import evaluate


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [  # from the closed form by hand, and agreeing with R's prop.test(correct=FALSE)
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I
        (15, 148, 0.0624, 0.1605),  # Newcombe (1998), table I
    ],
)
def test_the_interval_is_wilsons(correct: int, count: int, low: float, high: float) -> None:
    assert wilson(correct, count) == pytest.approx((low, high), abs=1e-4)


def test_nothing_counted_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_more_samples_make_it_narrower() -> None:
    narrow, wide = wilson(800, 1000), wilson(80, 100)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


@pytest.mark.parametrize(("size", "at_most"), [(16, 256), (64, 64), (224, 32)])
def test_fewer_large_images_are_judged_together_and_none_is_left_out(
    size: int, at_most: int
) -> None:
    split = labkit.load_data("digits", size=size).subset(per_class=3).valid
    seen: list[int] = []

    def scores(rows: torch.Tensor) -> torch.Tensor:
        seen.append(len(rows))
        return torch.zeros(len(rows), 10)

    assert evaluate(split, "valid", scores).count == sum(seen) == len(split)
    assert max(seen) == at_most
