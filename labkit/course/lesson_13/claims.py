"""What freezing saves: operations and processor seconds of a step by depth, and whole plans from an empty cache.

The rule, the places and the settings were written before any of these runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import labkit
from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import (
    ANTS_BEES,
    FRESH_SEEDS,
    Condition,
    Experiment,
    Measurement,
    digits,
)
from labkit.tuning import feature_extraction, from_scratch, full, partial

if TYPE_CHECKING:
    import pandas as pd

    from labkit.data import ImageData
    from labkit.insight import StepCost
    from labkit.tuning import Plan, Run

DEPTHS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
TURNS = 11
GIGA, MILLI = 1e9, 1e-3

# ---------------------------------------------------------------- what is asked of a run


@lru_cache(maxsize=1)  # one run is asked for every depth
def _timed(run: Run) -> pd.DataFrame:
    return labkit.insight.step_seconds(run, DEPTHS, TURNS)


@lru_cache(maxsize=1)
def _counted(run: Run) -> dict[str, StepCost]:
    return {step.trainable_from: step for step in labkit.insight.step_costs(run, DEPTHS)}


@dataclass(frozen=True)
class Time:
    """Processor time of a step from this depth upward: in milliseconds, or as a share of a step of everything."""

    depth: str
    way: str
    share: bool

    def __call__(self, run: Run) -> float:
        table = _timed(run)
        spent = table.loc[self.depth, self.way]
        return float(spent / (table.loc[DEPTHS[0], "again"] if self.share else MILLI))


@dataclass(frozen=True)
class Operations:
    """Operations of such a step, as a share of those of a step of everything."""

    depth: str
    way: str

    def __call__(self, run: Run) -> float:
        steps = _counted(run)
        return float(getattr(steps[self.depth], self.way) / steps[DEPTHS[0]].again)


def _planned(run: Run) -> float:
    """Operations of the whole plan, in billions."""
    return labkit.insight.cost(run).flops / GIGA


def _planned_again(run: Run) -> float:
    """The same with frozen stages run again for every sample."""
    return labkit.insight.cost(run).flops_again / GIGA


PLANNED = {
    "operations": Measurement(_planned, "GFLOP"),
    "operations-again": Measurement(_planned_again, "GFLOP"),
}


def _steps() -> dict[str, Measurement]:
    """`again-layer4`: the share of the time that a step from layer4 upward takes, frozen part run again."""
    found: dict[str, Measurement] = {}
    for depth in DEPTHS:
        for way in ("again", "kept"):
            found[f"{way}-{depth}"] = Measurement(Time(depth, way, share=True))
            found[f"{way}-{depth}-ms"] = Measurement(Time(depth, way, share=False), "ms")
            found[f"{way}-{depth}-operations"] = Measurement(Operations(depth, way))
    return found


# ---------------------------------------------------------------- the experiment


def _from_nothing(data: ImageData, seed: int) -> Any:
    """The data as they are; and nothing is known yet that an earlier run has computed."""
    from labkit.tuning.cache import shared

    shared.clear()
    return data


def _strategies(
    place: Mapping[str, Any], rates: tuple[float, float, float, float], epochs: int, batch: int
) -> list[Condition]:
    """From scratch, the head alone, layer4 and head, everything: the same epochs. Steps are asked of the last."""
    shape: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch, "schedule": "cosine", "warmup": 0.1,
    }  # fmt: skip
    scratch, head, upper, everything = rates
    plans: tuple[Plan, ...] = (
        from_scratch(scratch, **shape, name="from scratch"),
        feature_extraction(head, **shape, name="head"),
        partial("layer4", upper, **shape, name="layer4 + head"),
        full(everything, **shape, name="full"),
    )
    return [
        Condition(
            **place,
            plan=plan,
            change=_from_nothing,
            readings={**PLANNED, **(_steps() if plan.name == "full" else {})},
        )
        for plan in plans
    ]


PLACES = ("digits-10", "ants-bees")

COST = Experiment(
    name="cost",
    question="What does freezing save in a step, and what do the strategies cost as a whole?",
    settings=(
        *_strategies(digits(10), (3e-3, 1e-2, 1e-3, 1e-3), 12, 20),
        *_strategies(ANTS_BEES, (1e-3, 1e-2, 1e-4, 3e-4), 6, 16),
    ),
    seeds=FRESH_SEEDS,
    notes="Rates are those of `types`. Every run begins with an empty cache. Steps are timed in processor seconds on "
    "one thread, the depths in turns, and a seed's number is the median of eleven turns; operations are counted. On "
    "ants and bees nothing is augmented.",
)

EXPERIMENTS = (COST,)

# ---------------------------------------------------------------- the claim


def _cheaper(ask: Ask) -> Iterator[tuple[str, bool]]:
    for place in PLACES:
        home = f"cost/{place}/full/again"
        for less, more in pairwise(DEPTHS):
            yield (
                f"{place}: from {more} against {less}",
                ask(f"{home}-{more}", f"{home}-{less}").high < 0,
            )
        yield f"{place}: head alone, below half", ask(f"{home}-head").high < 0.5


CLAIMS = (
    Claim(
        19,
        "Freezing more makes a step cheaper, by how much.",
        "One step of the same batch, with the frozen stages run again as a plain loop does: with each further stage "
        "frozen it takes less processor time, and with all below the head frozen less than half of what it takes when "
        "everything trains; on digits with ten labels a class and on ants and bees. What keeping the output of the "
        "frozen stages saves beyond that is reported and not part of the rule.",
        _cheaper,
    ),
)
