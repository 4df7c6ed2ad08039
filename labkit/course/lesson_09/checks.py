"""Checks of lesson 09: weights that stay kept, an epoch to go back to, a shift that keeps the label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from labkit.course import small
from labkit.learn.exercises import exercise
from labkit.runtime import generator, seeded_globals

Keep = Callable[[nn.Module], Any]
StopEpoch = Callable[[Sequence[float], int], int]
Shift = Callable[[Tensor, int, torch.Generator], Tensor]


# ---------------------------------------------------------------- weights that stay as they were


@exercise(
    "09-keep",
    title="weights that stay kept",
    difficulty=1,
    minutes=6,
    hints=(
        "state_dict() hands out the tensors that the model goes on training, not copies of them.",
        "A copy of the dictionary is not a copy of what is in it.",
        "copy.deepcopy(model.state_dict()) copies both. So does a dictionary of tensor.clone().",
    ),
)
def keep(answer: Keep) -> Iterator[str]:
    """The answer gives a state that training leaves alone and that `load_state_dict` takes back whole."""
    model = small.model().train()
    small.train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    before, mode = small.snapshot(model), model.training
    kept = answer(model)
    if isinstance(kept, nn.Module):
        yield "That is a whole model. Return its state: names and tensors, as load_state_dict takes them."
        return
    if not isinstance(kept, dict) or not all(isinstance(one, Tensor) for one in kept.values()):
        yield f"Return a dictionary of names and tensors. Yours was of the kind {type(kept).__name__}."
        return
    if small.moved(model, before) or model.training != mode:
        yield "Keeping the weights has changed the model. Only look at it."
    missing = sorted(set(before) - set(kept))
    if missing:
        yield _what_is_missing(missing)
        return
    small.train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    followed = [name for name in before if not torch.equal(kept[name], before[name])]
    if followed:
        yield (
            f"After three more steps {len(followed)} of {len(before)} kept tensors have changed too: "
            "they are the model's own, not copies."
        )


def _what_is_missing(missing: Sequence[str]) -> str:
    statistics = [name for name in missing if "running_" in name or "num_batches" in name]
    if len(statistics) == len(missing):
        return "The statistics of BatchNorm are missing. They are buffers, and belong to the best epoch too."
    return (
        f"These are missing: {', '.join(missing[:3])}. The best epoch is all tensors of the state."
    )


# ---------------------------------------------------------------- the epoch to go back to

LOSSES = (2.0, 2.1, 1.2, 0.9, 1.0, 0.95, 0.8, 0.85, 0.9, 0.88, 0.7)
LOOKED = f"For the losses {list(LOSSES)} and a patience of"


@exercise(
    "09-patience",
    title="the epoch to go back to",
    difficulty=2,
    minutes=12,
    hints=(
        "Two numbers travel along: the epoch of the lowest loss so far, and that loss.",
        "Stop when the epoch at hand is `patience` epochs after the best one. Return the best one.",
        "for epoch, loss in enumerate(losses, 1): below the lowest, remember both; "
        "else, where epoch - best >= patience, leave the loop. Return best after it.",
    ),
)
def patience(answer: StopEpoch) -> Iterator[str]:
    """The answer maps validation losses, from epoch 1 on, and a patience to the epoch whose weights are kept."""
    given = answer(LOSSES, 2)
    if given != 4:
        yield _why_not_four(given, answer)
        return
    three = answer(LOSSES, 3)
    if three != 7:
        yield (
            "The epochs without a better one must follow each other. A new lowest loss starts the count again."
            if three == 4
            else f"{LOOKED} 3 your function says {three!r}, and 7 is right."
        )
        return
    if answer((1.0, 0.5, 0.5, 0.5, 0.4), 2) != 2:
        yield "A loss that only equals the lowest is no improvement, so it does not start the count again."
    if answer((0.9, 0.7, 0.6, 0.5), 2) != 4:
        yield "Where patience never runs out, all epochs were trained: the best of them is meant."
    if answer((0.5, 0.6, 0.7), 5) != 1:
        yield "Where the losses end before patience does, the best epoch so far is still the answer."


def _why_not_four(given: object, answer: StopEpoch) -> str:
    """What a wrong epoch for a patience of 2 gives away."""
    if isinstance(given, float) and given in LOSSES:
        return "That is a loss. Return the epoch, counted from 1."
    if given == 7:
        return (
            "You wait for losses that rise from one epoch to the next. Compare with the lowest so far."
            if answer(LOSSES, 1) == 1
            else "You wait one epoch too long: with a patience of 2, two epochs without a better one are enough."
        )
    if given == 1:
        return (
            "You count from the first epoch. Count from the best one."
            if answer(LOSSES, 3) == 3
            else "You stop at the first epoch that is no better: the patience was not used up yet."
        )
    known = {
        6: "That is the epoch at which training stops. The weights to keep are those of the best one.",
        3: "Counted from 0, that is the right place. Epochs count from 1.",
        11: "You looked at all epochs. Those after patience ran out were never trained.",
        2: "That is the highest loss. Of an accuracy the highest is best, of a loss the lowest.",
        0: "There is no epoch 0 here: the first loss is that after epoch 1.",
    }
    said = f"{LOOKED} 2 your function says {given!r}, and 4 is right."
    return known.get(given, said) if isinstance(given, int) else said


# ---------------------------------------------------------------- a shift that keeps the label

MOST, COUNT, SIDE = 3, 40, 9
Place = tuple[int, int]


@exercise(
    "09-augment",
    title="an augmentation that keeps the label",
    difficulty=3,
    minutes=18,
    hints=(
        "Draw two whole numbers for each image, from -most to most: torch.randint(..., generator=generator).",
        "A black border makes room: nn.functional.pad(images, (most, most, most, most)). "
        "A shift is then a window of the old size.",
        "For each image cut padded[:, top : top + height, left : left + width] with its own top and left "
        "from 0 to 2 * most, and torch.stack the windows.",
    ),
)
def augment(answer: Shift) -> Iterator[str]:
    """The answer shifts every image of a batch by its own whole number of pixels; black comes in."""
    images = torch.rand(COUNT, 3, SIDE, SIDE, generator=generator(0, "to shift")) * 0.8 + 0.2
    given, before = images.clone(), images.clone()
    moved = answer(given, MOST, generator(1, "shift"))
    problem = _not_a_batch(moved, images) or (
        ""
        if torch.equal(given, before)
        else "The images that came in were changed. Return new ones."
    )
    if problem:
        yield problem
        return
    found = [_shift_of(new, old) for new, old in zip(moved, images, strict=True)]
    lost = [number for number, place in enumerate(found) if place is None]
    if lost:
        yield _what_was_done(moved[lost[0]], images[lost[0]])
        return
    yield from _drawn_well([place for place in found if place is not None])
    yield from _from_the_generator_alone(answer, images, moved)


def _not_a_batch(moved: Any, images: Tensor) -> str:
    if not isinstance(moved, Tensor):
        return f"Return a tensor. Yours was of the kind {type(moved).__name__}."
    if moved.shape != images.shape:
        return f"The shape has changed from {tuple(images.shape)} to {tuple(moved.shape)}."
    if moved.dtype != images.dtype:
        return f"The numbers were {images.dtype} and are now {moved.dtype}."
    return ""


def _shifted(image: Tensor, place: Place) -> Tensor:
    """An image (c, h, w) moved down and right by so many pixels; 0 comes in."""
    down, right = place
    new = torch.zeros_like(image)
    height, width = image.shape[-2:]
    new[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
        :, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return new


def _shift_of(new: Tensor, old: Tensor, most: int = MOST) -> Place | None:
    """By how much an image was moved, down and right; None where it was not only moved."""
    reach = range(-most, most + 1)
    return next((p for p in product(reach, reach) if torch.equal(new, _shifted(old, p))), None)


def _what_was_done(new: Tensor, old: Tensor) -> str:
    """What else than a small shift with black at the edge happened to an image."""
    reach = range(-MOST, MOST + 1)
    if any(torch.equal(new, old.roll(place, (1, 2))) for place in product(reach, reach)):
        return "What leaves on one side comes in on the other. A digit would be cut in two: let black come in."
    if _shift_of(new, old, SIDE - 1):
        return f"An image has moved by more than {MOST} pixels, though that was the most."
    if any(torch.equal(new, old.flip(axis)) for axis in (1, 2)):
        return "An image was mirrored. A mirrored digit is no digit: the label would be wrong."
    for place in product(reach, reach):
        there = _shifted(torch.ones_like(old), place) > 0
        if torch.equal(new[there], _shifted(old, place)[there]):
            return (
                "Moved as it should be, but what comes in at the edge is not black: it should be 0."
            )
    return (
        "An image was changed by more than a shift of whole pixels, the same for all its channels."
    )


def _drawn_well(found: Sequence[Place]) -> Iterator[str]:
    """At most one sentence about how the shifts of many images are spread."""
    downs, rights = ({place[axis] for place in found} for axis in (0, 1))
    if len(set(found)) == 1:
        same = found[0]
        yield (
            "No image has moved."
            if same == (0, 0)
            else "All images of the batch have moved by the same shift. Draw one for each."
        )
    elif len(downs) == 1 or len(rights) == 1:
        yield "The images move along one axis only. Draw a shift for height and one for width."
    elif all(down == right for down, right in found):
        yield "Each image moves as far down as to the right: draw the two shifts apart."
    elif min(downs) >= 0 or min(rights) >= 0 or max(downs) <= 0 or max(rights) <= 0:
        yield "The images move in one direction only. A shift may go either way."
    elif max(map(abs, downs | rights)) < MOST:
        yield f"In {len(found)} images no shift was as large as {MOST}, though that is allowed."
    elif min(downs | rights) > -MOST or max(downs | rights) < MOST:
        yield (
            f"In {len(found)} images none moved by {MOST} in one of the directions, though in the other they do. "
            "Does your range end too early? Of torch.randint(low, high) the last number is left out."
        )


def _from_the_generator_alone(answer: Shift, images: Tensor, moved: Tensor) -> Iterator[str]:
    with seeded_globals(1, "other chance"):
        again = answer(images.clone(), MOST, generator(1, "shift"))
    if not torch.equal(again, moved):
        yield "The same generator should give the same shifts: some chance came from elsewhere."
        return
    chance = generator(2, "shift")
    first, second = (answer(images.clone(), MOST, chance) for _ in range(2))
    if torch.equal(first, second):
        yield "A second batch from the same generator got the same shifts. Do not seed it anew inside."
