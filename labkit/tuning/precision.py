"""Which arithmetic and memory layout a network trains fastest in, and how to train in them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.runtime import Precision
from labkit.tuning.contracts import Inputs, Split
from labkit.tuning.evaluation import to_device

MANY = 2_000_000  # parameters
LARGE = 128  # pixels on the shorter side


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Inside, arithmetic runs in the precision's dtype; weights stay in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision.dtype == "bf16")


def module_to_memory_format(model: nn.Module, precision: Precision) -> nn.Module:
    """The model with its weights in the precision's memory layout."""
    return model.to(memory_format=_layout(precision))


def to_memory_format(inputs: Inputs, precision: Precision, device: torch.device) -> Inputs:
    """A batch on the device; images (N, C, H, W) in the precision's memory layout."""
    inputs = to_device(inputs, device)
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return inputs.contiguous(memory_format=_layout(precision))
    return inputs


def usual(model: nn.Module, split: Split) -> Precision:
    """The precision in which such a network trains fastest on such a machine, told without trying it.

    A trial of ResNet-18 at 224 px takes 12 seconds, more than the run it is for. What it would say follows a rule (two
    cores, with and without instructions for bf16, 16 to 224 px): bf16 pays in a network that multiplies much,
    channels_last with it; without bf16, channels_last pays for large images.
    """
    inputs, _ = split.batch(torch.arange(2, device="cpu"))
    images = isinstance(inputs, Tensor) and inputs.ndim == 4
    dtype: runtime.Dtype = "bf16" if runtime.has_bf16() and _multiplies_much(model) else "fp32"
    large = images and (dtype == "bf16" or min(inputs.shape[-2:]) >= LARGE)
    return Precision(dtype, "channels_last" if large else "contiguous")


def _multiplies_much(model: nn.Module) -> bool:
    """Whether arithmetic is most of the work, not the way of numbers to it.

    It is not in a small network, nor where channels are convolved one by one and normalised by batch (MobileNet,
    EfficientNet): there bf16 was a tenth to a half slower.
    """
    modules = list(model.modules())
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in modules)
    by_batch = any(isinstance(m, nn.BatchNorm2d) for m in modules)
    return sum(p.numel() for p in model.parameters()) >= MANY and not (depthwise and by_batch)


def _layout(precision: Precision) -> torch.memory_format:
    channels_last = precision.memory_format == "channels_last"
    return torch.channels_last if channels_last else torch.contiguous_format
