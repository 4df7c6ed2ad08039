"""A network of a hundred weights on made-up numbers: a run takes milliseconds, a worker process starts quickly.

Neither is known to labkit by name, so a sweep has to hand them over to its workers.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.sweeps import Job, SweepRow, work

NUMBERS, CLASSES = 6, 3


class Points:
    """Points around three centres, one split of them; a batch is (n, 6) float32 and labels (n,)."""

    def __init__(self, count: int, seed: int) -> None:
        chance = runtime.generator(seed, "points")
        self.labels = torch.arange(count) % CLASSES
        centres = torch.randn(CLASSES, NUMBERS, generator=runtime.generator(0, "centres"))
        noise = torch.randn(count, NUMBERS, generator=chance)
        self.points = centres[self.labels] + 0.9 * noise

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: Tensor, augment: str = "none", generator: Any = None
    ) -> tuple[Tensor, Tensor]:
        return self.points[indices], self.labels[indices]


class Clouds:
    """Three splits of points."""

    name, classes, augmentations = "clouds", ("a", "b", "c"), ("none",)

    def __init__(self, per_class: int = 30, seed: int = 0) -> None:
        self.train = Points(CLASSES * per_class, seed)
        self.valid, self.test = Points(120, 101), Points(60, 102)

    def spec(self) -> dict[str, Any]:
        return {"name": self.name}

    def subset(self, per_class: int, seed: int = 0) -> Clouds:
        return Clouds(per_class, seed)


class Small:
    """Two layers and a head. `slow` makes every build wait, `deadly` names the seed that kills its process.

    Without BatchNorm and tanh (`tame=False`) nothing stops it from running away.
    """

    name, stages, card = "small", ("body", "middle", "head"), None

    def __init__(self, slow: float = 0.0, deadly: int | None = None, tame: bool = True) -> None:
        self.slow, self.deadly, self.tame = slow, deadly, tame

    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        time.sleep(self.slow)
        if seed == self.deadly:
            os._exit(7)
        bends = (nn.BatchNorm1d(8), nn.Tanh()) if self.tame else ()
        with runtime.seeded_globals(7 if pretrained else seed, "small"):
            body = nn.Sequential(nn.Linear(NUMBERS, 8), *bends)
            middle = nn.Sequential(nn.Linear(8, 8), nn.Identity())
        with runtime.seeded_globals(seed, "small head"):
            head = nn.Linear(8, classes)
        return nn.Sequential(OrderedDict(body=body, middle=middle, head=head))

    def spec(self) -> dict[str, Any]:
        return {"name": self.name}


class Here:
    """Does the jobs in this process, one after another."""

    lanes = 1

    def __init__(self) -> None:
        self.did: list[Job] = []

    def rows(self, groups: Sequence[Sequence[Job]]) -> Iterator[list[SweepRow]]:
        for job in (job for group in groups for job in group):
            self.did.append(job)
            yield [work(job)]

    def stop(self) -> None: ...
