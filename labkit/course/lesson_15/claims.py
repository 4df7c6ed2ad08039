"""fastai's `fine_tune` against a plan of ours, and which of its choices carry it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from labkit.records.evidence.setting import ANTS_BEES, Condition, Experiment, digits
from labkit.tuning import Phase, Plan

BASE = 2e-3  # fastai's own base_lr, tuned by nobody
STAGES = 6  # of both shipped networks
DECAY = 100 ** (
    -1 / (STAGES - 1)
)  # a stage down: the first then has a hundredth of the head's rate
RISE = 0.3  # of the second phase
MOST = 0.9  # of the first phase, which is all rise with fastai (0.99); ours allows so much


def as_plan(epochs: int, batch_size: int) -> Plan:
    """What `learn.fine_tune(epochs)` says about depth and rates, in our words."""
    return Plan(
        "our plan",
        (
            Phase("head", BASE, 1, schedule="cosine", warmup=MOST),
            Phase("all", BASE / 2, epochs, lr_decay=DECAY, schedule="cosine", warmup=RISE),
        ),
        batch_size=batch_size,
    )


def _without(plan: Plan) -> list[Plan]:
    """The plan with one of its choices undone at a time; epochs and all else stay."""
    head, rest = plan.phases
    return [
        replace(
            plan,
            name="without the frozen epoch",
            phases=(replace(rest, epochs=plan.epochs),),
        ),
        replace(plan, name="one rate for all stages", phases=(head, replace(rest, lr_decay=1.0))),
        replace(
            plan,
            name="without schedules",
            phases=tuple(replace(p, schedule="constant", warmup=0.0) for p in plan.phases),
        ),
    ]


def _matched(where: Mapping[str, Any], epochs: int) -> list[Condition]:
    """Our plan, and what it is to match."""
    plan = as_plan(epochs, 20)
    return [
        Condition(**where, plan=plan),
        Condition(**where, plan=plan.with_(name="fine_tune"), by="fastai"),
    ]


def _taken_apart(where: Mapping[str, Any], epochs: int) -> list[Condition]:
    """The same with fastai's own head, and our plan with one of its choices undone at a time."""
    plan = as_plan(epochs, 20)
    own = plan.with_(name="fine_tune, its own head")
    undone = [Condition(**where, plan=one) for one in _without(plan)]
    return [Condition(**where, plan=own, by="fastai, its own head"), *undone]


FINE_TUNE = Experiment(
    name="fine-tune",
    question="Does a plan of two phases do what fastai's fine_tune does, and what carries it?",
    settings=(*_matched(digits(10), 8), *_taken_apart(digits(10), 8), *_matched(ANTS_BEES, 2)),
    notes="Nothing was tuned: base_lr is fastai's default, and ours takes it over. Written down before the runs: the "
    "plan matches fine_tune where the interval of the difference, paired by seed, holds zero. fastai runs its own code "
    "(Adam with its constants, momentum that cycles, BatchNorm trained in frozen stages, no decay of biases and "
    "BatchNorm) in fp32, with our network and our single linear layer unless it is said otherwise; the last, short "
    "batch of an epoch is kept. A seed draws the labels, the head and the order of the images; the order "
    "differs between the two tools.",
)

EXPERIMENTS = (FINE_TUNE,)
