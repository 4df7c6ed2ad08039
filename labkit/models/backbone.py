"""The backbone: a network by name, its stages, its weights and its card, from which fresh modules are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from labkit import runtime
from labkit.errors import BackboneError, WeightsError
from labkit.models import published
from labkit.models.card import Card
from labkit.models.files import State, read_weights, refuse_another_network, sha256
from labkit.models.resnet10 import ResNet10
from labkit.models.staging import Staged, cut

if TYPE_CHECKING:
    import pandas as pd

Factory = Callable[[int], nn.Module]
Weights = Literal["pretrained"] | Path | str | None

SHIPPED = {"resnet10": "resnet10-photos", "resnet10-glyphs": "resnet10-glyphs"}  # name -> file
ALIASES = {"resnet10-photos": "resnet10"}
OFFICIAL = ("resnet18", "resnet50", "mobilenet_v3_small", "convnext_tiny", "vit_b_16")
FOLDER = Path(__file__).parent / "weights"


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
    card: Card | None = field(default=None, repr=False)
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

        The last stage is the head, new for each task. Its forward takes whatever the batches of the data hold: a
        tensor, a tuple, a dict. `state` holds the weights to start from, under the module's own names.
        Raises BackboneError for other children, WeightsError for weights that do not fit.
        """
        backbone = cls(name, tuple(stages), factory, state, weights="module")
        net = backbone.build(2, pretrained=False)
        if state is not None:
            refuse_another_network(state, net, backbone.stages[-1], f"The state given for {name!r}")
        return backbone

    def build(self, num_classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        """A fresh network for `num_classes` classes, on the CPU, in training mode.

        Everything random comes from `seed`: the head always, the other stages where `pretrained` is false or there
        are no weights. The same arguments give the same numbers.
        """
        if num_classes < 1:
            raise BackboneError(f"num_classes={num_classes}: a head needs at least 1 class.")
        with runtime.seeded_globals(seed, "weights"):
            net = self.factory(num_classes)
        self._refuse_other_stages(net)
        if pretrained and self.state is not None:
            net.load_state_dict(self._body(self.state), strict=False)
        return net

    def _body(self, state: State) -> dict[str, Tensor]:
        return {key: value for key, value in state.items() if not self._in_head(key)}

    def _in_head(self, key: str) -> bool:
        return key.startswith(f"{self.stages[-1]}.")

    def _refuse_other_stages(self, net: nn.Module) -> None:
        children = tuple(name for name, _ in net.named_children())
        if children != self.stages:
            raise BackboneError(
                f"{self.name!r}: the module's children are {', '.join(children) or 'none'}, but its stages were given "
                f"as {', '.join(self.stages) or 'none'}. The children must be exactly the stages, in order."
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
        with runtime.seeded_globals(0, "weights"):  # leaves the program's own random numbers alone
            net = self.factory(len(head[-1]))
        net.load_state_dict(dict(self.state))
        return net.eval()

    @cached_property
    def num_features(self) -> int:
        """How many numbers the head sees of each input."""
        head = self.build(2, pretrained=False).get_submodule(self.stages[-1])
        return next(part.in_features for part in head.modules() if isinstance(part, nn.Linear))

    def spec(self) -> dict[str, Any]:
        """What `load_backbone(**spec)` needs to give this backbone again; plain values that fit into JSON."""
        return {"name": self.name, "weights": self.weights}


def load_backbone(name: str, weights: Weights = "pretrained") -> Backbone:
    """A backbone by name; `labkit.backbones()` lists them.

    `weights`: "pretrained" for the shipped or published ones, None for random ones, or the path of a .safetensors
    file that `labkit.models.save_weights` wrote for the same network.
    Raises BackboneError for a name that labkit does not know, WeightsError for weights it cannot use.
    """
    name = ALIASES.get(name, name)
    factory = _factory(name, weights)
    with runtime.seeded_globals(0, "weights"):  # leaves the program's own random numbers alone
        net = factory(2)
    stages = tuple(key for key, _ in net.named_children())
    if weights is None:
        return Backbone(name, stages, factory)
    card: Card | None
    if str(weights) == "pretrained":
        state, card = _shipped(name) if name in SHIPPED else _published(name)
    else:
        state, card = read_weights(Path(weights)), _card_beside(Path(weights))
    refuse_another_network(state, net, stages[-1], str(weights))
    return Backbone(name, stages, factory, state, card, str(weights))


def backbones() -> pd.DataFrame:
    """The backbones by name: their parameters in millions, the data they learned from, and whether the weights are
    here. Most of torchvision's other networks load by name as well."""
    import pandas as pd

    cards = [Card.read(FOLDER / f"{file}.json") for file in SHIPPED.values()]
    cards += [published.card(name) for name in OFFICIAL]
    here = ["shipped"] * len(SHIPPED)
    here += ["cached" if published.is_cached(name) else "to fetch" for name in OFFICIAL]
    return pd.DataFrame(
        {
            "name": [*SHIPPED, *OFFICIAL],
            "parameters (M)": [round(card.parameters / 1e6, 1) for card in cards],
            "learned from": [card.data for card in cards],
            "top-1 there": [round(card.accuracy or 0.0, 3) for card in cards],
            "weights": here,
        }
    ).set_index("name")


def _factory(name: str, weights: Weights) -> Factory:
    if name in SHIPPED:
        return _resnet10
    if name in published.names():
        return partial(published.factory, name)
    if str(weights) == "module":
        raise BackboneError(
            f"{name!r} was made from a module in someone's program, so its name alone cannot bring it back. "
            "Build it there with labkit.Backbone.from_module and hand it over."
        )
    close = get_close_matches(name, [*SHIPPED, *published.names()], n=3)
    raise BackboneError(
        f"There is no backbone {name!r}. "
        + (f"Did you mean {' or '.join(close)}? " if close else "")
        + f"Shipped with labkit: {', '.join(SHIPPED)}; from torchvision: {', '.join(OFFICIAL)} and their families. "
        "labkit.backbones() shows them; any other network comes in by labkit.Backbone.from_module."
    )


def _resnet10(num_classes: int) -> Staged:
    return cut(ResNet10(num_classes))


def _shipped(name: str) -> tuple[State, Card]:
    """The weights inside the package and their card, after checking that one belongs to the other."""
    path = FOLDER / f"{SHIPPED[name]}.safetensors"
    card = Card.read(path.with_suffix(".json"))
    if not path.exists() or sha256(path) != card.sha256:
        raise WeightsError(
            f"{path} is {'damaged' if path.exists() else 'missing'}: it is not the file that its card describes. "
            f"Install labkit again, or make the weights anew: {card.made_with}."
        )
    return read_weights(path), card


def _published(name: str) -> tuple[State, Card]:
    return published.load(name), published.card(name)


def _card_beside(path: Path) -> Card | None:
    """The card that lies beside a weights file, if there is one and it speaks of this very file."""
    beside = path.with_suffix(".json")
    if not beside.exists():
        return None
    card = Card.read(beside)
    return card if card.sha256 == sha256(path) else None
