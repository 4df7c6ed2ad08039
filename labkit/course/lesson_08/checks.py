"""Checks of lesson 08: who trains in which epoch, a thaw of the next stage and no other, a plan of two phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from labkit.course import small
from labkit.learn.exercises import exercise
from labkit.tuning import Plan
from labkit.tuning.plans import resolve_depth

WhoTrains = Callable[[Sequence[str], int, int], Sequence[str]]
UnfreezeNext = Callable[[nn.Module, torch.optim.Optimizer, float], str | None]
HeadFirst = Callable[[float, int], Plan]

STAGES = ("stem", "layer1", "layer2", "head")


@exercise(
    "08-who",
    title="who trains when",
    difficulty=1,
    minutes=6,
    hints=(
        "How many stages have thawed by an epoch? Count for phase=2: one, one, two, two, three, three.",
        "Whole division counts the phases that are over. The head is there from the start.",
        "count = min(len(stages), 1 + epoch // phase), and then the last `count` names.",
    ),
)
def who_trains(answer: WhoTrains) -> Iterator[str]:
    """The answer names the stages that train in an epoch, input to head."""
    for epoch, phase in ((0, 2), (4, 2), (1, 2), (2, 2), (3, 1), (6, 3)):
        given = answer(STAGES, epoch, phase)
        if not isinstance(given, (list, tuple)) or not all(isinstance(g, str) for g in given):
            yield f"Return a list of names. Yours was of the kind {type(given).__name__}."
            return
        wanted = _unfrozen(STAGES, epoch, phase)
        if list(given) != wanted:
            yield f"In epoch {epoch}, with a thaw every {phase}, {_names(wanted)} should train, not {_names(given)}."
            yield from _what_it_is(list(given), epoch, phase)
            return
    try:
        late = list(answer(STAGES, 50, 2))
    except IndexError:
        yield "Long after the last thaw your function stops. Everything trains then."
        return
    if late != list(STAGES):
        yield f"Long after the last thaw everything should train; you say {_names(late)}."


def _unfrozen(stages: Sequence[str], epoch: int, phase: int) -> list[str]:
    count = min(len(stages), 1 + epoch // phase)
    return list(stages[len(stages) - count :])


def _what_it_is(given: list[str], epoch: int, phase: int) -> Iterator[str]:
    wanted = _unfrozen(STAGES, epoch, phase)
    if given == list(STAGES[: len(wanted)]):
        yield "Those are the stages nearest the input. The thaw begins at the head."
    elif given == wanted[::-1]:
        yield "The names are right. List them as the network has them, from input to head."
    elif given == wanted[:1] or given == wanted[-1:]:
        yield "A stage that has thawed goes on training when the next one follows."
    elif len(given) == len(wanted) + 1:
        yield "That is a thaw too early: in the first phase the head trains alone."
    elif len(given) == len(wanted) - 1:
        yield "That is a thaw too late: epochs are counted from 0."


def _names(names: Sequence[str]) -> str:
    return " and ".join(names) if names else "nothing"


@exercise(
    "08-next",
    title="thaw the next one",
    difficulty=3,
    minutes=12,
    hints=(
        "Go through the stages from the head downward. The first one without a gradient is the next.",
        "A thaw takes three things: a gradient, training mode, and an optimiser that knows.",
        "optimizer.add_param_group({'params': stage.parameters(), 'lr': lr}) gives it a rate of its own.",
    ),
)
def unfreeze_next(answer: UnfreezeNext) -> Iterator[str]:
    """The answer thaws the highest frozen stage, at a rate of its own, and says which it was."""
    model, optimizer = _head_trains()
    before, held = small.snapshot(model), list(optimizer.param_groups)
    named = answer(model, optimizer, 0.02)
    if [id(group) for group in optimizer.param_groups[: len(held)]] != [
        id(group) for group in held
    ]:
        yield "The groups that the optimiser had are gone, and what it remembered with them. Add one, keep the others."
        return
    small.train(model, optimizer)
    changed = small.moved(model, before)
    problems = [*_only_the_next_one(model, changed), *_its_own_rate(model, optimizer)]
    if named != "layer1":
        problems.append(
            f"It should return the name of the stage it thawed, 'layer1'; it returned {named!r}."
        )
    yield from problems or _goes_on_to_the_end(answer, model, optimizer)


def _only_the_next_one(model: nn.Module, changed: set[str]) -> Iterator[str]:
    if any(name.startswith("stem.") for name in changed):
        yield "The stem changed too. One call thaws one stage: the highest that is frozen."
    if "layer1.0.weight" not in changed:
        yield "After three steps the weights of layer1, right below the head, have not moved."
    if "layer1.1.running_mean" not in changed:
        yield "The BatchNorm of layer1 stands still: the stage is in evaluation mode."
    if "head.fc.weight" not in changed:
        yield "The head no longer learns."


def _its_own_rate(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[str]:
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    stage, head = (next(model.get_submodule(name).parameters()) for name in ("layer1", "head"))
    if rates.get(id(stage), 0.02) != 0.02:
        yield f"layer1 trains at the rate {rates[id(stage)]:g}, and was to get the one that was handed over, 0.02."
    if rates.get(id(head)) != 0.1:
        yield "The rate of the head has changed. Only the stage that thaws gets the new one."


def _goes_on_to_the_end(
    answer: UnfreezeNext, model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[str]:
    second = answer(model, optimizer, 0.01)
    if second != "stem":
        yield f"Called again it should thaw the stem, the next one down; it returned {second!r}."
        return
    groups = len(optimizer.param_groups)
    last: Any = answer(model, optimizer, 0.01)
    if last is not None:
        yield f"With nothing frozen any more it should return None; it returned {last!r}."
    elif len(optimizer.param_groups) != groups:
        yield "With nothing frozen any more, the optimiser should get nothing new."


def _head_trains() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = small.model()
    for name, stage in model.named_children():
        stage.requires_grad_(name == "head").train(name == "head")
    return model, torch.optim.SGD(model.get_submodule("head").parameters(), lr=0.1)


LAB = ("stem", "layer1", "layer2", "layer3", "layer4", "head")  # the stages of the lab's networks


@exercise(
    "08-two",
    title="the head first, then everything",
    difficulty=2,
    minutes=8,
    hints=(
        "A plan is a name and a tuple of phases. Who trains in the first phase, and who in the second?",
        "labkit.Phase('head', lr=lr, epochs=...) is one phase; 'all' in place of 'head' means everything.",
        "The head gets epochs // 2, everything the rest. labkit.Plan('head first', phases=(one, two)).",
    ),
)
def head_first(answer: HeadFirst) -> Iterator[str]:
    """The answer is a plan of two phases of the length and at the rate that were asked for."""
    for lr, epochs in ((1e-3, 12), (3e-4, 7)):
        plan = answer(lr, epochs)
        if not isinstance(plan, Plan):
            yield f"Return a labkit.Plan. Yours was of the kind {type(plan).__name__}."
            return
        if len(plan.phases) != 2:
            yield f"Two phases are wanted: the head, then everything. Your plan has {len(plan.phases)}."
            return
        if problems := [*_who_trains_in_it(plan), *_how_long_and_how_fast(plan, lr, epochs)]:
            yield from problems
            return


def _who_trains_in_it(plan: Plan) -> Iterator[str]:
    first, second = (resolve_depth(phase.trainable_from, LAB) for phase in plan.phases)
    if (first, second) == ("stem", "head"):
        yield "The phases are the wrong way round: the head comes first, and everything after it."
        return
    if first != "head":
        yield f"The first phase trains from {first} on. In it the head should train alone."
    if second != "stem":
        yield f"The second phase trains from {second} on. In it everything should train."


def _how_long_and_how_fast(plan: Plan, lr: float, epochs: int) -> Iterator[str]:
    if plan.epochs != epochs:
        yield (
            f"It trains for {plan.epochs} epochs, and was to train for {epochs}. "
            "Orders of different lengths cannot be compared."
        )
    elif abs(plan.phases[0].epochs - plan.phases[1].epochs) > epochs % 2:
        yield f"Of {epochs} epochs the head gets {plan.phases[0].epochs}. It should get half of them."
    if {phase.lr for phase in plan.phases} != {lr}:
        yield f"The rate should be {lr:g} in both phases."
    if plan.phases[1].lr_decay != 1:
        yield "Lower stages get a smaller rate. Here all have the same: lr_decay is 1."
