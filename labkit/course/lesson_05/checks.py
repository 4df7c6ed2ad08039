"""Checks of lesson 05: a freeze that holds, a thaw that takes, and a count of what trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from labkit.course import small
from labkit.learn.exercises import exercise

Freeze = Callable[[nn.Module, Sequence[str]], object]
Unfreeze = Callable[[nn.Module, str, torch.optim.Optimizer], object]


@exercise(
    "05-freeze",
    title="a freeze that holds",
    difficulty=2,
    minutes=10,
    hints=(
        "A stage holds numbers that the optimiser moves, and others that a forward pass moves.",
        "requires_grad stops the first kind. The mode, training or evaluation, governs the second.",
        "For each name and stage of model.named_children(), set stage.requires_grad_(...) and "
        "stage.train(...) by whether the name is frozen.",
    ),
)
def freeze(answer: Freeze) -> Iterator[str]:
    """The answer readies a model for training with some stages frozen: weights and statistics."""
    model = small.model()
    before = small.snapshot(model)
    answer(model, ["stem"])
    _train_what_may(model)
    changed = small.moved(model, before)
    yield from _frozen_held(changed)
    yield from _rest_learned(changed)
    yield from _can_be_taken_back(answer)


def _frozen_held(changed: set[str]) -> Iterator[str]:
    stem = sorted(name for name in changed if name.startswith("stem."))
    weights = [name for name in stem if name.endswith(("weight", "bias"))]
    if weights:
        yield f"The weights of the frozen stage moved: {', '.join(weights)}."
    elif stem:
        yield "No frozen weight moved, yet its BatchNorm statistics followed the new images."


def _rest_learned(changed: set[str]) -> Iterator[str]:
    for stage in ("layer1", "head"):
        if not any(name.startswith(f"{stage}.") for name in changed):
            yield f"The stage {stage} should learn, and not one of its numbers moved."
            return
    if "layer1.1.running_mean" not in changed:
        yield "The stage layer1 learns, but its BatchNorm stands still: it was left in evaluation mode."


def _can_be_taken_back(answer: Freeze) -> Iterator[str]:
    model = small.model()
    answer(model, ["stem", "layer1"])
    answer(model, [])
    before = small.snapshot(model)
    _train_what_may(model)
    if "layer1.0.weight" not in small.moved(model, before):
        yield "Called again with nothing to freeze, a stage frozen before still does not learn."


def _train_what_may(model: nn.Module) -> None:
    may = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if may:
        small.train(model, torch.optim.SGD(may, lr=0.5))


@exercise(
    "05-thaw",
    title="a thaw that takes",
    difficulty=3,
    minutes=12,
    hints=(
        "An optimiser moves only what it was given when it was made.",
        "optimizer.add_param_group({'params': ...}) hands it more, on the way.",
        "Three things: requires_grad_(True), train(), and a new group with the stage's parameters.",
    ),
)
def unfreeze(answer: Unfreeze) -> Iterator[str]:
    """The answer lets one more stage learn, with an optimiser that exists already."""
    model, optimizer = _frozen_but_head()
    before = small.snapshot(model)
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        answer(model, "layer1", optimizer)
    except ValueError as problem:
        if "more than one parameter group" not in str(problem):
            raise
        yield "The optimiser was handed what it has already: give it the new stage alone."
        return
    small.train(model, optimizer)
    changed = small.moved(model, before)
    yield from _unfrozen(model, optimizer, changed)
    if any(name.startswith("stem.") for name in changed):
        yield "The stage stem changed too. Only the stage that was named may thaw."
    if not any(name.startswith("head.") for name in changed):
        yield "The head no longer learns."
    if [group["lr"] for group in optimizer.param_groups][: len(rates)] != rates:
        yield "The learning rate of the stages that trained before has changed."


def _unfrozen(
    model: nn.Module, optimizer: torch.optim.Optimizer, changed: set[str]
) -> Iterator[str]:
    stage = model.get_submodule("layer1")
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not all(parameter.requires_grad for parameter in stage.parameters()):
        yield "The weights of the stage still do not require a gradient."
    elif not all(id(parameter) in known for parameter in stage.parameters()):
        yield "The optimiser does not know the thawed weights, so they will never move."
    elif "layer1.0.weight" not in changed:
        yield "After three steps the weights of the thawed stage have not moved."
    if "layer1.1.running_mean" not in changed:
        yield "The BatchNorm of the thawed stage stands still: the stage is in evaluation mode."


def _frozen_but_head() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = small.model()
    for name, stage in model.named_children():
        stage.requires_grad_(name == "head")
        stage.train(name == "head")
    return model, torch.optim.SGD(model.get_submodule("head").parameters(), lr=0.1)


@exercise(
    "05-count",
    title="how much of it trains",
    difficulty=1,
    minutes=5,
    hints=(
        "A weight matrix with 3 rows and 4 columns is one tensor and twelve parameters.",
        "parameter.numel() counts the numbers in a tensor.",
        "Sum numel() over the parameters whose requires_grad is true, and divide by the sum over all.",
    ),
)
def count(answer: Callable[[nn.Module], float]) -> Iterator[str]:
    """The answer is the share of a model's parameters that train, from 0 to 1."""
    model, _ = _frozen_but_head()
    parameters = list(model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    given = float(answer(model))
    if abs(given - trained / total) < 1e-6:
        if float(answer(small.model())) != 1:
            yield "With nothing frozen the share should be 1."
        if abs(float(answer(model.train())) - given) > 1e-6:
            yield "In training mode the share is another. What trains is told by requires_grad, not by the mode."
        return
    tensors = [parameter.requires_grad for parameter in parameters]
    buffers = total + sum(buffer.numel() for buffer in model.buffers())
    reasons = [
        (sum(tensors) / len(tensors), "That is the share of tensors. Count the numbers in them."),
        (
            trained,
            "That is the number of parameters that train. The question is about their share.",
        ),
        (100 * trained / total, "That is in percent. The answer should lie between 0 and 1."),
        (1 - trained / total, "That is the share that is frozen."),
        (trained / buffers, "BatchNorm's statistics are buffers, not parameters: leave them out."),
    ]
    said = f"Where {trained} of {total} parameters train, your function says {given:g}."
    yield small.reason(given, reasons, said)
