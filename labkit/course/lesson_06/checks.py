"""Checks of lesson 06: an epoch that trains and counts right, a drift, a ladder of rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from labkit.course import small
from labkit.learn.exercises import exercise

Batches = Sequence[tuple[Tensor, Tensor]]
Epoch = Callable[[nn.Module, Batches, torch.optim.Optimizer], float]


@exercise(
    "06-epoch",
    title="one epoch, counted right",
    difficulty=3,
    minutes=15,
    hints=(
        "Five lines a batch: forget the old gradient, predict, measure, go back, step.",
        "A gradient is added to what is there already; optimizer.zero_grad() clears it.",
        "Batches differ in length. Count the right answers and the images, and divide once, at the end.",
    ),
)
def epoch(answer: Epoch) -> Iterator[str]:
    """The answer trains once over the batches with mean cross-entropy, and returns its accuracy."""
    batches = [(small.images(n, seed=n + 1), small.labels(n, seed=n + 1)) for n in (8, 8, 2)]
    wanted, right, means = _reference(batches)
    model = small.model().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    before = small.snapshot(model)
    given = answer(model, batches, optimizer)
    yield from _weights(model, before, wanted, batches)
    yield from _share(given, right, means, sum(len(labels) for _, labels in batches))


def _reference(batches: Batches, clear: bool = True) -> tuple[dict[str, Tensor], int, float]:
    """The state after a correct epoch, the right answers, and the mean of the batch accuracies."""
    model = small.model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    hits = []
    for images, labels in batches:
        if clear:
            optimizer.zero_grad()
        scores = model(images)
        nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()
        hits.append(int((scores.argmax(dim=1) == labels).sum()))
    shares = [hit / len(labels) for hit, (_, labels) in zip(hits, batches, strict=True)]
    return small.snapshot(model), sum(hits), sum(shares) / len(shares)


def _weights(
    model: nn.Module, before: dict[str, Tensor], wanted: dict[str, Tensor], batches: Batches
) -> Iterator[str]:
    changed = small.moved(model, before)
    if "head.fc.weight" not in changed:
        yield "No weight moved: every batch needs a backward pass and a step of the optimiser."
    elif "stem.1.running_mean" not in changed:
        yield "The model trained in evaluation mode: BatchNorm learned no new statistics."
    elif not _close(model, wanted):
        yield _why_different(model, batches)


def _why_different(model: nn.Module, batches: Batches) -> str:
    if _close(model, _reference(batches, clear=False)[0]):
        return "The gradient of each batch was added to those before it: it was never cleared."
    if _close(model, _reference(batches[:-1])[0]):
        return "The last, shorter batch was left out."
    return "The weights are not where one epoch of mean cross-entropy takes them, one step a batch."


def _close(model: nn.Module, wanted: dict[str, Tensor]) -> bool:
    state = model.state_dict()
    return all(torch.allclose(state[name], wanted[name], atol=1e-4) for name in wanted)


def _share(given: object, right: int, means: float, count: int) -> Iterator[str]:
    if not isinstance(given, int | float | Tensor) or torch.as_tensor(given).numel() != 1:
        yield "Return one number: the share of images that were right."
        return
    share = float(given)
    if abs(share - right / count) < 1e-6:
        return
    if abs(share - means) < 1e-6:
        yield "That is the mean of the batch accuracies: a batch of 2 weighs as much as one of 8."
    elif abs(share - right) < 1e-6:
        yield "That is how many were right. Divide by how many there were."
    else:
        yield f"{right} of {count} images were right on the way, and your function returned {share:.3g}."


@exercise(
    "06-drift",
    title="how far a stage has moved",
    difficulty=2,
    minutes=8,
    hints=(
        "A distance alone says little: big layers move far. Far compared with what?",
        "Square all differences, sum them over all tensors, take one root. The same for the start.",
        "Divide the length of (after - before) by the length of before.",
    ),
)
def drift(answer: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], float]) -> Iterator[str]:
    """The answer maps weights before and after, by name, to ||after - before|| / ||before||."""
    before = {"weight": torch.tensor([[3.0, 0.0], [0.0, 4.0]]), "bias": torch.tensor([12.0, 0.0])}
    after = {"weight": torch.tensor([[3.0, 2.0], [-2.0, 4.0]]), "bias": torch.tensor([12.0, 1.0])}
    if float(answer(before, before)) != 0:
        yield "A stage that has not moved should have a drift of zero."
    given = float(answer(before, after))
    weight, bias = 8**0.5 / 5, 1 / 12
    if abs(given - 3 / 13) < 1e-5:
        yield from _scale_free(answer, before, after)
        return
    reasons = [
        (3, "That is the distance alone. Divide it by how long the weights were at the start."),
        (
            3 / 178**0.5,
            "The distance is compared with where the weights ended, not where they began.",
        ),
        (
            (weight + bias) / 2,
            "The tensors were averaged, so that a bias weighs as much as a matrix.",
        ),
        (weight + bias, "The drifts of the tensors were added up. Sum the squares, take one root."),
        (9 / 169, "The root is missing: these are squared lengths."),
        (1 / 13, "Movements in opposite directions cancelled each other: square them first."),
        (5 / 19, "These are sums of absolute values. Sum the squares, and take a root."),
        (300 / 13, "That is in percent. The answer is a ratio."),
    ]
    said = f"The weights moved by 3 from a length of 13, and your function says {given:.4g}."
    yield small.reason(abs(given), reasons, said)


def _scale_free(
    answer: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], float],
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
) -> Iterator[str]:
    tenfold = [{name: 10 * tensor for name, tensor in state.items()} for state in (before, after)]
    if abs(float(answer(*tenfold)) - 3 / 13) > 1e-5:
        yield "With all weights ten times as large the drift should be the same, and it is not."


@exercise(
    "06-rates",
    title="a smaller rate for every stage further down",
    difficulty=1,
    minutes=6,
    hints=(
        "The head gets the full rate, its neighbour below one factor of decay, the next one two.",
        "How many stages lie above a stage? That is the exponent.",
        "For stage number i of n the rate is lr * decay ** (n - 1 - i).",
    ),
)
def rates(answer: Callable[[Sequence[str], float, float], Mapping[str, float]]) -> Iterator[str]:
    """The answer maps stage names (input to output), the head's rate and a decay to a rate for each stage."""
    stages = ("stem", "layer1", "layer2", "head")
    given = answer(stages, 0.8, 0.5)
    if not isinstance(given, Mapping) or set(given) != set(stages):
        yield "Return a dictionary with one rate for each stage, by its name."
        return
    found = [round(float(given[stage]), 9) for stage in stages]
    if found != [0.1, 0.2, 0.4, 0.8]:
        yield _rates_reason(found)
    elif set(answer(stages, 0.3, 1.0).values()) != {0.3}:
        yield "With a decay of 1 all stages should share the head's rate."
    elif dict(answer(("body", "head"), 0.8, 0.5)) != {"body": 0.4, "head": 0.8}:
        yield "With two stages instead of four the rates are wrong: there may be any number of stages."


def _rates_reason(found: list[float]) -> str:
    match found:
        case [0.8, 0.4, 0.2, 0.1]:
            return "The order is reversed: the head should learn fastest, and the stem slowest."
        case [0.05, 0.1, 0.2, 0.4]:
            return "The head already lost a factor. It should get the full rate."
        case [0.8, 0.8, 0.8, 0.8]:
            return "All stages got the same rate: the decay was not used."
        case [0.4, 0.4, 0.4, 0.8]:
            return "One factor for all below the head: each step down should cost another one."
    return f"For a head at 0.8 and a decay of 0.5 your rates are {found}, stem first."
