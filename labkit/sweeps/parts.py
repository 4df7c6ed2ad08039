"""What jobs are made of, the network and the data: named where everybody has them, else handed over once a worker.

A job names its parts by a digest of their content. A worker finds a shipped or published part by its name and checks
that it is the same; a part that only its maker has is pickled once and given to each worker as it starts.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

from labkit.errors import DataError, ShareError
from labkit.tuning.contracts import Data, Net, old_examples_of

# labkit.data and labkit.models are imported where they are needed: they take seconds, in every worker, and one that
# was handed a network and data of its own needs neither.
if TYPE_CHECKING:
    from labkit.data import ImageData
    from labkit.models import Backbone
    from labkit.tuning.run import Run

CHUNK = 256  # samples looked at in one go


@dataclass(frozen=True)
class ContentRef:
    """A network or a data set by the digest of its content; `spec` is JSON that loads it where everybody has it."""

    digest: str
    spec: str | None = None


# ---------------------------------------------------------------- the driver's side


def part_of_net(net: Net, classes: int) -> ContentRef:
    """How a job names this network."""
    if _is_published(net):
        return ContentRef(_digest_of_published(net), json.dumps(net.spec()))
    return ContentRef(_digest(_inside_of_net(net, classes)))


def part_of_data(data: Data) -> ContentRef:
    """How a job names these data."""
    if _is_carded(data):
        return ContentRef(_digest_of_carded(data), json.dumps(data.spec()))
    return ContentRef(_digest(_inside_of_data(data)))


def worker_setup(base: Run) -> bytes:
    """The parts of a run that only its maker has, pickled for the workers; raises ShareError where that fails."""
    parts = {
        part_of_net(base.net, len(base.data.classes)): base.net,
        part_of_data(base.data): base.data,
    }
    own = {part.digest: thing for part, thing in parts.items() if part.spec is None}
    if not own:
        return b""
    # Python's own pickle cannot carry a class or a function that a notebook defines.
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(own))
    except Exception as error:
        raise ShareError(
            f"The network or the data cannot be sent to another process: {error}. "
            "Leave open files, locks and connections out of them."
        ) from error


def _is_published(net: Net) -> TypeGuard[Backbone]:
    if "labkit.models" not in sys.modules:  # then it cannot be one of its backbones
        return False
    from labkit.models import Backbone
    from labkit.models.vision import published
    from labkit.models.vision.shipped import SHIPPED

    if not isinstance(net, Backbone) or net.weights not in ("pretrained", None):
        return False
    return net.name in SHIPPED or published.knows(net.name)


def _is_carded(data: Data) -> TypeGuard[ImageData]:
    if "labkit.data" not in sys.modules:
        return False
    from labkit.data import ImageData
    from labkit.data.cards import cards

    carded = isinstance(data, ImageData) and data.recipe.get("name") in cards()
    return carded and old_examples_of(data) is None  # old examples are their maker's


# ---------------------------------------------------------------- the worker's side

_handed: dict[str, Any] = {}


def set_up_worker(setup: bytes) -> None:
    """Take the parts that only their maker has; called once in every worker."""
    if setup:
        import cloudpickle

        _handed.update(cloudpickle.loads(setup))


@lru_cache(maxsize=2)
def net_of(part: ContentRef) -> Any:
    """The network that a job names: loaded once a worker."""
    if part.spec is None:
        return _taken(part)
    from labkit.models import load_backbone

    net = load_backbone(**json.loads(part.spec))
    if _digest_of_published(net) != part.digest:
        raise _not_the_same(net.name)
    return net


@lru_cache(maxsize=8)
def data_of(part: ContentRef, per_class: int | None = None, seed: int = 0) -> Any:
    """The data that a job names, or `per_class` examples of every class of it: loaded once a worker."""
    if per_class is not None:
        return _whole(part).subset(per_class, seed)
    return _whole(part)


@lru_cache(maxsize=2)
def _whole(part: ContentRef) -> Any:
    if part.spec is None:
        return _taken(part)
    from labkit.data import load_data

    data = load_data(**json.loads(part.spec))
    if _digest_of_carded(data) != part.digest:
        raise _not_the_same(data.name)
    return data


def _taken(part: ContentRef) -> Any:
    try:
        return _handed[part.digest]
    except KeyError:
        raise ShareError(
            "This worker was not given the network or the data of the sweep."
        ) from None


def _not_the_same(name: str) -> DataError:
    return DataError(
        f"{name!r} is another one here than where the sweep was started: another version of labkit or other files. "
        "Install the same labkit and bring the same files to every machine."
    )


# ---------------------------------------------------------------- digests


def _digest_of_published(net: Backbone) -> str:
    about = [json.dumps(net.spec()), net.card.sha256 if net.card else None]
    return _digest([repr(about).encode()])


def _digest_of_carded(data: ImageData) -> str:
    return _digest(_inside_of_carded(data))


def _inside_of_carded(data: ImageData) -> Iterator[bytes]:
    """Which images are in which split under which class: the fetch has checked the images themselves."""
    yield json.dumps(data.spec()).encode()
    for split in (data.train, data.valid, data.test):
        yield "\n".join(split.names).encode()
        yield from _bytes_of([split.rows, split.labels])


def _inside_of_net(net: Net, classes: int) -> Iterator[bytes]:
    """The modules and every number that a fresh build starts from."""
    model = net.build(classes, seed=0)
    yield repr((net.name, tuple(net.stages), str(model))).encode()
    yield from _bytes_of(model.state_dict())


def _inside_of_data(data: Data) -> Iterator[bytes]:
    """Every sample of every split, as a model would see it."""
    yield repr((data.name, tuple(data.classes))).encode()
    every = (data.train, data.valid, data.test, old_examples_of(data))
    for split in (split for split in every if split is not None and len(split)):
        for rows in torch.arange(len(split), device="cpu").split(CHUNK):
            yield from _bytes_of(split.batch(rows))


def _bytes_of(thing: Any) -> Iterator[bytes]:
    """Whatever a batch or a state is, as bytes: tensors, and lists, tuples and dicts of them."""
    if isinstance(thing, Tensor):
        yield repr((thing.dtype, tuple(thing.shape))).encode()
        yield thing.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield repr(key).encode()
            yield from _bytes_of(value)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from _bytes_of(value)
    else:
        yield repr(thing).encode()


def _digest(pieces: Iterator[bytes] | list[bytes]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        total.update(len(piece).to_bytes(8, "little"))
        total.update(piece)
    return total.hexdigest()
