"""fastai: a Learner with torchvision's network, its head kept the same as everyone's, frozen by `learn.freeze()`."""

# No `from __future__ import annotations` here: fastai reads the types of `encodes` when the class is made.
from functools import partial
from typing import Any

import fastai.callback.progress  # noqa: F401 (gives Learner its no_bar)
import torch
from fastai.callback.core import Callback
from fastai.data.transforms import Normalize, Transform
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import OptimWrapper
from fastai.torch_core import set_seed
from fastai.vision.augment import aug_transforms
from fastai.vision.core import PILImage
from fastai.vision.data import ImageDataLoaders
from PIL import Image, ImageOps

from labkit.bench.peers.common import network, split
from labkit.bench.work import MEAN, MOMENTUM, SMALLEST_SIDE, STD, Clock, Outcome, Work


def train(work: Work) -> Outcome:
    """Train and validate for all epochs at a constant rate."""
    clock = Clock()
    set_seed(work.seed)
    batches = _batches(work)
    learn = Learner(
        batches,
        network(work),
        loss_func=CrossEntropyLossFlat(),
        opt_func=partial(OptimWrapper, opt=torch.optim.SGD, momentum=MOMENTUM, nesterov=True),
        splitter=partial(_groups, work=work),
        metrics=accuracy,
        lr=work.lr,
        wd=0.0,
    )
    if work.trainable_from != "all":
        learn.freeze()
    watch = _Watch(clock, len(batches.valid_ds))
    setup = clock.lap()
    with learn.no_bar(), learn.no_logging():
        learn.fit(work.epochs, lr=work.lr, cbs=watch)
    return Outcome(setup, tuple(watch.seconds), tuple(watch.correct), watch.count)


def _batches(work: Work) -> Any:
    """Images squared by item; augmentation by batch, the way fastai does it."""
    zoom = aug_transforms(
        max_rotate=0, max_zoom=1 / SMALLEST_SIDE, max_lighting=0, max_warp=0, p_affine=1
    )
    return ImageDataLoaders.from_folder(
        work.folder,
        train="train",
        valid="val",
        bs=work.batch_size,
        drop_last=False,  # its default leaves images out; the others do not
        item_tfms=_Square(work.size),
        batch_tfms=[*(zoom if work.augment else ()), Normalize.from_stats(MEAN, STD)],
        num_workers=work.workers,
    )


class _Square(Transform):
    """The centre square of an image at the working size, in training as in validation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def encodes(self, image: PILImage):  # type: ignore[no-untyped-def]
        return ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR)


def _groups(net: Any, work: Work) -> list[list[torch.nn.Parameter]]:
    frozen, trainable = (list(part.parameters()) for part in split(net, work))
    return [frozen, trainable] if frozen else [trainable]


class _Watch(Callback):
    """Notes the seconds and the validation count of every epoch."""

    order = 60  # after fastai's Recorder, which has the counts

    def __init__(self, clock: Clock, count: int) -> None:
        self.clock, self.count = clock, count
        self.seconds: list[float] = []
        self.correct: list[int] = []

    def after_epoch(self) -> None:
        self.seconds.append(self.clock.lap())
        self.correct.append(round(self.count * self.learn.recorder.values[-1][-1]))
