"""Any network as a backbone: its layers sorted into stages, its head found, its forward pass left as it is.

The stages of a wrapped network hold the very modules of the original, under their names in it, and its own `forward`
is called. So the outputs are those of the original to the bit, whatever happens between its layers. What labkit cannot
know is whether one stage passes on to the next and to nothing else, so frozen stages are computed again for every
sample; only where the original is an `nn.Sequential` their outputs are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from labkit.errors import BackboneError, shown
from labkit.models.vision.staging import Staged

FEWEST, MOST = 3, 7  # stages between the first and the head, as far as a network can be opened
Stages = Mapping[str, Sequence[str]] | None


@dataclass(frozen=True)
class Cut:
    """The stages of a network: for each, what of the network belongs to it, by names in the network."""

    stages: tuple[tuple[str, tuple[str, ...]], ...]
    head: str  # the layer that gives the scores, new for each task

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the stages in order, the head last."""
        return tuple(name for name, _ in self.stages)


class StageLayers(nn.Module):
    """A stage of a wrapped network: it holds layers and is never called itself."""


class Wrapped(nn.Module):
    """A network whose children are its stages, and whose forward pass is that of the original."""

    def __init__(self, model: nn.Module, plan: Cut) -> None:
        super().__init__()
        for name, members in plan.stages:
            self.add_module(name, StageLayers())
            for member in members:
                _hold(self.get_submodule(name), model, member)
        held = set(self.modules())
        # In tuples, where torch does not look: every tensor is registered once, in its stage.
        self._original = (model,)
        self._across = tuple(module for module in model.modules() if module not in held)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self._original[0](*inputs, **named)

    def train(self, mode: bool = True) -> Wrapped:
        """As usual; those modules of the original that lie across several stages follow the whole."""
        super().train(mode)
        for module in self._across:
            module.training = mode
        return self


@dataclass(frozen=True)
class Factory:
    """Makes the network anew for a number of classes: a copy with random weights and a head of that size."""

    model: nn.Module
    plan: Cut

    def __call__(self, num_classes: int) -> nn.Module:
        model = copy.deepcopy(self.model)
        _replace(
            model, self.plan.head, _new_head(self.model.get_submodule(self.plan.head), num_classes)
        )
        for module in model.modules():
            _forget(module)
        return arranged(model, self.plan)


def arranged(model: nn.Module, plan: Cut) -> nn.Module:
    """The network in stages: cut, where it is a plain sequence and no stage begins inside a layer, else wrapped."""
    layers = dict(model.named_children())
    if type(model) is not nn.Sequential or not all(
        member in layers for _, some in plan.stages for member in some
    ):
        return Wrapped(model, plan)
    stage_of = {member: name for name, members in plan.stages for member in members}
    stages: dict[str, list[nn.Module]] = {name: [] for name in plan.names}
    for key, layer in layers.items():
        stages[stage_of[key]].append(layer)
    return Staged([(name, nn.Sequential(*some)) for name, some in stages.items()])


def plan_of(model: nn.Module, stages: Stages = None, head: str | None = None) -> Cut:
    """How a network is cut: as it was said, or by its own structure.

    Units are the children of the network. While they make fewer than four stages, the one with the most parameters is
    opened. Units without matrices (norms, activations) go with the one before, what lies right before the head and has
    no weights, such as a dropout, with the head; where more than eight stages are left, neighbours are joined. The
    order is that in which the network names its layers.

    Raises BackboneError where no head is found, and for stages that leave out or share a layer.
    """
    head = _head(model) if head is None else _checked_head(model, head)
    if stages is not None:
        return _as_said(model, stages, head)
    units = _units(model, head)
    before_head: list[str] = []
    while units and not _tensors(model, units[-1]):
        before_head.insert(0, units.pop())
    if not units:
        raise BackboneError(
            f"{type(model).__name__} has no weights but those of its head, {head}, so there is nothing to fine-tune."
        )
    groups = _joined(_grouped(model, units))
    body = zip(_names(groups), map(tuple, groups), strict=True)
    return Cut((*body, ("head", (*before_head, head))), head)


# ---------------------------------------------------------------- the head


def _head(model: nn.Module) -> str:
    """The last linear layer, or where there is none the last 1 x 1 convolution."""
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    pointwise = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Conv2d) and set(part.kernel_size) == {1} and part.groups == 1
    ]
    found = [name for name in linear or pointwise if name]
    if not found:
        raise BackboneError(
            f"{type(model).__name__} has no linear layer that could be its head. Name the layer that gives the scores: "
            'labkit.Backbone.wrap(model, head="classifier.6"). It must be an nn.Linear or a 1 x 1 nn.Conv2d.'
        )
    return found[-1]


def _checked_head(model: nn.Module, head: str) -> str:
    try:
        layer = model.get_submodule(head)
    except (AttributeError, TypeError):
        layer = None
    if not head or not isinstance(layer, nn.Linear | nn.Conv2d):
        kind = (
            "no layer of the network" if layer is None or not head else f"a {type(layer).__name__}"
        )
        raise BackboneError(
            f"head={shown(head)} is {kind}. The head is the layer that gives the scores, an nn.Linear or a 1 x 1 "
            f"nn.Conv2d, by its name in the network. The last one here is {_head(model)!r}."
        )
    return head


def _new_head(old: nn.Module, num_classes: int) -> nn.Module:
    bias = getattr(old, "bias", None) is not None
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, num_classes, 1, bias=bias)
    assert isinstance(old, nn.Linear)
    return nn.Linear(old.in_features, num_classes, bias=bias)


# ---------------------------------------------------------------- the stages


def _units(model: nn.Module, head: str) -> list[str]:
    """What stages are made of, in order: names of modules and of parameters that no such module holds."""
    units = _opened(model, "", head)
    while len(_grouped(model, units)) < FEWEST + 1:
        sizes = {name: _size(model, name) for name in units if _can_be_opened(model, name)}
        if not sizes:
            break
        largest = max(sizes, key=lambda name: sizes[name])
        at = units.index(largest)
        units[at : at + 1] = _opened(model, largest, head)
    return units


def _opened(model: nn.Module, name: str, head: str) -> list[str]:
    """The parts of a module; one with the head in it is opened further, and the head left out."""
    module, prefix = model.get_submodule(name), f"{name}." if name else ""
    found = [prefix + key for key, _ in module.named_parameters(recurse=False)]
    if any(True for _ in module.buffers(recurse=False)):
        raise BackboneError(
            f"{name or type(model).__name__} has buffers of its own and lies in several stages. Say which layers go "
            "together so that it lies in one: labkit.Backbone.wrap(model, stages={...})."
        )
    for key, _ in module.named_children():
        full = prefix + key
        if full == head:
            continue
        if head.startswith(f"{full}."):
            found += _opened(model, full, head)
        else:
            found.append(full)
    return found


def _grouped(model: nn.Module, units: Sequence[str]) -> list[list[str]]:
    """Units in groups, each begun by a layer with a matrix; what comes before the first of them goes with it."""
    groups: list[list[str]] = [[]]
    begun = False
    for name in units:
        matrix = not _is_tensor(model, name) and any(
            value.ndim > 1 for value in _tensors(model, name)
        )
        if matrix and begun:
            groups.append([])
        groups[-1].append(name)
        begun |= matrix
    return groups


def _joined(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """At most eight groups, the first as it is and the others joined with their neighbours in equal numbers."""
    first, rest = list(groups[0]), [list(group) for group in groups[1:]]
    if len(rest) <= MOST:
        return [first, *rest]
    bounds = [round(len(rest) * step / MOST) for step in range(MOST + 1)]
    return [first, *(list(chain.from_iterable(rest[a:b])) for a, b in pairwise(bounds))]


def _names(groups: Sequence[Sequence[str]]) -> list[str]:
    """`stem` and the network's own names where these say something; `stage1` and so on where they are numbers."""
    ends = [
        members[0].rpartition(".")[2] for members in groups[1:]
    ]  # the same words as in the network
    plain = len(set(ends)) == len(ends) and not any(
        end.isdecimal() or end in ("stem", "head") for end in ends
    )
    return ["stem", *(ends if plain else [f"stage{n}" for n in range(1, len(ends) + 1)])]


def _as_said(model: nn.Module, stages: Any, head: str) -> Cut:
    """Stages as they were given, each a list of names in the network; the head comes last by itself."""
    if not isinstance(stages, Mapping) or not stages:
        raise BackboneError(
            f"stages={shown(stages)} must say for each stage which layers are in it, in order, as in "
            'stages={"stem": ["conv1", "bn1"], "body": ["layer1", "layer2"]}. The head is found by itself.'
        )
    said: list[tuple[str, tuple[str, ...]]] = []
    for name, members in stages.items():
        given = (members,) if isinstance(members, str) else tuple(members)
        for member in given:
            if not _is_there(model, member):
                raise BackboneError(
                    f"stages: {shown(member)} of {shown(name)} is no layer of the network."
                )
        said.append((str(name), given))
    if any("." in name or name == "head" for name, _ in said):
        raise BackboneError(
            "stages: a name of a stage has no point in it, and `head` is the name of the last one."
        )
    held = [key for _, members in said for member in members for key in _keys(model, member)]
    every = {key for key, _ in model.named_parameters()} - set(_keys(model, head))
    twice = sorted(
        {key for key in held if held.count(key) > 1} | (set(held) & set(_keys(model, head)))
    )
    missing = sorted(every - set(held))
    if twice or missing:
        wrong = f"{twice[0]} is in two of them" if twice else f"{missing[0]} is in none"
        raise BackboneError(
            f"stages: every weight belongs to one stage, and {wrong}. The head, {head}, comes by itself."
        )
    return Cut((*said, ("head", (head,))), head)


# ---------------------------------------------------------------- small parts


def _is_tensor(model: nn.Module, name: str) -> bool:
    owner, _, key = name.rpartition(".")
    return key in dict(model.get_submodule(owner).named_parameters(recurse=False))


def _is_there(model: nn.Module, name: object) -> bool:
    if not isinstance(name, str) or not name:
        return False
    return name in dict(model.named_modules()) or name in dict(model.named_parameters())


def _keys(model: nn.Module, name: str) -> list[str]:
    return [key for key, _ in model.named_parameters() if key == name or key.startswith(f"{name}.")]


def _tensors(model: nn.Module, name: str) -> list[Tensor]:
    return [
        value
        for key, value in model.named_parameters()
        if key == name or key.startswith(f"{name}.")
    ]


def _size(model: nn.Module, name: str) -> int:
    return sum(value.numel() for value in _tensors(model, name))


def _can_be_opened(model: nn.Module, name: str) -> bool:
    if _is_tensor(model, name):
        return False
    module = model.get_submodule(name)
    inside = any(True for child in module.children() for _ in child.parameters())
    return inside and not any(True for _ in module.buffers(recurse=False))


def _hold(part: nn.Module, model: nn.Module, name: str) -> None:
    """Register a module or a parameter of the network in a stage, under its own name without points."""
    key = name.replace(".", "_")
    if _is_tensor(model, name):
        owner, _, own = name.rpartition(".")
        part.register_parameter(key, model.get_submodule(owner).get_parameter(own))
    else:
        part.add_module(key, model.get_submodule(name))


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    owner, _, key = name.rpartition(".")
    model.get_submodule(owner).register_module(key, layer)


@torch.no_grad()
def _forget(module: nn.Module) -> None:
    """Random weights again, by the module's own rule, or small normal numbers where it has none."""
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for value in module.parameters(recurse=False):
        value.normal_(0.0, 0.02)
