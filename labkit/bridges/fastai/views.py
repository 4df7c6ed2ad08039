"""A Learner as the engine sees things: parameter groups as named stages, loaders as splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from fastai.learner import Learner
from torch import Tensor, nn

# ---------------------------------------------------------------- stages


def stage_names(learn: Learner) -> tuple[str, ...]:
    """A name for every parameter group, input to output: those of the model's children where they are the groups."""
    children = [(name, list(child.parameters())) for name, child in learn.model.named_children()]
    groups = [list(group) for group in learn.opt.param_lists]
    if [list(map(id, parameters)) for _, parameters in children] == [
        list(map(id, group)) for group in groups
    ]:
        return tuple(name for name, _ in children)
    return (*(f"group{number}" for number in range(1, len(groups))), "head")


def staged(learn: Learner) -> nn.Module:
    """A module whose children are the stages, by name, with the Learner's own tensors: a view, not a copy.

    It is the model itself where that has such children. Else its stages can be compared and counted, not called.
    """
    names = stage_names(learn)
    if tuple(name for name, _ in learn.model.named_children()) == names:
        model: nn.Module = learn.model
        return model
    group_of = {id(p): i for i, group in enumerate(learn.opt.param_lists) for p in group}
    stages = [nn.ModuleList() for _ in names]
    at = 0
    for module in learn.model.modules():
        own = list(module.parameters(recurse=False))
        at = group_of.get(id(own[0]), at) if own else at
        if own or list(module.buffers(recurse=False)):
            stages[at].append(_alone(module))
    view = nn.Module()
    for name, stage in zip(names, stages, strict=True):
        view.add_module(name, stage)
    return view


def _alone(module: nn.Module) -> nn.Module:
    """What a module holds itself, without its children."""
    own = nn.Module()
    own._parameters, own._buffers = module._parameters, module._buffers
    own._non_persistent_buffers_set = module._non_persistent_buffers_set
    return own


# ---------------------------------------------------------------- data


class Loaders:
    """What a run asks of its data, of a Learner whose data are its own: sizes, classes, and answers to count."""

    name, augmentations = "DataLoaders", ("none",)

    def __init__(self, loaders: Any) -> None:
        vocab = getattr(loaders, "vocab", None)
        self.classes = tuple(map(str, vocab)) if vocab is not None else ()
        self.train = Side(loaders.train)
        self.valid = Side(loaders.valid)
        self.test = Side(loaders[2]) if len(loaders.loaders) > 2 else ()


class Side:
    """One of the loaders. Its labels are only known once it was read through."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.labels: Tensor = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.loader.dataset)

    def batches(self) -> Iterator[tuple[Any, Tensor]]:
        """Everything in it once, in order, as the loader gives it; a loader of its own, so that none is disturbed."""
        for *inputs, targets in self.loader.new(shuffle=False, drop_last=False):
            yield inputs, targets

    def answers(self, model: nn.Module) -> tuple[Tensor, Answers]:
        """The scores (N, C) that a model gives to everything, and what would be right."""
        device, scores, targets = next(model.parameters()).device, [], []
        with torch.no_grad():
            for inputs, right in self.batches():
                scores.append(model(*(part.to(device) for part in inputs)).cpu())
                targets.append(right.cpu())
        return _plain(torch.cat(scores)), Answers(_plain(torch.cat(targets)))


class Answers:
    """Targets (N,), as far as counting goes a split."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)


def _plain(tensor: Tensor) -> Tensor:
    """Without fastai's own kind of tensor around it."""
    return tensor.as_subclass(Tensor)
