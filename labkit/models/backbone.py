"""The backbone: a network by name, its stages, its weights and its card, from which fresh modules are built."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from labkit import runtime
from labkit.errors import BackboneError, WeightsError, shown
from labkit.models.card import ModelCard
from labkit.models.files import (
    State,
    plain_state,
    read_weights,
    refuse_another_network,
)
from labkit.models.vision import efficientnet_lite, published
from labkit.models.vision.resnet10 import ResNet10
from labkit.models.vision.shipped import ALIASES, FOLDER, SHIPPED, sha256, shipped
from labkit.models.vision.staging import Staged, cut

if TYPE_CHECKING:
    import pandas as pd

Factory = Callable[[int], nn.Module]
Weights = Literal["pretrained"] | Path | str | State | None

OFFICIAL = ("resnet18", "resnet50", "mobilenet_v3_small", "convnext_tiny", "vit_b_16")


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that can be fine-tuned: ordered named stages and the weights they start from.

    `build` gives a fresh module each time, so no run can ever spoil another. `state` is None where the weights are
    random; `card` is None where nothing is known about them.
    """

    name: str
    stages: tuple[str, ...]
    factory: Factory = field(repr=False)
    state: State | None = field(default=None, repr=False)
    card: ModelCard | None = field(default=None, repr=False)
    weights: str | None = None  # what `load_backbone` was asked for

    @classmethod
    def from_module(
        cls,
        factory: Factory,
        stages: Sequence[str],
        name: str,
        state: State | None = None,
    ) -> Backbone:
        """Any network: `factory(num_classes)` makes a module whose named children are exactly `stages`, in order.

        The last stage is the head, new for each task, and has weights. Its forward takes whatever the batches of the
        data hold: a tensor, a tuple, a dict. `state` holds the weights to start from, under the module's own names.
        Each call of the factory must give a module of its own, or two runs would train the same one.
        Raises BackboneError for what is no such factory, WeightsError for weights that do not fit.
        """
        _refuse_no_factory(factory, name)
        backbone = cls(name, tuple(stages), factory, weights="module")
        net = backbone._module(2, 0)
        _refuse_shared_weights(net, backbone._module(2, 0), name)
        if state is None:
            return backbone
        state = plain_state(state, f"The state given for {name!r}", net.state_dict())
        refuse_another_network(state, net, backbone.stages[-1], f"The state given for {name!r}")
        return replace(backbone, state=_copied(state))

    @classmethod
    def wrap(
        cls,
        model: nn.Module,
        stages: Mapping[str, Sequence[str]] | None = None,
        head: str | None = None,
        name: str | None = None,
    ) -> Backbone:
        """A network that is there already, with its weights, in one line: of torchvision, of timm, or made by hand.

        Its layers are sorted into four to nine stages in the order in which it names them, and its last linear layer
        is the head, which is made anew for each task. `stages` says it otherwise: for each stage the layers in it, by
        their names in the network, such as {"stem": ["conv1", "bn1"], "body": ["layer1", "layer2"]}. `head` names the
        layer that gives the scores. The model stays as it is; all runs train copies.

        Its own forward pass is used, so outputs are its own to the bit. Images come in [0, 1]: where it wants them
        normalised, wrap `nn.Sequential(labkit.models.Normalize(), model)`. What frozen stages give is computed for
        every sample again, unless the network is a plain `nn.Sequential`.
        Raises BackboneError where no head is found and for stages that do not hold every weight once.
        """
        from labkit.models import wrapping

        if not isinstance(model, nn.Module):
            raise BackboneError(
                f"wrap takes a network, a torch.nn.Module, not {shown(model)}. A network by name comes from "
                "labkit.load_backbone."
            )
        plan = wrapping.plan_of(model, stages, head)
        ours = copy.deepcopy(model)
        state = wrapping.arranged(ours, plan).state_dict()
        body = {key: value for key, value in state.items() if not key.startswith("head.")}
        factory = wrapping.Factory(ours, plan)
        return cls.from_module(factory, plan.names, name or type(model).__name__.lower(), body)

    def build(self, num_classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        """A fresh network for `num_classes` classes, in float32 on the CPU, in training mode.

        Everything random comes from `seed`: the head always, the other stages where `pretrained` is false or there
        are no weights. The same arguments give the same numbers.
        Raises BackboneError where the factory gives another network than it should.
        """
        if num_classes < 1:
            raise BackboneError(f"num_classes={num_classes}: a head needs at least 1 class.")
        net = self._module(num_classes, seed)
        self._refuse_another_size(net, num_classes)
        if pretrained and self.state is not None:
            net.load_state_dict(self._body(self.state), strict=False)
        return net

    def _module(self, num_classes: int, seed: int) -> nn.Module:
        net = _made(self.factory, num_classes, seed, self.name)
        self._refuse_other_stages(net)
        self._refuse_no_head(net)
        return net

    def _body(self, state: State) -> dict[str, Tensor]:
        return {key: value for key, value in state.items() if not self._in_head(key)}

    def _in_head(self, key: str) -> bool:
        return key.startswith(f"{self.stages[-1]}.")

    def _refuse_other_stages(self, net: nn.Module) -> None:
        children = tuple(name for name, _ in net.named_children())
        if children != self.stages or not children:
            raise BackboneError(
                f"{self.name!r}: the module's children are {', '.join(children) or 'none'}, but its stages were given "
                f"as {', '.join(self.stages) or 'none'}. The children must be exactly the stages, in order. "
                "labkit.Backbone.wrap(model) sorts the layers of any network into stages."
            )

    def _refuse_no_head(self, net: nn.Module) -> None:
        """A last stage that has nothing to learn."""
        name = self.stages[-1]
        head = net.get_submodule(name)
        if not any(True for _ in head.parameters()):
            raise BackboneError(
                f"{self.name!r}: the last stage, {name}, is a {type(head).__name__} without weights. It is the head, "
                "which is new for each task and learns to give a score a class: the last stage must hold the layer "
                "that gives the scores, and may hold what comes after it, as in nn.Sequential(linear, activation)."
            )

    def _refuse_another_size(self, net: nn.Module, num_classes: int) -> None:
        """A head that gives another number of scores than there are classes, as far as it can be told."""
        last = _last_learned(net.get_submodule(self.stages[-1]))
        if isinstance(last, nn.Linear) and last.out_features != num_classes:
            raise BackboneError(
                f"{self.name!r}: for {num_classes} classes the factory gave a head of {last.out_features} scores. "
                "The factory is called with the number of classes; the last layer must use it, as in "
                "nn.Linear(features, num_classes)."
            )

    @cached_property
    def head(self) -> nn.Module | None:
        """The head the weights were trained with, or None: the way back to the old task."""
        if self.state is None or not any(map(self._in_head, self.state)):
            return None
        return self.trained().get_submodule(self.stages[-1]).requires_grad_(False)

    def trained(self) -> nn.Module:
        """The whole network as it was saved, with the head it was trained with, on the CPU and in evaluation mode.

        Raises WeightsError where the weights are random or came without a head.
        """
        head = [value for key, value in (self.state or {}).items() if self._in_head(key)]
        if self.state is None or not head:
            raise WeightsError(
                f"The weights of {self.name!r} have no head, so there is no task that it was trained for. "
                "build(num_classes) makes a network with a new head."
            )
        net = _made(self.factory, len(head[-1]), 0, self.name)
        try:
            net.load_state_dict(dict(self.state))
        except RuntimeError as error:
            raise WeightsError(
                f"The head in the weights of {self.name!r} does not belong to this network ({error}). "
                "build(num_classes) makes a network with a new head."
            ) from error
        return net.eval()

    @cached_property
    def num_features(self) -> int:
        """How many numbers the head sees of each input."""
        head = self.build(2, pretrained=False).get_submodule(self.stages[-1])
        layers = [part for part in head.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
        return next(
            part.in_features if isinstance(part, nn.Linear) else part.in_channels for part in layers
        )

    def spec(self) -> dict[str, Any]:
        """What `load_backbone(**spec)` needs to give this backbone again; plain values that fit into JSON."""
        return {"name": self.name, "weights": self.weights}


def load_backbone(name: str, weights: Weights = "pretrained") -> Backbone:
    """A backbone by name; `labkit.backbones()` lists them.

    `weights`: "pretrained" for the shipped or published ones, None for random ones, the path of a file, or a state
    dict. A file is one that `labkit.export` or `labkit.models.save_weights` wrote for the same network, or the state
    dict of torchvision's network of that name, in safetensors or as `torch.save` writes it; its head may have any
    number of classes. Of a file of `torch.save` only tensors are read, and no code in it is run.
    Raises BackboneError for a name that labkit does not know, WeightsError for weights it cannot use.
    """
    if not isinstance(name, str):
        raise BackboneError(
            f"load_backbone takes the name of a network, such as 'resnet10', not {shown(name)}. labkit.backbones() "
            "lists the names; a module of your own comes in by labkit.Backbone.from_module."
        )
    name = ALIASES.get(name, name)
    factory = _factory(name, weights)
    net = _made(factory, 2, 0, name)
    stages = tuple(key for key, _ in net.named_children())
    if weights is None:
        return Backbone(name, stages, factory)
    card: ModelCard | None
    if isinstance(weights, str) and weights == "pretrained":
        state, card = _pretrained(name)
        source = weights
    else:
        state, card, source = _given(weights, name, net)
    refuse_another_network(state, net, stages[-1], source)
    return Backbone(name, stages, factory, state, card, source)


def _given(weights: Any, name: str, net: nn.Module) -> tuple[State, ModelCard | None, str]:
    """Weights from a file or from someone's program, under our names; what is told of them, and where they are from."""
    known = net.state_dict()
    if isinstance(weights, str | Path):
        path = Path(weights).expanduser()
        state, card, source = read_weights(path, known), _card_beside(path), str(path)
    elif isinstance(weights, Mapping):
        state = _copied(plain_state(weights, "The state dict", known))
        card, source = None, "state dict"
    else:
        given = shown(weights) if isinstance(weights, bool | int) else type(weights).__name__
        raise WeightsError(
            f"weights={given} cannot be used. Give "
            '"pretrained", None for random ones, the path of a file, or a state dict (model.state_dict()).'
        )
    if name == efficientnet_lite.NAME:
        state = efficientnet_lite.in_stages(state)
    elif published.knows(name):
        state = published.in_stages(name, state)
    return state, card, source


def _made(factory: Factory, num_classes: int, seed: int, name: str) -> nn.Module:
    """What a factory makes, with its own chance, in float32 on the CPU whatever the program's defaults are."""
    with torch.device("cpu"), runtime.seeded_globals(seed, "weights"):
        net = factory(num_classes)
    if not isinstance(net, nn.Module):
        raise BackboneError(
            f"{name!r}: the factory gave {type(net).__name__}, not a torch.nn.Module. It ends in `return model`."
        )
    for key, value in [*net.named_parameters(), *net.named_buffers()]:
        if is_lazy(value) or value.is_meta:
            raise BackboneError(
                f"{name!r}: {key} has no {'size' if is_lazy(value) else 'numbers'} yet, because its layer is "
                f"{'lazy' if is_lazy(value) else 'on the meta device'}. The factory must give every layer its size and "
                "its numbers before it returns the module: by a plain layer such as nn.Linear(features, num_classes), "
                "or by passing one batch through the module."
            )
    # a module in half or double precision: the precision of a run is chosen later, and weights are kept in float32
    return net.float().cpu()


def _refuse_no_factory(factory: Any, name: str) -> None:
    """A module, or whatever else cannot be called with a number of classes."""
    wrong = _why_no_factory(factory)
    if wrong:
        raise BackboneError(
            f"{name!r}: from_module takes a function that makes a new module for a number of classes, not {wrong}. "
            "Such as: def factory(num_classes): model = resnet18(); model.fc = nn.Linear(512, num_classes); return "
            "model. A network that is there already, with its weights, comes in by one line: "
            "labkit.Backbone.wrap(model)."
        )


def _why_no_factory(factory: Any) -> str:
    if isinstance(factory, nn.Module):
        return f"a module, {type(factory).__name__}"
    if not callable(factory):
        return f"{type(factory).__name__}"
    try:
        inspect.signature(factory).bind(2)
    except TypeError as error:
        return f"one that does not take a number alone ({error})"
    except ValueError:  # made by C code, which does not say what it takes
        return ""
    return ""


def _refuse_shared_weights(first: nn.Module, second: nn.Module, name: str) -> None:
    """Two builds that have a weight in common: training one would change the other."""
    held = {value.untyped_storage().data_ptr() for value in first.parameters() if value.numel()}
    shared = [
        key
        for key, value in second.named_parameters()
        if value.untyped_storage().data_ptr() in held
    ]
    if shared:
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        raise BackboneError(
            f"{name!r}: two calls of the factory gave modules that share {shared[0]}{more}, so two runs would train "
            "the same weights. Make the whole module inside the factory, or begin it with copy.deepcopy(model)."
        )


def _last_learned(part: nn.Module) -> nn.Module:
    """The last layer with weights, as far as the order is known: a Sequential goes through its parts in order."""
    while type(part) is nn.Sequential:
        part = [child for child in part if any(True for _ in child.parameters())][-1]
    return part


def _copied(state: State) -> dict[str, Tensor]:
    """Numbers of our own: those of a module in someone's program change when it trains."""
    return {key: value.cpu().clone() for key, value in state.items()}


def backbones() -> pd.DataFrame:
    """The backbones by name: their parameters in millions, the data they learned from, and whether the weights are
    here. Most of torchvision's other networks load by name as well."""
    import pandas as pd

    cards = [ModelCard.read(FOLDER / f"{file}.json") for file in SHIPPED.values()]
    cards += [efficientnet_lite.card(), *(published.card(name) for name in OFFICIAL)]
    here = ["shipped"] * len(SHIPPED)
    here += ["installed" if efficientnet_lite.is_installed() else "to install"]
    here += ["cached" if published.is_cached(name) else "to fetch" for name in OFFICIAL]
    return pd.DataFrame(
        {
            "name": [*SHIPPED, efficientnet_lite.NAME, *OFFICIAL],
            "parameters (M)": [round(card.parameters / 1e6, 1) for card in cards],
            "learned from": [card.data for card in cards],
            "top-1 there": [round(card.accuracy or 0.0, 3) for card in cards],
            "weights": here,
        }
    ).set_index("name")


def _factory(name: str, weights: Weights) -> Factory:
    if isinstance(weights, str) and weights in ("module", "state dict"):
        raise BackboneError(
            f"{name!r} was made from a {weights} in someone's program, so its name alone cannot bring it back. "
            "Build it there, with labkit.Backbone.from_module or load_backbone, and hand it over."
        )
    if name in SHIPPED:
        return _resnet10
    if name == efficientnet_lite.NAME:
        return efficientnet_lite.factory
    if published.knows(name):
        return partial(published.factory, name)
    close = get_close_matches(name, [*SHIPPED, efficientnet_lite.NAME, *published.names()], n=3)
    raise BackboneError(
        f"There is no backbone {name!r}. "
        + (f"Did you mean {' or '.join(close)}? " if close else "")
        + f"Shipped with labkit: {', '.join(SHIPPED)}; from a package of 17 MB: {efficientnet_lite.NAME}; from "
        f"torchvision: {', '.join(OFFICIAL)} and their families. "
        "labkit.backbones() shows them; any other network comes in by labkit.Backbone.from_module."
    )


def _resnet10(num_classes: int) -> Staged:
    return cut(ResNet10(num_classes))


def _pretrained(name: str) -> tuple[State, ModelCard]:
    """The weights that belong to a name and their card, after checking that one belongs to the other."""
    if name in SHIPPED:
        path, card = shipped(name)
        return read_weights(path), card
    if name == efficientnet_lite.NAME:
        return efficientnet_lite.load(), efficientnet_lite.card()
    return published.load(name), published.card(name)


def _card_beside(path: Path) -> ModelCard | None:
    """The card that lies beside a weights file, if there is one and it speaks of this very file."""
    beside = path.with_suffix(".json")
    if not beside.exists():
        return None
    card = ModelCard.read(beside)
    return card if card.sha256 == sha256(path) else None
