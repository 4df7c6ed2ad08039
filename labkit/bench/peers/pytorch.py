"""A loop as PyTorch's transfer-learning tutorial writes it: two phases an epoch, images decoded every time."""

from __future__ import annotations

import torch
from torch import nn

from labkit.bench.peers.common import PARTS, freeze, loaders, network, sgd
from labkit.bench.work import Clock, Outcome, Work


def train(work: Work) -> Outcome:
    """Train and validate for all epochs."""
    clock = Clock()
    torch.manual_seed(work.seed)
    batches = loaders(work)
    net = network(work)
    optimizer = sgd(freeze(net, work), work)
    criterion = nn.CrossEntropyLoss()
    setup, seconds, correct = clock.lap(), [], []
    for _ in range(work.epochs):
        for part in PARTS:
            net.train(part == "train")  # the frozen part too: its BatchNorm statistics move
            running_loss, running_correct = 0.0, 0
            for inputs, labels in batches[part]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(part == "train"):
                    outputs = net(inputs)
                    loss = criterion(outputs, labels)
                    if part == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * len(inputs)
                running_correct += int((outputs.argmax(1) == labels).sum())
        seconds.append(clock.lap())
        correct.append(running_correct)
    return Outcome(setup, tuple(seconds), tuple(correct), len(batches["val"].dataset))  # type: ignore[arg-type]
