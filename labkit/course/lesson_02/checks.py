"""Checks of lesson 02: the nearest neighbours of an image, old classes in new words, and class prototypes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from labkit.learn.exercises import exercise

Nearest = Callable[[Tensor, int, int], Sequence[int]]
Translate = Callable[[Tensor, Sequence[Sequence[int]]], Tensor]
ByPrototype = Callable[[Tensor, Tensor, Tensor], Tensor]


def _arrows(*each: tuple[float, float]) -> Tensor:
    """Vectors in a plane, each given by its angle in degrees and its length; float32 (n, 2)."""
    return torch.tensor(
        [
            (length * math.cos(math.radians(angle)), length * math.sin(math.radians(angle)))
            for angle, length in each
        ]
    )


def _whole_numbers(given: object) -> list[int] | None:
    """A tensor, an array or a sequence of whole numbers as a list; None for anything else."""
    listed = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(listed, list | tuple):
        return None
    plain = [one.item() if hasattr(one, "item") else one for one in listed]
    return plain if all(type(one) is int for one in plain) else None


# ---------------------------------------------------------------- the nearest neighbours

# Row 3 is asked about first. Row 2 is its twin, row 5 the longest, row 4 near in every sense.
ARROWS = ((10, 9.0), (60, 1.0), (0, 1.0), (0, 1.0), (25, 0.9), (40, 12.0), (180, 0.2), (90, 0.1))
QUERY, COUNT = 3, 3
ALIKE = [2, 0, 4]


@exercise(
    "02-neighbours",
    title="the nearest neighbours by cosine similarity",
    difficulty=1,
    minutes=10,
    hints=(
        "Cosine similarity asks for the direction alone. Divide every row by its length first.",
        "With rows of length 1, the products with one of them are the cosines: rows @ rows[query].",
        "Give the query itself a cosine below -1. Then topk(k).indices of the cosines is the answer.",
    ),
)
def neighbours(answer: Nearest) -> Iterator[str]:
    """The answer gives the positions of the k rows with the largest cosine to row `query`, itself left out."""
    rows = _arrows(*ARROWS)
    given = _whole_numbers(answer(rows.clone(), QUERY, COUNT))
    if given is None:
        yield "Return the positions of the neighbours: whole numbers, as a list or a tensor."
        return
    if given != ALIKE:
        yield _why_not_those(given)
        return
    if _whole_numbers(answer(rows.clone(), 5, COUNT)) != [4, 1, 0]:
        yield f"Asked about row {QUERY} all is right, about row 5 it is not: is `query` used?"
    if _whole_numbers(answer(rows.clone(), QUERY, 1)) != ALIKE[:1]:
        yield "Asked for one neighbour instead of three, another list comes: is `k` used?"
    if QUERY in (_whole_numbers(answer(rows.clone(), QUERY, len(rows) - 1)) or ()):
        yield "A cosine of 0 does not leave the query out: rows that point away are below it. Give it less than -1."


def _why_not_those(given: list[int]) -> str:
    known = {
        "2 4 1": "These are the nearest by distance. A long arrow in the same direction counts as near.",
        "5 0 2": "These have the largest products. Long rows win that way: divide by the lengths.",
        "5 0 3": "These have the largest products. Long rows win that way: divide by the lengths.",
        "6 7 1": "These are the farthest. A large cosine means near.",
        "4 0 2": "These are the right ones in the wrong order: the most alike comes first.",
    }
    said = known.get(" ".join(map(str, given)))
    if said:
        return said
    if QUERY in given and 2 not in given:
        return "The query is among its own neighbours, and its twin was thrown out. Leave out the row `query`."
    if QUERY in given:
        return "The query is among its own neighbours. It is the most alike and tells nothing."
    if len(given) != COUNT:
        return f"Asked for {COUNT} neighbours, your function gives {len(given)}."
    return f"The rows most alike to row {QUERY} are {ALIKE}, and your function says {given}."


# ---------------------------------------------------------------- old classes in new words

GROUPS = ([0, 1, 2], [3])  # of five old classes; the last one means nothing
SHARES = ((0.2, 0.2, 0.1, 0.3, 0.2), (0.1, 0.1, 0.0999, 0.6, 0.1001), (0.02, 0.02, 0.01, 0.05, 0.9))


@exercise(
    "02-translate",
    title="the old head's answer in the words of the new task",
    difficulty=2,
    minutes=12,
    hints=(
        "Scores cannot be added up. Probabilities can: softmax turns one into the other.",
        "Add the probabilities of all old classes that mean the same new one.",
        "What means nothing is lost, so divide by what is left: shares / shares.sum(dim=1, keepdim=True).",
    ),
)
def translate(answer: Translate) -> Iterator[str]:
    """The answer maps raw scores (n, old) and groups of columns to probabilities (n, new)."""
    shares = torch.tensor(SHARES)
    scores = shares.log()
    given = answer(scores.clone(), [[*some] for some in GROUPS])
    if not isinstance(given, Tensor) or given.shape != (len(shares), len(GROUPS)):
        yield f"Return a tensor of shape {(len(shares), len(GROUPS))}: a row an image, a column a new class."
        return
    summed = torch.stack([shares[:, some].sum(1) for some in GROUPS], dim=1)
    wanted = summed / summed.sum(1, keepdim=True)
    if not torch.allclose(given.float(), wanted, atol=1e-4):
        yield _why_not_these(given.float(), scores, summed)
        return
    raised = answer(scores + 1000, [[*some] for some in GROUPS])
    if not torch.allclose(raised.float(), wanted, atol=1e-4):
        yield "Raised by 1000 all scores mean the same, but your sum overflows. torch.softmax takes care of that."


def _why_not_these(given: Tensor, scores: Tensor, summed: Tensor) -> str:
    of_each = [scores.softmax(1)[:, some] for some in GROUPS]
    means, tops = (torch.stack([how(some) for some in of_each], dim=1) for how in (_mean, _top))
    raw = torch.stack([scores[:, some].sum(1) for some in GROUPS], dim=1)
    known = [
        (summed, "The rows do not sum to 1: divide by what is left once the meaningless classes are gone."),
        (summed.softmax(1), "These were probabilities already. A second softmax flattens them: divide by the sum."),
        (raw.softmax(1), "Raw scores were added up. Turn them into probabilities first, then add."),
        (_normal(means), "The probabilities were averaged, so a new class with many old ones loses. Add them up."),
        (means, "The probabilities were averaged, so a new class with many old ones loses. Add them up."),
        (_normal(tops), "Only the strongest old class of each group counts. Add up all that mean the same."),
        (tops, "Only the strongest old class of each group counts. Add up all that mean the same."),
    ]  # fmt: skip
    for wrong, said in known:
        if torch.allclose(given, wrong, atol=1e-4):
            return said
    return f"For the first row the new classes should have {_normal(summed)[0].tolist()}, not {given[0].tolist()}."


def _mean(shares: Tensor) -> Tensor:
    return shares.mean(1)


def _top(shares: Tensor) -> Tensor:
    return shares.amax(1)


def _normal(shares: Tensor) -> Tensor:
    return shares / shares.sum(1, keepdim=True)


# ---------------------------------------------------------------- prototypes

# Few examples of three classes, and what is asked, each chosen so that one mistake shows.
EXAMPLES = _arrows((0, 1.0), (60, 1.0), (100, 5.0), (110, 5.0), (200, 3.0), (300, 1.0))
CLASSES = torch.tensor([2, 2, 5, 5, 7, 7])
ASKED = _arrows(
    (75, 1.0), (158, 1.0), (105, 0.1), (60, 1.0), (250, 1.0), (2, 1.0), (315, 1.0)
)  # fmt: skip
RIGHT = [5, 5, 5, 2, 7, 2, 2]


@exercise(
    "02-prototypes",
    title="a classifier of class means",
    difficulty=3,
    minutes=15,
    hints=(
        "The prototype of a class is the mean of its examples. There are as many as classes.",
        "classes = train_labels.unique() lists them; train_features[train_labels == c] are the examples of one.",
        "Normalise features and prototypes, multiply, take argmax(dim=1), and look the class up in `classes`.",
    ),
)
def prototypes(answer: ByPrototype) -> Iterator[str]:
    """The answer gives each row of features the class whose mean lies in the most similar direction."""
    given = _whole_numbers(answer(EXAMPLES.clone(), CLASSES.clone(), ASKED.clone()))
    if given is None or len(given) != len(ASKED):
        yield f"Return one class for each of the {len(ASKED)} rows: whole numbers, as a tensor."
        return
    if given != RIGHT:
        yield _why_not_so(given)
        return
    order = torch.tensor([4, 1, 3, 0, 5, 2])
    if _whole_numbers(answer(EXAMPLES[order], CLASSES[order], ASKED.clone())) != RIGHT:
        yield "With the same examples in another order other classes come out: look at the labels, not at places."


def _why_not_so(given: list[int]) -> str:
    names = CLASSES.unique()
    unit = torch.nn.functional.normalize
    means, turned = (
        torch.stack([rows[name == CLASSES].mean(0) for name in names])
        for rows in (EXAMPLES, unit(EXAMPLES))
    )
    nearest = CLASSES[(unit(ASKED) @ unit(EXAMPLES).T).argmax(1)]
    cosines = unit(ASKED) @ unit(means).T
    known = [
        (cosines.argmax(1), "These are positions among the prototypes. Look up the class of each."),
        (names[cosines.argmin(1)], "These are the classes least alike. A large cosine means near."),
        (nearest, "Each row got the class of its nearest example. A prototype is the mean of all of them."),
        (names[torch.cdist(ASKED, means).argmin(1)], "That is the nearest mean by distance. Use the cosine."),
        (names[(unit(ASKED) @ unit(turned).T).argmax(1)],
         "Lengths were divided out before the mean. Average the features as they are."),
        (names[(ASKED @ means.T).argmax(1)], "The product favours long prototypes. Divide each by its length."),
    ]  # fmt: skip
    for wrong, said in known:
        if given == wrong.tolist():
            return said
    return f"The classes should be {RIGHT}, and your function says {given}."
