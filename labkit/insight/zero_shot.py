"""What a network answers to a new task before it has seen one label of it: by its old head, in other words.

Each new class is said to be meant by some of the old ones. Who says so is a person, and the answer is as good as that
person's guess; so the guesses that ship are written down here, where everyone can doubt them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from labkit.errors import BackboneError, DataError, SplitError, shown
from labkit.models import Backbone
from labkit.tuning.contracts import Split
from labkit.tuning.evaluation import Evaluation, forward, split_of
from labkit.tuning.given import a, a_text, takes
from labkit.tuning.task import evaluate

Meanings = Mapping[str, Sequence[str]]  # new class -> the old classes that mean it

# Written before anyone looked at an answer. Letters stand for digits as they do in "leet", the spelling of the first
# bulletin boards, with round letters for the 0 and whatever is one stroke for the 1.
LETTERS_FOR_DIGITS: Meanings = {
    "0": ("oO", "D", "Q"),
    "1": ("l", "I", "i"),
    "2": ("zZ",),
    "3": ("E",),
    "4": ("A",),
    "5": ("sS",),
    "6": ("b", "G"),
    "7": ("T",),
    "8": ("B",),
    "9": ("g", "q"),
}
# A bee is a bee. No ant is among the 200 classes, so other small animals that crawl stand in; what flies is left out.
THINGS_FOR_INSECTS: Meanings = {
    "ants": (
        "cockroach", "grasshopper", "mantis", "walking stick", "ladybug", "black widow", "tarantula", "scorpion",
        "centipede",
    ),
    "bees": ("bee",),
}  # fmt: skip
BY_HAND = {"digits": LETTERS_FOR_DIGITS, "ants-bees": THINGS_FOR_INSECTS}


@takes(net=a(Backbone, source="labkit.load_backbone"), name=a_text)
def zero_shot(net: Backbone, split: Split, meanings: Meanings, name: str = "valid") -> Evaluation:
    """How often the old head is right on a new task: the probabilities of old classes are added up into new ones.

    Args:
        net: a backbone with the head and the class names it was trained with.
        split: the new samples; their labels count the classes in the order of `meanings`.
        meanings: for each new class, the old ones that mean it. An old class is named whole, or by what stands before
            its first comma. What means nothing is left out.
        name: what to call the split in the result.

    Raises:
        BackboneError: the weights have no head or no class names.
        DataError: an old class that is not there, or that is said to mean two new ones; a new one without meaning.
    """
    head, old = net.head, net.card.classes if net.card else ()
    if head is None or not old:
        raise BackboneError(
            f"{net.name!r} has no old head with named classes to ask. resnet10 and resnet10-glyphs have one."
        )
    if isinstance(split, str):
        raise SplitError(
            f"split={shown(split)} is a name. Give samples themselves, such as data.valid."
        )
    split = split_of(None, split)
    columns, last = _columns(old, meanings), int(torch.as_tensor(split.labels).max())
    if last >= len(columns):
        raise DataError(
            f"The labels go up to {last}, and meanings are given for {len(columns)} classes: name one for each."
        )
    model = net.build(len(old))
    setattr(model, net.stages[-1], head)
    model.eval()

    def scores(rows: Tensor) -> Tensor:
        inputs, _ = split.batch(rows)
        shares = forward(model, inputs).log_softmax(1)
        # The logarithm of the sum of probabilities.
        return torch.stack([shares[:, some].logsumexp(1) for some in columns], dim=1)

    return evaluate(split, name, scores)


def _are_names(given: Any) -> bool:
    listed = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    return listed and all(isinstance(name, str) for name in given)


def _columns(old: Sequence[str], meanings: Meanings) -> list[list[int]]:
    """For each new class the positions of the old ones that mean it."""
    if not isinstance(meanings, Mapping) or not all(map(_are_names, meanings.values())):
        raise DataError(
            f"meanings={shown(meanings)} must say for each new class which old ones mean it, as in "
            "{'bees': ['bee'], 'ants': ['cockroach', 'mantis']}."
        )
    places = {name.split(",")[0]: place for place, name in enumerate(old)}
    places |= {name: place for place, name in enumerate(old)}
    asked = [name for names in meanings.values() for name in names]
    unknown = [name for name in asked if name not in places]
    if unknown:
        raise DataError(
            f"{unknown[0]!r} is none of the old classes. There are {', '.join(list(places)[:8])} …"
        )
    columns = [[places[name] for name in names] for names in meanings.values()]
    every = [place for some in columns for place in some]
    if len(set(every)) < len(every) or not all(columns):
        raise DataError(
            "Each new class needs at least one old class, and an old class can mean one new class at most."
        )
    return columns
