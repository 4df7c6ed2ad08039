"""Checks of lesson 16: a loop that keeps to a budget, an answer people can read, an export that says the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from labkit.learn.exercises import exercise

Loop = Callable[[Callable[[], None], Callable[[], float], float], int]
Answer = Callable[[Tensor, list[str], int], Any]
Same = Callable[[Tensor, Tensor], float]


# ---------------------------------------------------------------- a loop that keeps to a budget

STARTED = 1000.0  # what the clock shows before anything is done: it has run for other things
ENOUGH = 500  # steps after which a loop that does not end is stopped


class _EndlessError(Exception):
    """The learner's loop does not look at the clock."""


class _Work:
    """Steps that take a known time on a clock of their own."""

    def __init__(self, *costs: float) -> None:
        self.now, self.done, self._costs = STARTED, 0, costs or (1.0,)

    def step(self) -> None:
        if self.done >= ENOUGH:
            raise _EndlessError
        self.now += self._costs[self.done % len(self._costs)]
        self.done += 1

    def clock(self) -> float:
        return self.now


def _kept(answer: Loop, seconds: float, *costs: float) -> tuple[int, Any]:
    """How many steps the answer took and how many it says."""
    work = _Work(*costs)
    said = answer(work.step, work.clock, seconds)
    return work.done, said


@exercise(
    "16-budget",
    title="a loop that keeps to a budget",
    difficulty=1,
    minutes=8,
    hints=(
        "The clock does not begin at zero. Ask it once before the first step, and compare with that.",
        "Look at the clock before each step, also before the first one.",
        "began, steps = clock(), 0; while clock() - began < seconds: step(); steps += 1. Return steps.",
    ),
)
def budget(answer: Loop) -> Iterator[str]:
    """The answer takes steps while fewer than `seconds` are spent by `clock`, and returns how many it took."""
    try:
        took, said = _kept(answer, 10.0)
    except _EndlessError:
        yield (
            "With steps of one second and a budget of ten, your loop goes on after five hundred steps. "
            "It must ask the clock that it is given, which tells processor seconds."
        )
        return
    if took != 10:
        yield _why_not_ten(took)
        return
    if isinstance(said, bool) or not isinstance(said, int):
        yield f"Return the number of steps as a whole number. Yours was {said!r}."
        return
    if said != took:
        yield f"It took {took} steps and says {said}. Count each step once."
        return
    yield from _at_the_edges(answer)


def _why_not_ten(took: int) -> str:
    known = {
        0: "Not a single step was taken. The clock shows a thousand seconds from before: subtract those.",
        9: "With steps of one second and a budget of ten, the tenth still fits. Stop when ten are spent.",
        11: "It takes a step when the budget is spent to the last second. Nothing is left then: use <, not <=.",
        1: "It took a single step. Go on until the budget is spent.",
    }
    said = f"Steps of one second and a budget of ten give ten steps, and yours took {took}."
    return known.get(took, said)


def _at_the_edges(answer: Loop) -> Iterator[str]:
    if _kept(answer, 0.0)[0]:
        yield "With a budget of 0 it still takes a step. Look at the clock before the first one, too."
    if _kept(answer, 10.0, 0.5, 4.0)[0] != 6:
        yield (
            "Steps do not all take the same time: a validation follows some. Ask the clock before each step, "
            "and do not reckon from the first."
        )
    if _kept(answer, 0.25)[0] != 1:
        yield "A step that has begun is finished: a budget smaller than one step still allows one."


# ---------------------------------------------------------------- an answer people can read

CLASSES = ["ant", "bee", "wasp", "fly"]
SCORES = (1.0, 3.0, -2.0, 2.0)


@exercise(
    "16-top",
    title="an answer that people can read",
    difficulty=2,
    minutes=10,
    hints=(
        "Scores become probabilities by softmax, over all classes.",
        "scores.softmax(0).topk(count) gives the largest probabilities and where they are.",
        "Ask for min(count, len(classes)); then pair classes[place] with the probability as a float.",
    ),
)
def top(answer: Answer) -> Iterator[str]:
    """The answer maps scores (classes,) to the `count` likeliest classes: pairs of name and probability."""
    scores = torch.tensor(SCORES)
    given = answer(scores.clone(), list(CLASSES), 2)
    problem = _not_pairs(given)
    if problem:
        yield problem
        return
    names, shares = [name for name, _ in given], [float(share) for _, share in given]
    wanted = scores.softmax(0)
    if names != ["bee", "fly"]:
        yield _why_not_these(names)
        return
    if max(abs(shares[0] - float(wanted[1])), abs(shares[1] - float(wanted[3]))) > 1e-5:
        yield _why_not_so_likely(shares, scores)
        return
    yield from _other_scores(answer)


def _not_pairs(given: Any) -> str:
    if not isinstance(given, list | tuple):
        return f"Return a list of pairs. Yours was of the kind {type(given).__name__}."
    pairs = all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in given)
    if pairs and len(given) == 2 and all(isinstance(name, str) for name in given[0]):
        return "That is a list of names and a list of probabilities. Pair them: one pair a class."
    if not pairs:
        return "Each entry must be a pair: the name of a class, and its probability."
    if len(given) != 2:
        return f"Two classes were asked for, and {len(given)} came."
    if not all(isinstance(name, str) for name, _ in given):
        return "People know classes by name. Yours come as numbers: look the names up."
    return ""


def _why_not_these(names: list[str]) -> str:
    known = {
        ("fly", "bee"): "The likeliest class comes first. Yours is last.",
        ("wasp", "ant"): "These are the least likely classes.",
        ("ant", "bee"): "These are the first two classes of the list, whatever their scores are.",
    }
    said = f"For scores {list(SCORES)} of {', '.join(CLASSES)} the likeliest two are bee and fly, not {names}."
    return known.get((names[0], names[1]), said)


def _why_not_so_likely(shares: list[float], scores: Tensor) -> str:
    first = float(scores[1])
    known = [
        (first, "That is the score. A probability lies between 0 and 1: use softmax."),
        (
            float(scores.sigmoid()[1]),
            "That is a sigmoid, one class at a time. Here the classes exclude each other: softmax.",
        ),
        (
            float(scores[[1, 3]].softmax(0)[0]),
            "The softmax was taken of the two that are shown. The others take their share too.",
        ),
        (
            100 * float(scores.softmax(0)[1]),
            "Give the probability as a share from 0 to 1, not in per cent.",
        ),
        (float(scores.log_softmax(0)[1]), "That is the logarithm of the probability."),
        (
            first / float(scores.sum()),
            "Scores can be negative, so a share of their sum is no probability. Use softmax.",
        ),
    ]
    for value, said in known:
        if math.isclose(shares[0], value, abs_tol=1e-5):
            return said
    return f"bee should get {float(scores.softmax(0)[1]):.4f}, and yours gets {shares[0]:.4f}."


def _other_scores(answer: Answer) -> Iterator[str]:
    every = answer(torch.tensor(SCORES), list(CLASSES), 9)
    if len(every) != len(CLASSES):
        yield f"Nine of four classes were asked for. Give the four there are; yours gave {len(every)}."
    large = answer(torch.tensor([1000.0, 0.0, 999.0, 0.0]), list(CLASSES), 1)
    if not math.isclose(float(large[0][1]), 0.7310586, abs_tol=1e-4):
        yield "With scores around a thousand the probability is no number or wrong. torch's own softmax copes."


# ---------------------------------------------------------------- an export that says the same


@exercise(
    "16-same",
    title="how far two answers are apart",
    difficulty=2,
    minutes=8,
    hints=(
        "A difference may go either way, so take it without its sign before the largest is looked for.",
        "One image that is off must show, however many are right. A mean hides it.",
        "Let what is not finite count as infinitely far: torch.isfinite(...).all(). Otherwise "
        "(a - b).abs().max().item().",
    ),
)
def same(answer: Same) -> Iterator[str]:
    """The answer maps two sets of probabilities (n, classes) to their largest difference, inf where one is none."""
    ours = torch.full((100, 4), 0.25)
    nothing = answer(ours.clone(), ours.clone())
    if problem := _not_a_number(nothing):
        yield problem
        return
    if float(nothing) != 0:
        yield "Two equal sets of probabilities are 0 apart."
        return
    theirs = ours.clone()
    theirs[70] = torch.tensor([0.05, 0.45, 0.25, 0.25])
    for one, other, told in ((ours, theirs, "second"), (theirs, ours, "first")):
        given = answer(one.clone(), other.clone())
        problem = _why_not_a_fifth(given, told)
        if problem:
            yield problem
            return
    theirs = ours.clone()
    theirs[70, 1] = float("nan")
    for one, other in ((ours, theirs), (theirs, ours)):
        given = answer(one.clone(), other.clone())
        if not math.isinf(float(given)):
            yield (
                f"One probability is not a number, and your function says {float(given):g}. Each comparison with nan "
                "is false, so such an export would pass. Say inf."
            )
            return
    lower = ours.clone()
    lower[3, 0] = 0.05
    both = (answer(ours.clone(), lower.clone()), answer(lower.clone(), ours.clone()))
    if not all(math.isclose(float(given), 0.2, abs_tol=1e-6) for given in both):
        yield "A probability that is too small counts as much as one that is too large."


def _not_a_number(given: Any) -> str:
    if isinstance(given, Tensor) and given.numel() != 1:
        return f"Return one number for all images. Yours has the shape {tuple(given.shape)}."
    if isinstance(given, bool) or not isinstance(given, int | float | Tensor):
        return f"Return one number. Yours was {given!r}."
    return ""


def _why_not_a_fifth(given: Any, told: str) -> str:
    """What a wrong distance gives away, for one image of a hundred that is off by a fifth in two classes."""
    value = float(given)
    known = [
        (0.2, ""),
        (
            0.4 / 400,
            "That is the mean over everything. One image that is off must show among a hundred.",
        ),
        (0.4 / 4, "That is a mean over the classes of the image. Take the largest."),
        (0.4, "That is the sum over the classes. The largest single difference is meant."),
        (0.04, "That is the square of the difference."),
        (0.08, "That is a sum of squares."),
        (
            0.0,
            f"The {told} set is off in one image by a fifth, and your function says that nothing differs.",
        ),
        (1.0, "That counts images or classes. How far apart the probabilities are is meant."),
        (
            0.08**0.5,
            "That is the length of the difference over the classes. The largest single one is meant.",
        ),
    ]
    for wanted, said in known:
        if math.isclose(value, wanted, abs_tol=1e-6):
            return said
    return f"One probability is off by 0.2, and none by more. Your function says {value:g}."
