"""Tasks: what a batch is asked, and how the answer is counted.

Everything that trains, measures or spoils a network asks its task, so this is the one place that knows what a loss or a
right answer is. Losses are sums over what is counted (samples, or tokens), so that means over batches, micro-batches
and epochs are exact however unequal those are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.errors import BackboneError, DataError, shown
from labkit.tuning.contracts import Data, Labelled, Split, Targets, lengths_of
from labkit.tuning.evaluation import Evaluation

EVALUATION_BATCH = 256  # samples, where a split does not say how many may go together
IGNORED = -100  # the label of a token that is not asked about, as torch's cross-entropy has it
Answered = tuple[Tensor, Targets]  # outputs of a network and targets of a batch


@runtime_checkable
class Task(Protocol):
    """What the engine asks about a task. Outputs are what a network gives for a batch, one row a sample.

    A preference between two answers fits in as well: outputs are the log-probabilities (n, 2) of the chosen and the
    rejected answer, targets those of the reference model, the loss is counted in pairs.
    """

    @property
    def name(self) -> str: ...

    def check(self, data: Data) -> None:
        """Raise DataError where the data do not pose this task."""

    def head_size(self, data: Data) -> int:
        """How many outputs the head is built with."""
        ...

    def targets(self, split: Labelled, rows: Tensor) -> Targets:
        """What is asked of the samples at `rows` (n,), without their inputs."""
        ...

    def outputs(self, given: Any, size: int) -> Tensor:
        """What a network with a head of this size gave, if it can answer; raises BackboneError where it cannot."""
        ...

    def count(self, targets: Targets) -> int:
        """How many answers a batch is asked for."""
        ...

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """The loss in nats, summed over all that is counted: a scalar with a gradient."""
        ...

    def right(self, outputs: Tensor, targets: Targets) -> int:
        """How many of the answers are right."""
        ...

    def evaluation(self, name: str, batches: Iterable[Answered]) -> Evaluation:
        """What a whole split, given batch by batch on the CPU in fp32, comes to."""
        ...


class Classify:
    """One of C classes a sample: outputs are scores (n, C), targets (n,) int64."""

    name = "classify"

    def check(self, data: Data) -> None:
        """Classes that have names, and a label from 0 to C-1 for each sample."""
        if not hasattr(data, "classes"):
            raise DataError(
                f"data is a {type(data).__name__} without `classes`, the names of what it is sorted into. Use "
                "labkit.load_data, with the name of a data set or a folder of images."
            )
        for name in ("train", "valid"):
            self._check_labels(name, getattr(data, name), len(data.classes))

    def _check_labels(self, name: str, split: Split, classes: int) -> None:
        """A label that is no class would only show in the first batch that holds it, as an error of torch's."""
        if not len(split):
            return
        labels = torch.as_tensor(split.labels, device="cpu")  # another default device may be set
        floating = labels.is_floating_point() or labels.is_complex()
        if floating or labels.dtype == torch.bool or labels.shape != (len(split),):
            raise DataError(
                f"The labels of {name} are {labels.dtype} of shape {tuple(labels.shape)}. Give a whole number a "
                f"sample, ({len(split)},): its place in classes."
            )
        low, high = (int(end) for end in labels.aminmax())
        if low < 0 or high >= classes:
            raise DataError(
                f"The labels of {name} go from {low} to {high}, and data.classes names {classes} classes. Count the "
                f"classes from 0 to {classes - 1}."
            )

    def head_size(self, data: Data) -> int:
        """One score a class."""
        return len(data.classes)

    def targets(self, split: Labelled, rows: Tensor) -> Tensor:
        """The labels (n,) of the samples at `rows`."""
        return torch.as_tensor(split.labels, device="cpu")[rows]

    def outputs(self, given: Any, size: int) -> Tensor:
        """Scores (n, size)."""
        if isinstance(given, Tensor) and given.ndim == 2 and given.shape[1] == size:
            return given
        if isinstance(given, Tensor) and given.ndim == 2:
            raise BackboneError(
                f"The network gives {given.shape[1]} scores a sample, and the data have {size} classes: it needs one "
                "score a class. Make the head of the size that the builder is given, as in "
                "Backbone.from_module(lambda classes: nn.Sequential(..., nn.Linear(512, classes)), ...)."
            )
        raise BackboneError(
            f"For a batch the network gave {_described(given)}, and labkit needs scores: one tensor with a row a "
            "sample and a column a class. Let its forward return the scores alone; torchvision's GoogLeNet and "
            "Inception do with aux_logits=False."
        )

    def count(self, targets: Targets) -> int:
        """Samples."""
        return len(targets)

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Cross-entropy, summed over the samples."""
        return F.cross_entropy(outputs.float(), _one(targets), reduction="sum")

    def right(self, outputs: Tensor, targets: Targets) -> int:
        """Samples whose highest score is that of their class."""
        return int((outputs.argmax(1) == _one(targets)).sum())

    def evaluation(self, name: str, batches: Iterable[Answered]) -> Evaluation:
        """All predictions and probabilities. Raises DataError for labels of classes that have no score."""
        answered = list(batches)
        scores = torch.cat([outputs for outputs, _ in answered])
        targets = torch.cat([_one(some) for _, some in answered])
        _refuse_other_classes(name, targets, scores.shape[1])
        return Evaluation(
            split=name,
            loss=F.cross_entropy(scores, targets).item(),
            correct=self.right(scores, targets),
            count=len(targets),
            predictions=scores.argmax(1),
            probabilities=scores.softmax(1),
            targets=targets,
        )


class Spans:
    """The first and the last token of an answer: outputs are scores (n, length, 2), targets (n, 2) int64.

    The network gives tokens that cannot be part of an answer, such as padding, the lowest score there is.
    """

    name = "spans"

    def check(self, data: Data) -> None:
        """Two ends a sample, within its length."""
        for name in ("train", "valid"):
            split: Split = getattr(data, name)
            labels, lengths = split.labels, lengths_of(split)
            if labels.shape != (len(split), 2) or labels.dtype != torch.int64:
                raise DataError(
                    f"The labels of {name} are {labels.dtype} of shape {tuple(labels.shape)}. Give the places of the "
                    f"first and the last token of each answer, int64 of shape ({len(split)}, 2)."
                )
            inside = (labels[:, 0] >= 0) & (labels[:, 0] <= labels[:, 1])
            if lengths is not None:
                inside &= labels[:, 1] < lengths
            if not inside.all():
                row = int(torch.nonzero(~inside)[0])
                raise DataError(
                    f"Sample {row} of {name} has its answer from token {int(labels[row, 0])} to "
                    f"{int(labels[row, 1])}, which is no stretch of it. Leave such samples out."
                )

    def head_size(self, data: Data) -> int:
        """Two scores a token: that the answer begins there, that it ends there."""
        return 2

    def targets(self, split: Labelled, rows: Tensor) -> Tensor:
        """The ends (n, 2) of the answers to the samples at `rows`."""
        return split.labels[rows]

    def outputs(self, given: Any, size: int) -> Tensor:
        """Scores (n, length, 2)."""
        return _of_each_token(
            given,
            size,
            f"spans need scores (n, length, {size}): for every token one that the answer begins there and one that it "
            "ends there",
        )

    def count(self, targets: Targets) -> int:
        """Samples."""
        return len(targets)

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """The mean of the two ends' cross-entropies, summed over the samples."""
        ends = _one(targets)
        each = F.cross_entropy(outputs.float(), ends, reduction="sum")  # over tokens, for both ends
        return each / 2

    def right(self, outputs: Tensor, targets: Targets) -> int:
        """Samples with both ends right."""
        return int((self.best(outputs) == _one(targets)).all(1).sum())

    def best(self, outputs: Tensor) -> Tensor:
        """The likeliest ends (n, 2) of which the last does not come before the first."""
        first, last = outputs.float().log_softmax(1).unbind(2)
        together = first[:, :, None] + last[:, None, :]
        allowed = torch.ones(together.shape[1:], dtype=torch.bool, device=outputs.device).triu()
        best = together.masked_fill(~allowed, -torch.inf).flatten(1).argmax(1)
        length = outputs.shape[1]
        return torch.stack([best // length, best % length], 1)

    def evaluation(self, name: str, batches: Iterable[Answered]) -> Evaluation:
        """Both ends predicted and asked for, (N, 2), and how likely the prediction was, (N,)."""
        return _summed(self, name, batches, self._predicted)

    def _predicted(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        best, shares = self.best(outputs), outputs.float().softmax(1)
        return best, shares.gather(1, best[:, None, :]).squeeze(1).prod(1), _one(targets)


class NextToken:
    """The token after each token: outputs are scores (n, length, V), targets (n, length) int64.

    Targets are already shifted: at place t stands the token of place t + 1, or -100 where nothing is asked, as on
    padding or on the question that an answer belongs to. What is counted is tokens.
    """

    name = "next-token"

    def check(self, data: Data) -> None:
        """A target a token, from 0 to V-1 or -100, and something to answer in every split."""
        for name in ("train", "valid"):
            split: Split = getattr(data, name)
            labels, tokens = split.labels, len(data.classes)
            if labels.ndim != 2 or len(labels) != len(split) or labels.dtype != torch.int64:
                raise DataError(
                    f"The labels of {name} are {labels.dtype} of shape {tuple(labels.shape)}. Give the token that "
                    f"comes next at every place, int64 of shape ({len(split)}, longest), and {IGNORED} where none is "
                    "asked for."
                )
            asked = labels[labels != IGNORED]
            if len(split) and (not len(asked) or asked.min() < 0 or asked.max() >= tokens):
                raise DataError(
                    f"The labels of {name} must be tokens from 0 to {tokens - 1}, at least one of them, or {IGNORED} "
                    "where nothing is asked."
                )

    def head_size(self, data: Data) -> int:
        """One score a token that there is."""
        return len(data.classes)

    def targets(self, split: Labelled, rows: Tensor) -> Tensor:
        """The tokens to come (n, longest of these) of the samples at `rows`."""
        lengths, labels = lengths_of(split), split.labels[rows]
        return labels if lengths is None else labels[:, : int(lengths[rows].max())]

    def outputs(self, given: Any, size: int) -> Tensor:
        """Scores (n, length, V)."""
        return _of_each_token(
            given,
            size,
            f"the next token needs scores (n, length, {size}): for every place one for each token that there is",
        )

    def count(self, targets: Targets) -> int:
        """Tokens that are asked for."""
        return int((_one(targets) != IGNORED).sum())

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Cross-entropy, summed over the tokens that are asked for."""
        flat, asked = outputs.float().flatten(0, 1), _one(targets).flatten()
        return F.cross_entropy(flat, asked, ignore_index=IGNORED, reduction="sum")

    def right(self, outputs: Tensor, targets: Targets) -> int:
        """Tokens that are the likeliest at their place."""
        return int((outputs.argmax(2) == _one(targets)).sum())

    def evaluation(self, name: str, batches: Iterable[Answered]) -> Evaluation:
        """Tokens predicted and asked for, (tokens,), and how likely the prediction was, (tokens,)."""
        return _summed(self, name, batches, self._predicted)

    def _predicted(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        asked = _one(targets)
        likely, predicted = outputs.float().softmax(2).max(2)
        there = asked != IGNORED
        return predicted[there], likely[there], asked[there]


CLASSIFY = Classify()
TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFY, Spans(), NextToken())}


def task_of(data: Data) -> Task:
    """The task that data pose: classification where they say nothing. Raises DataError for one that is not known."""
    said = getattr(data, "task", Classify.name)
    if isinstance(said, str) and said in TASKS:
        return TASKS[said]
    if not isinstance(said, str) and isinstance(said, Task):
        return said
    raise DataError(
        f"data.task={shown(said)} is not known. Use {', '.join(map(repr, TASKS))}, or an object with the methods of "
        "labkit.tuning.task.Task; labkit.testing.check_task tells which it lacks."
    )


def evaluate(
    split: Labelled, name: str, outputs: Callable[[Tensor], Tensor], task: Task = CLASSIFY
) -> Evaluation:
    """Count over a whole split; `outputs` gives what a network says of the samples at rows (n,), without gradients."""
    at_once = getattr(split, "at_once", EVALUATION_BATCH)

    def answered() -> Iterator[Answered]:
        for rows in torch.arange(len(split), device="cpu").split(at_once):
            yield outputs(rows).float().cpu(), task.targets(split, rows)

    with torch.no_grad():
        return task.evaluation(name, answered())


def _summed(task: Task, name: str, batches: Iterable[Answered], predicted: Any) -> Evaluation:
    """An evaluation that keeps of each batch what was predicted and no scores, which may be far too many."""
    loss, right, parts = 0.0, 0, []
    for outputs, targets in batches:
        loss += task.loss(outputs, targets).item()
        right += task.right(outputs, targets)
        parts.append(predicted(outputs, targets))
    predictions, probabilities, asked = (torch.cat(part) for part in zip(*parts, strict=True))
    return Evaluation(
        split=name,
        loss=loss / max(1, len(asked)),
        correct=right,
        count=len(asked),
        predictions=predictions,
        probabilities=probabilities,
        targets=asked,
    )


def _of_each_token(given: Any, size: int, needed: str) -> Tensor:
    """Scores (n, length, size) as they are; raises BackboneError for anything else, with what is needed."""
    if isinstance(given, Tensor) and given.ndim == 3 and given.shape[2] == size:
        return given
    raise BackboneError(f"For a batch the network gave {_described(given)}, and {needed}.")


def _one(targets: Targets) -> Tensor:
    """Targets that are one tensor, as those of the tasks here are."""
    assert isinstance(targets, Tensor)
    return targets


def _refuse_other_classes(name: str, targets: Tensor, classes: int) -> None:
    """torch would raise an IndexError of its own, and on a GPU spoil the whole process."""
    low, high = (int(end) for end in targets.aminmax())
    if low < 0 or high >= classes:
        raise DataError(
            f"The labels of {name} go from {low} to {high}, and the network gives {classes} scores a sample, for "
            f"classes from 0 to {classes - 1}. Ask it about samples of the classes it was trained on."
        )


def _described(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    return type(given).__name__
