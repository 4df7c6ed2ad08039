"""Networks cut into ordered, named stages, so that "train from here up" means the same for all of them.

A staged network is a sequence: its children are its stages, its forward runs them in order, and nothing hides between
them. The first, `stem`, takes images in [0, 1] and normalises them itself; the last, `head`, is the one stage that
is new for a new task. Cutting moves torchvision's own modules, it never rewrites them, so the outcome is the same to
the bit (tests/unit/test_models_staging.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.errors import BackboneError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# A family is known by its parts, not by its class: the shipped networks then need no torchvision, which takes seconds.
RESNET = (
    "conv1",
    "bn1",
    "relu",
    "maxpool",
    "layer1",
    "layer2",
    "layer3",
    "layer4",
    "avgpool",
    "fc",
)
TRANSFORMER = ("conv_proj", "class_token", "encoder", "heads")
PYRAMID = ("features", "avgpool", "classifier")


class Staged(nn.Sequential):
    """A network whose children are its stages, in order."""

    def __init__(self, stages: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__(OrderedDict(stages))


class Normalize(nn.Module):
    """Images in [0, 1] to the scale the weights were trained on: (x - mean) / std for each channel.

    The two constants are buffers that move with the module and stay out of its state: they are never learned.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.smallest = 1  # pixels on a side; of less the network behind it can make nothing

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height < self.smallest or width < self.smallest:
            raise BackboneError(
                f"These images are {height} x {width} pixels, and this network needs {self.smallest} or more on each "
                f"side. Load them larger, as in labkit.load_data(name, size={self.smallest}), or take a backbone for "
                "small images, such as resnet10."
            )
        return (x - self.mean) / self.std


def cut(model: nn.Module, normalize: Normalize | None = None) -> Staged:
    """Cut one of torchvision's networks into stages. The modules are moved, not copied.

    Raises BackboneError for an architecture that labkit does not know how to cut.
    """
    normalize = normalize or Normalize()
    normalize.smallest = _smallest(model)
    for parts, cut_family in (
        (RESNET, _cut_resnet),
        (TRANSFORMER, _cut_transformer),
        (PYRAMID, _cut_pyramid),
    ):
        if all(hasattr(model, part) for part in parts):
            return cut_family(model, normalize)
    raise BackboneError(
        f"labkit cannot cut a {type(model).__name__} into stages. Write a factory whose children are the stages "
        "and use labkit.Backbone.from_module(factory, stages, name=...)."
    )


def _smallest(model: nn.Module) -> int:
    """The smallest side of an image that the network can read: a convolution without padding needs a whole step."""
    steps = [
        part.stride[0]
        for part in model.modules()
        if isinstance(part, nn.Conv2d) and part.padding == (0, 0) and part.kernel_size > (1, 1)
    ]
    return prod(steps)


def _cut_resnet(model: Any, normalize: Normalize) -> Staged:
    stem = [
        ("normalize", normalize),
        ("conv1", model.conv1),
        ("bn1", model.bn1),
        ("relu", model.relu),
        ("maxpool", model.maxpool),
    ]
    head = [("avgpool", model.avgpool), ("flatten", nn.Flatten()), ("fc", model.fc)]
    layers = [(f"layer{i}", getattr(model, f"layer{i}")) for i in (1, 2, 3, 4)]
    return Staged([("stem", _named(stem)), *layers, ("head", _named(head))])


def _cut_pyramid(model: nn.Module, normalize: Normalize) -> Staged:
    """ConvNeXt, MobileNet, EfficientNet: a new stage begins wherever the resolution halves.

    What lies between the last block and the final linear layer was trained on images too, so it belongs to the last
    stage; the head is the linear layer alone, with the dropout in front of it.
    """
    features = list(model.get_submodule("features").children())
    classifier = list(model.get_submodule("classifier").children())
    groups: list[list[nn.Module]] = [[features[1]]]
    for block in features[2:]:
        if _halves(block):
            groups.append([])
        groups[-1].append(block)
    start = len(classifier) - 1
    start -= isinstance(classifier[start - 1], nn.Dropout)
    flatten = [] if any(isinstance(part, nn.Flatten) for part in classifier) else [nn.Flatten()]
    groups[-1] += [model.get_submodule("avgpool"), *flatten, *classifier[:start]]
    stages = [(f"stage{i}", nn.Sequential(*group)) for i, group in enumerate(groups, start=1)]
    stem = _named([("normalize", normalize), ("features", features[0])])
    return Staged([("stem", stem), *stages, ("head", nn.Sequential(*classifier[start:]))])


def _halves(block: nn.Module) -> bool:
    strides = (module.stride for module in block.modules() if isinstance(module, nn.Conv2d))
    return any(stride != (1, 1) for stride in strides)


def _cut_transformer(model: Any, normalize: Normalize) -> Staged:
    blocks: list[tuple[str, nn.Module]] = [
        (f"block{i}", block) for i, block in enumerate(model.encoder.layers, start=1)
    ]
    name, last = blocks[-1]
    blocks[-1] = (
        name,
        _named([("block", last), ("ln", model.encoder.ln), ("token", ClassToken())]),
    )
    stem = _named([("normalize", normalize), ("tokens", Tokens(model))])
    return Staged([("stem", stem), *blocks, ("head", model.heads)])


class Tokens(nn.Module):
    """An image to the tokens a transformer reads (Dosovitskiy et al., 2021): patches, a class token, positions.

    (n, 3, h, w) -> (n, 1 + (h // patch) * (w // patch), channels). For another size of image than the weights were
    trained on, the learned positions are interpolated, as in section 3.2 of the paper.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_proj = model.conv_proj
        self.class_token = model.class_token
        self.pos_embedding = model.encoder.pos_embedding
        self.dropout = model.encoder.dropout
        self.side = round((model.seq_length - 1) ** 0.5)  # patches on a side, as it was trained

    def forward(self, x: Tensor) -> Tensor:
        patches = self.conv_proj(x)
        # whole numbers, because an export to ONNX hands tensors in place of sizes
        positions = self._positions(int(patches.shape[-2]), int(patches.shape[-1]))
        tokens = patches.flatten(2).transpose(1, 2)
        # not len(tokens): an export to ONNX would write this batch's number into the file for good
        first = self.class_token.expand(tokens.shape[0], -1, -1)
        return self.dropout(torch.cat([first, tokens], dim=1) + positions)

    def _positions(self, rows: int, columns: int) -> Tensor:
        first, rest = self.pos_embedding[:, :1], self.pos_embedding[:, 1:]
        if (rows, columns) == (self.side, self.side):
            return self.pos_embedding
        square = rest.transpose(1, 2).unflatten(2, (self.side, self.side))
        fitted = F.interpolate(square, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([first, fitted.flatten(2).transpose(1, 2)], dim=1)


class ClassToken(nn.Module):
    """The first token, which stands for the whole image: (n, tokens, channels) -> (n, channels)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


def _named(parts: Sequence[tuple[str, nn.Module]]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))
