"""Domain shift: what shifted images cost, and what statistics without labels and a few labels bring back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any

import labkit
from labkit.data import KINDS
from labkit.insight.kinds import images_of
from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import (
    ANTS_BEES,
    FRESH_SEEDS,
    Condition,
    Experiment,
    Measurement,
    digits,
)
from labkit.tuning import full

if TYPE_CHECKING:
    from labkit.data import ImageData, ImageSplit
    from labkit.tuning import Plan, Run

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
AMOUNTS = (2, 4, 8, 16, 32, 64)  # images without labels that the statistics are taken from
PRIOR = 16  # images for which the old statistics count, where they keep a say
LOOKED_AT = "contrast"  # the shift at which amounts and classes are tried
ALONE = 32  # images of one class, or of all classes


@dataclass(frozen=True)
class Place:
    """Where accuracy is counted, where other images of the shifted kind come from, and how many have labels."""

    counted: str
    others: str
    labels: int
    plan: Plan


@lru_cache(maxsize=8)  # the readings of one run ask for the same images
def _shifted(data: ImageData, kind: str, strength: float, seed: int) -> ImageData:
    return data.shift(kind, strength, seed)


# ---------------------------------------------------------------- what is asked of a network that never saw a shift


@dataclass(frozen=True)
class ByStrength:
    """Accuracy on images shifted more and more, as the network is or with the statistics of other such images."""

    place: Place
    kind: str
    adapted: bool

    def __call__(self, run: Run) -> list[float]:
        found = []
        for strength in STRENGTHS:
            data = _shifted(images_of(run), self.kind, strength, run.seed)
            asked = getattr(data, self.place.counted)
            others = getattr(data, self.place.others)
            who = labkit.insight.adapt(run, others, seed=run.seed) if self.adapted else run
            found.append(who.evaluate(asked).accuracy)
        return found


@dataclass(frozen=True)
class WithLabels:
    """Accuracy at full strength after training on a few labelled images of that kind.

    Training goes on from the network as it is, or, with `fresh`, begins where that began: from the pre-trained weights.
    """

    place: Place
    kind: str
    fresh: bool = False

    def __call__(self, run: Run) -> float:
        import torch

        from labkit.data.splits import per_class

        data, place = _shifted(images_of(run), self.kind, 1.0, run.seed), self.place
        others: ImageSplit = getattr(data, place.others)
        labelled = others.take(per_class(others.labels, place.labels, run.seed))
        nothing = others.take(torch.arange(0))  # to validate on: nothing is chosen
        fresh, on = labkit.load_backbone, labkit.insight.carried_on
        net = fresh(run.net.name) if self.fresh else on(run)
        few = replace(data, train=labelled, valid=nothing, test=nothing)
        after = labkit.Run(net, few, place.plan, run.seed, precision=run.precision).fit()
        return after.evaluate(getattr(data, place.counted)).accuracy


@dataclass(frozen=True)
class Unshifted:
    """Accuracy on images as they are, with the statistics of other images as they are: what adapting costs."""

    place: Place

    def __call__(self, run: Run) -> float:
        others = getattr(run.data, self.place.others)
        return (
            labkit.insight.adapt(run, others, seed=run.seed).evaluate(self.place.counted).accuracy
        )


@dataclass(frozen=True)
class ByAmount:
    """Accuracy with the statistics of more and more images, the old ones counting for `prior`."""

    place: Place
    prior: float = 0
    amounts: Sequence[int] = AMOUNTS

    def __call__(self, run: Run) -> list[float]:
        data = _shifted(images_of(run), LOOKED_AT, 1.0, run.seed)
        others, asked = getattr(data, self.place.others), getattr(data, self.place.counted)
        adapt = labkit.insight.adapt
        return [
            adapt(run, others, count, self.prior, run.seed).evaluate(asked).accuracy
            for count in self.amounts
        ]


@dataclass(frozen=True)
class OneClass:
    """Accuracy on all classes with the statistics of images of one class alone, the mean over which it was."""

    place: Place
    prior: float = 0

    def __call__(self, run: Run) -> float:
        data = _shifted(images_of(run), LOOKED_AT, 1.0, run.seed)
        others: ImageSplit = getattr(data, self.place.others)
        asked = getattr(data, self.place.counted)
        adapt = labkit.insight.adapt
        return fmean(
            adapt(run, others.take(alike), ALONE, self.prior, run.seed).evaluate(asked).accuracy
            for alike in (
                (others.labels == c).nonzero().flatten() for c in range(len(data.classes))
            )
        )


def _readings(place: Place) -> dict[str, Measurement]:
    """What is on record of each run: `contrast` as it is, `contrast-adapted`, `contrast-labels`, and so on."""
    asked: dict[str, Any] = {"adapted": Unshifted(place)}
    for kind in KINDS:
        asked[kind] = ByStrength(place, kind, adapted=False)
        asked[f"{kind}-adapted"] = ByStrength(place, kind, adapted=True)
        asked[f"{kind}-labels"] = WithLabels(place, kind)
        asked[f"{kind}-fresh"] = WithLabels(place, kind, fresh=True)
    for name, prior in (("", 0), ("-prior", PRIOR)):
        asked[f"amount{name}"] = ByAmount(place, prior)
        asked[f"mixed{name}"] = ByAmount(place, prior, (ALONE,))
        asked[f"one-class{name}"] = OneClass(place, prior)
    return {name: Measurement(ask) for name, ask in asked.items()}


# ---------------------------------------------------------------- the experiment


def _clean(where: Mapping[str, Any], labels: int, few: Plan, **place: str) -> Condition:
    """Everything trained on images as they are; what is asked of it afterwards is about shifted ones."""
    plan = few.with_(name="clean")
    return Condition(
        **where, plan=plan, readings=_readings(Place(**place, labels=labels, plan=few))
    )


SHAPE: dict[str, Any] = {"schedule": "cosine", "warmup": 0.1}
HELD_OUT = {  # a third of the training part is never trained on: where the images to adapt to come from
    **ANTS_BEES,
    "data": {"name": "ants-bees", "size": 64, "seed": 0, "test": 0.33},
}

DOMAIN_SHIFT = Experiment(
    name="domain-shift",
    question="What do shifted images cost, and what do their statistics and a few labels bring back?",
    settings=(
        _clean(
            digits(10), 3, full(1e-3, 12, **SHAPE, batch_size=20), counted="test", others="valid"
        ),
        _clean(
            HELD_OUT,
            10,
            full(3e-4, 6, **SHAPE, batch_size=20, augment="light"),
            counted="valid",
            others="test",
        ),
    ),
    seeds=FRESH_SEEDS,
    notes="Trained once on images as they are, then asked about shifted ones. The images that statistics and labels "
    "come from are neither trained on before nor counted. `labels` trains on as it was trained before, with three "
    "labels a class on digits and ten on ants and bees; `fresh` begins at the pre-trained weights instead. Strengths "
    "were set by eye before any network was asked. Rates are those of `types`; nothing was tuned.",
)

EXPERIMENTS = (DOMAIN_SHIFT,)

# ---------------------------------------------------------------- the claim

PLACES = ("digits-10", "ants-bees")


def _costs_and_comes_back(ask: Ask) -> Iterator[tuple[str, bool]]:
    for place in PLACES:
        home = f"domain-shift/{place}/clean"
        for kind in KINDS:
            shifted = f"{home}/{kind}"
            yield f"{place}, {kind}: lowers", ask(shifted, home).high < 0
            for way in ("adapted", "labels"):
                yield f"{place}, {kind}: {way}", ask(f"{shifted}-{way}", shifted).low > 0


CLAIMS = (
    Claim(
        16,
        "A shifted domain lowers accuracy, and adapting recovers part of it.",
        "A network fine-tuned on images as they are is less accurate on images shifted at full strength, and more "
        "accurate on those again with the BatchNorm statistics of other, unlabelled ones, and after training on a few "
        "labelled ones; for six shifts, on digits with ten labels a class and on ants and bees.",
        _costs_and_comes_back,
    ),
)
