"""Is it better: what each of many near-equal runs answers, image by image, so that any choice can be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import nan
from typing import TYPE_CHECKING, Any

import labkit
from labkit.records.evidence.setting import ANTS_BEES, Condition, Experiment, Measurement, digits
from labkit.tuning import feature_extraction, partial

if TYPE_CHECKING:
    from labkit.tuning import Evaluation, Run

# ---------------------------------------------------------------- what is read off a finished run


def _unlearned(run: Run) -> tuple[Evaluation, ...]:
    """Validation, and the test split where there is one: nothing in these runs was chosen on either."""
    return tuple(run.evaluate(name) for name in ("valid", "test") if len(getattr(run.data, name)))


def _answers(run: Run) -> list[float]:
    """1 for each image that was named right, 0 for the others, in the order of the splits."""
    return [
        float(right)
        for part in _unlearned(run)
        for right in (part.predictions == part.targets).tolist()
    ]


def _sure_when_wrong(run: Run) -> float:
    """The mean probability that wrong answers were given; nan where none is wrong."""
    sure = [
        float(probabilities.max())
        for part in _unlearned(run)
        for probabilities in part.probabilities[part.predictions != part.targets]
    ]
    return sum(sure) / len(sure) if sure else nan


def _every_other(found: Evaluation, start: int) -> Evaluation:
    """Half of an evaluation; the examples are sorted by class, so each half has its share of all."""
    predictions, targets = found.predictions[start::2], found.targets[start::2]
    return replace(
        found,
        loss=nan,  # that of a half is asked nowhere
        correct=int((predictions == targets).sum()),
        count=len(targets),
        predictions=predictions,
        probabilities=found.probabilities[start::2],
        targets=targets,
    )


@lru_cache(maxsize=1)  # one run is asked several times
def _judged(run: Run) -> tuple[Evaluation, Evaluation]:
    """Half of validation as the network says it, and at the temperature that suits the other half."""
    whole = run.evaluate("valid")
    half = _every_other(whole, 1)
    return half, labkit.insight.fit_temperature(_every_other(whole, 0)).apply(half)


def _confidence(found: Evaluation) -> float:
    return float(found.probabilities.amax(1).mean())


def _right_half(run: Run) -> float:
    return _judged(run)[0].accuracy


def _confidence_half(run: Run) -> float:
    return _confidence(_judged(run)[0])


def _confidence_scaled(run: Run) -> float:
    return _confidence(_judged(run)[1])


READINGS = {
    "answers": Measurement(_answers),
    "sure-when-wrong": Measurement(_sure_when_wrong),
    "right": Measurement(_right_half),
    "confidence": Measurement(_confidence_half),
    "confidence-scaled": Measurement(_confidence_scaled),
}

# ---------------------------------------------------------------- the experiment


def _candidates(
    place: Mapping[str, Any],
    epochs: int,
    heads: Sequence[float],
    uppers: Sequence[float],
    **plan: Any,
) -> list[Condition]:
    """The head alone and layer4 with the head, each at several rates: what someone might try in an afternoon."""
    shared = {"epochs": epochs, "schedule": "cosine", "warmup": 0.1, **plan}
    plans = (
        *(feature_extraction(lr, **shared, name=f"head {lr:g}") for lr in heads),
        *(partial("layer4", lr, **shared, name=f"layer4 {lr:g}") for lr in uppers),
    )
    return [Condition(**place, plan=one, readings=READINGS) for one in plans]


HEADS = (3e-3, 1e-2, 3e-2)
PAIRS = {  # the rates of `types`, for the comparison of one way with the other
    "digits-10": ("layer4-0.001", "head-0.01"),
    "ants-bees": ("layer4-0.0003", "head-0.01"),
}

IS_IT_BETTER = Experiment(
    name="is-it-better",
    question="How often does a comparison name the better of two, and how good is the best of many?",
    settings=(
        *_candidates(digits(10), 12, HEADS, (3e-4, 1e-3, 3e-3), batch_size=20),
        *_candidates(ANTS_BEES, 8, HEADS, (1e-4, 3e-4, 1e-3)),
    ),
    seeds=tuple(range(20, 30)),
    notes="Rates are those of `types` and their neighbours; nothing was tuned, and the last epoch is counted. So all "
    "pictures that were not learned from are alike: `answers` has those of validation, then those of the test split. "
    "What a choice by fewer pictures or seeds would have come to is drawn from them. `right`, `confidence` and "
    "`confidence-scaled` are of every other validation picture; the temperature was fitted on the rest.",
)

EXPERIMENTS = (IS_IT_BETTER,)
