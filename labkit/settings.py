"""The one table of settings: what can be said of how a network is trained.

Plans and phases have these fields; commands, the console, figures, sweeps, the atlas, the command line, reports and
bridges read the table. A new setting is one line in a class below, and its use, which is mostly in `tuning/trainer.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from labkit.errors import LearningRateError, PlanError, shown, with_a_point
from labkit.runtime import real_number, whole_number

Schedule = Literal["constant", "cosine", "linear"]
OptimizerName = Literal["adamw", "sgd"]
FrozenStatistics = Literal["fixed", "running"]
Value = Any
Check = Callable[
    [Any, str], Value
]  # a value and its name: the value in its plain form, or an error
MAX_EPOCHS = 1000


@dataclass(frozen=True)
class Setting:
    """A row of the table.

    `label` names it beside a value, `axis` along an axis. `real` numbers are the same as 1 and as 1.0. What is `live`
    can be set while a run trains. `control` is how the console shows it among its further settings; None leaves it
    out. `added` settings came when plans were on record already: at their default they are left out of a plan's plain
    data, so that digests of older plans stay.
    """

    name: str
    check: Check
    label: str
    axis: str
    default: Value
    real: bool
    live: bool
    control: Literal["whole", "real", "choice"] | None
    added: bool


# ---------------------------------------------------------------- what a value must be


def real(low: float, high: float, meaning: str) -> Check:
    """A check for numbers from `low` to `high`."""

    def check(value: object, name: str) -> float:
        number = real_number(value)
        if number is None or not low <= number <= high:
            raise PlanError(
                f"{name}={shown(value)} must be a number from {low:g} to {high:g}: {meaning}."
                + with_a_point(value)
            )
        return float(number)

    return check


def whole(low: int, high: int, meaning: str) -> Check:
    """A check for whole numbers from `low` to `high`."""

    def check(value: object, name: str) -> int:
        number = whole_number(value)
        if number is None or not low <= number <= high:
            raise PlanError(
                f"{name}={shown(value)} must be a whole number from {low} to {high}: {meaning}."
            )
        return number

    return check


def one_of(choices: Iterable[str]) -> Check:
    """A check for texts."""
    allowed = tuple(choices)

    def check(value: object, name: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise PlanError(f"{name}={shown(value)} is not known. Use one of {', '.join(allowed)}.")
        return value

    return check


def flag(value: object, name: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise PlanError(f"{name}={shown(value)} must be True or False.")
    return value


def views(value: object, name: str) -> int:
    """A number of views, or 0 for ever new ones."""
    number = whole_number(value)
    if number is None or number < 0:
        raise PlanError(
            f"{name}={shown(value)} must be a whole number: how many augmented views of a sample there are, or 0 for a "
            "new one in every epoch."
        )
    return number


def learning_rate(value: object, name: str = "lr") -> float:
    """A learning rate as a float, or LearningRateError."""
    usual = "Fine-tuning usually lives between 1e-5 and 1e-2."
    rate = real_number(value)
    if rate is None:
        hint = with_a_point(value)
        raise LearningRateError(f"{name}={shown(value)} is not a number.{hint} {usual}")
    if math.isnan(rate) or rate <= 0:
        raise LearningRateError(
            f"{name}={shown(value)} must be a number above 0. {usual} To stop a stage from moving, freeze it."
        )
    if rate > 1:
        raise LearningRateError(
            f"{name}={shown(value)} is above 1. {usual} The largest rate allowed is 1."
        )
    return float(rate)


def depth(value: object, name: str) -> str | int:
    """The name of a stage, or a number of stages; whether the network has it shows when a run binds the two."""
    found: str | int | None = value if isinstance(value, str) else whole_number(value)
    if found is None:
        raise PlanError(
            f"{name}={shown(value)} is neither a stage name nor a number of stages. "
            "Use a name such as 'layer4', 'head', 'all', or how many stages train, counted from the head."
        )
    if isinstance(found, int) and found < 1:
        raise PlanError(
            f"{name}={shown(value)} would train nothing. "
            "Use 1 for the head alone, 2 for the head and the stage below it, and so on."
        )
    return found


def as_it_is(value: Value, name: str) -> Value:
    """Nothing to be judged before the data are there."""
    return value


# ---------------------------------------------------------------- the table


def row(
    check: Check,
    label: str,
    default: Value = None,
    *,
    axis: str = "",
    real: bool = False,
    live: bool = True,
    control: Literal["whole", "real", "choice"] | None = None,
    added: bool = False,
) -> Any:
    """A field of a dataclass that is a row of the table."""
    about = Setting("", check, label, axis or label, default, real, live, control, added)
    metadata = {"setting": about}
    return (
        field(metadata=metadata) if default is None else field(default=default, metadata=metadata)
    )


@dataclass(frozen=True)
class PhaseSettings:
    """What a phase says: how deep, how fast and how long."""

    trainable_from: str | int = row(depth, "trainable from", axis="trainable from (stage)")
    lr: float = row(learning_rate, "learning rate", axis="learning rate of the head", real=True)
    epochs: int = row(
        whole(1, MAX_EPOCHS, "how often the training set is seen"), "epochs", control="whole"
    )
    lr_decay: float = row(
        real(1e-3, 1, "the rate of a stage over the rate of the one above it"),
        "rate decay",
        1.0,
        axis="rate decay (from stage to stage)",
        real=True,
    )
    schedule: Schedule = row(one_of(get_args(Schedule)), "schedule", "constant", live=False)
    warmup: float = row(
        real(0, 0.9, "the share of the phase in which the rate rises"),
        "warm-up",
        0.0,
        real=True,
        live=False,
    )


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """What a plan says for all its phases, and can be changed while a run trains."""

    batch_size: int = row(
        whole(2, 4096, "the number of samples in a step"),  # BatchNorm has no statistics over one
        "batch size",
        32,
        axis="batch size (examples)",
        control="whole",
    )
    weight_decay: float = row(
        real(0, 1, "the strength of the pull of all weights towards 0"),
        "weight decay",
        0.01,
        real=True,
        control="real",
    )
    augment: str = row(as_it_is, "augmentation", "none", control="choice")
    hold: float = row(
        real(
            0,
            1000,
            "the strength of the pull of the weights below the head towards where they began",
        ),
        "pull to the start",
        0.0,
        real=True,
        control="real",
        added=True,
    )
    rehearse: float = row(
        real(0, 100, "the weight of the loss on old examples beside the new task's"),
        "rehearsal",
        0.0,
        axis="weight of the old task",
        real=True,
        added=True,
    )
    clip_norm: float = row(
        real(0, 1000, "the longest that the gradient of a step may be, or 0 for any length"),
        "longest gradient",
        0.0,
        axis="longest gradient (0: any)",
        real=True,
        added=True,
    )
    accumulate: int = row(
        whole(1, 1024, "in how many parts a batch goes through the network, one after the other"),
        "parts of a batch",
        1,
        added=True,
    )


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """What a plan says for all its phases, and stays as it is from the first step on."""

    optimizer: OptimizerName = row(
        one_of(get_args(OptimizerName)), "optimizer", "adamw", live=False
    )
    views: int = row(views, "augmented views", 8, live=False)
    pretrained: bool = row(flag, "pre-trained", True, live=False)
    frozen_statistics: FrozenStatistics = row(
        one_of(get_args(FrozenStatistics)), "statistics of frozen stages", "fixed", live=False
    )
    decay_all: bool = row(flag, "weight decay of biases and norms", True, live=False, added=True)


def _rows(*tables: type) -> dict[str, Setting]:
    return {
        each.name: Setting(**{**vars(each.metadata["setting"]), "name": each.name})
        for table in tables
        for each in fields(table)
    }


OF_PHASE = _rows(PhaseSettings)
OF_PLAN = _rows(LiveSettings, StartSettings)
SETTINGS = {**OF_PHASE, **OF_PLAN}
LIVE = {name: setting for name, setting in SETTINGS.items() if setting.live}


def checked(name: str, value: Value) -> Value:
    """A value of a setting in its plain form; raises the error that fits."""
    return SETTINGS[name].check(value, name)


def check_all(described: Any, table: Iterable[str]) -> None:
    """Judge the fields of a frozen dataclass, and put plain values in place of numpy's and torch's.

    Numbers stay whole where they were written so: digests of plans depend on it.
    """
    for name in table:
        given = getattr(described, name)
        plain = checked(name, given)
        as_written = real_number(given) if SETTINGS[name].real else None
        object.__setattr__(described, name, plain if as_written is None else as_written)
