"""The same training without labkit's engine: what `Run` does in ten steps, as a loop that anybody could have written.

Only chance is labkit's: the order of the samples and the seeds of each step, without which no two loops are alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from labkit import runtime


def train(
    model: nn.Module,
    split: Any,
    trainable: list[str],
    lr: float,
    batch_size: int,
    steps: int,
    seed: int,
) -> list[float]:
    """Fine-tune the stages named in `trainable` for some steps at a constant rate; the loss of each step."""
    for name, stage in model.named_children():
        stage.requires_grad_(name in trainable)
        stage.train(name in trainable)  # else BatchNorm and dropout of a frozen stage go on

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01, fused=True)
    losses: list[float] = []
    epoch = 0
    while len(losses) < steps:
        order = torch.randperm(len(split), generator=runtime.generator(seed, "order", epoch))
        for rows in order.split(batch_size):
            inputs, labels = split.batch(rows)
            with runtime.seeded_globals(seed, "step", len(losses)):  # dropout draws from here
                scores = model(inputs)
            loss = F.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if len(losses) == steps:
                return losses
        epoch += 1
    return losses
