"""torchvision's networks by name, with the weights that torchvision publishes and checksums it publishes with them.

torchvision is imported where it is used: it takes seconds, and the shipped networks do without it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.request import urlopen

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import WeightsError
from labkit.models.card import Card, Measure
from labkit.models.files import State
from labkit.models.shipped import sha256
from labkit.models.staging import Normalize, Staged, cut

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

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


def names() -> list[str]:
    """The networks of torchvision that labkit can cut into stages."""
    from torchvision import models

    return [name for name in models.list_models(module=models) if name.startswith(FAMILIES)]


def weights_of(name: str) -> WeightsEnum:
    """The weights that torchvision recommends for a network, with their address and description."""
    from torchvision.models import get_model_weights

    return get_model_weights(name).DEFAULT


def factory(name: str, num_classes: int) -> Staged:
    """A network with random weights in stages. Its head is a plain linear layer, whatever torchvision would do:
    some of its heads start at zero, others very small, and then backbones could not be compared."""
    from torchvision.models import get_model

    net = cut(get_model(name, weights=None, num_classes=num_classes), _normalize(name))
    for module in net[-1].modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return net


def _normalize(name: str) -> Normalize:
    transforms = weights_of(name).transforms()
    return Normalize(transforms.mean, transforms.std)


def load(name: str) -> dict[str, torch.Tensor]:
    """The published weights of a network under the names of its stages, fetched once, checked every time.

    Raises WeightsError when they are neither cached nor to be had, or when the file is not the published one.
    """
    weights = weights_of(name)
    path = cached(weights)
    if not path.exists():
        _fetch(name, weights, path)
    if not sha256(path).startswith(_digest(weights)):
        raise WeightsError(
            f"{path} is not the file that torchvision published: its SHA-256 does not begin with "
            f"{_digest(weights)}. Delete it and load {name} again."
        )
    from torchvision.models import get_model

    model = get_model(name, weights=None, num_classes=len(weights.meta["categories"]))
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
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
    from torchvision.models import get_model

    with torch.device("meta"):  # names only: no memory, no time
        model = get_model(name, weights=None, num_classes=2)
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


def cached(weights: WeightsEnum) -> Path:
    """Where torch keeps this file on this machine, whether it is there or not: shared with all that use torchvision."""
    return Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]


def is_cached(name: str) -> bool:
    """Whether the published weights of a network are on this machine already."""
    return cached(weights_of(name)).exists()


def _digest(weights: WeightsEnum) -> str:
    """The first digits of the SHA-256, which torchvision writes into the name: resnet18-f37072fd.pth."""
    match = re.search(r"-([0-9a-f]{8,})\.", weights.url)
    return match[1] if match else ""


def _fetch(name: str, weights: WeightsEnum, path: Path) -> None:
    if runtime.is_offline():
        raise _unavailable(name, weights, path, "LABKIT_OFFLINE says that there is no network")
    from tqdm.auto import tqdm

    try:
        with urlopen(weights.url, timeout=TIMEOUT) as response:
            total = int(response.headers.get("Content-Length", 0)) or None
            with tqdm.wrapattr(response, "read", total=total, desc=name, leave=False) as stream:
                runtime.write_atomic(path, lambda file: _copy(stream, file, _digest(weights)))
    except OSError as error:  # URLError, timeouts and a full disk among them
        raise _unavailable(name, weights, path, str(error)) from error


def _copy(source: IO[bytes], target: IO[bytes], digest: str) -> None:
    running = hashlib.sha256()
    while block := source.read(1 << 20):
        running.update(block)
        target.write(block)
    if not running.hexdigest().startswith(digest):
        raise OSError(f"what came is not the published file, whose SHA-256 begins with {digest}")


def _unavailable(name: str, weights: WeightsEnum, path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"The published weights of {name} are not on this machine and could not be fetched ({why}). "
        f"On a machine with a network, fetch {weights.url} ({weights.meta['_file_size']:.0f} MB) and put it at {path}; "
        "`labkit doctor` tells what this machine has. Without a network these work now: "
        'load_backbone("resnet10") and load_backbone("resnet10-glyphs"), which labkit ships, and '
        f'load_backbone("{name}", weights=None), which starts from random weights.'
    )


def card(name: str) -> Card:
    """What torchvision says about its weights."""
    weights = weights_of(name)
    correct = round(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] * 500)  # of 50,000
    return Card(
        name=name,
        title=f"torchvision's {weights}",
        architecture=name,
        parameters=weights.meta["num_params"],
        data="ImageNet-1K",
        data_licence="ImageNet terms of access: research and education",
        classes=tuple(weights.meta["categories"]),
        made_with=weights.meta.get("recipe", ""),
        measures=(Measure.of("top-1 on ImageNet-1K, as published", correct, 50_000),),
        sha256=_digest(weights),
        url=weights.url,
    )
