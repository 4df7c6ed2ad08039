"""Commands: what can be asked of a run while it trains.

A command is checked at the door, in the thread of whoever gives it, so that a mistake is told at once and nothing is
half done. Good ones wait in the run's queue and take effect between two steps, where they are logged with the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import count
from threading import Event as Flag
from typing import Any

from labkit.errors import CommandError, PlanError, clipped, shown
from labkit.runtime import whole_number
from labkit.settings import LIVE, OF_PHASE, LiveSettings, PhaseSettings, checked
from labkit.tuning.contracts import Data, Net, augmentations_of, old_examples_of, old_head_of
from labkit.tuning.freezing import parts, refuse_if_nothing_trains
from labkit.tuning.plans import Phase, Plan, resolve_depth

KINDS = ("set", "pause", "resume", "step", "rewind", "reset")


@dataclass(frozen=True)
class LoggedCommand:
    """A command that changed the course of training, with the step after which it took effect."""

    step: int
    kind: str
    args: Mapping[str, Any]


_next_id = count(1)


@dataclass
class Ticket:
    """A command on its way: `done` once it took effect or was refused, `error` says why."""

    kind: str
    args: dict[str, Any]
    id: int = field(default_factory=lambda: next(_next_id))
    step: int | None = None
    error: str | None = None
    _flag: Flag = field(default_factory=Flag, repr=False)

    @property
    def done(self) -> bool:
        """Whether the command has been dealt with."""
        return self._flag.is_set()

    def wait(self, timeout: float | None = None) -> Ticket:
        """Block until the command has been dealt with; raises CommandError when it was refused."""
        if not self._flag.wait(timeout):
            raise CommandError(
                f"{self.kind} has not taken effect within {timeout} s: is the run being trained?"
            )
        if self.error:
            raise CommandError(self.error)
        return self

    def close(self, step: int, error: str | None = None) -> None:
        """The run's word that the command has been dealt with."""
        self.step, self.error = step, error
        self._flag.set()


@dataclass(frozen=True)
class Settings(LiveSettings, PhaseSettings):
    """What is in force for the next step. `lr` is the head's before the schedule, `epochs` the whole plan's."""

    trainable_from: str

    @classmethod
    def of(cls, plan: Plan, phase: int, stages: Sequence[str]) -> Settings:
        """What a plan says for one of its phases."""
        of_plan = {each.name: getattr(plan, each.name) for each in fields(LiveSettings)}
        return cls(**of_plan, **_of_phase(plan.phases[phase], stages), epochs=plan.epochs)

    def in_phase(self, phase: Phase, stages: Sequence[str]) -> Settings:
        """These settings at the start of a phase: its rate and depth replace what was set by hand."""
        return replace(self, **_of_phase(phase, stages))

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """These settings after a `set`. A rate set by hand is held: the schedule lets go until the next phase."""
        held = {"schedule": "constant", "warmup": 0.0} if "lr" in changes else {}
        return replace(self, **{**held, **changes})


def _of_phase(phase: Phase, stages: Sequence[str]) -> dict[str, Any]:
    """What a phase decides; its length is no setting of the run, whose epochs are those of the whole plan."""
    said = {name: getattr(phase, name) for name in OF_PHASE if name != "epochs"}
    return {**said, "trainable_from": resolve_depth(phase.trainable_from, stages)}


def check_command(kind: str, args: Mapping[str, Any], run: Any) -> dict[str, Any]:
    """The arguments of a command to a run, checked and in their plain form; raises the error that fits."""
    if kind not in KINDS:
        raise CommandError(f"A run cannot {shown(kind)}. It takes {', '.join(KINDS)}.")
    if kind == "set":
        return check_settings(args, run)
    if kind == "rewind":
        return {"step": _check_step(args)}
    if args:
        raise CommandError(f"{kind} takes no arguments, but was given {clipped(', '.join(args))}.")
    return {}


def check_settings(args: Mapping[str, Any], run: Any) -> dict[str, Any]:
    """Settings by name, each checked against the network, data and plan of a run."""
    values, data = check_values(args), run.data
    fits: dict[str, Callable[[Any], Any]] = {
        "trainable_from": lambda depth: _check_depth(depth, run),
        "batch_size": lambda size: min(size, max(2, len(data.train))),
        "rehearse": lambda weight: check_rehearsal(weight, run.net, data, run.plan),
        "augment": lambda level: check_augment(level, data),
    }
    return {name: fits.get(name, lambda it: it)(value) for name, value in values.items()}


def _check_depth(depth: str | int, run: Any) -> str:
    """The name of a stage from which something can train."""
    name = resolve_depth(depth, run.stages)
    refuse_if_nothing_trains(parts(run.model, run.stages), run.stages, name)
    return name


def check_values(args: object) -> dict[str, Any]:
    """Settings by name, as far as they can be judged before network and data are there."""
    if not isinstance(args, Mapping):
        raise CommandError(f"Settings have names, as in lr=1e-3, and {shown(args)} has none.")
    unknown = [str(name) for name in args if name not in LIVE]
    if unknown or not args:
        wrong = (
            f"{clipped(', '.join(sorted(unknown)))} cannot be set"
            if unknown
            else "Nothing was given to set"
        )
        raise CommandError(f"{wrong} while a run trains. These can: {', '.join(LIVE)}.")
    # Which stages there are, only the network knows.
    return {
        name: value if name == "trainable_from" else checked(name, value)
        for name, value in args.items()
    }


def check_augment(level: object, data: Data) -> str:
    """A level of augmentation that the data offers."""
    offered = augmentations_of(data)
    if not isinstance(level, str) or level not in offered:
        raise CommandError(
            f"augment={shown(level)} is not offered by this data. It offers {', '.join(offered)}."
        )
    return level


def check_rehearsal(given: object, net: Net, data: Data, plan: Plan) -> float:
    """The weight of the old task's loss, where there are old examples and an old head to rehearse with."""
    weight: float = checked("rehearse", given)
    old = old_examples_of(data)
    if not weight:
        return weight
    if old is None:
        raise PlanError(
            f"rehearse={weight:g} needs examples of the old task, and {data.name} brings none. Give it some, as in "
            "data.with_old(labkit.insight.old_examples(net)), or leave rehearse at 0."
        )
    head = old_head_of(net) if plan.pretrained else None
    if head is None:
        raise PlanError(
            f"rehearse={weight:g} needs the head that the weights were trained with, and there is none here. Take a "
            "backbone whose .head is not None and a plan that starts from its weights, or leave rehearse at 0."
        )
    answers, most = len(list(head.parameters())[-1]), int(old.labels.max())
    if most >= answers:
        raise PlanError(
            f"rehearse={weight:g}: the old examples have the label {most}, but the old head of {net.name} knows labels "
            f"from 0 to {answers - 1}. Give data.with_old() examples of the task that its weights come from."
        )
    return weight


def _check_step(args: Mapping[str, Any]) -> int:
    step = whole_number(args.get("step"))
    if set(args) != {"step"} or step is None or step < 0:
        raise CommandError(
            f"rewind needs step=, a whole number from 0 on, but was given {shown(dict(args))}."
        )
    return step
