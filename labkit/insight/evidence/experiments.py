"""The experiments that are on record, by name."""

from __future__ import annotations

from labkit.errors import EvidenceError
from labkit.insight.evidence.lessons import EXPERIMENTS
from labkit.insight.evidence.setting import Experiment


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
