"""The mistakes themselves: what people get wrong in a loop, in the data or in the network, made on purpose.

A mistake in the data or the network is other data or another network, and any run can be given it. A mistake in the
loop is a hook of the run's trainer (`labkit.tuning.trainer.Hooks`), and branches do not have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.data import ImageData
from labkit.data.images.dataset import ImageSplit
from labkit.models import Backbone, Normalize
from labkit.tuning import Evaluation, Run, freezing
from labkit.tuning.contracts import Split as AnySplit
from labkit.tuning.task import CLASSIFY
from labkit.tuning.trainer import Hooks, Trainer

Validate = Callable[[Trainer, AnySplit], Evaluation]


# ---------------------------------------------------------------- in the loop


def cover(run: Run) -> Run:
    """A trained run with the plan as it was meant: neither its plan nor its trainer tells any more what it was.

    A mistake of its loop is made no more. One in the optimizer, the data or the network stays, and so do all traces.
    """
    run.plan = run.plan.with_(frozen_statistics="fixed")
    run.trainer.hooks = Hooks()
    return run


def leave_head_out(run: Run) -> None:
    """The optimizer does not hold the head's parameters, as when it was built before the head was replaced."""
    for group in run.optimizer.param_groups:
        if group["name"] == run.stages[-1]:
            group["params"].clear()


def stay_in_eval_mode(trainer: Trainer) -> None:
    """Nobody called model.train() again after the first validation."""
    trainer.stance = freezing.Stance(trainer.model)  # which is in eval mode between two steps


def unfreeze_in_secret(depth: str) -> Callable[[Trainer], None]:
    """The stages from `depth` up train, whatever the plan says is frozen."""

    def before_step(trainer: Trainer) -> None:
        freezing.freeze_below(trainer.model, trainer.stages, depth)
        trainer.stance = freezing.Stance(trainer.model)
        trainer.prefix = None  # what was kept of frozen stages is no longer true

    return before_step


def validate_in_train_mode(batch: int) -> Validate:
    """Validation without model.eval(): BatchNorm uses each batch's own statistics and moves its running ones."""

    def validate(trainer: Trainer, split: AnySplit) -> Evaluation:
        with torch.no_grad(), trainer.autocast(), trainer.stance.taken():
            outputs = [trainer.outputs(split, rows) for rows in _batches(len(split), batch)]
        scores = torch.cat([each.float().cpu() for each in outputs])
        return CLASSIFY.evaluation("valid", [(scores, split.labels)])

    return validate


def average_averages(batch: int) -> Validate:
    """Loss and accuracy as means of batch means, however small the last batch is."""

    def validate(trainer: Trainer, split: AnySplit) -> Evaluation:
        exact = trainer.evaluate(split, "valid")
        right = (exact.predictions == exact.targets).float()
        losses = F.nll_loss(exact.probabilities.log(), exact.targets, reduction="none")
        rows = _batches(exact.count, batch)
        accuracy = sum(float(right[some].mean()) for some in rows) / len(rows)
        loss = sum(float(losses[some].mean()) for some in rows) / len(rows)
        return replace(exact, loss=loss, correct=accuracy * exact.count)  # type: ignore[arg-type]

    return validate


def keep_optimizer_state_over_a_rewind(run: Run, steps: int, lr: float) -> None:
    """Try another rate for some steps and rewind the weights, but not what the optimizer remembers."""
    run.set(lr=lr)
    for _ in range(steps):
        run.step()
    kept = {
        parameter: {key: value.clone() for key, value in state.items()}
        for parameter, state in run.optimizer.state.items()
    }
    run.rewind(0)
    run.optimizer.state.update(kept)


def _batches(count: int, batch: int) -> list[Tensor]:
    return list(torch.arange(count).split(batch))


# ---------------------------------------------------------------- in the data


@dataclass(frozen=True, eq=False, repr=False)
class Rescaled(ImageSplit):
    """A split whose images come as (x - mean) / std in place of [0, 1]."""

    mean: float = 0.0
    std: float = 1.0

    def batch(self, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        images, labels = super().batch(*arguments, **options)
        return (images - self.mean) / self.std, labels

    @cached_property
    def fingerprint(self) -> str:
        return f"{super().fingerprint}, less {self.mean}, over {self.std}"


def rescale(split: ImageSplit, mean: float, std: float) -> Rescaled:
    """The same images on another scale."""
    return Rescaled(split.store, split.rows, split.labels, split.names, split.flip, mean, std)


@dataclass(frozen=True, eq=False, repr=False)
class Spoilt(ImageSplit):
    """A split in which one image is no number anywhere."""

    hole: int = 0

    def batch(self, indices: Any, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        images, labels = super().batch(indices, *arguments, **options)
        images[torch.as_tensor(indices) == self.hole] = torch.nan
        return images, labels

    @cached_property
    def fingerprint(self) -> str:
        return f"{super().fingerprint}, {self.hole} spoilt"


def spoil(split: ImageSplit, hole: int) -> Spoilt:
    """The same images, one of them spoilt."""
    return Spoilt(split.store, split.rows, split.labels, split.names, split.flip, hole)


def leak(data: ImageData, share: float, noise: int, seed: int) -> ImageData:
    """The data with a share of the validation images among the training ones, `noise` grey levels off at most."""
    chance = runtime.generator(seed, "leak")
    count = max(1, round(share * len(data.valid)))
    leaked = data.valid.take(
        torch.randperm(len(data.valid), generator=chance)[:count].sort().values
    )
    pixels = leaked.images.to(torch.int16)
    if noise:
        pixels = pixels + torch.randint(-noise, noise + 1, pixels.shape, generator=chance)
    copies = pixels.clamp(0, 255).to(torch.uint8)
    store = torch.cat([data.train.images, copies])
    labels = torch.cat([data.train.labels, leaked.labels])
    names = (*data.train.names, *leaked.names)
    return replace(
        data, train=ImageSplit(store, torch.arange(len(store)), labels, names, data.train.flip)
    )


def fewer_to_validate(data: ImageData, count: int, seed: int = 0) -> ImageData:
    """The data with `count` validation images, drawn from the seed."""
    order = torch.randperm(len(data.valid), generator=runtime.generator(seed, "fewer to validate"))
    return replace(data, valid=data.valid.take(order[:count].sort().values))


def shuffle_labels(data: ImageData, share: float, seed: int) -> ImageData:
    """The data with the labels of a share of the training images drawn at random."""
    chance = runtime.generator(seed, "shuffle labels")
    hit = torch.rand(len(data.train), generator=chance) < share
    wrong = torch.randint(len(data.classes), (len(data.train),), generator=chance)
    labels = torch.where(hit, wrong, data.train.labels)
    return replace(data, train=replace(data.train, labels=labels))


# ---------------------------------------------------------------- in the network


def without_normalising(net: Backbone, mean: float = 0.0, std: float = 1.0) -> Backbone:
    """The network with other constants in its first layer; by default none at all."""
    return replace(net, factory=partial(_build_unnormalised, net.factory, mean, std))


def _build_unnormalised(
    factory: Callable[[int], nn.Module], mean: float, std: float, classes: int
) -> nn.Module:
    module = factory(classes)
    module.get_submodule("stem").normalize = Normalize([mean] * 3, [std] * 3)
    return module
