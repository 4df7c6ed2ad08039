"""Who trains and who examines: stratified, seeded, disjoint splits, and no image on both sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from labkit.errors import DataError, SplitError, shown
from labkit.runtime import LARGEST_SEED, generator, whole_number

EXAMINERS = ("test", "valid", "train")  # of two copies the one that examines stays


def check_seed(seed: Any) -> int:
    """The seed as a plain int, if numbers can be drawn from it; else raise `DataError`."""
    number = whole_number(seed)
    if number is None or abs(number) > LARGEST_SEED:
        raise DataError(
            f"seed={shown(seed)} is no seed; choose a whole number, such as 0, and none beyond 2**63 - 1"
        )
    return number


def check_count(count: Any) -> int:
    """The number of images of each class as a plain int, if there can be so many; else raise `SplitError`."""
    number = whole_number(count)
    if number is None or number < 1:
        raise SplitError(f"per_class={shown(count)} is no number of images; choose 1 or more")
    return number


def stratified(labels: Tensor, shares: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Draw disjoint parts of `labels` (N,), each with the given share of every class; the rest is "train".

    Every class sends at least one image to every part and keeps at least one to train on, so a part is never blind
    to a class. Returns sorted positions, int64. The same labels, shares and seed give the same parts.
    """
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        if len(members) <= len(shares):
            raise SplitError(
                f"class number {label} has {len(members)} usable image(s), but {len(shares) + 1} splits each need "
                "one; add images or drop the class"
            )
        members = members[_order(len(members), generator(seed, "split", label))]
        for part, share in shares.items():
            spare = len(members) - (len(shares) - list(shares).index(part))
            count = min(max(1, round(share * int((labels == label).sum()))), spare)
            parts[part].append(members[:count])
            members = members[count:]
        parts["train"].append(members)
    return {part: torch.cat(members).sort().values for part, members in parts.items()}


def per_class(labels: Tensor, count: int, seed: int) -> Tensor:
    """Sorted positions of `count` images of every class, drawn from the seed."""
    count, chosen = check_count(count), []
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        if len(members) < count:
            raise SplitError(
                f"per_class={shown(count)}, but class number {label} has only {len(members)} training images"
            )
        order = _order(len(members), generator(seed, "subset", label))
        chosen.append(members[order[:count]])
    return torch.cat(chosen).sort().values


def _order(count: int, chance: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=chance, device="cpu")  # where generators live


def copies(
    digests: Sequence[str], parts: Sequence[str], labels: Sequence[int]
) -> dict[int, tuple[int, bool]]:
    """Which positions to leave out because they hold the same image as another one.

    Returns position -> (position of the copy, whether the copies disagree on the class). One copy stays, and it is
    the one in the examining split, so that the official measure does not change. Where the copies in the same split
    disagree on the class nobody knows which is right, and all of them go.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, digest in enumerate(digests):
        groups[digest].append(position)
    dropped: dict[int, tuple[int, bool]] = {}
    for group in (group for group in groups.values() if len(group) > 1):
        group.sort(key=lambda position: (EXAMINERS.index(parts[position]), position))
        first, *others = group
        rivals = [p for p in others if parts[p] == parts[first] and labels[p] != labels[first]]
        if rivals:
            dropped[first] = (rivals[0], True)
        for position in others:
            dropped[position] = (first, labels[position] != labels[first])
    return dropped
