"""Gradual unfreezing against moving everything at once: what is forgotten, and what is reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.readings import REMEMBERED
from labkit.records.evidence.setting import ANTS_BEES, FRESH_SEEDS, Condition, Experiment, digits
from labkit.tuning import feature_extraction, full, gradual, partial

STAGES = 6  # stem, four layers and the head: a phase for each
PHASE = 2  # epochs
HEAD = (1e-3, 3e-3, 1e-2, 3e-2)
ON_DIGITS, ON_PHOTOGRAPHS = (3e-4, 1e-3, 3e-3, 1e-2), (1e-4, 3e-4, 1e-3, 3e-3)


def _orders(
    place: Mapping[str, Any], tried: Sequence[float], rates: Sequence[float], **plan: Any
) -> list[Condition]:
    """The plain three, the head first and then everything, and a phase a stage: all for as many epochs."""
    epochs, own = STAGES * PHASE, {"schedule": "cosine", "warmup": 0.1, **plan}
    head, layer4, at_once, first, one_rate, decaying = rates
    two = (["head", "all"], first, epochs // 2)
    plans = (
        (feature_extraction(head, epochs, **own, name="head alone"), HEAD),
        (partial("layer4", layer4, epochs, **own, name="layer4 + head"), tried),
        (full(at_once, epochs, **own, name="at once"), tried),
        (gradual(*two, lr_decay=1.0, **own, name="head first"), tried),
        (gradual(STAGES, one_rate, PHASE, lr_decay=1.0, **own, name="gradual"), tried),
        (
            gradual(STAGES, decaying, PHASE, lr_decay=0.5, **own, name="gradual, rates decaying"),
            tried,
        ),
    )
    return [
        Condition(**place, plan=one, rates=tuple(those), readings={"old": REMEMBERED})
        for one, those in plans
    ]


GRADUAL = Experiment(
    name="gradual",
    question="Does thawing one stage after the other forget less, and does it reach more?",
    settings=(
        *_orders(digits(10), ON_DIGITS, (1e-2, *5 * (1e-3,)), batch_size=20),
        *_orders(ANTS_BEES, ON_PHOTOGRAPHS, (1e-2, 3e-4, 3e-4, 3e-4, 1e-4, 1e-3), augment="light"),
    ),
    seeds=FRESH_SEEDS,
    notes="Each order has the rate that did best when tried on examples that are not counted. `old` is the accuracy on "
    "1,000 questions of the task that the weights come from, with their old head.",
)

EXPERIMENTS = (GRADUAL,)

# ---------------------------------------------------------------- the claim


def _forgets_less_and_reaches_more(ask: Ask) -> Iterator[tuple[str, bool]]:
    for place in ("digits-10", "ants-bees"):
        ours, theirs = f"gradual/{place}/gradual", f"gradual/{place}/at-once"
        yield f"{place}: forgets less", ask(f"{ours}/old", f"{theirs}/old").low > 0
        yield f"{place}: reaches more", ask(ours, theirs).low > 0


CLAIMS = (
    Claim(
        6,
        "Gradual unfreezing prevents forgetting, and helps accuracy.",
        "One stage after the other is thawed, from the head downward, against everything at once for as many epochs, "
        "each at its own best rate: more of the old task is remembered, and the new one is done better; on digits with "
        "ten labels a class and on ants and bees.",
        _forgets_less_and_reaches_more,
    ),
)
