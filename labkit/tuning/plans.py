"""Plans: what is trained, when, and how fast, as data.

A plan is a tuple of phases. It is checked when it is built and again, for stage names, when a run binds it to a
network. The curves that turn a phase's learning rate into the rate of one step are pure functions, so that a plot of
them needs no run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from labkit.errors import PlanError, StageError, shown
from labkit.runtime import LARGEST_SEED, whole_number
from labkit.settings import (
    MAX_EPOCHS,
    OF_PHASE,
    OF_PLAN,
    LiveSettings,
    PhaseSettings,
    Schedule,
    StartSettings,
    check_all,
    checked,
)


@dataclass(frozen=True)
class Phase(PhaseSettings):
    """A stretch of training with one frozen depth.

    `trainable_from` is the first stage that trains: its name, "head" for the last stage, "all" for the first, or a
    number n for the last n stages. `lr` is the rate of the head; every stage further down gets `lr_decay` times the
    rate of the one above it (Howard and Ruder, 2018). `warmup` is the share of the phase in which the rate rises
    from 0.
    """

    def __post_init__(self) -> None:
        check_all(self, OF_PHASE)


@dataclass(frozen=True)
class Plan(LiveSettings, StartSettings):
    """How a network is adapted: phases, and what holds for all of them.

    `views` is how many augmented views of a sample there are while a part of the network is frozen: epoch after epoch
    they come in turn, so that the frozen part runs that many times and no more; 0 means a new view in every epoch.
    `pretrained=False` starts from random weights. `frozen_statistics="running"` leaves the BatchNorm statistics of
    frozen stages running, the mistake that lesson 05 is about; "fixed" keeps a frozen stage frozen.

    Two remedies for forgetting, both off at 0. `hold` pulls the weights below the head towards where they began: after
    each step by `hold` times the learning rate, as a share of the way (L2-SP; Li, Grandvalet and Davoine, 2018).
    `rehearse` is the weight of the loss on a batch of old examples under the old head, beside the new task's loss
    (Robins, 1995); the data bring them: `data.with_old(examples)`.

    `clip_norm` is the longest that the gradient of a step may be, over all parameters (Pascanu et al., 2013); 0 leaves
    it as it is. `accumulate` is in how many parts a batch goes through the network, one after the other, their
    gradients added up: less memory, the same step (unlike elsewhere, `batch_size` is that of the whole step).
    `decay_all=False` spares biases and the weights of normalisation from weight decay.
    """

    name: str
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", tuple(self.phases))
        if not isinstance(self.name, str):
            raise PlanError(f"name={shown(self.name)} must be text, such as 'full'.")
        if not self.phases or not all(isinstance(phase, Phase) for phase in self.phases):
            raise PlanError(
                "A plan needs at least one Phase, for example labkit.Phase('head', lr=1e-3, epochs=5)."
            )
        check_all(self, OF_PLAN)
        checked("epochs", self.epochs)

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def with_(self, **changes: Any) -> Plan:
        """A copy with some fields changed; `lr`, `lr_decay`, `schedule` and `warmup` change in every phase."""
        in_phases = OF_PHASE.keys() - {"epochs", "trainable_from"}
        for_phases = {key: value for key, value in changes.items() if key in in_phases}
        for_plan = {key: value for key, value in changes.items() if key not in in_phases}
        unknown = set(for_plan) - {f.name for f in fields(Plan)}
        if unknown:
            raise PlanError(
                f"A plan has no {', '.join(sorted(unknown))}. It has "
                f"{', '.join(sorted({f.name for f in fields(Plan)} | in_phases))}."
            )
        phases = for_plan.pop("phases", self.phases)
        return replace(
            self, phases=tuple(replace(phase, **for_phases) for phase in phases), **for_plan
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON-able data, without the settings that came later and are at their defaults."""
        plain = {"name": self.name, **asdict(self)}
        later = {name: row.default for name, row in OF_PLAN.items() if row.added}
        return {
            key: value for key, value in plain.items() if key not in later or value != later[key]
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Plan:
        """The plan that `to_dict` described; checked like any other."""
        try:
            phases = tuple(Phase(**phase) for phase in content["phases"])
            return cls(**{**content, "phases": phases})
        except (KeyError, TypeError) as error:
            raise PlanError(
                f"This does not describe a plan: {error}. Plan.to_dict() shows the form."
            ) from error


# ---------------------------------------------------------------- the plans the course is about


def feature_extraction(lr: float = 1e-3, epochs: int = 5, **plan: Any) -> Plan:
    """Only the head learns; the backbone is a fixed feature extractor (Donahue et al., 2014)."""
    return _single("feature extraction", "head", lr, epochs, plan)


def partial(trainable_from: str | int, lr: float = 1e-3, epochs: int = 5, **plan: Any) -> Plan:
    """The stages from `trainable_from` up to the head learn; those below stay frozen."""
    told = trainable_from if isinstance(trainable_from, str) else shown(trainable_from)
    return _single(f"partial from {told}", trainable_from, lr, epochs, plan)


def full(lr: float = 3e-4, epochs: int = 5, **plan: Any) -> Plan:
    """Everything learns, starting from the pre-trained weights."""
    return _single("full", "all", lr, epochs, plan)


def from_scratch(lr: float = 1e-3, epochs: int = 5, **plan: Any) -> Plan:
    """Everything learns, starting from random weights: what pre-training is measured against."""
    return _single("from scratch", "all", lr, epochs, {**plan, "pretrained": False})


def gradual(
    stages: int | Sequence[str | int] = 3,
    lr: float = 1e-3,
    epochs: int = 2,
    lr_decay: float = 0.5,
    **plan: Any,
) -> Plan:
    """One phase a stage from the head downward (Howard and Ruder, 2018); `epochs` is the length of each phase."""
    count = whole_number(stages)
    if count is None and (
        isinstance(stages, str | bytes | Mapping) or not isinstance(stages, Iterable)
    ):
        raise PlanError(
            f"stages={shown(stages)} is neither a number of stages nor a list of them. Use 3 for the last three, or "
            "name them from the head downward, as in ['head', 'layer4']."
        )
    if count is not None and count > MAX_EPOCHS:  # as many phases, and each takes an epoch
        raise PlanError(f"stages={shown(count)} is more than a network has. Use a few, such as 3.")
    depths = list(stages) if count is None else list(range(1, count + 1))  # type: ignore[arg-type]
    if not depths:
        raise PlanError("gradual() needs at least one stage to unfreeze, for example stages=3.")
    shape, rest = _split_phase_arguments(plan)
    phases = tuple(Phase(depth, lr, epochs, lr_decay=lr_decay, **shape) for depth in depths)
    return Plan(**{"name": "gradual", "phases": phases, **rest})


def _single(name: str, depth: str | int, lr: float, epochs: int, plan: dict[str, Any]) -> Plan:
    shape, rest = _split_phase_arguments(plan)
    return Plan(**{"name": name, "phases": (Phase(depth, lr, epochs, **shape),), **rest})


def _split_phase_arguments(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    allowed = {f.name for f in fields(Plan)} | {f.name for f in fields(Phase)}
    unknown = set(arguments) - allowed
    if unknown:
        raise PlanError(
            f"A plan has no {', '.join(sorted(unknown))}. It has {', '.join(sorted(allowed))}."
        )
    in_phase = OF_PHASE.keys() - {"trainable_from", "lr", "epochs"}
    return (
        {key: value for key, value in arguments.items() if key in in_phase},
        {key: value for key, value in arguments.items() if key not in in_phase},
    )


# ---------------------------------------------------------------- curves and depths


def rate_factor(schedule: Schedule, warmup: float, progress: float) -> float:
    """What the learning rate is multiplied by when `progress` (0 to 1) of the phase is done."""
    if progress < warmup:
        return progress / warmup
    rest = (progress - warmup) / (1 - warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    if schedule == "linear":
        return 1 - rest
    return 1.0


def resolve_depth(trainable_from: str | int, stages: Sequence[str]) -> str:
    """The name of the first stage that trains; raises StageError where the network has no such stage."""
    count = whole_number(trainable_from)
    if count is not None:
        if 1 <= count <= len(stages):
            return stages[-count]
    elif isinstance(trainable_from, str):  # an array, say, would answer == with an array
        named = {"head": stages[-1], "all": stages[0]} | {stage: stage for stage in stages}
        if trainable_from in named:
            return named[trainable_from]
    raise StageError(
        f"trainable_from={shown(trainable_from)}: this network has no such stage. It has {', '.join(stages)}; "
        f"'head', 'all' and numbers from 1 to {len(stages)} (stages counted from the head) work too."
    )


# ---------------------------------------------------------------- checks of the arguments


def check_seed(value: object) -> int:
    """What all chance is drawn from."""
    seed = whole_number(value)
    if seed is None or not 0 <= seed <= LARGEST_SEED:
        raise PlanError(
            f"seed={shown(value)} must be a whole number from 0 on, and no larger than 2**63 - 1."
        )
    return seed
