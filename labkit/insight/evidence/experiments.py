"""Which experiments are on record, as data: settings that are compared, each run with the same
seeds.

The rates were chosen by `tune`, on examples that are not counted and with seeds that are not
reported; `check` holds every plan to what that found. All settings of a group share everything but
what the experiment is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import labkit
from labkit.errors import EvidenceError
from labkit.tuning import Plan, feature_extraction, from_scratch, full, partial

SEEDS = (0, 1, 2, 3, 4)
TRIAL_SEEDS = (100, 101)  # for choosing rates; never reported


def slug(name: str) -> str:
    """A name as part of a key: `layer4 + head` is `layer4-head`."""
    return name.replace(" + ", "-").replace(", ", "-").replace(" ", "-").lower()


@dataclass(frozen=True)
class Setting:
    """One way to train, in one group of settings that are compared with each other.

    `data` and `trial_data` are arguments of `load_data`; `labels` keeps so many a class, drawn anew
    for each seed. Accuracy is counted on `split` after the last epoch. `rates` are the learning
    rates that `tune` tries.
    """

    group: str
    plan: Plan
    net: str
    data: Mapping[str, Any]
    split: str
    trial_data: Mapping[str, Any]
    trial_split: str
    labels: int | None = None
    rates: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """The name to cite it by: `digits-3/linear-probe`."""
        return f"{self.group}/{slug(self.plan.name)}"

    def load(self, seed: int) -> Any:
        """The data of a reported run."""
        return self._fewer(_load(**self.data), seed)

    def load_trial(self, seed: int) -> Any:
        """The data on which a rate is tried: without the examples that are counted."""
        return self._fewer(_load(**{**self.trial_data, "seed": seed}), seed)

    def _fewer(self, data: Any, seed: int) -> Any:
        return data.subset(per_class=self.labels, seed=seed) if self.labels else data


@lru_cache(maxsize=4)
def _load(**arguments: Any) -> Any:
    """Runs never change their data, so those that follow each other share it."""
    return labkit.load_data(**arguments)


@dataclass(frozen=True)
class Experiment:
    """A question, the settings that answer it and how the record came about.

    `spreads` names sets of settings, by their keys: how far accuracy varies among them is on record too. `races`
    names pairs: how long the first trains, seed by seed, until it has the validation accuracy that the second ends
    with.
    """

    name: str
    question: str
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...] = SEEDS
    notes: str = ""
    spreads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    races: Mapping[str, tuple[str, str]] = field(default_factory=dict)


# ---------------------------------------------------------------- the three types of fine-tuning


def _digits(labels: int) -> dict[str, Any]:
    """Few handwritten digits, counted on the test split; rates are tried on the validation split."""
    return {
        "group": f"digits-{labels}",
        "net": "resnet10-glyphs",
        "data": {"name": "digits", "size": 32, "seed": 0},
        "split": "test",
        "trial_data": {"name": "digits", "size": 32},
        "trial_split": "valid",
        "labels": labels,
    }


ANTS_BEES: dict[str, Any] = {
    "group": "ants-bees",
    "net": "resnet10",
    "data": {"name": "ants-bees", "size": 64, "seed": 0},
    "split": "valid",
    "trial_data": {"name": "ants-bees", "size": 64, "test": 0.33},  # a third of the training part
    "trial_split": "test",
}


def _types(
    place: Mapping[str, Any], rates: Sequence[float], epochs: int, tried: bool, **plan: Any
) -> list[Setting]:
    """From scratch, head, layer4 and head, all: the same but for what learns and how fast."""
    shared = {"epochs": epochs, "schedule": "cosine", "warmup": 0.1, **plan}
    scratch, probe, layer4, everything = rates
    plans = (
        (from_scratch(scratch, **shared, name="from scratch"), SCRATCH),
        (feature_extraction(probe, **shared, name="linear probe"), HEAD),
        (partial("layer4", layer4, **shared, name="layer4 + head"), SMALL),
        (full(everything, **shared, name="full"), SMALL),
    )
    return [
        Setting(**place, plan=one, rates=candidates if tried else ()) for one, candidates in plans
    ]


SCRATCH, HEAD = (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2)
SMALL = (1e-4, 3e-4, 1e-3, 3e-3)
ON_DIGITS = (3e-3, 1e-2, 1e-3, 1e-3)  # chosen at 10 labels a class, used at 3 and 50 as well
ON_PHOTOGRAPHS = (1e-3, 1e-2, 1e-4, 3e-4)

GENTLE = full(  # everything, but each stage at half the rate of the one above it
    1e-3,
    15,
    lr_decay=0.5,
    schedule="cosine",
    warmup=0.1,
    augment="light",
    name="full, rates decaying",
)

TYPES = Experiment(
    name="types",
    question="Head only, layer4 and head, or everything: what does each reach, and from scratch?",
    settings=(
        *_types(_digits(3), ON_DIGITS, epochs=12, batch_size=6, tried=False),
        *_types(_digits(10), ON_DIGITS, epochs=12, batch_size=20, tried=True),
        *_types(_digits(50), ON_DIGITS, epochs=8, batch_size=32, tried=False),
        *_types(ANTS_BEES, ON_PHOTOGRAPHS, epochs=15, augment="light", tried=True),
        Setting(**ANTS_BEES, plan=GENTLE, rates=SMALL[:3]),
    ),
    notes="Rates were tried on digits-10 and ants-bees; digits-3 and digits-50 take those of digits-10. "
    "Those of ants-bees were tried with the photographs' weights two epochs before the last, but for "
    "1e-4 and for the plan with decaying rates, which had the shipped weights. "
    "One thread a run on a busy machine, except the linear probe on ants-bees with seed 0: two "
    "threads that waited for each other, so its processor time is too long.",
)


# ---------------------------------------------------------------- the trap of lesson 05


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
        *_trap({**_digits(10), "group": "digits-10-batch-4"}, 1e-2, epochs=10, batch_size=4),
        *_trap({**_digits(10), "group": "digits-10-batch-20"}, 1e-2, epochs=10, batch_size=20),
        *_trap({**ANTS_BEES, "group": "ants-bees-batch-8"}, 1e-2, epochs=6, batch_size=8),
    ),
)


# ---------------------------------------------------------------- the rate of lesson 07


def _one_at_a_time(
    place: Mapping[str, Any], base: Plan, grid: Mapping[str, Sequence[Any]]
) -> list[Setting]:
    """The base plan with one knob turned at a time; the base itself is among the rates."""
    changes = {
        f"{knob} {value:g}": {KNOBS[knob]: value}
        for knob, values in grid.items()
        for value in values
        if knob == "rate" or value != values[MIDDLE]
    }
    return [Setting(**place, plan=base.with_(**new, name=name)) for name, new in changes.items()]


def _spreads(group: str, grid: Mapping[str, Sequence[Any]]) -> dict[str, tuple[str, ...]]:
    """For each knob the keys of all its values, and of the three in the middle."""
    middle, found = f"rate {grid['rate'][MIDDLE]:g}", {}
    for knob, values in grid.items():
        names = [f"{knob} {value:g}" for value in values]
        names[MIDDLE] = middle
        keys = tuple(f"{group}/{slug(name)}" for name in names)
        found[f"{group}/{slug(knob)}-far"] = keys
        found[f"{group}/{slug(knob)}-near"] = keys[MIDDLE - 1 : MIDDLE + 2]
    return found


def _extremes(place: Mapping[str, Any], base: Plan, rates: Sequence[float]) -> list[Setting]:
    """Everything trained at each of some rates, from scratch at the largest, and the head alone."""
    fresh = base.with_(lr=max(rates), pretrained=False, name=f"from scratch {max(rates):g}")
    own: dict[str, Any] = {
        "epochs": base.epochs,
        "batch_size": base.batch_size,
        "schedule": "cosine",
    }
    alone = feature_extraction(1e-2, **own, warmup=0.1, name="head alone")
    at = [base.with_(lr=rate, name=f"rate {rate:g}") for rate in rates]
    return [Setting(**place, plan=plan) for plan in (*at, fresh, alone)]


KNOBS = {"rate": "lr", "batch": "batch_size", "weight decay": "weight_decay"}
MIDDLE = 2  # of five values: the one that the base plan has
DIGITS_GRID = {
    "rate": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "batch": (2, 6, 20, 60, 100),  # 100 is all there is
    "weight decay": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
PHOTO_GRID = {
    "rate": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "batch": (4, 10, 32, 100, 244),  # nearly all of the training photographs
    "weight decay": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
ON_TEN = full(1e-3, 6, batch_size=20, schedule="cosine", warmup=0.1)
ON_LAYER4 = partial("layer4", 3e-4, 4, schedule="cosine", warmup=0.1)
ON_PHOTOS = full(3e-4, 3, schedule="cosine", warmup=0.1)
LAYER4 = {**ANTS_BEES, "group": "ants-bees-layer4"}

STEP_SIZE = Experiment(
    name="step-size",
    question="What does the rate decide, and how much do batch size and weight decay decide beside it?",
    settings=(
        *_extremes(_digits(10), ON_TEN, (1e-5, 1e-1)),
        *_one_at_a_time(_digits(10), ON_TEN, DIGITS_GRID),
        *_extremes(ANTS_BEES, ON_PHOTOS, (1e-5, 3e-4, 1e-1)),
        *_one_at_a_time(LAYER4, ON_LAYER4, PHOTO_GRID),
    ),
    notes="Nothing was tuned: the values are a grid around the rates of `types`, written down before the runs. "
    "Epochs are the same for all, so a larger batch takes fewer steps.",
    spreads={
        **_spreads("digits-10", DIGITS_GRID),
        **_spreads("ants-bees-layer4", PHOTO_GRID),
    },
)


def _decaying(labels: int, epochs: int, batch_size: int, tried: bool) -> Setting:
    """`full` of `types`, but each stage at half the rate of the one above it."""
    shape = {"schedule": "cosine", "warmup": 0.1, "batch_size": batch_size}
    plan = full(1e-3, epochs, lr_decay=0.5, **shape, name="full, rates decaying")
    return Setting(**_digits(labels), plan=plan, rates=(1e-3, 3e-3, 1e-2) if tried else ())


DISCRIMINATIVE = Experiment(
    name="discriminative",
    question="Does a smaller rate for every stage further down beat one rate for all?",
    settings=(_decaying(3, 12, 6, tried=False), _decaying(10, 12, 20, tried=True)),
    notes="To be compared with `full` of `types`, which is the same but for the decay, each at the rate that did "
    "best when tried at 10 labels a class. The same pair on ants-bees is in `types`.",
)

# ---------------------------------------------------------------- the head start of lesson 01

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
        *_head_start(_digits(3), (3e-3, 1e-3), 12, 0, batch_size=6),
        *_head_start(_digits(10), (3e-3, 1e-3), 12, 4, batch_size=20),
        *_head_start(_digits(50), (3e-3, 1e-3), 8, 0, batch_size=32),
        *_head_start(ANTS_BEES, (1e-3, 3e-4), 15, 4, augment="light"),
    ),
    seeds=FRESH_SEEDS,
    notes="Rates are those of `types`, tried on other examples. Seeds are new: the rules were written when seeds 0 "
    "to 4 of `types` were known. A race that is never won counts as long as the training was.",
    races={**_races("digits-10", True), **_races("ants-bees", True)},
)

EXPERIMENTS = (HEAD_START, TYPES, TRAP, STEP_SIZE, DISCRIMINATIVE)


def find(name: str | Experiment) -> Experiment:
    """The experiment of that name, or EvidenceError with those there are; your own as it is."""
    if isinstance(name, Experiment):
        return name
    for experiment in EXPERIMENTS:
        if experiment.name == name:
            return experiment
    raise EvidenceError(
        f"There is no experiment {name!r} on record. There are: "
        f"{', '.join(experiment.name for experiment in EXPERIMENTS)}."
    )
