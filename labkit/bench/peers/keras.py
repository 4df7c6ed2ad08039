"""Keras 3 on the torch backend: torchvision's network in TorchModuleWrapper, trained by `fit`."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is imported, so it has to be said before

from typing import Any

import keras
from keras.layers import TorchModuleWrapper

from labkit.bench.peers.common import loaders, network, split
from labkit.bench.work import MOMENTUM, Clock, Outcome, Work


def train(work: Work) -> Outcome:
    """Train and validate for all epochs at a constant rate."""
    clock = Clock()
    keras.utils.set_random_seed(work.seed)
    batches = loaders(work)
    model = _Net(network(work), work)
    model.compile(
        optimizer=keras.optimizers.SGD(work.lr, momentum=MOMENTUM, nesterov=True),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    count = len(batches["val"].dataset)  # type: ignore[arg-type]
    watch = _Watch(clock, count)
    setup = clock.lap()
    model.fit(
        batches["train"],
        validation_data=batches["val"],
        epochs=work.epochs,
        verbose=0,
        callbacks=[watch],
    )
    return Outcome(setup, tuple(watch.seconds), tuple(watch.correct), count)


class _Net(keras.Model):
    """The frozen part in inference mode, as the Keras guide to transfer learning calls it, then the rest."""

    def __init__(self, net: Any, work: Work) -> None:
        super().__init__()
        frozen, trainable = split(net, work)
        self.frozen = TorchModuleWrapper(frozen.requires_grad_(False)) if len(frozen) else None
        self.trainable_part = TorchModuleWrapper(trainable)

    def call(self, pixels: Any, training: bool | None = None) -> Any:
        if self.frozen is not None:
            pixels = self.frozen(pixels, training=False)
        return self.trainable_part(pixels, training=training)


class _Watch(keras.callbacks.Callback):
    """Notes the seconds and the validation count of every epoch."""

    def __init__(self, clock: Clock, count: int) -> None:
        super().__init__()
        self.clock, self.count = clock, count
        self.seconds: list[float] = []
        self.correct: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(self.clock.lap())
        self.correct.append(round(self.count * float(logs["val_accuracy"])))
