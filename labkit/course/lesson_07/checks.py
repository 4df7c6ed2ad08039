"""Checks of lesson 07: where a curve diverges, a rate as a function of the step, a rate for each stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from labkit.course import small
from labkit.learn.exercises import exercise

Diverges = Callable[[Sequence[float], Sequence[float]], float | None]
RateAt = Callable[[int, int, float, int], float]
Groups = Callable[[nn.Module, float, float, str], Sequence[dict[str, Any]]]


# ---------------------------------------------------------------- from which rate on the loss runs away

RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FALLS_THEN_RISES = (2.3, 2.2, 1.1, 0.6, 1.9, 3.0, 8.0)


@exercise(
    "07-diverges",
    title="the rate from which the loss runs away",
    difficulty=1,
    minutes=8,
    hints=(
        "Noise can lift the loss at tiny rates too. Only what lies beyond the lowest loss counts.",
        "A comparison with nan is always false. math.isfinite(loss) tells whether a loss is a number.",
        "Find the position of the smallest finite loss. From there on, return the first rate whose "
        "loss is above losses[0] or not finite, and None after the loop.",
    ),
)
def diverges(answer: Diverges) -> Iterator[str]:
    """The answer maps rising rates and their losses to the first rate that diverges, or None."""
    given = answer(RATES, FALLS_THEN_RISES)
    if given != 0.1:
        yield _why_not_there(given)
        return
    if answer(RATES, (2.3, 2.6, 1.1, 0.6, 1.9, 3.0, 8.0)) != 0.1:
        yield "A bump at a tiny rate was taken for divergence: look beyond the lowest loss only."
    if answer(RATES, (2.3, 2.2, 1.1, 0.6, math.nan, math.nan, math.nan)) != 1e-2:
        yield "Where the loss becomes nan, that rate diverges, and your function does not say so."
    if answer(RATES, (2.3, 2.2, 1.8, 1.4, 1.1, 0.9, 0.7)) is not None:
        yield "This loss falls to the very end: there is no such rate, so return None."


def _why_not_there(given: object) -> str:
    known = {
        5: "That is a position in the list. Look the rate up.",
        1.0: "That is the rate of the highest loss. The run was lost before that.",
        1e-3: "That is the rate of the lowest loss, where all is still well.",
        1e-2: "There the loss rises, but it is still below where it began.",
        3.0: "That is a loss, not a rate.",
    }
    said = f"For the losses {list(FALLS_THEN_RISES)} your function says {given!r}, not 0.1."
    return known.get(given, said) if isinstance(given, int | float) else said


# ---------------------------------------------------------------- a rate as a function of the step

STEPS, PEAK, WARMUP = 100, 0.02, 20


@exercise(
    "07-schedule",
    title="warm-up and cosine, as a function of the step",
    difficulty=2,
    minutes=12,
    hints=(
        "Two cases: before the end of the warm-up, and after it. Neither needs to know the step before.",
        "After the warm-up, which share of the remaining steps is done? It runs from 0 to 1.",
        "With that share s the rate is peak * (1 + math.cos(math.pi * s)) / 2; before, it is "
        "peak * step / warmup.",
    ),
)
def schedule(answer: RateAt) -> Iterator[str]:
    """The answer maps (step, steps, peak, warmup) to a rate: a line up to the peak, half a cosine down to 0."""
    seen = [answer(step, STEPS, PEAK, WARMUP) for step in range(STEPS + 1)]
    if not all(isinstance(rate, int | float) for rate in seen):
        yield f"Return one number for each step. Yours was {seen[0]!r} at step 0."
        return
    if any(answer(step, STEPS, PEAK, WARMUP) != seen[step] for step in (70, 5, 70, 100, 0)):
        yield "Asked again, the same step got another rate: a rate must depend on the step alone."
        return
    problem = _off_the_curve(seen)
    if problem:
        yield problem
        return
    yield from _without_warmup(answer)


def _wanted(step: float, warmup: int = WARMUP) -> float:
    if step < warmup:
        return PEAK * step / warmup
    return PEAK * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2


def _off_the_curve(seen: Sequence[float]) -> str:
    """What the first step that is off gives away; empty where none is."""
    off = [step for step, rate in enumerate(seen) if abs(rate - _wanted(step)) > 1e-9]
    if not off:
        return ""
    quarter = WARMUP + (STEPS - WARMUP) // 4
    late = PEAK * (1 + math.cos(math.pi * WARMUP / STEPS)) / 2
    telling = [
        (max(seen), 1.0, "These are factors from 0 to 1. Multiply by the peak."),
        (seen[0], PEAK, "At step 0 the rate is at its peak already: where is the warm-up?"),
        (
            seen[0],
            PEAK / WARMUP,
            "At step 0 the rate should be 0: the line passes through the origin.",
        ),
        (
            seen[WARMUP],
            late,
            "Where the warm-up ends the rate jumps: the cosine was begun at step 0.",
        ),
        (seen[-1], PEAK, "At the end the rate is back at its peak: that is a whole cosine."),
        (seen[quarter], 0.75 * PEAK, "After the warm-up the rate falls in a straight line."),
    ]
    for rate, value, said in telling:
        if abs(rate - value) < 1e-9:
            return said
    step = max(
        off, key=lambda step: abs(seen[step] - _wanted(step))
    )  # where the numbers look different
    return f"At step {step} of {STEPS} the rate should be {_wanted(step):.4g}, and it is {seen[step]:.4g}."


def _without_warmup(answer: RateAt) -> Iterator[str]:
    try:
        first, middle = (answer(step, STEPS, PEAK, 0) for step in (0, STEPS // 2))
    except ZeroDivisionError:
        yield "With warmup=0 your function divides by zero."
        return
    if abs(first - PEAK) > 1e-9 or abs(middle - PEAK / 2) > 1e-9:
        yield "With warmup=0 the rate should begin at its peak, and be half of it half-way."


# ---------------------------------------------------------------- a rate for each stage

UNSET = 99.0  # the optimiser's default, which no group should need


@exercise(
    "07-groups",
    title="an optimiser with a rate for each stage",
    difficulty=3,
    minutes=15,
    hints=(
        "An optimiser takes a list of groups: dictionaries with 'params' and settings such as 'lr'.",
        "list(model.named_children()) gives names and stages from input to output; walk it from the head.",
        "For number, (name, stage) in enumerate(reversed(...)): append a group with lr * decay ** number, "
        "and stop after trainable_from.",
    ),
)
def groups(answer: Groups) -> Iterator[str]:
    """The answer makes optimiser groups for the stages from `trainable_from` up, rates decaying downward."""
    rates = _rates(answer, "layer1")
    if isinstance(rates, str):
        yield rates
        return
    if rates["stem"]:
        yield "The stage stem is frozen here, so the optimiser should not be given it."
        return
    yield from _ladder({name: rates[name] for name in ("layer1", "head")}, (0.4, 0.8))
    whole = _rates(answer, "stem")
    if isinstance(whole, str):
        yield whole
    else:
        yield from _ladder(whole, (0.2, 0.4, 0.8))


def _rates(answer: Groups, depth: str) -> dict[str, set[float]] | str:
    """For each stage the rates that its parameters got, or what keeps an optimiser from taking the groups."""
    model = small.model()
    given = answer(model, 0.8, 0.5, depth)
    if not isinstance(given, list | tuple) or not all(
        isinstance(g, dict) and "params" in g for g in given
    ):
        return "Return a list of dictionaries, each with 'params' and 'lr'."
    if not given:
        return "The list is empty: there is nothing for the optimiser to train."
    try:
        optimizer = torch.optim.SGD([dict(group) for group in given], lr=UNSET)
    except ValueError as problem:
        if "more than one parameter group" not in str(problem):
            raise
        return "Some parameters are in two groups: give each stage to one group alone."
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, stage in model.named_children():
        if len({id(p) in rate_of for p in stage.parameters()}) > 1:
            return f"Some parameters of the stage {name} were left out: biases and BatchNorm's train too."
    return {
        name: {round(rate_of[id(p)], 9) for p in stage.parameters() if id(p) in rate_of}
        for name, stage in model.named_children()
    }


def _ladder(found: dict[str, set[float]], wanted: Sequence[float]) -> Iterator[str]:
    """At most one sentence about the rates of the stages, input first."""
    names = list(found)
    missing = [name for name in names if not found[name]]
    if missing:
        yield f"The optimiser was not given the stage {missing[0]}, so it would never move."
        return
    uneven = [name for name in names if len(found[name]) > 1]
    if uneven:
        yield f"The tensors of the stage {uneven[0]} got different rates: one factor a stage, not a tensor."
        return
    rates = [next(iter(found[name])) for name in names]
    if all(math.isclose(rate, want) for rate, want in zip(rates, wanted, strict=True)):
        return
    if UNSET in rates:
        yield "A group has no 'lr' of its own, so it takes the optimiser's default."
    elif rates == sorted(rates, reverse=True) and len(set(rates)) > 1:
        yield "The order is reversed: the head should learn fastest, and the stage furthest down slowest."
    elif len(set(rates)) == 1:
        yield "All stages got the same rate: the decay was not used."
    elif math.isclose(rates[-1], 0.4):
        yield "The head already lost a factor. It should get the full rate."
    else:
        yield f"For a head at 0.8 and a decay of 0.5 your rates are {rates}, for {', '.join(names)}."
