"""Wrong labels on purpose: only where one knows which they are can one count how many were found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from labkit.errors import DataError, shown
from labkit.runtime import generator, real_number


def check_share(share: Any) -> float:
    """The share, if wrong labels can be given to it; else raise `DataError`."""
    number = real_number(share)
    if number is None or not 0 <= number <= 1:
        raise DataError(
            f"share={shown(share)} is not a fraction of the labels; choose a number from 0 to 1"
        )
    return float(number)


def mislabelled(labels: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """A copy of `labels` (N,) in which a share of the positions, rounded, holds another class, each as likely.

    With the same seed a larger share makes the labels of a smaller one wrong in the same way, and others too.
    """
    positions = where(len(labels), share, seed)
    chance = generator(seed, "mislabel", "class")
    shift = torch.randint(1, classes, (len(labels),), generator=chance, device="cpu")[positions]
    wrong = labels.clone()
    wrong[positions] = (labels[positions] + shift) % classes
    return wrong


def where(count: int, share: float, seed: int) -> Tensor:
    """The sorted positions, int64, that a share of wrong labels among `count` falls on."""
    order = torch.randperm(count, generator=generator(seed, "mislabel", "where"), device="cpu")
    return order[: round(check_share(share) * count)].sort().values
