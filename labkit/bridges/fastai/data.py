"""Our data as fastai's DataLoaders, and DataLoaders as our data."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import torch
from fastai.data.core import DataLoaders, Datasets
from fastai.data.transforms import Categorize, IntToFloatTensor, Normalize
from fastai.vision.core import TensorImage
from torch import Tensor

from labkit.data import DataReport, DatasetCard, ImageData, ImageSplit
from labkit.errors import DataError, SplitError

PARTS = ("train", "valid", "test")


def dataloaders(data: ImageData, batch_size: int = 32, seed: int = 0) -> DataLoaders:
    """The splits as fastai's loaders: training, validation and, where there is one, test as `loaders[2]`.

    Images come as float32 (n, 3, h, w) in [0, 1], labels as int64 (n,). They are not normalised: our networks do that
    in their stem, and fastai's `vision_learner` adds what its networks want. Unlike fastai's default, the last, short
    batch of an epoch is kept. The order of the training images is drawn from `seed`.

    Raises SplitError where there is nothing to validate on.
    """
    parts = [part for name in PARTS if len(part := getattr(data, name))]
    if not len(data.valid):
        raise SplitError(
            f"{data.name} has no validation split, and fastai validates after every epoch."
        )
    items = [
        [image, data.classes[label]]  # no tuple: fastai would transform its parts one by one
        for part in parts
        for image, label in zip(part.images, part.labels.tolist(), strict=True)
    ]
    ends = accumulate((len(part) for part in parts), initial=0)
    sets = Datasets(
        items,
        [
            [lambda item: TensorImage(item[0])],
            [lambda item: item[1], Categorize(list(data.classes), sort=False)],
        ],
        splits=[list(range(start, end)) for start, end in pairwise(ends)],
    )
    loaders = sets.dataloaders(
        bs=batch_size, drop_last=False, num_workers=0, after_batch=[IntToFloatTensor()]
    )
    loaders.train.rng = Random(seed)
    return loaders


def from_dataloaders(loaders: DataLoaders, name: str = "from fastai") -> ImageData:
    """The images behind fastai's loaders as our data: uint8, square, without augmentation or normalisation.

    Item transforms are done as for validation, random changes of a batch are left out. A third loader is the test
    split.

    Raises DataError for what is no set of square images with one class each.
    """
    classes = tuple(map(str, getattr(loaders, "vocab", ())))
    if not classes or "[" in classes[0]:
        raise DataError("These DataLoaders have no list of classes (`vocab`), or several an image.")
    sides = [_read(loader) for loader in loaders.loaders[: len(PARTS)]]
    _check({tuple(images.shape[1:]) for images, _, _ in sides})
    store = torch.cat([images for images, _, _ in sides])
    splits, start = {}, 0
    for part in PARTS:
        _, labels, names = sides.pop(0) if sides else (None, torch.empty(0, dtype=torch.int64), ())
        rows = torch.arange(start, start + len(labels))
        splits[part], start = ImageSplit(store, rows, labels, tuple(names)), start + len(labels)
    about = DatasetCard(
        name, "Images out of fastai's DataLoaders", classes=classes, pictures=len(store)
    )
    recipe = {"name": name}
    return ImageData(name, store.shape[-1], classes, about, DataReport(()), **splits, recipe=recipe)


def _read(loader: Any) -> tuple[Tensor, Tensor, list[str]]:
    """All images of a loader as uint8 (N, 3, h, w), their labels (N,) and their names, in the order of its items."""
    plain = loader.new(shuffle=False, drop_last=False, num_workers=0)
    calm = getattr(
        plain.dataset, "set_split_idx", None
    )  # 1: as validation is treated, nothing random
    images, labels = [], []
    with calm(1) if calm else nullcontext():
        for batch, targets, *_ in plain:
            images.append(_as_bytes(batch, plain))
            labels.append(targets.cpu().as_subclass(Tensor).long())
    return torch.cat(images), torch.cat(labels), _names(plain.dataset)


def _as_bytes(batch: Tensor, loader: Any) -> Tensor:
    """A batch with the normalisation taken back, in the 256 levels it was read in."""
    for step in reversed(list(getattr(loader.after_batch, "fs", ()))):
        if isinstance(step, Normalize):
            batch = step.decode(batch)
    plain = batch.detach().cpu().as_subclass(Tensor)
    return plain if plain.dtype == torch.uint8 else (plain.clamp(0, 1) * 255).round().byte()


def _names(dataset: Any) -> list[str]:
    """The paths of images that have one, else their numbers."""
    items = getattr(dataset, "items", range(len(dataset)))
    paths = [str(item) for item in items if hasattr(item, "__fspath__")]
    return paths if len(paths) == len(dataset) else [f"{number}" for number in range(len(dataset))]


def _check(shapes: set[tuple[int, ...]]) -> None:
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 3 or shape[0] != 3:
        raise DataError(f"Images of shape (3, side, side) are needed, not {sorted(shapes)}.")
    if shape[1] != shape[2]:
        raise DataError(
            f"These images are {shape[1]} by {shape[2]}; give the loaders a square Resize."
        )
