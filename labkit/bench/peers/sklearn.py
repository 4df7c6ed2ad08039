"""scikit-learn on extracted features: the frozen part once over the tutorial's images, then logistic regression."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader

from labkit.bench.peers.common import loaders, network, split
from labkit.bench.work import Clock, Outcome, Work

MOST_ITERATIONS = 1000


def train(work: Work) -> Outcome:
    """Extract, fit, count. There are no epochs: the fit is told as one."""
    clock = Clock()
    torch.manual_seed(work.seed)
    frozen, _ = split(network(work), work)
    batches = loaders(work)
    features, labels = _extract(frozen, batches["train"])
    valid_features, valid_labels = _extract(frozen, batches["val"])
    setup = clock.lap()
    model = LogisticRegression(max_iter=MOST_ITERATIONS).fit(features, labels)
    correct = int((model.predict(valid_features) == valid_labels).sum())
    fit = clock.lap()
    return Outcome(
        setup,
        (fit,),
        (correct,),
        len(valid_labels),
        parts={"decode and frozen part": setup, "fit": fit},
        facts={"iterations": int(model.n_iter_[0])},
    )


@torch.no_grad()
def _extract(frozen: nn.Sequential, batches: DataLoader) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, channels) and labels (n,) of all images."""
    frozen.eval()
    pairs = [(frozen(inputs).numpy(), labels.numpy()) for inputs, labels in batches]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
