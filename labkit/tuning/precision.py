"""Which arithmetic and memory layout a network trains fastest in here: measured on the network itself."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.runtime import Precision
from labkit.tuning.evaluation import Inputs, forward, scores_of, to_device

TRIAL_BATCH = 16


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Inside, arithmetic runs in the precision's dtype; weights stay in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision.dtype == "bf16")


def lay_out(model: nn.Module, precision: Precision) -> nn.Module:
    """The model with its weights in the precision's memory layout."""
    return model.to(memory_format=_layout(precision))


def laid_out(inputs: Inputs, precision: Precision, device: torch.device) -> Inputs:
    """A batch on the device; images (N, C, H, W) in the precision's memory layout."""
    inputs = to_device(inputs, device)
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return inputs.contiguous(memory_format=_layout(precision))
    return inputs


def measured(model: nn.Module, name: str, split: Any, device: torch.device) -> Precision:
    """The fastest precision for this model on batches of this split, asked once per machine.

    What is timed is what runs most: a pass without gradients, as frozen stages and validation make it, and a step.
    """
    inputs, targets = split.batch(
        torch.arange(TRIAL_BATCH) % len(split)
    )  # as many of a small split, too
    scratch: dict[Precision, nn.Module] = {}

    def trial(precision: Precision) -> None:
        if precision not in scratch:
            scratch[precision] = lay_out(copy.deepcopy(model).to(device).train(), precision)
        batch = laid_out(inputs, precision, device)
        with autocast(precision, device):
            with torch.no_grad():
                forward(scratch[precision], batch)
            scores = scores_of(forward(scratch[precision], batch))
        F.cross_entropy(scores.float(), targets.to(device)).backward()

    with runtime.seeded_globals(0, "precision"):
        return runtime.choose_precision(f"{name} {_shapes(inputs)}", trial)


def _layout(precision: Precision) -> torch.memory_format:
    channels_last = precision.memory_format == "channels_last"
    return torch.channels_last if channels_last else torch.contiguous_format


def _shapes(inputs: Inputs) -> str:
    if isinstance(inputs, dict):
        inputs = tuple(inputs.values())
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    return " ".join("x".join(map(str, part.shape[1:])) for part in parts)
