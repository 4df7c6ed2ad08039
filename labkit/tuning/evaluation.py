"""How well a model does on a split: exact counts, and an interval that says how far to trust them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.errors import BackboneError

Inputs = Tensor | tuple[Any, ...] | dict[str, Any]
EVALUATION_BATCH = 256  # samples, where a split does not say how many may go together


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


def evaluate(split: Any, name: str, scores: Callable[[Tensor], Tensor]) -> Evaluation:
    """Count over the whole split; `scores` gives (n, C) for samples (n,), without gradients."""
    at_once = getattr(split, "at_once", EVALUATION_BATCH)
    rows = torch.arange(len(split), device="cpu").split(at_once)
    with torch.no_grad():
        logits = torch.cat([scores(some).float().cpu() for some in rows])
    targets, predictions = torch.as_tensor(split.labels, device="cpu"), logits.argmax(1)
    return Evaluation(
        split=name,
        loss=F.cross_entropy(logits, targets).item(),
        correct=int((predictions == targets).sum()),
        count=len(targets),
        predictions=predictions,
        probabilities=logits.softmax(1),
        targets=targets,
    )


def forward(model: nn.Module, inputs: Inputs) -> Tensor:
    """Call the model with whatever a batch is: a tensor, a tuple of arguments or a dict of named ones."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def scores_of(made: Any) -> Tensor:
    """What a whole network gave, if it is scores (n, classes). Raises BackboneError for anything else."""
    if isinstance(made, Tensor) and made.ndim == 2:
        return made
    kind = (
        f"a tensor of shape {tuple(made.shape)}"
        if isinstance(made, Tensor)
        else type(made).__name__
    )
    raise BackboneError(
        f"For a batch the network gave {kind}, and labkit needs scores: one tensor with a row a sample and a column a "
        "class. Let its forward return the scores alone; torchvision's GoogLeNet and Inception do with "
        "aux_logits=False."
    )


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
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Inside: every module in eval mode. After: each in the mode in which it was."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        set_modes(before)


def set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    """Put each module, without those inside it, in train mode (True) or eval mode; a module stands before its parts.

    By the flag itself: `nn.Module.train` walks through all parts and takes half a millisecond for 60 modules, where a
    step may take one. A class with a `train` of its own does more than set the flag, so that one is called.
    """
    for module, training in modes:
        if module.training is not training:
            kind = type(module)
            if kind.train is nn.Module.train and kind.__setattr__ is nn.Module.__setattr__:
                vars(module)["training"] = training
            else:
                module.train(training)
