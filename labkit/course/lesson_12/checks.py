"""Checks of lesson 12: statistics that move while no weight does, a say for the old ones, and how many are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from labkit.course import small
from labkit.learn.exercises import exercise
from labkit.runtime import generator

Adapt = Callable[[nn.Module, Tensor], Any]
Blend = Callable[[Tensor, Tensor, int, float], Tensor]
Enough = Callable[[Sequence[float], Mapping[int, Sequence[float]]], int | None]


# ---------------------------------------------------------------- statistics that move while no weight does

COUNT, SIDE = 40, 8
STATISTICS = ("running_mean", "running_var")


@exercise(
    "12-adapt",
    title="new statistics, and no weight moves",
    difficulty=2,
    minutes=15,
    hints=(
        "A forward pass in training mode moves the statistics. How far it moves them is the layer's momentum.",
        "With momentum 1 the new statistics replace the old ones. With momentum None they are averaged over all "
        "batches since reset_running_stats().",
        "Note each layer's momentum, set it to 1, call model.train(), run model(images) under torch.no_grad(), "
        "then model.eval(), and put the momentum back.",
    ),
)
def adapt(answer: Adapt) -> Iterator[str]:
    """The answer gives every BatchNorm layer the statistics of some images and leaves all else as it was."""
    model, images = _learned(), _far_images()
    before, settings = small.snapshot(model), _settings(model)
    answer(model, images)
    moved = small.moved(model, before)
    weights = sorted(name for name in moved if name.endswith(("weight", "bias")))
    if weights:
        yield _which_weights(weights)
        return
    problem = _where_the_statistics_are(model, before, images)
    if problem:
        yield problem
        return
    yield from _what_was_left_behind(model, settings)
    again = _far_images(seed=1, scale=0.5)
    answer(model, again)
    if _where_the_statistics_are(model, before, again):
        yield "Called again with other images, some of the statistics are still those of the images before."


def _learned() -> nn.Module:
    """A small network that has seen some images and is in evaluation mode."""
    model = small.model().train()
    small.train(model, torch.optim.SGD(model.parameters(), lr=0.1), steps=8)
    model.zero_grad()
    last = model.get_submodule("layer1.1")
    assert isinstance(last, nn.BatchNorm2d)
    last.momentum = 0.2  # so that whoever puts the usual 0.1 back is found out
    return model.eval()


def _far_images(seed: int = 7, scale: float = 2.0) -> Tensor:
    """Images far from those the network learned from; the last ones are unlike the first."""
    drawn = torch.rand(COUNT, 3, SIDE, SIDE, generator=generator(seed, "far images"))
    return scale * (drawn - 3 + torch.linspace(0, 2, COUNT).view(-1, 1, 1, 1))


def _settings(model: nn.Module) -> dict[str, Any]:
    """What may not be left changed: the momentum of every BatchNorm layer."""
    return {name: layer.momentum for name, layer in model.named_modules() if _is_norm(layer)}


def _is_norm(layer: nn.Module) -> bool:
    return isinstance(layer, nn.BatchNorm2d)


def _which_weights(moved: Sequence[str]) -> str:
    norms = [name for name in moved if ".1." in name]
    if len(norms) == len(moved):
        return (
            f"{norms[0]} moved. The weight and the bias of BatchNorm are weights, too: only the running statistics "
            "may move."
        )
    return f"{moved[0]} moved. Adapting needs no gradient and no optimiser: no weight may move."


@torch.no_grad()
def _given(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of what the first BatchNorm layer is given: no layer below it can change them."""
    values = model.get_submodule("stem.0")(images).transpose(0, 1).flatten(1)
    return values.mean(1), values.var(1)


def _close(one: Tensor, other: Tensor, tolerance: float = 0.02) -> bool:
    return one.shape == other.shape and bool(
        ((one - other).abs() <= tolerance * other.abs().max().clamp_min(1e-6)).all()
    )


def _where_the_statistics_are(
    model: nn.Module, before: Mapping[str, Tensor], images: Tensor
) -> str:
    """What is wrong with the statistics; empty where they are those of the images, in both layers."""
    first = model.get_submodule("stem.1")
    mean, variance = _given(model, images)
    now_mean, now_variance = (getattr(first, name) for name in STATISTICS)
    old_mean, old_variance = (before[f"stem.1.{name}"] for name in STATISTICS)
    if now_mean.shape != mean.shape or now_variance.shape != variance.shape:
        return (
            f"The first layer has {len(mean)} channels and now {now_mean.numel()} means: the statistics are those of "
            "what a layer is given, not of the pixels."
        )
    if torch.equal(now_mean, old_mean):
        return (
            "The means have not moved: in evaluation mode a forward pass leaves the statistics alone."
            if torch.equal(now_variance, old_variance)
            else "The variances have moved, the means have not: images can differ in both."
        )
    if not _close(now_mean, mean):
        return _which_mean(now_mean, old_mean, images, model)
    if not _close(now_variance, variance, 0.05):
        return _which_variance(now_variance, old_variance, variance)
    return _second_layer(model, before, images)


def _which_mean(now: Tensor, old: Tensor, images: Tensor, model: nn.Module) -> str:
    mean, _ = _given(model, images)
    share = float(((now - old) @ (mean - old)) / (mean - old).square().sum())
    if not now.any():
        return "The means are 0: the old statistics were thrown away, and no image was looked at afterwards."
    if now.shape == mean.shape and _close(now, old + share * (mean - old)) and 0.05 < share < 0.95:
        return (
            f"The means went {share:.0%} of the way: with its usual momentum a layer keeps most of the old "
            "statistics at each forward pass."
        )
    if not now.isfinite().all():
        return "Some means are no numbers any more."
    if _close(now, images.mean().expand_as(now)):
        return "Those are means of pixels. A layer needs those of what it is given: what the layers below make of them."
    return "The means are not those of all images. Were some batches forgotten, or did the last one count for all?"


def _which_variance(now: Tensor, old: Tensor, variance: Tensor) -> str:
    if torch.equal(now, old):
        return "The means have moved, the variances have not: images can differ in both."
    if _close(now, variance.sqrt(), 0.05):
        return "Those are standard deviations. BatchNorm keeps variances, the squares of them."
    if float(now.sum()) < float(variance.sum()):
        return (
            "The variances are too small: within a batch images vary less than over all of them. Take all images "
            "in one batch."
        )
    return "The means are those of the images, but the variances are not."


def _second_layer(model: nn.Module, before: Mapping[str, Tensor], images: Tensor) -> str:
    """The layer further up is given what the first makes of the images, by their own statistics or by the stored."""
    name = "layer1.1.running_mean"
    now = model.state_dict()[name]
    if torch.equal(now, before[name]):
        return "The first BatchNorm layer has adapted, and the one above it has not."
    with torch.no_grad():
        lower = model.get_submodule("stem")
        mode = lower.training
        seen = model.get_submodule("layer1.0")(lower.eval()(images))
        lower.train(mode)
    mean = seen.transpose(0, 1).flatten(1).mean(1)
    scale = seen.transpose(0, 1).flatten(1).std(1)
    if bool(((now - mean).abs() <= 0.05 * scale).all()):
        return ""
    return (
        "The first BatchNorm layer is right, and the one above it is not: it has to be given what the adapted one "
        "below makes of the images."
    )


def _what_was_left_behind(model: nn.Module, settings: Mapping[str, Any]) -> Iterator[str]:
    if any(module.training for module in model.modules()):
        yield "The model was left in training mode, so the next image would move the statistics again."
    if _settings(model) != settings:
        yield "The momentum of the layers is not what it was: put it back, or the next training will differ."
    if any(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters()):
        yield "There are gradients now, and the next optimiser step would use them. Work under torch.no_grad()."
    if not all(parameter.requires_grad for parameter in model.parameters()):
        yield "Some weights no longer require a gradient: later they could not be trained."


# ---------------------------------------------------------------- a say for the old statistics

OLD, NEW = (2.0, -1.0, 0.0), (6.0, 3.0, 4.0)


@exercise(
    "12-blend",
    title="a say for the old statistics",
    difficulty=1,
    minutes=6,
    hints=(
        "With no new image the old statistics should stay. With very many, the new ones should decide.",
        "It is a weighted mean. The weights are two numbers of images.",
        "(prior * old + images * new) / (prior + images)",
    ),
)
def blend(answer: Blend) -> Iterator[str]:
    """The answer mixes (old, new, images, prior): each counts for as many images as it is worth."""
    old, new = torch.tensor(OLD), torch.tensor(NEW)
    given = answer(old.clone(), new.clone(), 10, 30)
    if not isinstance(given, Tensor) or given.shape != old.shape:
        yield "Return a tensor with as many numbers as came in."
        return
    first = float(given[0])
    if not torch.allclose(given, torch.tensor([3.0, 0.0, 1.0])):
        known = [
            (
                5.0,
                "The weights are swapped: with 30 against 10, the old ones should count for more.",
            ),
            (
                4.0,
                "That is the plain mean of the two. It should depend on how many images each is worth.",
            ),
            (2.0, "Those are the old statistics: the new images should have a say."),
            (6.0, "Those are the new statistics: the old ones should have a say."),
            (120.0, "The sum is right. Divide it by how many images there are in all."),
            (
                2.0 + 4 / 3,
                "That divides new by old. The share is new images among all, not against the old.",
            ),
        ]
        yield small.reason(
            first,
            known,
            f"From 2 and 6, with 10 images and a prior of 30, your function makes {first:g}, and 3 is right.",
        )
        return
    one, other = old.clone(), new.clone()
    answer(one, other, 10, 30)
    if not (torch.equal(one, old) and torch.equal(other, new)):
        yield "The statistics that came in were changed. Return new ones."
    if not torch.allclose(answer(old, new, 7, 0), new):
        yield "With a prior of 0 the old statistics should have no say at all."
    if not torch.allclose(answer(old, new, 0, 16), old):
        yield "With no image the old statistics should stay as they are."


# ---------------------------------------------------------------- how many images are enough

BEFORE = (0.50, 0.60, 0.70, 0.80, 0.55)
CLEAR = tuple(
    value + gain for value, gain in zip(BEFORE, (0.09, 0.11, 0.10, 0.08, 0.12), strict=True)
)
CLEARER = tuple(value + 0.01 for value in CLEAR)
LUCKY = tuple(
    value + gain for value, gain in zip(BEFORE, (0.30, -0.1, 0.2, -0.1, 0.1), strict=True)
)
WORSE = tuple(
    value - gain for value, gain in zip(BEFORE, (0.2, 0.19, 0.21, 0.2, 0.22), strict=True)
)
SMALL = tuple(
    value + gain for value, gain in zip(BEFORE, (0.02, 0.03, 0.02, 0.03, 0.02), strict=True)
)


@exercise(
    "12-enough",
    title="how many images are enough",
    difficulty=3,
    minutes=15,
    hints=(
        "The seeds differ more from each other than adapting changes them. So compare each seed with itself.",
        "insight.mean_interval(differences).low is the lower end of the interval. It should lie above 0.",
        "Walk the counts from the largest to the smallest. Keep the count while its interval lies above 0, and leave "
        "the loop at the first that does not.",
    ),
)
def enough(answer: Enough) -> Iterator[str]:
    """The answer is the smallest count from which on adapting surely helps, by accuracies seed by seed, or None."""
    given = answer(BEFORE, {2: WORSE, 8: LUCKY, 32: CLEAR, 64: CLEARER})
    if given != 32:
        yield _why_not_32(given)
        return
    if answer(BEFORE, {2: WORSE, 8: LUCKY, 32: SMALL, 64: SMALL}) != 32:
        yield (
            "A small gain that every seed has is a sure one. Compare each seed with itself, not one mean with another."
        )
        return
    if answer(BEFORE, {2: CLEAR, 8: WORSE, 32: CLEAR}) != 32:
        yield "Two images helped and eight did harm: then two were luck. It should help from the count on, always."
    if answer(BEFORE, {32: CLEAR, 2: WORSE, 64: CLEARER}) != 32:
        yield "The counts need not come in order: sort them."
    if answer(BEFORE, {2: WORSE, 8: BEFORE}) is not None:
        yield "What changes nothing does not help: the interval must lie above 0, and not just reach it."
    if answer(BEFORE, {2: WORSE, 8: LUCKY}) is not None:
        yield "Where no count surely helps, there is none to name: return None."
    if answer(BEFORE, {4: CLEAR, 16: CLEARER}) != 4:
        yield "Where every count surely helps, the smallest one is enough."


def _why_not_32(given: object) -> str:
    known = {
        64: "That is the count with the highest accuracy. Fewer images help for sure already: the question is how "
        "few are enough.",
        8: "On average 8 images help, but for some seeds they do harm: the interval holds zero.",
        2: "With 2 images every seed got worse. Look for a gain, not for a difference.",
    }
    if given is None:
        return "You found none, and with 32 images every seed gains. Compare each seed with itself."
    said = f"Return one of the counts, 32 here. Yours was {given!r}."
    return known.get(given, said) if isinstance(given, int) else said
