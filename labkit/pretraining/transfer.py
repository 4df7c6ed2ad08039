"""What features are worth on another task: scikit-learn's handwritten digits, a few labels of each.

The same few labels, drawn anew for every seed, go to three learners: a linear probe on the features, logistic
regression on raw pixels, and the whole network trained from scratch. All are judged on
every digit that was not drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.models.card import Measure
from labkit.models.vision.resnet10 import ResNet10
from labkit.models.vision.staging import Staged, cut

SEEDS = 5
SCRATCH_STEPS = 100


@dataclass(frozen=True)
class TransferTask:
    """A few labelled digits: float (n, 3, 32, 32) in [0, 1] and their labels, and those to be judged on."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


Learner = Callable[[TransferTask, int], float]


def measure_transfer(net: Staged, labels_a_class: tuple[int, ...] = (3, 10)) -> list[Measure]:
    """The accuracy of each learner on digits, mean over 5 seeds, for each number of labels a class."""
    learners: dict[str, Learner] = {
        "linear probe": lambda task, seed: probe(task, lambda x: features(net, x)),
        "raw pixels, logistic regression": lambda task, seed: probe(
            task, lambda x: x[:, 0].flatten(1)
        ),
        "from scratch": from_scratch,
    }
    return [
        Measure.mean(
            f"digits, {labels} labels a class: {name}",
            [learn(few_digits(labels, seed), seed) for seed in range(SEEDS)],
        )
        for labels in labels_a_class
        for name, learn in learners.items()
    ]


def few_digits(labels_a_class: int, seed: int) -> TransferTask:
    """The digits at 32 px with so many labels of each, drawn by the seed; all others are for judging."""
    digits = load_digits()
    cells = torch.from_numpy(digits.images / 16).float()[:, None]
    x = F.interpolate(cells, size=(32, 32), mode="bilinear", align_corners=False).expand(
        -1, 3, -1, -1
    )
    y = torch.from_numpy(digits.target)
    order = torch.randperm(len(y), generator=runtime.generator(seed, "few digits"))
    drawn = torch.cat([order[y[order] == digit][:labels_a_class] for digit in range(10)])
    rest = torch.from_numpy(np.setdiff1d(order.numpy(), drawn.numpy()))
    return TransferTask(x[drawn], y[drawn], x[rest], y[rest])


def probe(task: TransferTask, describe: Callable[[Tensor], Tensor]) -> float:
    """Logistic regression on what `describe` says of each image."""
    model = LogisticRegression(max_iter=5000).fit(describe(task.x).numpy(), task.y.numpy())
    return float(model.score(describe(task.test_x).numpy(), task.test_y.numpy()))


@torch.no_grad()
def features(net: Staged, x: Tensor) -> Tensor:
    """What the head of a staged ResNet sees: (n, 3, h, w) to (n, channels)."""
    net.eval()
    return torch.cat([net[:-1](part).mean((2, 3)) for part in x.split(256)])


def from_scratch(task: TransferTask, seed: int) -> float:
    """The whole network trained on the few labels alone, with AdamW."""
    with runtime.seeded_globals(seed, "from scratch"):
        net = cut(ResNet10(10))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    order = runtime.generator(seed, "from scratch")
    for _ in range(SCRATCH_STEPS):
        batch = torch.randperm(len(task.y), generator=order)[:32]
        F.cross_entropy(net(task.x[batch]), task.y[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return _accuracy(net, task)


@torch.no_grad()
def _accuracy(net: nn.Module, task: TransferTask) -> float:
    net.eval()
    answers = torch.cat([net(part).argmax(1) for part in task.test_x.split(256)])
    return float((answers == task.test_y).double().mean())
