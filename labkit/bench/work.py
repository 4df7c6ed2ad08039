"""What is measured: the works, each the same for every peer, and what a peer gives back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.errors import BenchError

MOMENTUM = 0.9  # of SGD with Nesterov's momentum, the optimiser of every peer; no weight decay
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as the tutorial has them
SMALLEST_SIDE = 0.8  # of a random crop under augmentation, as labkit's "light" has it


@dataclass(frozen=True)
class Work:
    """One job: train this network on these images for so many epochs, with a validation after each.

    The first fields say what is done; the fields from `folder` on say where and how, and are filled in by
    `labkit.bench.inputs`. `trainable_from` is "head", "layer4" or "all". The targets are those of the project: at
    least `peers_at_least` times as fast as the faster of `pytorch` and `fastai`, at most `floor_at_most` times the
    floor, at most `seconds_at_most` in all.
    """

    name: str
    title: str
    backbone: str = "resnet18"
    size: int = 224
    epochs: int = 25
    trainable_from: str = "head"
    augment: bool = False
    batch_size: int = 32
    lr: float = 1e-3
    peers_at_least: float | None = None
    floor_at_most: float | None = None
    seconds_at_most: float | None = None

    folder: str = ""  # holds train/ and val/, each with a subfolder a class
    rehearsal: str = ""  # the same with a few images of noise, to warm up on
    state: str = ""  # the weights to start from, head included, under torchvision's names
    weights: str = ""  # the same as labkit reads them, or "pretrained"
    classes: int = 2
    seed: int = 0
    threads: int = 1

    @property
    def workers(self) -> int:
        """Processes that decode: the tutorial's four, or as many as there are cores."""
        return min(4, self.threads)


@dataclass(frozen=True)
class Outcome:
    """What a peer measured: seconds of preparation and of each epoch, validation counts after each.

    `parts` holds seconds of named stretches, where a peer has them, and `facts` what else there is to know.
    """

    setup: float
    epochs: tuple[float, ...]
    correct: tuple[int, ...]
    count: int
    parts: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Clock:
    """A stopwatch: `lap` gives the seconds since the last lap, or since it was made."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap; begins the next one."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before


WORKS = (
    Work(
        "head",
        "feature extraction, 25 epochs",
        peers_at_least=20,
        floor_at_most=1.15,
    ),
    Work(
        "layer4",
        "layer4 + head, 25 epochs",
        trainable_from="layer4",
        peers_at_least=4,
        floor_at_most=1.25,
    ),
    Work(
        "layer4-augmented",
        "layer4 + head, augmented, 25 epochs",
        trainable_from="layer4",
        augment=True,
        peers_at_least=2.5,
    ),
    Work(
        "full",
        "full, 5 epochs",
        epochs=5,
        trainable_from="all",
        peers_at_least=1.4,
        floor_at_most=1.15,
    ),
    Work(
        "first-click",
        "shipped backbone at 64 px: head, 20 epochs, from the first click",
        backbone="resnet10",
        size=64,
        epochs=20,
        seconds_at_most=1.0,
    ),
)


def find_works(names: Sequence[str] = (), quick: bool = False) -> tuple[Work, ...]:
    """The works of these names, by default all; `quick` makes them small enough for a test.

    Raises BenchError for a name that no work has.
    """
    known = {work.name: work for work in WORKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"There is no work {unknown[0]!r} to measure. Use {', '.join(known)}.")
    chosen = tuple(known[name] for name in names) if names else WORKS
    return tuple(map(_quick, chosen)) if quick else chosen


def _quick(work: Work) -> Work:
    return replace(
        work,
        title=f"{work.title} (quick: 2 epochs, 32 px)",
        backbone="resnet10",
        size=32,
        epochs=2,
        batch_size=8,
    )
