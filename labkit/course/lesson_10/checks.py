"""Checks of lesson 10: a network between two others, a pull towards the start, a choice among remedies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from labkit.course import small
from labkit.learn.exercises import exercise

State = Mapping[str, Tensor]
Mix = Callable[[State, State, float], Mapping[str, Tensor]]
Pull = Callable[[nn.Module, State, float], Tensor]
Ways = Mapping[str, tuple[float, float]]
Choose = Callable[[Ways, float], str]


@exercise(
    "10-mix",
    title="a network between two others",
    difficulty=1,
    minutes=8,
    hints=(
        "A share of the way from a to b is a + share * (b - a).",
        "Go through the names, and treat tensors that hold whole numbers apart: tensor.is_floating_point().",
        "before[name].lerp(after[name], share) for floating ones, after[name].clone() for the others.",
    ),
)
def mix(answer: Mix) -> Iterator[str]:
    """The answer is a new state, a share of the way from one to the other."""
    before, after = _two_states()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    goal = {name: tensor.clone() for name, tensor in after.items()}
    mixed = answer(before, after, 0.25)
    if not isinstance(mixed, Mapping) or not all(isinstance(t, Tensor) for t in mixed.values()):
        yield f"Return a dictionary of tensors. Yours was of the kind {type(mixed).__name__}."
        return
    if any(not torch.equal(kept[n], before[n]) or not torch.equal(goal[n], after[n]) for n in kept):
        yield "One of the two networks was changed. Make a new dictionary, and leave both as they are."
        return
    if missing := sorted(set(after) - set(mixed)):
        yield f"{len(missing)} of {len(after)} tensors are missing, {missing[0]} among them."
        return
    yield from _places(mixed, before, after, 0.25)


def _places(
    mixed: Mapping[str, Tensor], before: State, after: State, share: float
) -> Iterator[str]:
    for name in ("stem.0.weight", "stem.1.running_mean"):
        if torch.allclose(mixed[name], before[name].lerp(after[name], share), atol=1e-6):
            continue
        yield _what_it_is(name, mixed[name], before[name], after[name], share)
        return
    counter = "stem.1.num_batches_tracked"
    if mixed[counter].is_floating_point():
        yield f"{counter} counts batches: it has to stay a whole number."
    elif not torch.equal(mixed[counter], after[counter]):
        yield f"{counter} cannot lie in between. Take that of the second network."


def _what_it_is(name: str, given: Tensor, before: Tensor, after: Tensor, share: float) -> str:
    known = (
        (
            after.lerp(before, share),
            "That is the share turned round: 0 should give the first network.",
        ),
        (before, "That is still the first network's."),
        (after, "That is the second network's already. Statistics take part like weights."),
        (before + after, "That is the sum of the two, not a place between them."),
        ((before + after) / 2, "That is the middle, whatever the share."),
    )
    said = next((words for value, words in known if torch.allclose(given, value, atol=1e-6)), "")
    return f"{name} is not a quarter of the way from the first to the second. {said}".strip()


def _two_states() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    model = small.model()
    before = small.snapshot(model)
    small.train(model.train(), torch.optim.SGD(model.parameters(), lr=0.5), steps=4)
    return before, small.snapshot(model)


@exercise(
    "10-pull",
    title="a pull towards the start",
    difficulty=2,
    minutes=12,
    hints=(
        "named_parameters() gives names and parameters. The start is found under the same name.",
        "Sum the squares of all differences, over all tensors below the head. Do not take means.",
        "total += (parameter - start[name]).square().sum(), and at the end strength / 2 * total.",
    ),
)
def pull(answer: Pull) -> Iterator[str]:
    """The answer is half the strength times the squared distance from the start, and can be differentiated."""
    model = small.model()
    start = small.snapshot(model)
    small.train(model.train(), torch.optim.SGD(model.parameters(), lr=0.5), steps=4)
    given = answer(model, start, 0.6)
    if not isinstance(given, Tensor) or not given.requires_grad:
        yield "The term has no gradient, so it cannot pull. Return a tensor made from the parameters themselves."
        return
    wanted = 0.3 * _squares(model, start)
    if abs(float(given.detach()) - wanted) > 1e-4 * wanted:
        yield _what_it_measures(model, start, float(given.detach()), wanted)
        return
    yield from _where_it_pulls(model, start, given)


def _where_it_pulls(model: nn.Module, start: State, given: Tensor) -> Iterator[str]:
    model.zero_grad()
    given.backward()
    parameter = model.get_submodule("stem")[0].weight  # type: ignore[index]
    if parameter.grad is None:
        yield "The stem feels no pull: its parameters take no part in the term."
    elif not torch.allclose(parameter.grad, 0.6 * (parameter - start["stem.0.weight"]), atol=1e-5):
        yield "The stem is not pulled towards its start."


def _squares(model: nn.Module, start: State, head: bool = False, zero: bool = False) -> float:
    return sum(
        float((tensor.detach() - (0 if zero else start[name])).square().sum())
        for name, tensor in model.named_parameters()
        if head or not name.startswith("head.")
    )


def _what_it_measures(model: nn.Module, start: State, given: float, wanted: float) -> str:
    squares = _squares(model, start)
    buffers = sum(
        float((tensor.float() - start[name].float()).square().sum())
        for name, tensor in model.named_buffers()
    )
    count = sum(t.numel() for n, t in model.named_parameters() if not n.startswith("head."))
    known: list[tuple[float, Any]] = [
        (
            0.3 * _squares(model, start, head=True),
            "The head is in it. It is new, and has nothing to keep.",
        ),
        (0.3 * _squares(model, start, zero=True), "That pulls towards zero: it is weight decay."),
        (0.6 * squares, "It is twice as large as it should be: half the strength."),
        (squares, "The strength is missing from it."),
        (0.5 * squares, "The strength is missing from it."),
        (0.3 * squares**0.5, "That is the distance. Take its square."),
        (0.3 * squares / count, "That is a mean. Sum over all numbers."),
        (0.3 * (squares + buffers), "Statistics are in it. The optimiser moves parameters only."),
    ]
    reason = next(
        (said for value, said in known if abs(given - value) < 1e-4 * max(value, 1e-9)), ""
    )
    return f"The term should be {wanted:.4g} here; yours is {given:.4g}. {reason}".strip()


WAYS = {  # how well each does the old task, and the new one
    "head alone": (0.94, 0.90),
    "everything": (0.40, 0.97),
    "gentle": (0.88, 0.95),
    "rehearsing": (0.91, 0.94),
    "halfway back": (0.60, 0.96),
}
FAR_BELOW = {"a": (0.9, 0.42), "b": (0.8, 0.47), "c": (0.1, 0.5)}
ON_THE_LINE = {"a": (0.5, 0.5), "b": (0.25, 0.75), "c": (0.9, 0.25)}


@exercise(
    "10-choose",
    title="which way to take",
    difficulty=1,
    minutes=8,
    hints=(
        "Two steps: first which ways are good enough at the new task, then which of them kept most.",
        "The best new accuracy is max(new for old, new in ways.values()). Good enough is that less the margin.",
        "Of the names that are good enough, max(names, key=lambda name: ways[name][0]).",
    ),
)
def choose(answer: Choose) -> Iterator[str]:
    """The answer is the name of the way that keeps most among those that learn nearly as well as the best."""
    given = answer(dict(WAYS), 0.025)
    if given != "gentle":
        yield _why_not_that_one(given)
        return
    if answer(dict(FAR_BELOW), 0.1) != "a":
        yield "With the best at 0.5 and a margin of 0.1, all down to 0.4 are good enough. A margin is a difference."
    elif answer(dict(ON_THE_LINE), 0.25) != "a":
        yield "With the best at 0.75 and a margin of 0.25, a way that has 0.5 is just good enough."
    elif answer(dict(WAYS), 0.0) != "everything":
        yield "With a margin of 0 only the best at the new task is good enough."


def _why_not_that_one(given: object) -> str:
    known = {
        "everything": "That learned most. How little it kept was not asked.",
        "head alone": "That kept most, but it is further below the best new accuracy than the margin allows.",
        "rehearsing": "That has the largest sum, but it is further below the best than the margin allows.",
        "halfway back": "That is good enough at the new task, but another way that is has kept more.",
    }
    if not isinstance(given, str):
        return f"Return the name of a way. Yours was of the kind {type(given).__name__}."
    return f"For a margin of 0.025 your function says {given!r}. {known.get(given, 'There is no such way.')}"
