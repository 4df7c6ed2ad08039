"""What a new task costs the old one, as rate and depth decide it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from labkit.insight.evidence.claim import Ask, Claim
from labkit.insight.evidence.readings import REMEMBERED
from labkit.insight.evidence.setting import (
    ANTS_BEES,
    FRESH_SEEDS,
    Experiment,
    Reading,
    Setting,
    digits,
)
from labkit.insight.forgetting import between
from labkit.tuning import Run, feature_extraction, full, partial


@dataclass(frozen=True)
class Halfway:
    """How well the network halfway between before and after does one of the tasks; the new one is asked on `split`."""

    task: Literal["old", "new"]
    split: str

    def __call__(self, run: Run) -> float:
        return float(between(run, [0.5], split=self.split)[self.task].iloc[0])


def _how_hard(
    place: Mapping[str, Any], rates: tuple[float, float], epochs: int, **plan: Any
) -> list[Setting]:
    """The head alone, layer4 and head, and everything: at a tenth of a rate that suits it, at it, at ten times it."""
    head, everything = rates
    own = {"epochs": epochs, "schedule": "cosine", "warmup": 0.1, **plan}
    plans = (
        feature_extraction(head, **own, name="head alone"),
        partial("layer4", everything, **own, name="layer4 + head"),
        full(everything, **own, lr_decay=0.5, name="usual, rates decaying"),
        *(
            full(times * everything, **own, name=name)
            for name, times in (("gentle", 0.1), ("usual", 1), ("aggressive", 10))
        ),
    )
    halfway = {f"halfway-{task}": Reading(Halfway(task, place["split"])) for task in ("old", "new")}
    return [
        Setting(
            **place,
            plan=one,
            readings={"old": REMEMBERED} | (halfway if one.name in ("usual", "aggressive") else {}),
        )
        for one in plans
    ]


FORGETTING = Experiment(
    name="forgetting",
    question="How much of the old task is left, by depth and by rate?",
    settings=(
        *_how_hard(digits(10), (1e-2, 1e-3), 12, batch_size=20),
        *_how_hard(ANTS_BEES, (1e-2, 3e-4), 6, augment="light"),
    ),
    seeds=FRESH_SEEDS,
    notes="The usual rates are those of `types`. `old` is the accuracy on 1,000 questions of the task that the weights "
    "come from, with their old head: printed letters for digits, Tiny ImageNet for ants and bees. `halfway-old` and "
    "`halfway-new` are of the network in the middle between the weights before and after.",
)

EXPERIMENTS = (FORGETTING,)

# ---------------------------------------------------------------- the claim


def _aggression_forgets(ask: Ask) -> Iterator[tuple[str, bool]]:
    for place in ("digits-10", "ants-bees"):
        home = f"forgetting/{place}"
        aggressive, untouched = ask(f"{home}/aggressive/old"), ask(f"{home}/head-alone/old")
        yield (
            f"{place}: more than usual",
            ask(f"{home}/aggressive/old", f"{home}/usual/old").high < 0,
        )
        yield f"{place}: more than half", aggressive.high < untouched.low / 2


CLAIMS = (
    Claim(
        9,
        "Aggressive fine-tuning forgets the old task.",
        "Everything trains at ten times the rate that suits it. Less of the old task is left than at that rate, and "
        "less than half of what was there before; on digits with ten labels a class and on ants and bees.",
        _aggression_forgets,
    ),
)
