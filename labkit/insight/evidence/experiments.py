"""Which experiments are on record, as data: settings that are compared, each run with the same
seeds.

The rates were chosen by `tune`, on examples that are not counted and with seeds that are not
reported; `check` holds every plan to what that found. All settings of a group share everything but
what the experiment is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import labkit
from labkit.errors import EvidenceError
from labkit.tuning import Plan, feature_extraction, from_scratch, full, partial

SEEDS = (0, 1, 2, 3, 4)
TRIAL_SEEDS = (100, 101)  # for choosing rates; never reported


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
    """A question, the settings that answer it and how the record came about."""

    name: str
    question: str
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...] = SEEDS
    notes: str = ""


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

EXPERIMENTS = (TYPES, TRAP)


def slug(name: str) -> str:
    """A name as part of a key: `layer4 + head` is `layer4-head`."""
    return name.replace(" + ", "-").replace(", ", "-").replace(" ", "-").lower()


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
