"""What a new task costs the old one, as rate and depth decide it, and what holding on and rehearsing save.

How strongly to hold and to rehearse is chosen by a rule that was written before its runs: `choose`, asked what the
trials on digits found (`REMEDIES_TRIED`). Those have seeds of their own, count on examples that no recorded accuracy
counts, and ask about old examples that are not those of the recorded questions. Ants and bees were not tried: they get
the same weight for the old task, and the same share of the way back a step, so `hold` times the ratio of the rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import labkit
from labkit.insight.kinds import backbone_of
from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.readings import REMEMBERED
from labkit.records.evidence.setting import (
    ANTS_BEES,
    FRESH_SEEDS,
    TRIAL_SEEDS,
    Condition,
    Experiment,
    Measurement,
    digits,
)
from labkit.tuning import feature_extraction, full, partial

if TYPE_CHECKING:
    from labkit.data import ImageData
    from labkit.tuning import Plan, Run


@dataclass(frozen=True)
class Halfway:
    """How well the network halfway between before and after does one of the tasks; the new one is asked on `split`."""

    task: Literal["old", "new"]
    split: str

    def __call__(self, run: Run) -> float:
        table = labkit.insight.between(run, [0.5], split=self.split)
        return float(table[self.task].iloc[0])


@dataclass(frozen=True)
class Beside:
    """The data beside `count` examples of the task that a backbone comes from, the same for every seed."""

    net: str
    count: int = 1000

    def __call__(self, data: ImageData, seed: int) -> Any:
        net = labkit.load_backbone(self.net)
        return data.with_old(labkit.insight.old_examples(net, self.count))


@dataclass(frozen=True)
class Retold:
    """What is left of the old task, by old examples that are neither rehearsed nor among the recorded questions."""

    count: int = 1000

    def __call__(self, run: Run) -> float:
        asked = labkit.insight.old_examples(backbone_of(run), self.count, seed=1)
        return labkit.insight.remembered(run, asked).accuracy


# ---------------------------------------------------------------- how strongly to hold, how much to rehearse

STRENGTHS = {"hold": (30, 100, 300, 1000), "rehearse": (0.3, 1, 3)}
MARGIN = 0.02  # of accuracy on the new task
RATE = 1e-3  # of the trials
CHOSEN = {"hold": 300.0, "rehearse": 3.0}  # what `choose` says


def choose(tried: Mapping[float, tuple[float, float]]) -> float:
    """The strength of a remedy to put on record, of those tried: strength -> (old task, new task); 0 is without it.

    Both are means over the trial seeds. Good enough is what does the new task at most MARGIN worse than the best of
    all. Of that, it is the strength that keeps most of the old task; the weakest where only 0 is good enough.
    """
    best = max(new for _, new in tried.values())
    enough = [one for one, (_, new) in tried.items() if one and new >= best - MARGIN]
    return max(enough, key=lambda one: tried[one][0]) if enough else min(filter(None, tried))


def _tried(place: Mapping[str, Any], usual: Plan) -> Iterator[Condition]:
    """The usual plan without a remedy, and with each at each strength."""
    asked = {"old": Measurement(Retold())}
    yield Condition(**place, plan=usual.with_(name="without"), readings=asked)
    for remedy, strengths in STRENGTHS.items():
        change = Beside(place["net"]) if remedy == "rehearse" else None
        for one in strengths:
            plan = usual.with_(name=f"{remedy} {one:g}", **{remedy: float(one)})
            yield Condition(**place, plan=plan, change=change, readings=asked)


REMEDIES_TRIED = Experiment(
    name="remedies-tried",
    question="How strongly to hold on to the start, and how much to rehearse?",
    settings=tuple(
        _tried(
            {**digits(10), "split": "valid"},
            full(RATE, 12, schedule="cosine", warmup=0.1, batch_size=20),
        )
    ),
    seeds=TRIAL_SEEDS,
    notes="Trials: no lesson quotes them. By them, `choose` picks the strengths of `usual, held` and of `usual, "
    "rehearsing` in `forgetting`. `old` is the accuracy on 1,000 examples of what the weights were trained on, with "
    "their old head; those that rehearse have 1,000 others.",
)


# ---------------------------------------------------------------- what is on record


def _how_hard(
    place: Mapping[str, Any], rates: tuple[float, float], epochs: int, **plan: Any
) -> list[Condition]:
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
    halfway = {
        f"halfway-{task}": Measurement(Halfway(task, place["split"])) for task in ("old", "new")
    }
    return [
        Condition(
            **place,
            plan=one,
            readings={"old": REMEMBERED} | (halfway if one.name in ("usual", "aggressive") else {}),
        )
        for one in plans
    ]


def _with_remedies(
    place: Mapping[str, Any], rate: float, epochs: int, **plan: Any
) -> list[Condition]:
    """Everything at the rate that suits it, held to the start or rehearsing, as strongly as was chosen."""
    usual, asked = full(rate, epochs, schedule="cosine", warmup=0.1, **plan), {"old": REMEMBERED}
    held = usual.with_(name="usual, held", hold=round(CHOSEN["hold"] * RATE / rate, 6))
    rehearsing = usual.with_(name="usual, rehearsing", rehearse=CHOSEN["rehearse"])
    return [
        Condition(**place, plan=held, readings=asked),
        Condition(**place, plan=rehearsing, change=Beside(place["net"]), readings=asked),
    ]


FORGETTING = Experiment(
    name="forgetting",
    question="How much of the old task is left, by depth and by rate?",
    settings=(
        *_how_hard(digits(10), (1e-2, 1e-3), 12, batch_size=20),
        *_with_remedies(digits(10), 1e-3, 12, batch_size=20),
        *_how_hard(ANTS_BEES, (1e-2, 3e-4), 6, augment="light"),
        *_with_remedies(ANTS_BEES, 3e-4, 6, augment="light"),
    ),
    seeds=FRESH_SEEDS,
    notes="The usual rates are those of `types`. `old` is the accuracy on 1,000 questions of the task that the weights "
    "come from, with their old head: printed letters for digits, Tiny ImageNet for ants and bees. `halfway-old` and "
    "`halfway-new` are of the network in the middle between the weights before and after. What rehearses has "
    "1,000 old examples that are none of the questions; the strengths were chosen before, see `remedies-tried`.",
)

EXPERIMENTS = (FORGETTING, REMEDIES_TRIED)

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
