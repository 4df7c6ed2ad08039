"""Checks of lesson 14: who moved though frozen, an accuracy that is a count, images on both sides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from labkit.course import small
from labkit.learn.exercises import exercise
from labkit.runtime import generator

State = Mapping[str, Tensor]
Moved = Callable[[State, State, Sequence[str]], Iterable[str]]
Accuracy = Callable[[Sequence[tuple[Tensor, Tensor]]], float]
Copies = Callable[[Tensor, Tensor, float], Iterable[int]]


# ---------------------------------------------------------------- who moved, though frozen


@exercise(
    "14-moved",
    title="the frozen stages that moved",
    difficulty=1,
    minutes=8,
    hints=(
        "A state holds parameters and buffers alike. To stand still means: every number of both is the same.",
        "The stage of a tensor is what stands before the first dot of its name. torch.equal compares bit for bit.",
        "Collect name.split('.')[0] of every tensor that differs, and keep those stages that are in frozen.",
    ),
)
def moved(answer: Moved) -> Iterator[str]:
    """The answer maps (state before, state after, frozen stages) to the names of frozen stages that changed."""
    for changed, frozen, wanted, said in _moves():
        before = _state()
        after = {name: tensor.clone() for name, tensor in before.items()}
        for name in changed:
            after[name] = _nudged(after[name])
        given = answer(before, after, frozen)
        if given is None or isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            yield "Return the names of stages, as a list or a set."
            return
        names = list(given)
        if sorted(map(str, names)) != sorted(wanted):
            yield _why_not_these(names, wanted, said)
            return


def _state() -> dict[str, Tensor]:
    """A state with parameters and buffers, and two stages of which one's name begins with the other's."""
    chance = generator(14, "a state")
    state = {
        f"{stage}.{name}": torch.randint(1024, 2048, (4,), generator=chance) / 1024
        for stage in ("stem", "layer1", "layer10", "head")
        for name in ("0.weight", "0.bias", "1.running_mean", "1.running_var")
    }
    return state | {"stem.1.num_batches_tracked": torch.tensor(3)}


def _nudged(tensor: Tensor) -> Tensor:
    """One number a little up and another as much down, so that no sum of them changes."""
    if not tensor.is_floating_point():
        return tensor + 1
    tensor = tensor.clone()
    tensor[0] += 2**-20
    tensor[1] -= 2**-20
    return tensor


def _moves() -> Iterator[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str]]:
    """What changed, what was frozen, which stages the answer should name, and what it means if it does not."""
    below = ("stem", "layer1")
    yield (), below, (), "Nothing changed, and stages were named."
    yield (
        ("layer1.0.weight",),
        below,
        ("layer1",),
        "A parameter moved by a millionth, and its stage was not named: compare bit for bit.",
    )
    yield (
        ("stem.1.running_mean", "stem.1.running_var"),
        below,
        ("stem",),
        "The buffers of a frozen stage drifted, and it was not named: buffers count too.",
    )
    yield (
        ("stem.1.num_batches_tracked",),
        below,
        ("stem",),
        "A buffer of whole numbers changed, and its stage was not named.",
    )
    yield (
        ("head.0.weight", "layer10.0.bias"),
        below,
        (),
        "A stage was named that is not frozen. Mind that layer10 is not layer1.",
    )
    yield (
        ("stem.0.bias", "layer1.1.running_var"),
        below,
        below,
        "Two frozen stages changed, and both should be named, once each.",
    )


def _why_not_these(names: list[str], wanted: Collection[str], said: str) -> str:
    if any("." in str(name) for name in names):
        return "That is the name of a tensor. Name the stage that it belongs to."
    if set(names) == set(wanted):
        return "A stage was named more than once: it has moved or it has not."
    return said


# ---------------------------------------------------------------- an accuracy that is a count


@exercise(
    "14-accuracy",
    title="an accuracy that does not average averages",
    difficulty=1,
    minutes=6,
    hints=(
        "How much should one image in a batch of two weigh, and how much one in a batch of eight?",
        "Keep two counts while you go through the batches: how many were right, and how many there were.",
        "Add (scores.argmax(1) == labels).sum() and len(labels) for each batch. Divide once, at the end.",
    ),
)
def accuracy(answer: Accuracy) -> Iterator[str]:
    """The answer maps batches of (scores, labels) to the share of right answers over all of them."""
    batches = _batches((8, 8, 2), right=(4, 2, 2))
    given = answer(batches)
    if not isinstance(given, int | float | Tensor) or torch.as_tensor(given).numel() != 1:
        yield "Return one number: the share of images that were right."
        return
    right, count = 8, 18
    if abs(float(given) - right / count) > 1e-6:
        yield _why_not_that_share(float(given))
        return
    whole = [(torch.cat([s for s, _ in batches]), torch.cat([y for _, y in batches]))]
    if abs(float(answer(whole)) - right / count) > 1e-6:
        yield "The same images as one batch get another accuracy."
    elif abs(float(answer(_batches((3, 4), right=(3, 0)))) - 3 / 7) > 1e-6:
        yield "With batches of 3 and 4 the answer is off: a batch may have any size."


def _batches(sizes: Sequence[int], right: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Scores (n, classes) and labels (n,): in each batch the first so many are right."""
    made = []
    for seed, (size, hits) in enumerate(zip(sizes, right, strict=True)):
        labels = small.labels(size, seed)
        said = torch.where(torch.arange(size) < hits, labels, (labels + 1) % small.CLASSES)
        made.append((torch.nn.functional.one_hot(said, small.CLASSES) * 2.5, labels))
    return made


def _why_not_that_share(given: float) -> str:
    known = [
        (
            (4 / 8 + 2 / 8 + 2 / 2) / 3,
            "That is the mean of the batch accuracies: a batch of 2 weighs as much as one of 8.",
        ),
        (8, "That is how many were right. Divide by how many there were."),
        (800 / 18, "That is in percent. The answer should lie between 0 and 1."),
        (8 / 24, "The last batch is shorter than the first: count its labels too."),
        (6 / 16, "The last, shorter batch was left out."),
        (8 / 3, "That is right answers a batch. Divide by images, not by batches."),
        (10 / 18, "That is the share that was wrong."),
        (2 / 2, "That is the accuracy of the last batch alone."),
    ]
    said = f"8 of 18 images are right, and your function returned {given:.3g}."
    return small.reason(given, known, said)


# ---------------------------------------------------------------- images on both sides

TOLERANCE = 0.03


@exercise(
    "14-copies",
    title="images on both sides",
    difficulty=2,
    minutes=12,
    hints=(
        "Every validation image has to be compared with every training image, not with one of them.",
        "Two images are the same if the largest difference of any value, up or down, is within the tolerance.",
        "For each valid[i]: (train - valid[i]).abs().flatten(1).max(dim=1).values gives one number a training "
        "image. Keep i if the smallest of them is at most the tolerance.",
    ),
)
def copies(answer: Copies) -> Iterator[str]:
    """The answer maps training and validation images and a tolerance to positions of copies in validation."""
    train, valid = _two_sides()
    given = answer(train.clone(), valid.clone(), TOLERANCE)
    positions = _as_positions(given)
    if isinstance(positions, str):
        yield positions
        return
    if sorted(positions) != [1, 3]:
        yield _why_not_there(sorted(positions))
        return
    clean = [0, 2, 4, 5, 6]
    if len(_numbers(answer(train, valid[clean], TOLERANCE))):
        yield "Where no image is on both sides, the answer should be empty."
    elif sorted(_numbers(answer(train, valid, 1e-6))) != [1]:
        yield "With a tolerance of nearly nothing, a noisy copy is no copy: use the tolerance that is given."


def _two_sides() -> tuple[Tensor, Tensor]:
    """Seven training and seven validation images (n, 3, 8, 8) in [0, 1]: positions 1 and 3 of the latter are copies.

    Position 1 equals two training images, 3 is one with noise. 0 differs from a training image in one corner alone,
    2 is another made brighter everywhere and 5 one made darker, 4 is new. 6 has one value beyond the tolerance, but
    not far.
    """
    chance = generator(14, "two sides")
    train = torch.rand(6, 3, 8, 8, generator=chance) * 0.5 + 0.05
    train[5] = train[4]
    bright = torch.rand(1, 3, 8, 8, generator=chance) * 0.5 + 0.45
    train = torch.cat([train, bright])
    noise = (torch.rand(3, 8, 8, generator=chance) - 0.5) * TOLERANCE
    corner = train[2].clone()
    corner[:, 0, 0] += 0.4
    new = torch.rand(3, 8, 8, generator=chance)
    nearly = train[3].clone()
    nearly[0, 4, 4] += 1.5 * TOLERANCE
    valid = torch.stack(
        [corner, train[4], train[1] + 0.4, train[0] + noise, new, train[6] - 0.4, nearly]
    )
    return train, valid


def _as_positions(given: object) -> list[int] | str:
    """The positions that were given, or what keeps them from being positions."""
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        return "Return positions, as a list: the numbers of the validation images that are copies."
    listed = [one.tolist() if isinstance(one, Tensor) else one for one in given]
    if any(isinstance(one, bool | float) for one in listed):
        return "That is one value an image. Return the positions alone, as whole numbers."
    if any(isinstance(one, tuple | list) for one in listed):
        return "These are pairs or images. Return the positions in valid alone."
    numbers = _numbers(listed)
    if len(set(numbers)) < len(numbers):
        return "A validation image was named twice: it is a copy or it is not, however often it occurs."
    return numbers


def _numbers(given: Iterable[object]) -> list[int]:
    return [int(one) for one in given]  # type: ignore[call-overload]


def _why_not_there(positions: list[int]) -> str:
    if positions == [1]:
        return "An exact copy was found, one with a little noise was not: allow for the tolerance."
    if set(positions) in ({0, 4}, {0, 5}, {0, 4, 5}):  # where the originals are
        return "Those are positions among the training images. Name those in valid."
    if not positions:
        return "No copy was found: compare each validation image with all training images."
    for position, way in ((2, "brighter"), (5, "darker")):
        if position in positions:
            return f"An image that is {way} everywhere is no copy: take the size of a difference, not its sign."
    if 0 in positions:
        return (
            "An image that differs in one corner alone was taken for a copy: an average hides that."
        )
    if 6 in positions:
        return (
            "An image of which one value differs by more, beyond the tolerance, was taken for a copy. Compare each "
            "value with the tolerance as it is given; an average hides a single one."
        )
    return f"The copies are at positions 1 and 3 of valid. You named {positions}."
