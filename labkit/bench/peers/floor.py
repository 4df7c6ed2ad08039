"""The floor: what cannot be avoided, as three bare loops. Decode once, frozen part once, trainable part every epoch.

Nothing here is of labkit but the choice of precision, so that labkit is measured against plain PyTorch.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import ImageFolder

from labkit.bench.peers.common import network, sgd, split
from labkit.bench.precision import choose_precision
from labkit.bench.work import MEAN, STD, Clock, Outcome, Work
from labkit.runtime import Precision

FROZEN_BATCH = 64


def train(work: Work) -> Outcome:
    """Three timed loops; `parts` has the seconds of each."""
    clock = Clock()
    frozen, trainable = split(network(work), work)
    images = {part: _decode(Path(work.folder) / part, work) for part in ("train", "val")}
    decoded = clock.lap()
    precision = _fastest(work, frozen.eval(), trainable.train(), images["train"])
    clock.lap()  # the choice is made in the rehearsal and remembered; looking it up is not of the work
    features = {part: _frozen(frozen, x, precision) for part, (x, _) in images.items()}
    ahead = clock.lap()
    seconds, correct = _train(work, trainable, features, images, precision)
    return Outcome(
        decoded + ahead,
        tuple(seconds),
        tuple(correct),
        len(images["val"][1]),
        parts={"decode": decoded, "frozen part": ahead, "trainable part": sum(seconds)},
        facts={"precision": str(precision)},
    )


def _decode(folder: Path, work: Work) -> tuple[Tensor, Tensor]:
    """All images of a folder, float32 (n, 3, size, size), normalised, and their labels."""
    samples = ImageFolder(folder).samples
    with ThreadPoolExecutor(work.threads) as pool:
        pixels = list(pool.map(lambda sample: _image(sample[0], work.size), samples))
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().div_(255)
    x.sub_(torch.tensor(MEAN).view(3, 1, 1)).div_(torch.tensor(STD).view(3, 1, 1))
    return x, torch.tensor([label for _, label in samples])


def _image(path: str, size: int) -> np.ndarray:
    with Image.open(path) as image:
        shrink = 2 * size / min(image.size)
        if shrink < 1:  # JPEG decodes at half or a quarter of its size for less
            image.draft(image.mode, (int(image.width * shrink), int(image.height * shrink)))
        square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
        return np.asarray(square)


@torch.no_grad()
def _frozen(frozen: nn.Sequential, x: Tensor, precision: Precision) -> Tensor:
    if not len(frozen):
        return x
    _module_to_memory_format(frozen, precision)
    with _arithmetic(precision):
        return torch.cat([frozen(_to_memory_format(b, precision)) for b in x.split(FROZEN_BATCH)])


def _train(
    work: Work,
    net: nn.Sequential,
    features: dict[str, Tensor],
    images: dict[str, tuple[Tensor, Tensor]],
    precision: Precision,
) -> tuple[list[float], list[int]]:
    """Seconds and correct validation answers of each epoch."""
    x, y = features["train"], images["train"][1]
    valid_x, valid_y = features["val"], images["val"][1]
    _module_to_memory_format(net, precision)
    optimizer = sgd(list(net.parameters()), work)
    torch.manual_seed(work.seed)
    seconds, correct, clock = [], [], Clock()
    for _ in range(work.epochs):
        net.train()
        for rows in torch.randperm(len(x)).split(work.batch_size):
            with _arithmetic(precision):
                scores = net(_to_memory_format(x[rows], precision))
            F.cross_entropy(scores.float(), y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
        net.eval()
        with torch.no_grad(), _arithmetic(precision):
            parts = [net(_to_memory_format(b, precision)) for b in valid_x.split(FROZEN_BATCH)]
        correct.append(int((torch.cat(parts).argmax(1) == valid_y).sum()))
        seconds.append(clock.lap())
    return seconds, correct


# ---------------------------------------------------------------- precision


def _fastest(
    work: Work, frozen: nn.Sequential, trainable: nn.Sequential, train: tuple[Tensor, Tensor]
) -> Precision:
    """The precision in which one batch goes through both parts fastest; asked once, in the rehearsal."""
    x, y = train[0][: work.batch_size], train[1][: work.batch_size]
    copies = {name: value.clone() for name, value in trainable.state_dict().items()}

    def trial(precision: Precision) -> None:
        ahead = _frozen(frozen, x, precision)
        _module_to_memory_format(trainable, precision)
        with _arithmetic(precision):
            scores = trainable(_to_memory_format(ahead, precision))
        F.cross_entropy(scores.float(), y).backward()

    try:
        return choose_precision(f"floor {work.backbone} {work.size} {work.trainable_from}", trial)
    finally:
        trainable.zero_grad()
        trainable.load_state_dict(copies)  # the trials moved BatchNorm's statistics


def _arithmetic(precision: Precision) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision.dtype == "bf16")


def _layout(precision: Precision) -> torch.memory_format:
    last = precision.memory_format == "channels_last"
    return torch.channels_last if last else torch.contiguous_format


def _module_to_memory_format(net: nn.Module, precision: Precision) -> None:
    net.to(memory_format=_layout(precision))


def _to_memory_format(x: Tensor, precision: Precision) -> Tensor:
    return x.contiguous(memory_format=_layout(precision)) if x.ndim == 4 else x
