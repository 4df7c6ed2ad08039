"""labkit, as a notebook uses it: data, backbone, plan, run. Nothing here knows what the engine keeps or reuses."""

from __future__ import annotations

import labkit
from labkit.bench.work import Clock, Outcome, Work
from labkit.tuning import EpochDone, Plan


def train(work: Work) -> Outcome:
    """Load, build, train; the first epoch's seconds hold the validation before any training, too."""
    clock = Clock()
    data = labkit.load_data(work.folder, size=work.size)
    loaded = clock.lap()
    net = labkit.load_backbone(work.backbone, weights=work.weights)
    read = clock.lap()
    run = labkit.Run(net, data, plan_of(work), seed=work.seed)
    built = clock.lap()
    seconds, correct = [], []
    for event in run.events():
        if isinstance(event, EpochDone) and event.epoch:
            seconds.append(clock.lap())
            correct.append(event.valid_correct)
    return Outcome(
        loaded + read + built,
        tuple(seconds),
        tuple(correct),
        len(data.valid),
        parts={"data": loaded, "backbone": read, "run": built, "fit": sum(seconds)},
        facts={"precision": str(run.precision)},
    )


def plan_of(work: Work) -> Plan:
    """The work as a plan."""
    return labkit.partial(
        work.trainable_from,
        lr=work.lr,
        epochs=work.epochs,
        batch_size=work.batch_size,
        optimizer="sgd",
        weight_decay=0.0,
        augment="light" if work.augment else "none",
    )
