"""What wrong labels cost, whether more of them make up for it, and how many of them can be found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import labkit
from labkit.insight.kinds import images_of
from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import ANTS_BEES, Condition, Experiment, Measurement, digits
from labkit.tuning import feature_extraction, full

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.data import ImageData
    from labkit.tuning import Plan, Run

SHARES = (0.2, 0.4)  # of the labels that are wrong
MORE = (2, 4)  # times as many labels as all right ones
LOOKED = 0.3  # the share of the labels that a person looks at again


@dataclass(frozen=True)
class WrongLabels:
    """That share of the training labels is wrong, drawn by the run's seed."""

    share: float

    def __call__(self, data: ImageData, seed: int) -> ImageData:
        return data.mislabel(self.share, seed)


@dataclass(frozen=True)
class LookedThrough:
    """As `WrongLabels`, but someone has looked at the least believable `looked` of them and knows each image."""

    share: float
    looked: float
    net: str

    def __call__(self, data: ImageData, seed: int) -> ImageData:
        wrong = data.mislabel(self.share, seed)
        net = labkit.load_backbone(self.net)
        judged = labkit.insight.suspect_labels(labkit.Run(net, wrong, feature_extraction(), seed))
        shown = judged.order[: _budget(wrong, self.looked)]
        labels = wrong.train.labels.clone()
        labels[shown] = data.train.labels[shown]
        return replace(wrong, train=replace(wrong.train, labels=labels))


# ---------------------------------------------------------------- how many wrong labels a ranking finds


@dataclass(frozen=True)
class Found:
    """Of the wrong labels, the share among the first `looked` of all labels; or `precise`, of those the wrong ones.

    With `learned`, the labels are ranked by the trained network itself, which has learned from every one of them.
    """

    looked: float
    precise: bool = False
    learned: bool = False

    def __call__(self, run: Run) -> float:
        import torch

        order = _by_the_network(run) if self.learned else _by_others(run)
        shown = order[: _budget(images_of(run), self.looked)]
        wrong = images_of(run).mislabelled
        found = int(torch.isin(shown, wrong).sum())
        return found / len(shown if self.precise else wrong)


@lru_cache(maxsize=1)  # one run is asked several times
def _by_others(run: Run) -> Tensor:
    return labkit.insight.suspect_labels(run).order


def _by_the_network(run: Run) -> Tensor:
    """All training positions, the label that the trained network finds least probable first."""
    seen = run.evaluate(run.data.train)
    return seen.probabilities.gather(1, seen.targets.unsqueeze(1)).squeeze(1).argsort(stable=True)


def _budget(data: ImageData, looked: float) -> int:
    return round(looked * len(data.train))


def _readings(learned: bool) -> dict[str, Measurement]:
    """What is asked of every run with wrong labels: `found-10` is the share found by looking at a tenth."""
    who = "in-sample-" if learned else ""
    return {
        f"{who}{name}-{looked:.0%}".rstrip("%"): Measurement(Found(looked, precise, learned))
        for looked in (0.1, LOOKED)
        for name, precise in (("found", False), ("precision", True))
    }


# ---------------------------------------------------------------- the settings


def _place(where: Mapping[str, Any], plan: Plan, labels: int, share: float) -> Condition:
    """A plan with so many labels a class, of which a share is wrong."""
    told = f" wrong {share:g}" if share else ""
    setting = Condition(
        **{**where, "labels": labels}, plan=plan.with_(name=f"{plan.name} {labels}{told}")
    )
    if not share:
        return setting
    return replace(
        setting, change=WrongLabels(share), readings=_readings(learned=plan.name == "everything")
    )


def _looked_through(where: Mapping[str, Any], plan: Plan, labels: int) -> Condition:
    named = plan.with_(name=f"{plan.name} {labels} wrong {SHARES[0]:g} looked through")
    change = LookedThrough(SHARES[0], LOOKED, where["net"])
    return Condition(**{**where, "labels": labels}, plan=named, change=change)


def _noise(where: Mapping[str, Any], plan: Plan) -> list[Condition]:
    """Few labels all right, more all right, and more of which a fifth or two fifths are wrong."""
    few = FEW[where["group"]]
    amounts = [few, *(times * few for times in MORE)]
    clean = [_place(where, plan, labels, 0) for labels in amounts]
    wrong = [_place(where, plan, labels, share) for share in SHARES for labels in amounts[1:]]
    return [*clean, *wrong, _looked_through(where, plan, amounts[1])]


DIGITS = {**digits(10), "group": "digits"}
FEW = {"digits": 10, "ants-bees": 30}
SHAPE: dict[str, Any] = {"schedule": "cosine", "warmup": 0.1}

LABEL_NOISE = Experiment(
    name="label-noise",
    question="What do wrong labels cost, do more labels make up for it, and how many of them are found?",
    settings=(
        *_noise(DIGITS, feature_extraction(1e-2, 8, **SHAPE, batch_size=20, name="head")),
        *_noise(DIGITS, full(1e-3, 8, **SHAPE, batch_size=20, name="everything")),
        *_noise(ANTS_BEES, feature_extraction(1e-2, 6, **SHAPE, batch_size=10, name="head")),
        *_noise(ANTS_BEES, full(3e-4, 4, **SHAPE, batch_size=10, name="everything")),
    ),
    seeds=(5, 6, 7, 8, 9),
    notes="Rates are those of `types`, chosen with labels that are all right, so they may suit these better. Epochs "
    "are the same for all, so more labels take more steps. A wrong label is one of the other classes, each as likely. "
    "Rules, amounts and shares were written down before the runs.",
)

EXPERIMENTS = (LABEL_NOISE,)

# ---------------------------------------------------------------- the claim

WAYS = ("head", "everything")


def _clean_first(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group, few in FEW.items():
        for way in WAYS:
            for times in MORE:
                for share in SHARES:
                    clean = f"label-noise/{group}/{way}-{few}"
                    more = f"label-noise/{group}/{way}-{times * few}-wrong-{share:g}"
                    yield (
                        f"{group}, {way}, {times} times, {share:.0%} wrong",
                        ask(clean, more).low > 0,
                    )


CLAIMS = (
    Claim(
        11,
        "Clean labels beat more labels.",
        "A network trained with few labels that are all right is more accurate than one trained with two or four "
        "times as many, of which a fifth or two fifths are wrong; the head alone and everything, with 10 labels a "
        "class on digits and 30 on ants and bees.",
        _clean_first,
    ),
)
