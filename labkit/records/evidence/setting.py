"""What an experiment is, as data: settings that are compared, each run with the same seeds.

Rates are chosen by `tune`, on examples that are not counted and with seeds that are not reported; `check` holds every
plan to what that found. All settings of a group share everything but what the experiment is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import labkit

if TYPE_CHECKING:
    from labkit.data import ImageData
    from labkit.models import Backbone
    from labkit.tuning import Plan, Run

SEEDS = (0, 1, 2, 3, 4)
FRESH_SEEDS = (5, 6, 7, 8, 9)  # for rules that were written when the first five had been seen
TRIAL_SEEDS = (100, 101)  # for choosing rates; never reported


def slug(name: str) -> str:
    """A name as part of a key: `layer4 + head` is `layer4-head`."""
    return name.replace(" + ", "-").replace(", ", "-").replace(" ", "-").lower()


@dataclass(frozen=True)
class Measurement:
    """A number that is asked of a finished run, beside its accuracy. Called last, because it may rewind the run.

    `unit` stands behind the number in a text; None where it is a share, which a text gives in per cent or points.
    Where `ask` gives several numbers they are a curve, for a figure; a text gets the last of them.
    """

    ask: Callable[[Run], float | Sequence[float]]
    unit: str | None = None


@dataclass(frozen=True)
class Condition:
    """One way to train, in one group of settings that are compared with each other.

    `data` and `trial_data` are arguments of `load_data`; `labels` keeps so many a class, drawn anew
    for each seed. Accuracy is counted on `split` after the last epoch. `rates` are the learning
    rates that `tune` tries.

    `change` is done to the data of a run, with its seed; `start` to the backbone it begins from. Both are functions at
    the top of a module or frozen dataclasses, so that their names or fields tell a recipe from another. `readings`
    are what else is on record, each cited by its name behind the key: `digits-3/linear-probe/forgotten`.

    `by` names who trains, where it is not labkit: then the plan says what is asked of them, and whoever builds the
    record brings them along (`making.build`), because this room knows no framework.
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
    change: Callable[[Any, int], Any] | None = None
    start: Callable[[Backbone], Backbone] | None = None
    readings: Mapping[str, Measurement] = field(default_factory=dict)
    by: str = ""

    @property
    def key(self) -> str:
        """The name to cite it by: `digits-3/linear-probe`."""
        return f"{self.group}/{slug(self.plan.name)}"

    def run_id(self, seed: int) -> tuple[str, str, int]:
        """What tells its run with that seed from the other runs of the experiment."""
        return self.group, self.plan.name, seed

    def backbone(self) -> Backbone:
        """What a run begins from."""
        net = labkit.load_backbone(self.net)
        return self.start(net) if self.start else net

    def load(self, seed: int) -> Any:
        """The data of a reported run."""
        return self._prepared(_load(**self.data), seed)

    def load_trial(self, seed: int) -> Any:
        """The data on which a rate is tried: without the examples that are counted."""
        return self._prepared(_load(**{**self.trial_data, "seed": seed}), seed)

    def extras(self) -> dict[str, Any]:
        """What the recipe has beside data, network and plan: only what is there, as text."""
        asked = {
            "change": self.change and _described(self.change),
            "start": self.start and _described(self.start),
            "readings": sorted(self.readings),
            "by": self.by,
        }
        return {name: value for name, value in asked.items() if value}

    def _prepared(self, data: ImageData, seed: int) -> Any:
        fewer = data.subset(per_class=self.labels, seed=seed) if self.labels else data
        return self.change(fewer, seed) if self.change else fewer


def _described(change: Callable[..., Any]) -> str:
    """The name of a function, or a dataclass with its fields."""
    return str(getattr(change, "__qualname__", None) or repr(change))


@lru_cache(maxsize=4)
def _load(**arguments: Any) -> Any:
    """Runs never change their data, so those that follow each other share it."""
    return labkit.load_data(**arguments)


@dataclass(frozen=True)
class Experiment:
    """A question, the settings that answer it and how the record came about.

    `spreads` names sets of settings, by their keys: how far accuracy varies among them is on record too. `races`
    names pairs: how long the first trains, seed by seed, until it has the validation accuracy that the second ends
    with. `confirming` runs ask it again, with seeds that were new when the rules stood.
    """

    name: str
    question: str
    settings: tuple[Condition, ...]
    seeds: tuple[int, ...] = SEEDS
    notes: str = ""
    spreads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    races: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    confirming: bool = False

    @property
    def make_again(self) -> str:
        """The command that makes its record."""
        return f"labkit evidence build {self.name}" + (" --confirm" if self.confirming else "")


# ---------------------------------------------------------------- where most experiments are done


def digits(labels: int) -> dict[str, Any]:
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
