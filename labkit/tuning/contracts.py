"""What the engine asks of a network, of data and of a split. Whatever has these parts can be trained, ours or yours.

`labkit.testing` tells whether yours has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from labkit.errors import ShareError

if TYPE_CHECKING:  # who only prints a record has no need of torch
    import torch
    from torch import Tensor, nn

Inputs: TypeAlias = "Tensor | tuple[Any, ...] | dict[str, Any]"
"""What a network is called with: a tensor, a tuple of arguments, or a dict of named ones."""

Targets: TypeAlias = "Tensor | tuple[Tensor, ...]"
"""What is asked of a batch: one row a sample, in one tensor or in several."""


class Labelled(Protocol):
    """Samples that have a right answer each."""

    @property
    def labels(self) -> Tensor: ...

    def __len__(self) -> int: ...


@runtime_checkable
class Split(Labelled, Protocol):
    """N samples in an order of their own.

    `labels` has one row a sample: (N,) int64 for classes, (N, 2) for the two ends of a span, (N, longest) for tokens.

    A split may also have
      - `lengths`, (N,) int64, where samples differ in length: what `batch` pads a sample to when it comes alone. A
        batch is as long as its longest sample.
      - `fingerprint`, a text that changes with the samples, so that what frozen stages make of them is shared between
        runs.
      - `names`, what people know each sample by.
      - `at_once`, how many samples may go through a network together in an evaluation.
    """

    def batch(
        self, indices: Tensor, augment: str = "none", generator: torch.Generator | None = None
    ) -> tuple[Any, Any]:
        """The samples at `indices` (n,) and what is asked of them: `Inputs` and `Targets`."""
        ...


@runtime_checkable
class Data(Protocol):
    """Splits, and what their labels mean.

    Data may also have `task` (a `labkit.tuning.task.Task`, or its name; classification where they say nothing),
    `augmentations` (the levels of augmentation that their splits offer) and `old` (a split of examples of the task that
    the network was pre-trained for, to rehearse with).
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def train(self) -> Split: ...

    @property
    def valid(self) -> Split: ...

    @property
    def test(self) -> Split: ...


@runtime_checkable
class Net(Protocol):
    """A way to build a network of ordered named stages, of which the last is the head.

    A net may also have `head`, the module that its weights were pre-trained with. A module inside a stage may say
    `is_adapter = True`, as LoRA's would: it trains where the stage itself stands still (`tuning/freezing.py`).
    """

    @property
    def name(self) -> str: ...

    @property
    def stages(self) -> Sequence[str]: ...

    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        """A network whose named children are the stages, in their order, with a new head of that size.

        The same seed gives the same weights. `pretrained=False` starts from random ones.
        """
        ...


def spec_of(part: Net | Data) -> dict[str, Any]:
    """The plain values from which a network or data can be loaded again. Raises ShareError where they have none."""
    spec = getattr(part, "spec", None)
    if spec is None:
        raise ShareError(
            f"{type(part).__name__} cannot be put into a line: it has no spec(), the plain values to load it from."
        )
    return dict(spec())


def old_head_of(net: Net) -> nn.Module | None:
    """The head that the weights of a network were pre-trained with, where it came along."""
    return getattr(net, "head", None)


def old_examples_of(data: Data) -> Split | None:
    """Examples of the task that the network was pre-trained for, where the data bring some."""
    return getattr(data, "old", None)


def augmentations_of(data: Data) -> tuple[str, ...]:
    """The levels of augmentation that the data's splits offer."""
    return tuple(getattr(data, "augmentations", ("none",)))


def name_of(split: Split, place: int) -> str:
    """What people know a sample by: the name of its file, say."""
    names = getattr(split, "names", None)
    return str(names[place]) if names is not None else f"sample {place}"


def lengths_of(split: Labelled) -> Tensor | None:
    """What each sample is padded to, (N,) int64, where they differ in length; else None."""
    return getattr(split, "lengths", None)
