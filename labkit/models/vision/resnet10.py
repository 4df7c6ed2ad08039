"""The network of both shipped backbones: a residual network small enough to train before one's eyes."""

from __future__ import annotations

import torch

from labkit.models.vision.resnet import BasicBlock, ResNet

WIDTHS = (32, 64, 192, 384)


class ResNet10(ResNet):
    """A residual network of four basic blocks, 2.7 million parameters.

    The usual stem (7 x 7, stride 2, then pooling) shrinks an image fourfold before the first block, which leaves 2 x 2
    of a 64 px image at the end. Here the stem is one 3 x 3 convolution of stride 2 without pooling, and the early
    stages are narrow, because that is where the time goes. Input (n, 3, h, w), already normalised; output
    (n, num_classes).
    """

    def __init__(self, num_classes: int) -> None:
        _draw_as_torchvision(num_classes)
        super().__init__(BasicBlock, (1, 1, 1, 1), num_classes, WIDTHS, small_stem=True)


def _draw_as_torchvision(num_classes: int) -> None:
    """Move the random generator on by what torchvision's constructor draws before ours begins.

    The runs on record were made when this network was derived from torchvision's, which first makes its own, wider
    layers. A seed gives the same head as on record only after as many draws: two for each weight of a convolution,
    one for each of the head's.
    """
    convolutions = 4_900_032
    torch.empty(2 * convolutions + (512 + 1) * num_classes).uniform_()
