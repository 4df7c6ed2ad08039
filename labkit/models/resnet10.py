"""The network of both shipped backbones: a residual network small enough to train before one's eyes.

Its parts, their names and their order are those of torchvision's ResNet, so `staging.cut` takes either. It is written
out here because torchvision takes four seconds and 0.2 GB to import, and a lesson on the shipped networks needs
nothing else of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 192, 384)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut around them (He et al., 2016): (n, channels, h, w) -> (n, width, ...)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        downsample = None
        if stride != 1 or channels != width:  # the shortcut must change its shape, too
            downsample = nn.Sequential(_conv(channels, width, 1, stride), nn.BatchNorm2d(width))
        self.conv1 = _conv(channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(width, width, 3, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        return self.relu(out)


class ResNet10(nn.Module):
    """A residual network of four basic blocks, 2.7 million parameters.

    The usual stem (7 x 7, stride 2, then pooling) shrinks an image fourfold before the first block, which leaves 2 x 2
    of a 64 px image at the end. Here the stem is one 3 x 3 convolution of stride 2 without pooling, and the early
    stages are narrow, because that is where the time goes. Input (n, 3, h, w), already normalised; output
    (n, num_classes).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        _draw_as_torchvision(num_classes)
        self.conv1 = _conv(3, WIDTHS[0], 3, stride=2)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
        self.layer1 = nn.Sequential(BasicBlock(WIDTHS[0], WIDTHS[0], stride=1))
        self.layer2 = nn.Sequential(BasicBlock(WIDTHS[0], WIDTHS[1], stride=2))
        self.layer3 = nn.Sequential(BasicBlock(WIDTHS[1], WIDTHS[2], stride=2))
        self.layer4 = nn.Sequential(BasicBlock(WIDTHS[2], WIDTHS[3], stride=2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(WIDTHS[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _conv(channels: int, width: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)


def _draw_as_torchvision(num_classes: int) -> None:
    """Move the random generator on by what torchvision's constructor draws before ours begins.

    The runs on record were made when this network was derived from torchvision's, which first makes its own, wider
    layers. A seed gives the same head as on record only after as many draws: two for each weight of a convolution,
    one for each of the head's.
    """
    convolutions = 4_900_032
    torch.empty(2 * convolutions + (512 + 1) * num_classes).uniform_()
