"""The BatchNorm trap: statistics of frozen stages that are left running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.insight.evidence.setting import ANTS_BEES, Experiment, Setting, digits
from labkit.tuning import feature_extraction


def _trap(place: Mapping[str, Any], rate: float, epochs: int, **plan: Any) -> list[Setting]:
    """Only the head learns; the statistics of frozen stages are fixed, or left running."""
    head = feature_extraction(rate, epochs, schedule="cosine", warmup=0.1, **plan)
    return [
        Setting(**place, plan=head.with_(name=f"statistics {kind}", frozen_statistics=kind))
        for kind in ("fixed", "running")
    ]


TRAP = Experiment(
    name="batchnorm-trap",
    question="What changes when the BatchNorm statistics of frozen stages are left running?",
    settings=(
        *_trap({**digits(10), "group": "digits-10-batch-4"}, 1e-2, epochs=10, batch_size=4),
        *_trap({**digits(10), "group": "digits-10-batch-20"}, 1e-2, epochs=10, batch_size=20),
        *_trap({**ANTS_BEES, "group": "ants-bees-batch-8"}, 1e-2, epochs=6, batch_size=8),
    ),
)

EXPERIMENTS = (TRAP,)
