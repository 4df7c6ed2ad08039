"""Checks of lesson 03: patients on both sides, a split to be trusted, labels judged by those who never saw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from labkit.learn.exercises import exercise
from labkit.runtime import generator

Judge = Callable[[Tensor], Tensor]
Fit = Callable[[Tensor, Tensor], Judge]
Patients = Callable[[Sequence[str], Sequence[str]], Sequence[int]]
SplitUp = Callable[[Tensor, float, int], tuple[Sequence[int], Sequence[int]]]
Suspicious = Callable[[Tensor, Tensor, Fit], Sequence[int]]


def _positions(given: Any) -> list[int] | None:
    """The answer as a list of whole numbers, or None where it is none."""
    try:
        listed = given.tolist() if hasattr(given, "tolist") else list(given)
        if any(isinstance(one, bool) or int(one) != one for one in listed):
            return None
        return [int(one) for one in listed]
    except (TypeError, ValueError, RuntimeError):
        return None


# ---------------------------------------------------------------- the same patient on both sides

TRAIN = ("p07", "p12", "p07", "p31", "p05", "p12")
VALID = ("p12", "p44", "p31", "p02", "p12", "p44", "p1")
KNOWN = {0, 2, 4}


@exercise(
    "03-patients",
    title="images of patients that training knows",
    difficulty=1,
    minutes=6,
    hints=(
        "No file is twice here. What is twice is the person behind the images.",
        "A set of the training patients answers at once whether somebody is in it.",
        "Go through enumerate(valid), and keep each position whose patient is in set(train).",
    ),
)
def patients(answer: Patients) -> Iterator[str]:
    """The answer maps the patients of two splits to the positions in the second whose patient is in the first."""
    given = _positions(answer(list(TRAIN), list(VALID)))
    if given is None:
        yield "Return positions, whole numbers: which images of `valid` show a patient of `train`?"
        return
    if len(set(given)) < len(given):
        yield "A position is named more than once: a patient may have several images in `train`."
    if set(given) != KNOWN:
        yield _why_not_these(set(given))
    elif _positions(answer(list(TRAIN), list(VALID[3:4]))):
        yield "Now nobody is on both sides, and yet your function names somebody."


def _why_not_these(given: set[int]) -> str:
    known: tuple[tuple[set[int], str], ...] = (
        ({1, 3, 5}, "These are positions in `train`. Asked for are those in `valid`."),
        (
            {1, 3, 5, 6},
            "These are the patients that training does not know: the question is turned.",
        ),
        ({0, 2}, "Only the first image of each patient is named. Every one of them must go."),
        (KNOWN | {6}, "Patient p1 is not p12: compare whole names."),
        (
            set(),
            "Training knows p12 and p31, in other places. Look for each one in the whole of `train`.",
        ),
    )
    said = f"The images are at {sorted(KNOWN)}. Your function names {sorted(given)}."
    return next((words for positions, words in known if positions == given), said)


# ---------------------------------------------------------------- a split that can be trusted

COUNTS = (60, 30, 10)  # examples of each class, one class after the other as folders have them
SHARE = 0.2
SEEDS = range(5)


@exercise(
    "03-split",
    title="a stratified, seeded, disjoint split",
    difficulty=2,
    minutes=12,
    hints=(
        "Draw from each class by itself. Then no class can be missed, however rare it is.",
        "(labels == c).nonzero().flatten() are the positions of class c, and "
        "torch.randperm(n, generator=...) is an order drawn by chance.",
        "Make one torch.Generator().manual_seed(seed). For each class shuffle its positions, give the "
        "first round(share * n) to validation and the others to training.",
    ),
)
def split(answer: SplitUp) -> Iterator[str]:
    """The answer maps (labels, share, seed) to training and validation positions."""
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    drawn = []
    for seed in SEEDS:  # by chance, one that is not stratified may look as if it were
        parts = _parts(answer, labels, seed)
        if isinstance(parts, str):
            yield parts
            return
        problem = _not_a_split(*parts) or _not_stratified(labels, parts[1])
        if problem:
            yield problem
            return
        drawn.append(set(parts[1]))
    again = _parts(answer, labels, SEEDS[0])
    if isinstance(again, str) or set(again[1]) != drawn[0]:
        yield "The same seed gave two different splits. Draw from a generator made from the seed."
    elif all(valid == drawn[0] for valid in drawn):
        yield (
            "Another seed gave the same split: nothing was drawn. Files lie in an order that means "
            "something, such as the day they were taken."
        )


def _parts(answer: SplitUp, labels: Tensor, seed: int) -> tuple[list[int], list[int]] | str:
    given = answer(labels.clone(), SHARE, seed)
    if not isinstance(given, tuple | list) or len(given) != 2:
        return "Return two things: the positions to train on, and those to validate on."
    train, valid = map(_positions, given)
    if train is None or valid is None:
        return "Return positions, whole numbers: not labels, and no mask."
    return train, valid


def _not_a_split(train: list[int], valid: list[int]) -> str:
    count, both = sum(COUNTS), set(train) & set(valid)
    if both:
        return (
            f"{len(both)} examples are on both sides. What trains must not examine: make the parts "
            "disjoint."
        )
    if len(set(train)) < len(train) or len(set(valid)) < len(valid):
        return "An example is drawn twice into the same part: draw without putting back."
    if set(train) | set(valid) != set(range(count)):
        missing = count - len(set(train) | set(valid))
        return f"{missing} of {count} examples are in neither part."
    if len(valid) == round((1 - SHARE) * count):
        return "The share went to training. It is the share to validate on."
    return ""


def _not_stratified(labels: Tensor, valid: list[int]) -> str:
    found = labels[valid].bincount(minlength=len(COUNTS)).tolist()
    if 0 in found:
        return f"Validation has nothing of class {found.index(0)}, so it is blind to it."
    for label, (has, count) in enumerate(zip(found, COUNTS, strict=True)):
        if abs(has - SHARE * count) >= 1:
            return (
                f"Class {label} has {has} of its {count} examples in validation, and a share of {SHARE} "
                f"is {SHARE * count:g}: draw from each class by itself."
            )
    return ""


# ---------------------------------------------------------------- labels judged by those who never saw them

CLASSES, A_CLASS = 3, 14
WRONG = (5, 17, 30)  # positions with a wrong label, while the classes take turns
BETWEEN = (3, 7, 20, 34)  # hard but right: they lie half-way to another class


@exercise(
    "03-suspects",
    title="the least believable labels first",
    difficulty=3,
    minutes=15,
    hints=(
        "A model that has learned from a label cannot judge it. Cut the positions into parts, and fit on the others.",
        "From the probabilities of the examples left out, take the one of the label that was given: "
        "p[range(n), labels].",
        "order = torch.randperm(n); for part in order.chunk(5): fit on the others, keep "
        "judge(features[part])[range(len(part)), labels[part]]. In the end return kept.argsort().",
    ),
)
def suspects(answer: Suspicious) -> Iterator[str]:
    """The answer maps (features, labels, fit) to all positions, the least believable label first."""
    turns = torch.arange(CLASSES * A_CLASS) % CLASSES
    cloud = _Cloud(turns, WRONG, BETWEEN)
    given = _positions(answer(cloud.features, cloud.labels, cloud.fit))
    if given is None:
        yield "Return positions, whole numbers, not probabilities: argsort turns one into the other."
        return
    if sorted(given) != list(range(len(turns))):
        yield f"Return every position once: from 0 to {len(turns) - 1}, in your order."
        return
    if set(given[: len(WRONG)]) != set(WRONG):
        yield _why_not_first(given, cloud)
        return
    yield from _in_folders(answer)


class _Cloud:
    """Points around a centre a class, some with a wrong label; and a model that remembers whatever it has seen."""

    def __init__(self, truth: Tensor, wrong: Sequence[int], between: Sequence[int]) -> None:
        noise = torch.randn(len(truth), CLASSES, generator=generator(0, "cloud"))
        centres = 6 * torch.eye(CLASSES)
        self.features = centres[truth] + 0.3 * noise
        for place in between:
            half = (centres[truth[place]] + centres[(truth[place] + 1) % CLASSES]) / 2
            self.features[place] = half + 0.1 * noise[place]
        self.labels = truth.clone()
        for place in wrong:
            self.labels[place] = (truth[place] + 1) % CLASSES
        self.asked_its_own = False

    def fit(self, features: Tensor, labels: Tensor) -> Judge:
        """A vote of all that was learned, the nearer the louder; of what was learned itself, the label it had."""
        known, votes = features.clone(), torch.eye(CLASSES)[labels]

        def judge(asked: Tensor) -> Tensor:
            distances = torch.cdist(asked, known, compute_mode="donot_use_mm_for_euclid_dist")
            loudness = (-distances.square() / 4).exp() + 1e-12
            chances = (loudness @ votes) / loudness.sum(1, keepdim=True)
            nearest, where = distances.min(1)
            learned = nearest == 0
            self.asked_its_own |= bool(learned.any())
            return torch.where(learned.unsqueeze(1), votes[where], chances)

        return judge


def _why_not_first(given: list[int], cloud: _Cloud) -> str:
    first = set(given[: len(BETWEEN)])
    if set(given[-len(WRONG) :]) == set(WRONG):
        return "The order is turned: the wrong labels come last. A small probability is the suspicious one."
    if len(first & set(BETWEEN)) > 1:
        return (
            "First come examples that the model is unsure of, with labels that are right. Rank by the "
            "probability of the label that was given, not of the one it would give."
        )
    if cloud.asked_its_own:
        return (
            "The model was asked about labels that it had learned from, and it believes them all. "
            "Judge each by a model that never saw it."
        )
    return f"The wrong labels are at {list(WRONG)}. Your order begins with {given[: len(WRONG)]}."


def _in_folders(answer: Suspicious) -> Iterator[str]:
    """The same with one class after the other, as folders give them."""
    truth = torch.arange(CLASSES).repeat_interleave(A_CLASS)
    cloud = _Cloud(truth, WRONG, ())
    given = _positions(answer(cloud.features, cloud.labels, cloud.fit)) or []
    if set(given[: len(WRONG)]) != set(WRONG):
        yield (
            "With one class after the other, as folders give them, the parts left out hold whole classes, "
            "and nobody knows these any more. Shuffle before you cut."
        )
