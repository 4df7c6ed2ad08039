"""The three types of fine-tuning, and from scratch, as data grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.insight.evidence.setting import ANTS_BEES, Experiment, Setting, digits
from labkit.tuning import feature_extraction, from_scratch, full, partial


def _types(
    place: Mapping[str, Any], rates: Sequence[float], epochs: int, tried: bool, **plan: Any
) -> list[Setting]:
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
        Setting(**place, plan=one, rates=candidates if tried else ()) for one, candidates in plans
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
        Setting(**ANTS_BEES, plan=GENTLE, rates=SMALL[:3]),
    ),
    notes="Rates were tried on digits-10 and ants-bees; digits-3 and digits-50 take those of digits-10. "
    "Those of ants-bees were tried with the photographs' weights two epochs before the last, but for "
    "1e-4 and for the plan with decaying rates, which had the shipped weights. "
    "One thread a run on a busy machine, except the linear probe on ants-bees with seed 0: two "
    "threads that waited for each other, so its processor time is too long.",
)

EXPERIMENTS = (TYPES,)
