"""What peers have in common: torchvision's network with the shared weights, and the tutorial's way to images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import get_model
from torchvision.transforms import functional

from labkit.bench.work import MEAN, MOMENTUM, SMALLEST_SIDE, STD, Work

PARTS = ("train", "val")


def network(work: Work) -> Any:
    """torchvision's own network with the initial weights that all peers share; nothing is frozen."""
    if work.backbone == "resnet10":
        from labkit.models.vision.resnet10 import ResNet10

        net = ResNet10(work.classes)
    else:
        net = get_model(work.backbone, weights=None, num_classes=work.classes)
    net.load_state_dict(load_file(work.state))
    return net


def split(net: Any, work: Work) -> tuple[nn.Sequential, nn.Sequential]:
    """The network as two: the part that stays frozen (maybe empty), and the part that trains."""
    stem = [net.conv1, net.bn1, net.relu, net.maxpool]
    layers = [*stem, net.layer1, net.layer2, net.layer3, net.layer4]
    head = [net.avgpool, nn.Flatten(), net.fc]
    cut = {"all": 0, "layer4": len(layers) - 1, "head": len(layers)}[work.trainable_from]
    if work.trainable_from == "head":  # pooled features are all that the head sees
        return nn.Sequential(*layers, *head[:2]), nn.Sequential(net.fc)
    return nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:], *head)


def freeze(net: Any, work: Work) -> list[nn.Parameter]:
    """Take the gradient from the frozen part; returns the parameters that train."""
    frozen, trainable = split(net, work)
    frozen.requires_grad_(False)
    return list(trainable.parameters())


def sgd(parameters: list[nn.Parameter], work: Work) -> torch.optim.SGD:
    """The optimiser of every peer."""
    return torch.optim.SGD(parameters, lr=work.lr, momentum=MOMENTUM, nesterov=True)


# ---------------------------------------------------------------- images


def centre_square(image: Image.Image) -> Image.Image:
    """The middle of an image: all peers see this square, and nothing is resized yet."""
    return functional.center_crop(image, [min(image.size)])


def datasets(work: Work) -> dict[str, ImageFolder]:
    """The two folders as the tutorial reads them: each image decoded and transformed whenever it is asked for."""
    plain = [transforms.Resize(work.size), transforms.CenterCrop(work.size)]
    # Shares of the area: the sides of the crop are 0.8 to 1 of the square's.
    crop = transforms.RandomResizedCrop(work.size, (SMALLEST_SIDE**2, 1), ratio=(1, 1))
    augmented = [transforms.Lambda(centre_square), crop, transforms.RandomHorizontalFlip()]
    chain = {"train": augmented if work.augment else plain, "val": plain}
    to_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return {
        part: ImageFolder(Path(work.folder) / part, transforms.Compose([*chain[part], *to_tensor]))
        for part in PARTS
    }


def loaders(work: Work) -> dict[str, DataLoader]:
    """The tutorial's loaders: shuffled, in worker processes that start anew with every epoch."""
    return {
        part: DataLoader(
            data,
            batch_size=work.batch_size,
            shuffle=part == "train",
            num_workers=work.workers,
        )
        for part, data in datasets(work).items()
    }
