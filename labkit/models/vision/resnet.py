"""Residual networks, written out: torchvision takes four seconds and 0.2 GB to import, and these are what most run.

Parts, their names and their order, the arithmetic and what a seed draws are torchvision's to the bit, so its weights
load, `staging.cut` takes either, and runs on record stand (tests/unit/test_first_step.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut around them (He et al., 2016): (n, channels, h, w) -> (n, width, ...)."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        downsample = _downsample(channels, width, stride)
        self.conv1 = _conv(channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        return self.relu(out)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut around them: (n, channels, h, w) -> (n, 4 * width, ...).

    The stride is in the 3 x 3 convolution, not in the first as in the paper: so were the published weights trained.
    """

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * self.expansion
        downsample = _downsample(channels, out, stride)
        self.conv1 = _conv(channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, out, 1)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += shortcut
        return self.relu(out)


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """A stem, four layers of `depths` blocks each, and a head: (n, 3, h, w), already normalised -> (n, num_classes).

    The usual stem is 7 x 7 with stride 2, then pooling; the small one is 3 x 3 with stride 2 alone.
    """

    def __init__(
        self,
        block: Block,
        depths: Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        first, last = widths[0], widths[-1] * block.expansion
        self.conv1 = _conv(3, first, 3 if small_stem else 7, stride=2)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(block, first, widths[0], depths[0], stride=1)
        self.layer2 = _layer(block, widths[0] * block.expansion, widths[1], depths[1], stride=2)
        self.layer3 = _layer(block, widths[1] * block.expansion, widths[2], depths[2], stride=2)
        self.layer4 = _layer(block, widths[2] * block.expansion, widths[3], depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(last, num_classes)
        for module in self.modules():
            # without numbers there is nothing to draw, and for that torch would load its compiler
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


# Those of torchvision's residual networks that people begin with; the others are torchvision's own.
RESNETS: dict[str, tuple[Block, tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def _layer(block: Block, channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    blocks = [block(channels, width, stride)]
    blocks += [block(width * block.expansion, width, 1) for _ in range(1, depth)]
    return nn.Sequential(*blocks)


def _downsample(channels: int, width: int, stride: int) -> nn.Sequential | None:
    """The shortcut's own layers, where it must change its shape; drawn before those of its block."""
    if stride == 1 and channels == width:
        return None
    return nn.Sequential(_conv(channels, width, 1, stride), nn.BatchNorm2d(width))


def _conv(channels: int, width: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)
