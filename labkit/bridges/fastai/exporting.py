"""A trained network as the file of a fastai Learner, which opens without labkit, and what such a file says.

The file is a pickle by reference: it names the classes it is made of and holds no code of its own. So it is not bound
to the version of Python that wrote it, as fastai's own exports are. It needs those names where it is opened, and
`needs` tells which.
"""

from __future__ import annotations

import io
import pickle
import sys
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import torch
from fastai.data.core import DataLoaders, Datasets, TfmdLists
from fastai.data.transforms import Categorize, IntToFloatTensor, Normalize, ToTensor
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.vision.augment import Resize
from fastai.vision.core import PILImage
from PIL import ImageOps
from torch import Tensor, nn

from labkit.errors import ExportError
from labkit.hosts import version_of
from labkit.models import staging

OLD_NAMES = {"__builtin__", "copy_reg"}  # which pickle gives to modules of Python


def to_fastai(model: nn.Module, classes: Sequence[str], pictures: Tensor) -> bytes:
    """The model as `load_learner` opens it; it takes files, arrays and images, and gives a probability a class.

    A picture of another size is turned as its EXIF tag says, then its middle is shrunk: what labkit does, by fastai's
    own means. Where the network is one of labkit's, its normalisation becomes fastai's.

    Args:
        model: on the CPU, in evaluation mode.
        classes: their names, in the order of the scores.
        pictures: float32 (n, 3, H, W) in [0, 1]; their size is what pictures are brought to. None is kept.

    Raises:
        ExportError: a part of the network has no name by which it could be found again.
    """
    net, normalize = _in_common_terms(model)
    loaders = _loaders(list(classes), pictures, normalize)
    learn = Learner(
        loaders.new_empty(), net, loss_func=CrossEntropyLossFlat(), metrics=accuracy, path="."
    )
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch has not checked the model
        try:
            torch.save(learn, content, pickle_module=_room(Pickler=_Pickler))
        except (pickle.PicklingError, AttributeError, TypeError) as trouble:
            raise ExportError(
                f"A fastai learner keeps its network by the names of its parts, and one cannot be kept so: {trouble}. "
                "Define its classes and functions at the top of a file of their own. The weights alone: "
                'formats=("safetensors",).'
            ) from trouble
    return content.getvalue()


def probabilities(file: bytes, pictures: Tensor) -> Tensor:
    """What such a file says of pictures (n, 3, H, W) of 256 levels: probabilities (n, classes). Runs the pickle."""
    learn = _opened(file, pickle.Unpickler)
    with learn.no_bar(), learn.no_logging():
        said, _ = learn.get_preds(dl=learn.dls.test_dl(_as_arrays(pictures), num_workers=0))
    return said.as_subclass(Tensor)


def needs(file: bytes) -> dict[str, str]:
    """The packages whose names are in such a file, with the versions of them here. Runs the pickle."""
    asked: set[str] = set()

    class Noting(pickle.Unpickler):
        def find_class(self, module: str, name: str, /) -> Any:
            asked.add(module.partition(".")[0])
            return super().find_class(module, name)

    _opened(file, Noting)
    sold_as = {**packages_distributions(), "labkit": ["labkit"]}  # which `version_of` knows
    theirs = sorted(asked - sys.stdlib_module_names - OLD_NAMES)
    return {name: _version(sold_as.get(name, [name])[0]) for name in theirs}


def _version(package: str) -> str:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return "a file of your own"


def _in_common_terms(model: nn.Module) -> tuple[nn.Module, Normalize | None]:
    """One of our networks in torch's own classes, as far as it has them, and its normalisation as a step of fastai's.

    What is not ours stays as it is. The names of the parameters stay in any case.
    """
    if not isinstance(model, staging.Staged):
        return model, None
    stages = OrderedDict(model.named_children())
    (_, first), *rest = stages["stem"].named_children()
    if not isinstance(first, staging.Normalize):
        return nn.Sequential(stages), None
    stages["stem"] = nn.Sequential(OrderedDict(rest))
    mean, std = first.mean.flatten(), first.std.flatten()
    return nn.Sequential(stages), Normalize.from_stats(mean, std, cuda=False)


def _loaders(classes: list[str], pictures: Tensor, normalize: Normalize | None) -> DataLoaders:
    """fastai's loaders for pictures of that size, set up on two of them."""
    open_it = [
        PILImage.create,
        ImageOps.exif_transpose,
        PILImage.create,
    ]  # Pillow forgets whose it was
    name_it = [Categorize(classes, sort=False)]
    both = {"splits": [[0], [1]]}
    arrays = _as_arrays(pictures[:1]) * 2
    sets = Datasets(
        tls=[TfmdLists(arrays, open_it, **both), TfmdLists(classes[:1] * 2, name_it, **both)]
    )
    return sets.dataloaders(
        bs=32,
        drop_last=False,
        num_workers=0,
        device="cpu",
        after_item=[Resize(tuple(pictures.shape[-2:])), ToTensor()],
        after_batch=[IntToFloatTensor(), *([normalize] if normalize else [])],
    )


def _as_arrays(pictures: Tensor) -> list[Any]:
    return list((pictures * 255).round().byte().permute(0, 2, 3, 1).numpy())


class _Pickler(pickle.Pickler):
    """Keeps a path in a way that other systems understand: a PosixPath cannot be made on Windows."""

    def reducer_override(self, thing: Any) -> Any:
        return (Path, (str(thing),)) if isinstance(thing, PurePath) else NotImplemented


def _opened(file: bytes, unpickler: type[pickle.Unpickler]) -> Learner:
    return torch.load(
        io.BytesIO(file), pickle_module=_room(Unpickler=unpickler), weights_only=False
    )


def _room(**parts: Any) -> ModuleType:
    """What torch wants for a pickle module: something with a name that has these parts, and else is pickle."""
    room = ModuleType("pickle")
    room.__dict__.update(vars(pickle) | parts)
    return room
