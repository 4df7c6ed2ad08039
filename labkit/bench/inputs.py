"""What every peer is given: the same files, the same initial weights, the same number of threads.

The images are copied into a folder of the bench, and only those that labkit can use, because the peers differ in
what they take for an image (a GIF, for one). The weights are one file, made or translated once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import labkit
from labkit import runtime
from labkit.bench.work import Work
from labkit.data import ImageData, fetch
from labkit.errors import DataError
from labkit.models import save_weights
from labkit.models.vision.published import is_cached
from labkit.models.vision.shipped import sha256

SHIPPED = ("resnet10",)
DATA = "ants-bees"
QUICK_CLASSES, QUICK_IMAGES = ("3", "8"), 8  # of scikit-learn's digits, for each class and part
REHEARSAL_IMAGES = 16  # for each class and part: two classes fill a batch
STATISTICS_BATCH = 64


@dataclass
class Inputs:
    """Makes in `scratch` what works need and remembers what it made; `about` describes it for the record."""

    scratch: Path
    quick: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    _data: dict[int, ImageData] = field(default_factory=dict)

    def place(self, work: Work, seed: int) -> Work:
        """The work with its files, its seed and its threads."""
        folder, classes = self._images()
        weights = self._weights(work)
        state = self.scratch / f"{work.backbone}-{seed}.safetensors"
        if not state.exists():
            save_file(_starting_point(work, weights, len(classes), seed), state)
        return replace(
            work,
            folder=str(folder),
            rehearsal=str(self._rehearsal(classes)),
            state=str(state),
            weights=weights,
            classes=len(classes),
            seed=seed,
            threads=runtime.threads(),
        )

    # ------------------------------------------------------------ images

    def _images(self) -> tuple[Path, list[str]]:
        folder = self.scratch / "pictures"
        if not folder.exists():
            _draw_digits(folder) if self.quick else _copy_photographs(folder)
            self.about["data"] = {
                "name": "digits" if self.quick else DATA,
                **{part: len(list((folder / part).glob("*/*"))) for part in ("train", "val")},
            }
        return folder, sorted(path.name for path in (folder / "train").iterdir())

    def _rehearsal(self, classes: Sequence[str]) -> Path:
        """Noise to warm up on: no image of the work itself, so that nothing is known beforehand."""
        folder = self.scratch / "rehearsal"
        if not folder.exists():
            chance = np.random.default_rng(0)
            shape = (32, 32, 3) if self.quick else (375, 500, 3)
            for part in ("train", "val"):
                for name in classes:
                    for number in range(REHEARSAL_IMAGES):
                        noise = chance.integers(0, 256, shape, dtype=np.uint8)
                        _save(Image.fromarray(noise), folder / part / name / f"{number}.jpg")
        return folder

    # ------------------------------------------------------------ weights

    def _weights(self, work: Work) -> str:
        """What labkit is asked for: "pretrained", or the file of seeded random weights."""
        if work.backbone in SHIPPED or is_cached(work.backbone):
            self._tell_weights(work.backbone, "pretrained", "")
            return "pretrained"
        path = self.scratch / f"{work.backbone}.safetensors"
        if not path.exists():
            images = self._load(work.size).train
            save_weights(_with_statistics(work.backbone, images), path, work.backbone)
        self._tell_weights(work.backbone, "seeded random", sha256(path))
        return str(path)

    def _tell_weights(self, backbone: str, kind: str, digest: str) -> None:
        self.about.setdefault("weights", {})[backbone] = {"kind": kind, "sha256": digest}

    def _load(self, size: int) -> ImageData:
        if size not in self._data:
            self._data[size] = labkit.load_data(self._images()[0], size=size)
        return self._data[size]


def _copy_photographs(folder: Path) -> None:
    """The usable photographs of ants and bees, as the archive has them."""
    source = fetch(DATA)
    if source is None:
        raise DataError(f"{DATA} is not a folder of images here; set LABKIT_DATA to one.")
    data = labkit.load_data(DATA)
    for name in (*data.train.names, *data.valid.names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)


def _draw_digits(folder: Path) -> None:
    """A few of scikit-learn's digits as JPEG files, so that the peers have something to decode."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for name in QUICK_CLASSES:
        images = digits.images[digits.target == int(name)]
        for number, image in enumerate(images[: 2 * QUICK_IMAGES]):
            drawn = Image.fromarray((image * (255 / 16)).astype(np.uint8)).convert("RGB")
            part = "train" if number < QUICK_IMAGES else "val"
            _save(drawn.resize((40, 32)), folder / part / name / f"{number:02d}.jpg")


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


@torch.no_grad()
def _with_statistics(backbone: str, images: Any) -> nn.Module:
    """A stand-in for published weights: seeded random ones, with BatchNorm statistics of the training images.

    Without the statistics, every block of a network in eval mode would double the variance of what it hands on.
    """
    net = labkit.load_backbone(backbone, weights=None).build(2, seed=0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain mean over the batches
    for rows in torch.arange(len(images)).split(STATISTICS_BATCH):
        net(images.batch(rows)[0])
    return net


def _starting_point(work: Work, weights: str, classes: int, seed: int) -> dict[str, Tensor]:
    """The weights with which labkit itself begins for this seed, head included, under torchvision's names."""
    net = labkit.load_backbone(work.backbone, weights=weights).build(classes, seed=seed)
    return dict(_translated(net.state_dict().items()))


def _translated(state: Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
    for key, value in state:
        yield key.removeprefix("stem.").removeprefix("head."), value.contiguous()
