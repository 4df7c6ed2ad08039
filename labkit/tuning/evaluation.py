"""How well a model does on a split: exact counts, and an interval that says how far to trust them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime

Inputs = Tensor | tuple[Any, ...] | dict[str, Any]
EVALUATION_BATCH = 256


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on a whole split of N samples and C classes.

    `predictions` and `targets` are int64 of shape (N,), `probabilities` is float32 of shape (N, C); `loss` is the
    mean cross-entropy in nats.
    """

    split: str
    loss: float
    correct: int
    count: int
    predictions: Tensor
    probabilities: Tensor
    targets: Tensor

    @property
    def accuracy(self) -> float:
        """Correct over count: never a mean of batch means."""
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the accuracy."""
        return runtime.wilson(self.correct, self.count)

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"{self.split}: {self.accuracy:.1%} ({self.correct} of {self.count} right, "
            f"95 % interval {low:.1%} to {high:.1%}), loss {self.loss:.3f}"
        )


def evaluate(
    model: nn.Module, split: Any, name: str, autocast: Any, device: torch.device
) -> Evaluation:
    """Run `model` over the whole split in eval mode; every module is left in the mode in which it was."""
    logits = []
    with torch.no_grad(), autocast(), _eval_mode(model):
        for start in range(0, len(split), EVALUATION_BATCH):
            indices = torch.arange(start, min(start + EVALUATION_BATCH, len(split)))
            inputs, _ = split.batch(indices)
            logits.append(forward(model, to_device(inputs, device)).float().cpu())
    scores, targets = torch.cat(logits), torch.as_tensor(split.labels)
    predictions = scores.argmax(1)
    return Evaluation(
        split=name,
        loss=F.cross_entropy(scores, targets).item(),
        correct=int((predictions == targets).sum()),
        count=len(targets),
        predictions=predictions,
        probabilities=scores.softmax(1),
        targets=targets,
    )


def forward(model: nn.Module, inputs: Inputs) -> Tensor:
    """Call the model with whatever a batch is: a tensor, a tuple of arguments or a dict of named ones."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """The batch on the device, whatever its shape."""
    if isinstance(inputs, dict):
        return {key: value.to(device) for key, value in inputs.items()}
    return (
        tuple(value.to(device) for value in inputs)
        if isinstance(inputs, tuple)
        else inputs.to(device)
    )


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
