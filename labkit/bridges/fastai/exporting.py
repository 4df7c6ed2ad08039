"""A trained network as the file of a fastai Learner, which opens without labkit, and what such a file says.

The file is a pickle by reference: it names the classes it is made of. So it is not bound to the version of Python that
wrote it, as fastai's own exports are. It needs those names where it is opened, and `needs` tells which. The one thing
that fastai has no name for, how labkit opens an image, is in it as source text (`opening`).
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

import numpy as np
import torch
from fastai.data.core import DataLoaders, Datasets, TfmdLists
from fastai.data.transforms import Categorize, IntToFloatTensor, Normalize, ToTensor
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.vision.augment import Resize
from fastai.vision.core import PILImage
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from labkit.bridges.fastai.opening import NEEDED, opening
from labkit.errors import ExportError
from labkit.hosts import version_of
from labkit.models.vision import resnet, staging

TORCHVISIONS = {resnet.BasicBlock: BasicBlock, resnet.Bottleneck: Bottleneck}
OLD_NAMES = {"__builtin__", "copy_reg"}  # which pickle gives to modules of Python


def to_fastai(
    model: nn.Module, classes: Sequence[str], images: Tensor, white: int | None = None
) -> bytes:
    """The model as `load_learner` opens it; it takes files, arrays and images, and gives a probability a class.

    An image is opened as labkit opens it: turned as its EXIF tag says, laid on white, brought to 8 bits, its middle
    shrunk. Where the network is one of labkit's, its normalisation becomes fastai's.

    Args:
        model: on the CPU, in evaluation mode.
        classes: their names, in the order of the scores.
        images: float32 (n, 3, H, W) in [0, 1]; their size is what images are brought to. None is kept.
        white: of the deep grey files that it learned from, the value that was white; None where there were none.

    Raises:
        ExportError: a part of the network has no name by which it could be found again.
    """
    net, normalize = _in_common_terms(model)
    loaders = _loaders(list(classes), images, normalize, white)
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


def probabilities(file: bytes, images: Sequence[Any]) -> Tensor:
    """What such a file says of images, as paths or as arrays: probabilities (n, classes). Runs the pickle."""
    learn = _opened(file, pickle.Unpickler)
    with learn.no_bar(), learn.no_logging():
        said, _ = learn.get_preds(dl=learn.dls.test_dl(list(images), num_workers=0))
    return said.as_subclass(Tensor)


def as_files(images: Tensor, folder: Path) -> list[Path]:
    """Images (n, 3, H, W) as files, and after them a few of the kinds that programs open each their own way."""
    opened = [Image.fromarray(array) for array in as_arrays(images)]
    files = [folder / f"{number}.png" for number in range(len(opened))]
    for file, image in zip(files, opened, strict=True):
        image.save(file)
    first, side = opened[0], opened[0].width
    glass = first.copy()
    glass.putalpha(first.convert("L"))
    glass.save(folder / "transparent.png")
    deep = np.asarray(first.convert("L")).astype(np.uint16)
    for name, times in (("deep", 257), ("dark", 16)):
        Image.fromarray(deep * times).save(folder / f"{name}.png")
    turned, tag = first.resize((5 * side, 4 * side)), Image.Exif()
    tag[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=tag)
    return files + [
        folder / name for name in ("transparent.png", "deep.png", "dark.png", "turned.jpg")
    ]


def as_labkit_reads(file: Path, size: int, white: int | None) -> Tensor:
    """What labkit itself would learn from a file: float32 (3, size, size) in [0, 1]."""
    pixels = np.array(opening(size, white).open(file))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def needs(file: bytes) -> dict[str, str]:
    """The packages whose names are in such a file, with the versions of them here. Runs the pickle."""
    asked: set[str] = set()

    class Noting(pickle.Unpickler):
        def find_class(self, module: str, name: str, /) -> Any:
            asked.add(module.partition(".")[0])
            return super().find_class(module, name)

    _opened(file, Noting)
    sold_as = {**packages_distributions(), "labkit": ["labkit"]}  # which `version_of` knows
    asked |= set(NEEDED)
    theirs = sorted(asked - sys.stdlib_module_names - OLD_NAMES)
    return {name: _version(sold_as.get(name, [name])[0]) for name in theirs}


def _version(package: str) -> str:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return "a file of your own"


def _in_common_terms(model: nn.Module) -> tuple[nn.Module, Normalize | None]:
    """One of our networks in the classes of torch and torchvision, and its normalisation as a step of fastai's.

    What is not ours stays as it is. The names of the parameters stay in any case.
    """
    if not isinstance(model, staging.Staged):
        return model, None
    stages = OrderedDict((name, _as_torchvisions(part)) for name, part in model.named_children())
    (_, first), *rest = stages["stem"].named_children()
    if not isinstance(first, staging.Normalize):
        return nn.Sequential(stages), None
    stages["stem"] = nn.Sequential(OrderedDict(rest))
    mean, std = first.mean.flatten(), first.std.flatten()
    return nn.Sequential(stages), Normalize.from_stats(mean, std, cuda=False)


def _as_torchvisions(stage: nn.Module) -> nn.Module:
    """The stage with torchvision's blocks in place of ours, which do the same with the same layers."""
    if not any(type(part) in TORCHVISIONS for part in stage.children()):
        return stage
    return nn.Sequential(OrderedDict((name, _block(part)) for name, part in stage.named_children()))


def _block(ours: Any) -> nn.Module:
    with torch.device("meta"):  # its own layers are never used
        theirs = TORCHVISIONS[type(ours)](1, 1)
    theirs.stride = ours.stride
    for name, layer in ours.named_children():
        setattr(theirs, name, layer)
    return theirs.train(ours.training)


def _loaders(
    classes: list[str], images: Tensor, normalize: Normalize | None, white: int | None
) -> DataLoaders:
    """fastai's loaders for images of that size, set up on two of them."""
    height, width = images.shape[-2:]
    open_it = [PILImage.create, ImageOps.exif_transpose]
    if height == width:  # as all that labkit decodes
        open_it = [opening(height, white).open]
    open_it.append(PILImage.create)  # Pillow forgets whose it was
    name_it = [Categorize(classes, sort=False)]
    both = {"splits": [[0], [1]]}
    arrays = as_arrays(images[:1]) * 2
    sets = Datasets(
        tls=[TfmdLists(arrays, open_it, **both), TfmdLists(classes[:1] * 2, name_it, **both)]
    )
    return sets.dataloaders(
        bs=32,
        drop_last=False,
        num_workers=0,
        device="cpu",
        after_item=[Resize((height, width)), ToTensor()],
        after_batch=[IntToFloatTensor(), *([normalize] if normalize else [])],
    )


def as_arrays(images: Tensor) -> list[Any]:
    """Images (n, 3, H, W) in [0, 1] as arrays of 256 levels, channels last."""
    return list((images * 255).round().byte().permute(0, 2, 3, 1).numpy())


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
