"""The network of both shipped backbones: torchvision's ResNet, made small enough to train before one's eyes."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

WIDTHS = (32, 64, 192, 384)


class ResNet10(ResNet):
    """A residual network (He et al., 2016) of four basic blocks, 2.7 million parameters.

    torchvision's own stem shrinks an image fourfold before the first block, which leaves 2 x 2 of a 64 px picture at
    the end. Here the stem is one 3 x 3 convolution of stride 2 without pooling, and the early stages are narrow,
    because that is where the time goes. Input (n, 3, h, w), already normalised; output (n, num_classes).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
        self.inplanes = WIDTHS[0]
        self.conv1 = nn.Conv2d(3, WIDTHS[0], kernel_size=3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.maxpool = nn.Identity()
        self.layer1 = self._make_layer(BasicBlock, WIDTHS[0], 1)
        self.layer2 = self._make_layer(BasicBlock, WIDTHS[1], 1, stride=2)
        self.layer3 = self._make_layer(BasicBlock, WIDTHS[2], 1, stride=2)
        self.layer4 = self._make_layer(BasicBlock, WIDTHS[3], 1, stride=2)
        self.fc = nn.Linear(WIDTHS[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
