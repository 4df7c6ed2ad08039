"""The three types of fine-tuning, and from scratch, as data grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import ANTS_BEES, FRESH_SEEDS, Condition, Experiment, digits
from labkit.tuning import feature_extraction, from_scratch, full, partial


def _types(
    place: Mapping[str, Any], rates: Sequence[float], epochs: int, tried: bool, **plan: Any
) -> list[Condition]:
    """From scratch, head, layer4 and head, all: the same but for what learns and how fast."""
    shared = {"epochs": epochs, "schedule": "cosine", "warmup": 0.1, **plan}
    scratch, probe, layer4, everything = rates
    plans = (
        (from_scratch(scratch, **shared, name="from scratch"), SCRATCH),
        (feature_extraction(probe, **shared, name="linear probe"), HEAD),
        (partial("layer4", layer4, **shared, name="layer4 + head"), SMALL),
        (full(everything, **shared, name="full"), SMALL),
    )
    return [
        Condition(**place, plan=one, rates=candidates if tried else ()) for one, candidates in plans
    ]


SCRATCH, HEAD = (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2)
SMALL = (1e-4, 3e-4, 1e-3, 3e-3)
ON_DIGITS = (3e-3, 1e-2, 1e-3, 1e-3)  # chosen at 10 labels a class, used at 3 and 50 as well
ON_PHOTOGRAPHS = (1e-3, 1e-2, 1e-4, 3e-4)

GENTLE = full(  # everything, but each stage at half the rate of the one above it
    1e-3,
    15,
    lr_decay=0.5,
    schedule="cosine",
    warmup=0.1,
    augment="light",
    name="full, rates decaying",
)

TYPES = Experiment(
    name="types",
    question="Head only, layer4 and head, or everything: what does each reach, and from scratch?",
    settings=(
        *_types(digits(3), ON_DIGITS, epochs=12, batch_size=6, tried=False),
        *_types(digits(10), ON_DIGITS, epochs=12, batch_size=20, tried=True),
        *_types(digits(50), ON_DIGITS, epochs=8, batch_size=32, tried=False),
        *_types(ANTS_BEES, ON_PHOTOGRAPHS, epochs=15, augment="light", tried=True),
        Condition(**ANTS_BEES, plan=GENTLE, rates=SMALL[:3]),
    ),
    notes="Rates were tried on digits-10 and ants-bees; digits-3 and digits-50 take those of digits-10. "
    "Those of ants-bees were tried with the photographs' weights two epochs before the last, but for "
    "1e-4 and for the plan with decaying rates, which had the shipped weights. "
    "One thread a run on a busy machine, except the linear probe on ants-bees with seed 0: two "
    "threads that waited for each other, so its processor time is too long.",
)

# ---------------------------------------------------------------- the three types as data grow


def _three_types(
    place: Mapping[str, Any], rates: Sequence[float], epochs: int, **plan: Any
) -> list[Condition]:
    """The types that start from pre-trained weights."""
    settings = _types(place, rates, epochs, tried=False, **plan)
    return [setting for setting in settings if setting.plan.pretrained]


def _photographs(labels: int | None) -> dict[str, Any]:
    """So many photographs a class; None is all there are."""
    return {**ANTS_BEES, "labels": labels, "group": f"ants-bees-{labels or 'all'}"}


AMOUNTS = {"digits": (1, 3, 10, 50), "ants-bees": (5, 20, "all")}

AMOUNT = Experiment(
    name="amount",
    question="Which of the three types wins, as data grow?",
    settings=(
        *_three_types(digits(1), ON_DIGITS, 24, batch_size=5),
        *_three_types(digits(3), ON_DIGITS, 12, batch_size=6),
        *_three_types(digits(10), ON_DIGITS, 12, batch_size=20),
        *_three_types(digits(50), ON_DIGITS, 8, batch_size=32),
        *_three_types(_photographs(5), ON_PHOTOGRAPHS, 30, augment="light", batch_size=10),
        *_three_types(_photographs(20), ON_PHOTOGRAPHS, 20, augment="light", batch_size=20),
        *_three_types(_photographs(None), ON_PHOTOGRAPHS, 15, augment="light"),
    ),
    seeds=FRESH_SEEDS,
    notes="Rates and epochs are those of `types`, seeds are new. Fewer labels get more epochs, to have some steps.",
)

EXPERIMENTS = (TYPES, AMOUNT)
FULL = tuple(
    setting
    for setting in TYPES.settings
    if setting.plan.name.startswith("full") and setting.group != "digits-50"
)
CONFIRMED = (replace(TYPES, settings=FULL), AMOUNT)  # of `types`, what claim 18 compares

# ---------------------------------------------------------------- the claim


def _winner_changes(ask: Ask) -> Iterator[tuple[str, bool]]:
    """Some type is ahead of another at one amount of data, and behind it at another."""
    types = ("linear-probe", "layer4-head", "full")
    for place, amounts in AMOUNTS.items():
        found = False
        for one, other in combinations(types, 2):
            gaps = [
                ask(f"amount/{place}-{n}/{one}", f"amount/{place}-{n}/{other}") for n in amounts
            ]
            found |= any(gap.low > 0 for gap in gaps) and any(gap.high < 0 for gap in gaps)
        yield place, found


CLAIMS = (
    Claim(
        13,
        "Which of the three types wins depends on the amount of data.",
        "Among head alone, layer4 and head, and everything there are two of which one is more accurate at one amount "
        "of data and the other at another; with 1, 3, 10 and 50 labels a class of digits, and with 5, 20 and all "
        "photographs a class of ants and bees.",
        _winner_changes,
        preregistered=False,
    ),
)
