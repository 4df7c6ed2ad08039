"""torchvision's networks by name, with the weights that torchvision publishes and checksums it publishes with them.

torchvision is imported where it is used, because it takes seconds. The networks of `labkit.models.vision.resnet` do
without it: what it publishes about them stands in `published.json` as well, which
`python -m labkit.models.vision.published` writes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import WeightsError
from labkit.models.card import Measure, ModelCard
from labkit.models.files import State
from labkit.models.vision.resnet import RESNETS, ResNet
from labkit.models.vision.shipped import sha256
from labkit.models.vision.staging import Normalize, Staged, cut

FILE = Path(__file__).with_suffix(".json")
FAMILIES = (
    "resnet",
    "resnext",
    "wide_resnet",
    "mobilenet_v3",
    "convnext",
    "efficientnet",
    "vit_b",
    "vit_l",
)
TIMEOUT = 20  # seconds without a byte before we call a host unreachable


@dataclass(frozen=True)
class Published:
    """What torchvision publishes about the weights that it recommends for a network."""

    title: str
    url: str
    megabytes: float
    parameters: int
    accuracy: float  # top-1 on ImageNet-1K, in percent
    recipe: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The first digits of the SHA-256, which torchvision writes into the name: resnet18-f37072fd.pth."""
        match = re.search(r"-([0-9a-f]{8,})\.", self.url)
        return match[1] if match else ""

    @property
    def path(self) -> Path:
        """Where torch keeps the file on this machine, there or not: shared with all that use torchvision."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rsplit("/", 1)[-1]


def names() -> list[str]:
    """The networks of torchvision that labkit can cut into stages."""
    from torchvision import models

    return [name for name in models.list_models(module=models) if name.startswith(FAMILIES)]


def knows(name: str) -> bool:
    """Whether a network of this name is published."""
    return name in RESNETS or name in names()


def weights_of(name: str) -> Published:
    """The weights that torchvision recommends for a network."""
    return _kept()[name] if name in RESNETS else _torchvisions(name)


@cache
def _kept() -> dict[str, Published]:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    common: dict[str, Any] = {key: tuple(value) for key, value in content["all"].items()}
    return {name: Published(**about, **common) for name, about in content["networks"].items()}


def to_keep() -> str:
    """What `published.json` holds, from the torchvision that is installed."""
    found = {name: asdict(_torchvisions(name)) for name in RESNETS}
    shared = ("mean", "std", "classes")
    common = [{key: about.pop(key) for key in shared} for about in found.values()]
    if any(one != common[0] for one in common):
        raise ValueError(f"The networks of published.json no longer share {', '.join(shared)}.")
    return json.dumps({"networks": found, "all": common[0]}, indent=1, ensure_ascii=False) + "\n"


def _torchvisions(name: str) -> Published:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    transforms = weights.transforms()
    return Published(
        title=f"torchvision's {weights}",
        url=weights.url,
        megabytes=weights.meta["_file_size"],
        parameters=weights.meta["num_params"],
        accuracy=weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
        recipe=weights.meta.get("recipe", ""),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        classes=tuple(weights.meta["categories"]),
    )


def factory(name: str, num_classes: int) -> Staged:
    """A network with random weights in stages. Its head is a plain linear layer, whatever torchvision would do:
    some of its heads start at zero, others very small, and then backbones could not be compared."""
    about = weights_of(name)
    net = cut(_network(name, num_classes), Normalize(about.mean, about.std))
    for module in net[-1].modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return net


def _network(name: str, num_classes: int) -> Any:
    """The network as torchvision makes it, without torchvision where it is written out here."""
    if name in RESNETS:
        return ResNet(*RESNETS[name], num_classes)
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=num_classes)


def load(name: str) -> dict[str, torch.Tensor]:
    """The published weights of a network under the names of its stages, fetched once, checked every time.

    Raises WeightsError when they are neither cached nor to be had, or when the file is not the published one.
    """
    about = weights_of(name)
    if not about.path.exists():
        _fetch(name, about)
    if not sha256(about.path).startswith(about.digest):
        raise WeightsError(
            f"{about.path} is not the file that torchvision published: its SHA-256 does not begin with "
            f"{about.digest}. Delete it and load {name} again."
        )
    with torch.device(
        "meta"
    ):  # the file's own tensors take the place of those that need no numbers
        model = _network(name, len(about.classes))
    state = torch.load(about.path, map_location="cpu", weights_only=True)
    model.load_state_dict(state, assign=True)
    return cut(model).state_dict()


def in_stages(name: str, state: State) -> dict[str, Tensor]:
    """A state dict under torchvision's names for a network under those of its stages; other names stay as they are.

    A head that is not torchvision's one linear layer is left out, because a new one is made for each task anyway. A
    BatchNorm from before torch counted its batches has counted none.
    """
    ours, head = _own_names(name)
    found = {ours.get(key, key): value for key, value in state.items()}
    if not any(key in ours and key != ours[key] for key in state):
        return found
    is_head = re.compile(rf"{re.escape(head)}\.|head\.").match
    whole = {key for key in ours.values() if key.startswith("head.")}
    keep = {key for key in found if is_head(key)} == whole
    counts = {key: torch.tensor(0) for key in ours.values() if key.endswith(".num_batches_tracked")}
    return counts | {key: value for key, value in found.items() if keep or not is_head(key)}


def _own_names(name: str) -> tuple[dict[str, str], str]:
    """torchvision's name of every tensor with the one it has in stages, and what torchvision's names of the head begin
    with. A cut moves tensors and makes none, so each is found again by its identity."""
    with torch.device("meta"):  # names only: no memory, no time
        model = _network(name, 2)
        theirs = {id(value): key for key, value in model.state_dict(keep_vars=True).items()}
        staged = cut(model).state_dict(keep_vars=True)
    ours = {theirs[id(value)]: key for key, value in staged.items()}
    parts = next(key for key, own in ours.items() if own.startswith("head.")).split(".")
    body = [key for key, own in ours.items() if not own.startswith("head.")]
    for count in range(1, len(parts)):
        head = ".".join(parts[:count])
        if not any(key.startswith(f"{head}.") for key in body):
            break
    return ours, head


def is_cached(name: str) -> bool:
    """Whether the published weights of a network are on this machine already."""
    return weights_of(name).path.exists()


def _fetch(name: str, about: Published) -> None:
    if runtime.is_offline():
        raise _unavailable(name, about, "LABKIT_OFFLINE says that there is no network")
    from tqdm.auto import tqdm

    try:
        with urlopen(about.url, timeout=TIMEOUT) as response:
            total = int(response.headers.get("Content-Length", 0)) or None
            with tqdm.wrapattr(response, "read", total=total, desc=name, leave=False) as stream:
                runtime.write_atomic(about.path, lambda file: _copy(stream, file, about.digest))
    except OSError as error:  # URLError, timeouts and a full disk among them
        raise _unavailable(name, about, str(error)) from error


def _copy(source: IO[bytes], target: IO[bytes], digest: str) -> None:
    running = hashlib.sha256()
    while block := source.read(1 << 20):
        running.update(block)
        target.write(block)
    if not running.hexdigest().startswith(digest):
        raise OSError(f"what came is not the published file, whose SHA-256 begins with {digest}")


def _unavailable(name: str, about: Published, why: str) -> WeightsError:
    return WeightsError(
        f"The published weights of {name} are not on this machine and could not be fetched ({why}). "
        f"On a machine with a network, fetch {about.url} ({about.megabytes:.0f} MB) and put it at {about.path}; "
        "`labkit doctor` tells what this machine has. Without a network these work now: "
        'load_backbone("resnet10") and load_backbone("resnet10-glyphs"), which labkit ships, and '
        f'load_backbone("{name}", weights=None), which starts from random weights.'
    )


def card(name: str) -> ModelCard:
    """What torchvision says about its weights."""
    about = weights_of(name)
    correct = round(about.accuracy * 500)  # of 50,000
    return ModelCard(
        name=name,
        title=about.title,
        architecture=name,
        parameters=about.parameters,
        data="ImageNet-1K",
        data_licence="ImageNet terms of access: research and education",
        classes=about.classes,
        made_with=about.recipe,
        measures=(Measure.of("top-1 on ImageNet-1K, as published", correct, 50_000),),
        sha256=about.digest,
        url=about.url,
    )


if __name__ == "__main__":
    FILE.write_text(to_keep(), encoding="utf-8")
