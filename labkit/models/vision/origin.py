"""Where shipped weights come from: whether the task that they were made for can still be asked here.

It is told without reading or building anything, because a console asks before it opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labkit import runtime

TINY_IMAGENET = "tiny-imagenet-200"


def tiny_imagenet() -> Path | None:
    """The folder of the photographs that resnet10 was trained on, under LABKIT_DATA; None where there is none."""
    root = runtime.data_dir()
    return root / TINY_IMAGENET if root and (root / TINY_IMAGENET).is_dir() else None


def can_be_asked(net: Any) -> bool:
    """Whether a backbone has its old head, and the questions that it learned to answer are at hand."""
    if getattr(net, "weights", None) != "pretrained":
        return False
    return net.name == "resnet10-glyphs" or (net.name == "resnet10" and tiny_imagenet() is not None)
