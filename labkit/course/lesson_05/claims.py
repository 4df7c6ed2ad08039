"""The BatchNorm trap: a frozen network whose statistics are left running is another network afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import (
    ANTS_BEES,
    FRESH_SEEDS,
    Condition,
    Experiment,
    Measurement,
    digits,
)
from labkit.tuning import feature_extraction

if TYPE_CHECKING:
    from labkit.tuning import Run


def _trap(place: Mapping[str, Any], rate: float, epochs: int, **plan: Any) -> list[Condition]:
    """Only the head learns; the statistics of frozen stages are fixed, or left running."""
    head = feature_extraction(rate, epochs, schedule="cosine", warmup=0.1, **plan)
    return [
        Condition(**place, plan=head.with_(name=f"statistics {kind}", frozen_statistics=kind))
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


def features_moved(run: Run) -> float:
    """How far what the head sees of the validation samples is from what it saw at first, relative to its length."""
    import torch

    from labkit.insight.inside import features, looking_at, start_of

    below, split = run.stages[-2], run.data.valid
    everyone = torch.arange(len(split))
    with looking_at(run) as model:
        now = features(model, run, split, everyone, [below])[below]
    first = features(start_of(run), run, split, everyone, [below])[below]
    return float((now - first).norm() / first.norm())


SEEN = Experiment(
    name="batchnorm-seen",
    question="Does a frozen network see the same as before, when only the statistics could have moved?",
    settings=tuple(
        replace(setting, readings={"features": Measurement(features_moved)})
        for setting in TRAP.settings
    ),
    seeds=FRESH_SEEDS,
    notes="The settings of `batchnorm-trap`, with seeds that were new when the rule was written.",
)

EXPERIMENTS = (TRAP, SEEN)
CONFIRMED = (SEEN,)

# ---------------------------------------------------------------- the claim


def _change_what_is_frozen(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10-batch-4", "digits-10-batch-20", "ants-bees-batch-8"):
        fixed, running = (
            ask(f"batchnorm-seen/{group}/statistics-{kind}/features")
            for kind in ("fixed", "running")
        )
        yield group, running.low > 0.05 and fixed.high == 0


CLAIMS = (
    Claim(
        20,
        "BatchNorm statistics left running change a frozen network.",
        "Only the head trains. What it sees of the validation samples at the end differs from what it saw at first by "
        "more than a twentieth of its length where the statistics of frozen stages run, and not at all where they are "
        "fixed; on digits in batches of 4 and of 20, and on ants and bees in batches of 8.",
        _change_what_is_frozen,
        preregistered=False,
    ),
)
