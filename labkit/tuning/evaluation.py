"""How well a model does on a split: exact counts, and an interval that says how far to trust them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import SplitError, shown
from labkit.tuning.contracts import Inputs, Split


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on a whole split.

    Of N samples and C classes, `predictions` and `targets` are int64 of shape (N,), `probabilities` is float32 of shape
    (N, C); `loss` is the mean cross-entropy in nats. Where the task is another, `count` is how many answers were asked
    for, `predictions` and `targets` hold them in their order, and `probabilities` (count,) is what the network gave
    each of its predictions.
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
    def right(self) -> Tensor:
        """Which of the answers are right, bool (count,)."""
        hits = self.predictions == self.targets
        return hits if hits.ndim == 1 else hits.flatten(1).all(1)

    @property
    def confidence(self) -> Tensor:
        """How likely the network found each of its predictions, float32 (count,)."""
        if self.probabilities.ndim == 1:
            return self.probabilities
        return self.probabilities.gather(1, self.predictions.unsqueeze(1)).squeeze(1)

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


def forward(model: nn.Module, inputs: Inputs) -> Tensor:
    """Call the model with whatever a batch is: a tensor, a tuple of arguments or a dict of named ones."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def split_of(data: object, split: Split | str, labelled: bool = True) -> Split:
    """A split by its name, or whatever stands in for one: anything with `batch()`, a length and, if need be, `labels`.

    Raises SplitError for a name that the data do not have, for an empty split and for anything else.
    """
    names = [name for name in ("train", "valid", "test") if len(getattr(data, name, ()))]
    told = f"{getattr(data, 'name', 'the data')} has {', '.join(names) or 'no names for them'}"
    if isinstance(split, str):
        if split not in names:
            raise SplitError(f"There are no {shown(split)} samples: {told}.")
        named: Split = getattr(data, split)
        return named
    parts = ("batch", "__len__", "labels")[: 3 if labelled else 2]
    if isinstance(split, type) or not all(hasattr(split, part) for part in parts):
        raise SplitError(
            f"split={shown(split)} is neither the name of a split nor a split. Give a name ({told}), or samples "
            "themselves, such as data.valid."
        )
    if not len(split):
        raise SplitError(f"This split is empty. Give one with samples: {told}.")
    return split


def to_device(inputs: Any, device: torch.device) -> Any:
    """The batch, or what is asked of it, on the device, whatever its shape."""
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
