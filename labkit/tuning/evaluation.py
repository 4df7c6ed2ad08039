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
from labkit.errors import BackboneError, DataError, SplitError, shown

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
    """Count over the whole split; `scores` gives (n, C) for samples (n,), without gradients.

    Raises DataError where the labels are of classes that have no score.
    """
    at_once = getattr(split, "at_once", EVALUATION_BATCH)
    rows = torch.arange(len(split), device="cpu").split(at_once)
    with torch.no_grad():
        logits = torch.cat([scores(some).float().cpu() for some in rows])
    targets, predictions = torch.as_tensor(split.labels, device="cpu"), logits.argmax(1)
    _refuse_other_classes(name, targets, logits.shape[1])
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


def _refuse_other_classes(name: str, targets: Tensor, classes: int) -> None:
    """torch would raise an IndexError of its own, and on a GPU spoil the whole process."""
    low, high = (int(end) for end in targets.aminmax())
    if low < 0 or high >= classes:
        raise DataError(
            f"The labels of {name} go from {low} to {high}, and the network gives {classes} scores a sample, for "
            f"classes from 0 to {classes - 1}. Ask it about samples of the classes it was trained on."
        )


def split_of(data: Any, split: Any, labelled: bool = True) -> Any:
    """A split by its name, or whatever stands in for one: anything with `batch()`, a length and, if need be, `labels`.

    Raises SplitError for a name that the data do not have, for an empty split and for anything else.
    """
    names = [name for name in ("train", "valid", "test") if len(getattr(data, name, ()))]
    told = f"{getattr(data, 'name', 'the data')} has {', '.join(names) or 'no names for them'}"
    if isinstance(split, str):
        if split not in names:
            raise SplitError(f"There are no {shown(split)} samples: {told}.")
        return getattr(data, split)
    parts = ("batch", "__len__", "labels")[: 3 if labelled else 2]
    if isinstance(split, type) or not all(hasattr(split, part) for part in parts):
        raise SplitError(
            f"split={shown(split)} is neither the name of a split nor a split. Give a name ({told}), or samples "
            "themselves, such as data.valid."
        )
    if not len(split):
        raise SplitError(f"This split is empty. Give one with samples: {told}.")
    return split


def scores_of(made: Any, classes: int) -> Tensor:
    """What a whole network gave, if it is scores (n, classes). Raises BackboneError for anything else."""
    if isinstance(made, Tensor) and made.ndim == 2 and made.shape[1] == classes:
        return made
    if isinstance(made, Tensor) and made.ndim == 2:
        raise BackboneError(
            f"The network gives {made.shape[1]} scores a sample, and the data have {classes} classes: it needs one "
            "score a class. Make the head of the size that the builder is given, as in "
            "Backbone.from_module(lambda classes: nn.Sequential(..., nn.Linear(512, classes)), ...)."
        )
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
