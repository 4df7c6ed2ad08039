"""What pre-training buys: accuracy, steps and seconds, against training from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from labkit.insight.evidence.claim import Ask, Claim
from labkit.insight.evidence.setting import ANTS_BEES, Experiment, Setting, digits
from labkit.tuning import from_scratch, full

FRESH_SEEDS = (5, 6, 7, 8, 9)  # `types` has shown 0 to 4 before these rules were written


def _head_start(
    place: Mapping[str, Any], rates: tuple[float, float], epochs: int, longer: int, **plan: Any
) -> list[Setting]:
    """Everything trained, from pre-trained weights, from random ones, and from these `longer` times as long."""
    scratch, tuned = rates
    shared = {"schedule": "cosine", "warmup": 0.1, **plan}
    plans = [
        full(tuned, epochs, **shared, name="fine-tuned"),
        from_scratch(scratch, epochs, **shared, name="from scratch"),
    ]
    if longer:
        plans.append(from_scratch(scratch, longer * epochs, **shared, name="from scratch, longer"))
    return [Setting(**place, plan=one) for one in plans]


def _races(group: str, longer: bool) -> dict[str, tuple[str, str]]:
    tuned, scratch = f"{group}/fine-tuned", f"{group}/from-scratch"
    found = {f"{tuned}-to-scratch": (tuned, scratch), f"{scratch}-to-scratch": (scratch, scratch)}
    if longer:
        found[f"{scratch}-longer-to-fine-tuned"] = (f"{scratch}-longer", tuned)
    return found


HEAD_START = Experiment(
    name="head-start",
    question="What does pre-training buy: accuracy, labels, steps and seconds?",
    settings=(
        *_head_start(digits(3), (3e-3, 1e-3), 12, 0, batch_size=6),
        *_head_start(digits(10), (3e-3, 1e-3), 12, 4, batch_size=20),
        *_head_start(digits(50), (3e-3, 1e-3), 8, 0, batch_size=32),
        *_head_start(ANTS_BEES, (1e-3, 3e-4), 15, 4, augment="light"),
    ),
    seeds=FRESH_SEEDS,
    notes="Rates are those of `types`, tried on other examples. Seeds are new: the rules were written when seeds 0 "
    "to 4 of `types` were known. A race that is never won counts as long as the training was.",
    races={**_races("digits-10", True), **_races("ants-bees", True)},
)

EXPERIMENTS = (HEAD_START,)

# ---------------------------------------------------------------- the claims

WAYS = ("fine-tuned", "from-scratch")


def _fewer_steps(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        tuned, scratch = (f"head-start/{group}/{one}-to-scratch" for one in WAYS)
        yield group, ask(tuned, scratch).high < 0


def _more_accurate(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-3", "digits-10", "ants-bees"):
        tuned, scratch = (f"head-start/{group}/{one}" for one in WAYS)
        yield group, ask(tuned, scratch).low > 0


def _less_compute(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        tuned, scratch = (f"head-start/{group}/{one}-to-scratch/seconds" for one in WAYS)
        yield group, ask(tuned, scratch).high < 0


def _a_fraction(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        scratch = ask(f"head-start/{group}/from-scratch-longer-to-fine-tuned")
        yield group, ask(f"head-start/{group}/fine-tuned/steps").high < scratch.low / 2


CLAIMS = (
    Claim(
        1,
        "Pre-trained converges in fewer steps.",
        "Everything trained, on digits with ten labels a class and on ants and bees: with pre-trained weights the "
        "validation accuracy that training from scratch ends with is there after fewer steps than from scratch.",
        _fewer_steps,
    ),
    Claim(
        3,
        "Pre-trained is more accurate on small data.",
        "Fine-tuned is more accurate than from scratch after the same epochs, each at its own best rate; on digits "
        "with three and ten labels a class and on ants and bees.",
        _more_accurate,
    ),
    Claim(
        4,
        "Pre-trained costs less compute to a given accuracy.",
        "As the first claim, in processor seconds: the accuracy that training from scratch ends with costs fewer.",
        _less_compute,
    ),
    Claim(
        14,
        "Fine-tuning costs a fraction of training from scratch.",
        "All steps of fine-tuning are fewer than half of those that training from scratch, four times as long, takes "
        "to the validation accuracy that fine-tuning ends with, or has taken without reaching it; on digits with ten "
        "labels a class and on ants and bees. What pre-training itself has cost is left out.",
        _a_fraction,
    ),
)
