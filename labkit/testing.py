"""Does a network, a data set or a task of yours keep what labkit's engine relies on?

    from labkit.testing import check_data, check_net, check_task

    check_data(data)             # returns, or raises ContractError that says what is wrong and what is asked for
    check_net(net, data)
    check_task(task, net, data)

In the manner of scikit-learn's `check_estimator`: labkit's own networks, data and tasks pass the same checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import ContractError, LabkitError, shown
from labkit.tuning.contracts import (
    Data,
    Inputs,
    Net,
    Split,
    Targets,
    augmentations_of,
    lengths_of,
)
from labkit.tuning.evaluation import eval_mode, forward
from labkit.tuning.plans import Phase, Plan
from labkit.tuning.prefix import pass_on, passes_on
from labkit.tuning.run import Run
from labkit.tuning.task import Task, task_of

FEW = 8  # samples that a check looks at


def check_data(data: Data) -> None:
    """Check splits, batches, labels and augmentations. Raises ContractError for the first thing that is wrong."""
    _has(data, "data", ("name", "classes", "train", "valid", "test"))
    try:
        task = task_of(data)
        task.check(data)
    except LabkitError as error:
        raise ContractError(str(error)) from error
    _ask(
        len(data.train) >= 2,
        f"{data.name} has {len(data.train)} training samples; it needs 2 or more.",
    )
    for name in ("train", "valid", "test"):
        split: Split = getattr(data, name)
        if len(split):
            _check_split(name, split, task, augmentations_of(data))


def check_net(net: Net, data: Data | None = None) -> None:
    """Check how a network is built, what it answers and that it can be frozen at every depth and replayed.

    Args:
        net: the network.
        data: what it is for; by default a few images of noise, 64 pixels wide, of two classes.

    Raises:
        ContractError: for the first thing that is wrong.
    """
    _has(net, "net", ("name", "stages", "build"))
    data = _Noise() if data is None else data
    task = task_of(data)
    size = task.head_size(data)
    model = net.build(size, seed=0)
    names = tuple(name for name, _ in model.named_children())
    _ask(
        names == tuple(net.stages),
        f"{net.name}: the named children of the built module are {names}, and its stages {tuple(net.stages)}. "
        "They must be the same, in the order in which data pass through them.",
    )
    _check_seeds(net, size, model)
    _check_answers(net, model, task, size, data)
    for depth in net.stages:
        _check_depth(net, data, depth)


def check_task(task: Task, net: Net, data: Data) -> None:
    """Check that a task counts alike however samples are batched.

    Args:
        task: the task.
        net: a network that answers it.
        data: data that pose it.

    Raises:
        ContractError: for the first thing that is wrong.
    """
    parts = (
        "name",
        "check",
        "head_size",
        "targets",
        "outputs",
        "count",
        "loss",
        "right",
        "evaluation",
    )
    _has(task, "task", parts)
    try:
        task.check(data)
    except LabkitError as error:
        raise ContractError(f"{task.name}: check(data) refuses its own data: {error}") from error
    size = task.head_size(data)
    model, rows = net.build(size, seed=0), torch.arange(min(FEW, len(data.train)))
    outputs, targets = _answered(task, model, size, data.train, rows)
    loss, count, right = (
        task.loss(outputs, targets),
        task.count(targets),
        task.right(outputs, targets),
    )
    _ask(
        isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad,
        f"{task.name}: loss(outputs, targets) must be a tensor of one number with a gradient, not {shown(loss)}.",
    )
    _ask(
        isinstance(count, int) and isinstance(right, int) and 0 <= right <= count and count > 0,
        f"{task.name}: count {shown(count)} and right {shown(right)} must be whole numbers, 0 <= right <= count.",
    )
    halves = [_answered(task, model, size, data.train, some) for some in rows.chunk(2)]
    _ask(
        sum(task.count(asked) for _, asked in halves) == count,
        f"{task.name}: two halves of a batch must count what the whole counts, {count}.",
    )
    _ask(
        sum(task.right(given, asked) for given, asked in halves) == right,
        f"{task.name}: two halves of a batch must have as many right as the whole, {right}.",
    )
    apart = sum(task.loss(given, asked).item() for given, asked in halves)
    _ask(
        abs(apart - loss.item()) <= 1e-3 * max(1.0, abs(loss.item())),
        f"{task.name}: the loss must be a sum, so that those of two halves add up to the whole's: they give "
        f"{apart:.6g}, and the whole {loss.item():.6g}. Use reduction='sum'.",
    )
    _check_evaluation(task, [(g.detach().float(), a) for g, a in halves], loss.item(), right, count)


# ---------------------------------------------------------------- data


def _check_split(name: str, split: Split, task: Task, levels: Iterable[str]) -> None:
    _has(split, name, ("labels", "batch", "__len__"))
    rows = torch.arange(min(FEW, len(split)))
    inputs, targets = split.batch(rows)
    _ask(
        _rows(inputs) == len(rows),
        f"{name}.batch gives {_rows(inputs)} samples for {len(rows)} rows.",
    )
    asked = task.targets(split, rows)
    _ask(
        _alike(asked, targets),
        f"{name}: batch(rows) gives other labels than {name}.labels has for these rows.",
    )
    again, _ = split.batch(rows)
    _ask(_alike(inputs, again), f"{name}.batch(rows) gives something else when it is asked again.")
    if lengths_of(split) is None:  # else a sample is padded as those beside it are
        turned, _ = split.batch(rows.flip(0))
        _ask(
            all(
                torch.equal(a, b.flip(0))
                for a, b in zip(_tensors(inputs), _tensors(turned), strict=True)
            ),
            f"{name}.batch(rows) must give the samples in the order of the rows.",
        )
    else:
        _check_lengths(name, split)
    for level in levels:
        one, other = (split.batch(rows, level, runtime.generator(0, "check"))[0] for _ in range(2))
        _ask(
            _alike(one, other),
            f"{name}.batch(rows, {level!r}, generator) must draw from that generator only: it gave two views.",
        )
    mark = getattr(split, "fingerprint", None)
    _ask(
        mark is None or (isinstance(mark, str) and mark == split.fingerprint),  # type: ignore[attr-defined]
        f"{name}.fingerprint must be a text that stays the same, not {shown(mark)}.",
    )


def _check_lengths(name: str, split: Split) -> None:
    lengths = lengths_of(split)
    assert lengths is not None
    _ask(
        lengths.shape == (len(split),) and lengths.dtype == torch.int64,
        f"{name}.lengths must be int64 of shape ({len(split)},): what each sample is padded to.",
    )
    for row in range(min(FEW, len(split))):
        widths = {tensor.shape[1] for tensor in _tensors(split.batch(torch.tensor([row]))[0])}
        _ask(
            int(lengths[row]) in widths,
            f"{name}: sample {row} comes {sorted(widths)} long when it is asked for alone, and lengths says "
            f"{int(lengths[row])}.",
        )


# ---------------------------------------------------------------- networks


def _check_seeds(net: Net, size: int, model: nn.Module) -> None:
    first, second = model.state_dict(), net.build(size, seed=0).state_dict()
    _ask(
        first.keys() == second.keys()
        and all(torch.equal(first[key], second[key]) for key in first),
        f"{net.name}: build(classes, seed=0) gives other weights the second time. Draw them from the seed, as in "
        "`with labkit.runtime.seeded_globals(seed): ...`.",
    )
    _ask(
        not any(
            first[key].data_ptr() == second[key].data_ptr() for key in first if first[key].numel()
        ),
        f"{net.name}: two networks that were built hold the same tensors, so that training one trains both.",
    )


def _check_answers(net: Net, model: nn.Module, task: Task, size: int, data: Data) -> None:
    rows = torch.arange(min(FEW, len(data.train)))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with eval_mode(model), torch.no_grad():
        once, again = (_outputs(task, model, size, data.train, rows) for _ in range(2))
    _ask(torch.equal(once, again), f"{net.name} answers the same batch in two ways in eval mode.")
    moved = [
        key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])
    ]
    _ask(not moved, f"{net.name}: a forward pass in eval mode changes {', '.join(moved)}.")
    if passes_on(model):  # then what frozen stages make is kept, and the rest runs alone
        with eval_mode(model), torch.no_grad():
            stages, inputs = list(model.children()), data.train.batch(rows)[0]
            first = forward(stages[0], inputs)
            last = pass_on(stages[1:], first if isinstance(first, tuple) else (first,))[0]
        _ask(
            torch.equal(last, once),
            f"{net.name}: its stages, one after the other, give something else than its forward. Leave passes_on out, "
            "or let the forward do nothing but hand on.",
        )


def _check_depth(net: Net, data: Data, depth: str) -> None:
    """Two steps from a depth up: what is below stands still, what is above moves, and a replay is the same."""
    plan = Plan("check", (Phase(depth, 1e-2, 1),), batch_size=max(2, min(4, len(data.train))))
    try:
        run = Run(net, data, plan, precision=runtime.Precision())
        for _ in range(2):
            run.step()
        audit, replayed = run.audit(), run.replay().model.state_dict()
    except LabkitError as error:
        if "would train nothing" in str(error):  # all weights of this stage are tied to one below
            return
        raise ContractError(f"{net.name} cannot be trained from {depth!r} up: {error}") from error
    _ask(audit.ok, f"{net.name}, trained from {depth!r} up: {' '.join(audit.problems)}")
    still = [
        row.stage
        for row in audit.rows
        if row.trainable and row.parameters and not row.tensors_changed
    ]
    _ask(
        not still,
        f"{net.name}, trained from {depth!r} up: no gradient reaches {', '.join(still)}.",
    )
    _ask(
        all(torch.equal(tensor, replayed[key]) for key, tensor in run.model.state_dict().items()),
        f"{net.name}, trained from {depth!r} up, does not replay to the bit: something in it is drawn neither from its "
        "seed nor from torch's, numpy's or Python's own chance.",
    )


# ---------------------------------------------------------------- tasks


def _check_evaluation(
    task: Task, batches: list[tuple[Tensor, Targets]], loss: float, right: int, count: int
) -> None:
    found = task.evaluation("train", batches)
    _ask(
        (found.correct, found.count) == (right, count),
        f"{task.name}: an evaluation has {found.correct} of {found.count} right, and its batches {right} of {count}.",
    )
    _ask(
        abs(found.loss - loss / count) <= 1e-3 * max(1.0, abs(loss / count)),
        f"{task.name}: an evaluation's loss is {found.loss:.6g}, and the mean over what is counted {loss / count:.6g}.",
    )
    for part in ("predictions", "targets", "probabilities"):
        _ask(
            len(getattr(found, part)) == count,
            f"{task.name}: an evaluation's {part} has {len(getattr(found, part))} rows for {count} answers.",
        )


def _answered(
    task: Task, model: nn.Module, size: int, split: Split, rows: Tensor
) -> tuple[Tensor, Targets]:
    with eval_mode(model):
        return _outputs(task, model, size, split, rows), task.targets(split, rows)


def _outputs(task: Task, model: nn.Module, size: int, split: Split, rows: Tensor) -> Tensor:
    try:
        return task.outputs(forward(model, split.batch(rows)[0]), size)
    except LabkitError as error:
        raise ContractError(str(error)) from error


# ---------------------------------------------------------------- noise, for networks that come without data


@dataclass(frozen=True, eq=False)
class _Images:
    seed: int
    count: int = FEW

    @property
    def labels(self) -> Tensor:
        return torch.arange(self.count) % 2

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        every = torch.rand(self.count, 3, 64, 64, generator=runtime.generator(self.seed, "noise"))
        return every[indices], self.labels[indices]


class _Noise:
    name, classes = "noise", ("one", "other")
    train, valid, test = _Images(0), _Images(1), _Images(2)


# ---------------------------------------------------------------- small helpers


def _has(part: object, what: str, names: Iterable[str]) -> None:
    missing = [name for name in names if not hasattr(part, name)]
    _ask(
        not missing and not isinstance(part, type),
        f"{what} is {shown(part)} and has no {', '.join(missing)}. labkit.tuning.contracts says what they are.",
    )


def _tensors(inputs: Inputs) -> list[Tensor]:
    every = inputs.values() if isinstance(inputs, dict) else inputs
    return [inputs] if isinstance(inputs, Tensor) else [t for t in every if isinstance(t, Tensor)]


def _rows(inputs: Inputs) -> int:
    return min((len(tensor) for tensor in _tensors(inputs)), default=0)


def _alike(one: Any, other: Any) -> bool:
    ours, theirs = _tensors(one), _tensors(other)
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def _ask(kept: bool, otherwise: str) -> None:
    if not kept:
        raise ContractError(otherwise)
