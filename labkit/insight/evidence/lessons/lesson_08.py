"""Gradual unfreezing against moving everything at once: what is forgotten, and what is reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from labkit.insight.evidence.claim import Ask, Claim
from labkit.insight.evidence.readings import REMEMBERED
from labkit.insight.evidence.setting import ANTS_BEES, FRESH_SEEDS, Experiment, Setting, digits
from labkit.tuning import full, gradual

STAGES = 6  # stem, four layers and the head: a phase for each
RATES = (3e-4, 1e-3, 3e-3, 1e-2)


def _orders(
    place: Mapping[str, Any], rates: tuple[float, ...], phase: int, **plan: Any
) -> list[Setting]:
    """Everything at once, and as many epochs as phases from the head downward, with one rate and with decaying ones."""
    at_once, one_rate, decaying = rates
    own = {"schedule": "cosine", "warmup": 0.1, **plan}
    plans = (
        full(at_once, STAGES * phase, **own, name="at once"),
        gradual(STAGES, one_rate, phase, lr_decay=1.0, **own, name="gradual"),
        gradual(STAGES, decaying, phase, lr_decay=0.5, **own, name="gradual, rates decaying"),
    )
    return [Setting(**place, plan=one, rates=RATES, readings={"old": REMEMBERED}) for one in plans]


GRADUAL = Experiment(
    name="gradual",
    question="Does thawing one stage after the other forget less, and does it reach more?",
    settings=(
        *_orders(digits(10), (1e-3, 1e-3, 1e-3), 2, batch_size=20),
        *_orders(ANTS_BEES, (3e-4, 3e-4, 3e-4), 2, augment="light"),
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
