"""Pre-training on photographs: Tiny ImageNet at 48, then 64 pixels."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.errors import DataError
from labkit.hosts import how_to_install
from labkit.models.card import Measure, ModelCard
from labkit.models.files import read_weights, save_weights
from labkit.models.vision.resnet10 import ResNet10
from labkit.models.vision.shipped import sha256
from labkit.models.vision.staging import cut
from labkit.pretraining.loop import (
    MEAN,
    STD,
    Pretraining,
    PretrainingRecipe,
    Watcher,
    describe_machine,
)

PHOTOS = PretrainingRecipe(
    epochs=34,
    cosine_epochs=38,
    landing_epochs=6,
    notes="48 px for 28 epochs, then 64 px while the rate lands; random resized crops of 0.4 to 1, flips, "
    "brightness and contrast; bf16",
)
SMALL, FULL = 48, 64  # px
EPOCHS_SMALL = 28
NAME = "resnet10-photos"


@dataclass(frozen=True)
class Photos:
    """Decoded photographs: images uint8 (N, 3, 64, 64), labels int64 (N,), names of the classes in their order."""

    images: Tensor
    labels: Tensor
    valid_images: Tensor
    valid_labels: Tensor
    classes: tuple[str, ...]


def pretrain_photos(
    data: Path | str,
    out: Path | str,
    recipe: PretrainingRecipe = PHOTOS,
    watch: Watcher | None = None,
) -> Path:
    """Train resnet10 on Tiny ImageNet and write weights and card into the folder `out`; return the weights' path.

    `data` is the official archive, unpacked, or a folder of parquet files (`train*.parquet`, `valid*.parquet`) as the
    hubs keep it. About 75 minutes on two cores; interrupted, it goes on from the last epoch when called again.
    `watch` is told the progress. Raises DataError when the folder is neither.
    """
    out = Path(out)
    photos = read_photos(Path(data))
    steps = recipe.steps_per_epoch or len(photos.labels) // recipe.batch_size
    training = Pretraining(recipe, len(photos.classes), steps, out / f"{NAME}.checkpoint")

    def batches(epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        size = SMALL if epoch < EPOCHS_SMALL else FULL
        order = torch.randperm(len(photos.labels), generator=generator)
        for batch in order[: steps * recipe.batch_size].split(recipe.batch_size):
            yield augment(photos.images[batch], size, generator), photos.labels[batch]

    def judge(net: nn.Module) -> float:
        with training.autocast():
            return _correct(net, photos, training.device) / len(photos.valid_labels)

    net = training.run(batches, judge, watch=watch)
    path = write_photos(net, photos, recipe, out, training.seconds, describe_machine())
    training.checkpoint.unlink(missing_ok=True)
    return path


def write_photos(
    net: ResNet10,
    photos: Photos,
    recipe: PretrainingRecipe,
    out: Path,
    seconds: float,
    machine: str,
) -> Path:
    """Write the weights, judge the file as written (not the network it came from), and write the card."""
    staged = cut(net.float().cpu().to(memory_format=torch.contiguous_format))
    path = save_weights(staged, out / f"{NAME}.safetensors", "resnet10", photos.classes)
    staged.load_state_dict(read_weights(path))
    correct = _correct(staged, photos, torch.device("cpu"), normalised=False)
    card = ModelCard(
        name="resnet10",
        title="a small residual network that has seen photographs",
        architecture="ResNet-10 (torchvision's BasicBlock; 32, 64, 192, 384 channels; 3 x 3 stride-2 stem)",
        parameters=sum(p.numel() for p in staged.parameters()),
        data=f"Tiny ImageNet, {len(photos.labels):,} photographs of {len(photos.classes)} classes",
        data_licence="subset of ImageNet; its terms of access: non-commercial research and education",
        classes=photos.classes,
        made_with="labkit pretrain photos --data <tiny-imagenet-200>",
        recipe=asdict(recipe),
        seconds=round(seconds),
        machine=machine,
        measures=(
            Measure.of("top-1 on the whole validation split", correct, len(photos.valid_labels)),
        ),
        sha256=sha256(path),
    )
    runtime.write_atomic(path.with_suffix(".json"), card.to_json().encode())
    return path


@torch.no_grad()
def _correct(net: nn.Module, photos: Photos, device: torch.device, normalised: bool = True) -> int:
    """How many validation photographs the network names rightly. A staged one normalises by itself."""
    net.eval()
    prepare = normalise if normalised else lambda images: images.float() / 255
    correct = 0
    for images, labels in zip(
        photos.valid_images.split(250), photos.valid_labels.split(250), strict=True
    ):
        x = prepare(images).to(device).contiguous(memory_format=torch.channels_last)
        correct += int((net(x).argmax(1).cpu() == labels).sum())
    return correct


def normalise(images: Tensor) -> Tensor:
    """uint8 (n, 3, h, w) to float32 with ImageNet's mean 0 and deviation 1."""
    return (images.float() - MEAN * 255) / (STD * 255)


def augment(images: Tensor, size: int, generator: torch.Generator, smallest: float = 0.4) -> Tensor:
    """Random resized crop (Szegedy et al., 2015), flip, contrast and brightness, a draw for each image.

    uint8 (n, 3, h, w) to normalised float32 (n, 3, size, size), in one bilinear sampling for the whole batch.
    """
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(n, *shape).uniform_(low, high, generator=generator)

    area, ratio = uniform(smallest, 1), torch.exp(uniform(math.log(3 / 4), math.log(4 / 3)))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x = (torch.rand(n, generator=generator) * 2 - 1) * (1 - width)
    y = (torch.rand(n, generator=generator) * 2 - 1) * (1 - height)
    flip = (torch.rand(n, generator=generator) < 0.5).float() * 2 - 1
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, 0, 2], theta[:, 1, 2] = width * flip, height, x, y
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    crop = F.grid_sample(
        normalise(images), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return crop * uniform(0.8, 1.2, 1, 1, 1) + uniform(-0.2, 0.2, 1, 1, 1)


# ---------------------------------------------------------------- reading


def read_photos(folder: Path) -> Photos:
    """Read Tiny ImageNet from the unpacked official archive or from parquet files. Needs 1.1 GB of memory."""
    train, valid = read_split(folder, "train"), read_split(folder, "valid")
    return Photos(*train, *valid, _names(folder, int(valid[1].max()) + 1))


def read_split(
    folder: Path, split: str, count: int | None = None, chance: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """One part, "train" or "valid": images uint8 (n, 3, 64, 64) and labels int64 (n,).

    With `count`, so many of them, drawn from `chance`; the others are not decoded.
    """
    files, labels = _files(folder, split)
    rows: Sequence[int] = range(len(files))
    if count is not None:
        rows = torch.randperm(len(files), generator=chance)[:count].tolist()
    return _decode([files[row] for row in rows]), torch.tensor([labels[row] for row in rows])


def _files(folder: Path, split: str) -> tuple[Sequence[Path | io.BytesIO], list[int]]:
    if _parquet(folder, split):
        return _in_parquet(folder, split)
    if (folder / "wnids.txt").exists():
        return _in_archive(folder, split)
    raise DataError(
        f"{folder} is not Tiny ImageNet: it has neither {split}*.parquet nor wnids.txt. Give the folder "
        "tiny-imagenet-200 of the unpacked archive, or a folder with its parquet files."
    )


def _names(folder: Path, count: int) -> tuple[str, ...]:
    """The names of the classes: from `classes.tsv` or `words.txt`, else from what the hub wrote into parquet files."""
    table = folder / "classes.tsv"
    if table.exists():
        rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
        return tuple(name for _, _, name in rows)
    if (folder / "words.txt").exists():
        lines = (folder / "words.txt").read_text("utf-8").splitlines()
        words = dict(line.split("\t", 1) for line in lines)
        return tuple(words[wnid] for wnid in _wnids(folder))
    metadata = _pyarrow().read_schema(_parquet(folder, "valid")[0]).metadata or {}
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return tuple(features.get("label", {}).get("names", map(str, range(count))))


def _parquet(folder: Path, split: str) -> list[Path]:
    return sorted(folder.glob(f"{split}*.parquet")) or sorted(folder.glob(f"data/{split}*.parquet"))


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            "Parquet files are read with pyarrow, which is not installed. "
            f"Run: {how_to_install('pretrain')}"
        ) from error
    return pyarrow.parquet


def _in_parquet(folder: Path, split: str) -> tuple[list[io.BytesIO], list[int]]:
    tables = [_pyarrow().read_table(path) for path in _parquet(folder, split)]
    encoded = [cell["bytes"] for table in tables for cell in table["image"].to_pylist()]
    labels = [label for table in tables for label in table["label"].to_pylist()]
    return [io.BytesIO(content) for content in encoded], labels


def _wnids(folder: Path) -> list[str]:
    return (folder / "wnids.txt").read_text("utf-8").split()


def _in_archive(folder: Path, split: str) -> tuple[list[Path], list[int]]:
    number = {wnid: label for label, wnid in enumerate(_wnids(folder))}
    if split == "train":
        files = [
            (path, label)
            for wnid, label in number.items()
            for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))
        ]
    else:
        lines = (folder / "val" / "val_annotations.txt").read_text("utf-8").splitlines()
        rows = [line.split("\t")[:2] for line in lines]
        files = [(folder / "val" / "images" / name, number[wnid]) for name, wnid in rows]
    return [path for path, _ in files], [label for _, label in files]


def _decode(files: Sequence[Path | io.BytesIO]) -> Tensor:
    """Images to uint8 (n, 3, 64, 64), written straight into one block of memory."""
    pixels = np.empty((len(files), FULL, FULL, 3), dtype=np.uint8)
    for row, file in enumerate(files):
        with Image.open(file) as image:
            if image.size != (FULL, FULL):
                raise DataError(
                    f"Image {row} is {image.size[0]} x {image.size[1]} px; Tiny ImageNet's are 64 x 64."
                )
            pixels[row] = np.asarray(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
