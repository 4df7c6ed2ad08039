"""Jobs and rows: what a sweep is made of, and what comes out of it.

A job holds everything that decides how a run ends, and nothing else decides its key. So a row on disk can be trusted
to answer the same question later, whatever sweep asks it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from labkit.errors import LabkitError, PlanError, SplitError, shown
from labkit.runtime import LARGEST_SEED, Precision, real_number, whole_number
from labkit.settings import OF_PHASE, OF_PLAN, SETTINGS
from labkit.sweeps.parts import ContentRef, part_of_data, part_of_net
from labkit.tuning.contracts import Data
from labkit.tuning.plans import Plan, resolve_depth

if TYPE_CHECKING:
    from labkit.tuning.run import Run

Value = str | int | float | bool
Status = Literal["done", "diverged", "failed"]

VERSION = 1  # raise it when the same job would end otherwise than before
REALS = tuple(name for name, setting in SETTINGS.items() if setting.real)
ONE_PHASE_ONLY = ("trainable_from", "epochs")
MOST_PROBLEMS = 8  # named at once; more would bury them


@dataclass(frozen=True)
class Job:
    """One run of a sweep. `cell` names what the sweep varies; the other fields decide the outcome."""

    net: ContentRef
    data: ContentRef
    plan: Plan
    seed: int
    precision: Precision
    per_class: int | None = None
    test: bool = False
    cell: tuple[tuple[str, Value], ...] = ()

    @cached_property
    def key(self) -> str:
        """A digest of all that decides the outcome: the plan's name and the sweep's axes do not."""
        plan = {name: value for name, value in self.plan.to_dict().items() if name != "name"}
        plan["phases"] = [_reals(phase) for phase in plan["phases"]]
        about = [VERSION, self.net.digest, self.data.digest, _reals(plan), self.seed]
        about += [asdict(self.precision), self.per_class, self.test]
        return digest(about)


@dataclass(frozen=True)
class SweepRow:
    """What came of a job. Counts and losses (mean cross-entropy in nats) are those of the last epoch.

    `status` is "done", "diverged" (the loss was no number any more) or "failed" (`reason` says how). Only a row that
    is done has counts. `best_epoch` is the first with the most right answers on the validation split. `curve` holds
    the right answers on it before training and after each epoch, as far as the run came.
    """

    key: str
    axes: Mapping[str, Value]
    seed: int
    status: Status
    correct: int | None = None
    count: int | None = None
    loss: float | None = None
    train_loss: float | None = None
    best_epoch: int | None = None
    best_correct: int | None = None
    test_correct: int | None = None
    test_count: int | None = None
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    reason: str = ""
    where: str = ""  # host and process that did it
    curve: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "curve", tuple(self.curve))  # JSON knows only lists

    @classmethod
    def of(cls, job: Job, status: Status, **facts: Any) -> SweepRow:
        """The row of a job."""
        return cls(job.key, dict(job.cell), job.seed, status, **facts)

    @property
    def accuracy(self) -> float | None:
        """Correct over count on the validation split."""
        return self.correct / self.count if self.correct is not None and self.count else None

    @property
    def test_accuracy(self) -> float | None:
        """Correct over count on the test split, where it was asked for."""
        right, of = self.test_correct, self.test_count
        return right / of if right is not None and of else None

    @property
    def outcome(self) -> tuple[Any, ...]:
        """What must be the same wherever and whenever the job is done."""
        counts = (self.correct, self.count, self.best_epoch, self.test_correct, self.test_count)
        return self.key, self.seed, self.status, *counts, self.epochs, self.steps, self.curve

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data; NaN and infinity become None: JSON has neither."""
        return {name: _finite(value) for name, value in asdict(self).items()}


def digest(content: Any) -> str:
    """32 hexadecimal digits of anything that JSON can hold."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _reals(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with 1 and 1.0 taken as one."""
    return {name: float(v) if name in REALS else v for name, v in settings.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------- from axes to jobs


def jobs_of(base: Run, axes: Mapping[str, Any], test: bool = False) -> tuple[Job, ...]:
    """A job for every combination of the axes with every seed; all that is wrong is said before anything starts."""
    values = _values(base, axes)
    seeds: list[Any] = values.pop("seed", [base.seed])
    cells = [tuple(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    plans = _plans(base, cells, [value for value in seeds if not _is_seed(value)])
    _check_splits(base, test)
    net, data = part_of_net(base.net, len(base.data.classes)), part_of_data(base.data)
    return tuple(
        Job(net, data, plan, seed, base.precision, _per_class(cell), test, cell)
        for cell, plan in zip(cells, plans, strict=True)
        for seed in seeds
    )


def _values(base: Run, axes: Mapping[str, Any]) -> dict[str, list[Value]]:
    """The values of every axis as plain Python, depths by their stage's name."""
    allowed = (*SETTINGS, "per_class", "seed")
    unknown = [name for name in axes if name not in allowed]
    if unknown:
        raise PlanError(
            f"A sweep cannot vary {', '.join(unknown)}. It can vary {', '.join(allowed)}."
        )
    fixed = [name for name in axes if name in ONE_PHASE_ONLY and len(base.plan.phases) > 1]
    if fixed:
        raise PlanError(
            f"{' and '.join(fixed)} cannot be swept over {base.plan.name!r}: each of its {len(base.plan.phases)} "
            "phases has its own. Give a base run with a plan of one phase, such as labkit.partial('head')."
        )
    values = {name: [_plain(base, name, v) for v in _listed(given)] for name, given in axes.items()}
    for name, several in values.items():
        twice = [repr(value) for value, times in Counter(several).items() if times > 1]
        if twice or not several:
            what = f"has {', '.join(twice)} more than once" if twice else "is empty"
            raise PlanError(f"The axis {name} {what}. Give each value once, as in {name}=[…].")
    return values


def _listed(given: Any) -> list[Any]:
    """An axis may be one value, a list, a range or an array."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return [given]
    return list(given)


def _plain(base: Run, name: str, value: Any) -> Any:
    """A value of an axis as plain Python; what cannot be understood is left for the checks to name."""
    value = value.item() if getattr(value, "shape", None) == () else value
    if name == "trainable_from":
        try:
            return resolve_depth(value, base.stages)
        except LabkitError:
            return shown(value)
    number = real_number(value)  # infinite where no float can hold it: the checks refuse that
    if number is not None:
        return float(number) if name in REALS else number
    return value if isinstance(value, str | bool) else shown(value)


def _is_seed(value: object) -> bool:
    whole = whole_number(value)
    return whole is not None and 0 <= whole <= LARGEST_SEED


def _plans(base: Run, cells: Sequence[Any], bad_seeds: Sequence[Any]) -> list[Plan]:
    """A plan for each combination; raises PlanError that names all that cannot be carried out."""
    plans, problems = [], defaultdict(list)
    for seed in bad_seeds:
        problems[f"seed={shown(seed)} must be a whole number from 0 to 2**63 - 1."].append(
            "every one of them"
        )
    smaller = _Subsets(base.data)
    for cell in cells:
        try:
            plans.append(_checked_plan(base, dict(cell), smaller))
        except LabkitError as error:
            problems[str(error)].append(words(cell) or "the base run itself")
    if problems:
        raise PlanError(_mistakes(problems, len(cells)))
    return plans


def _checked_plan(base: Run, cell: dict[str, Any], smaller: _Subsets) -> Plan:
    from labkit.tuning.parts import validate_parts

    plan = _plan(base, cell)
    validate_parts(base.net, smaller.of(cell.get("per_class")), plan, base.seed)
    return plan


def _plan(base: Run, cell: dict[str, Any]) -> Plan:
    """The base's plan with the settings of a cell, every depth by its stage's name."""
    in_phase = {name: value for name, value in cell.items() if name in OF_PHASE}
    in_plan = {name: value for name, value in cell.items() if name in OF_PLAN}
    phases = [replace(phase, **in_phase) for phase in base.plan.phases]
    named = [
        replace(p, trainable_from=resolve_depth(p.trainable_from, base.stages)) for p in phases
    ]
    name = words(cell.items()) or base.plan.name
    return replace(base.plan, **in_plan, phases=tuple(named), name=name)


class _Subsets:
    """The data with fewer examples of every class, each subset made once: all seeds draw from the same examples."""

    def __init__(self, data: Data) -> None:
        self.whole, self.made = data, dict[Any, Any]()

    def of(self, per_class: Any) -> Any:
        if per_class is None:
            return self.whole
        if isinstance(per_class, bool) or not isinstance(per_class, int) or per_class < 1:
            raise PlanError(f"per_class={shown(per_class)} must be a whole number from 1 on.")
        if not hasattr(self.whole, "subset"):
            raise SplitError(
                f"{self.whole.name} has no subset(): leave per_class out of the sweep."
            )
        if per_class not in self.made:
            self.made[per_class] = self.whole.subset(per_class, 0)
        return self.made[per_class]


def _check_splits(base: Run, test: bool) -> None:
    wanted = ("valid", "test") if test else ("valid",)
    empty = [name for name in wanted if not len(getattr(base.data, name, ()))]
    if empty:
        raise SplitError(
            f"{base.data.name} has no {' and no '.join(empty)} samples to count on. "
            "Load it with such a split, as in labkit.load_data(..., test=0.2)."
        )


def _per_class(cell: Iterable[tuple[str, Any]]) -> int | None:
    return dict(cell).get("per_class")


def _mistakes(problems: Mapping[str, Sequence[str]], cells: int) -> str:
    """Every mistake once, with the combinations that make it."""
    bad = len({cell for several in problems.values() for cell in several})
    lines = [
        f"- {problem} ({several[0]}" + (f" and {len(several) - 1} more)" if several[1:] else ")")
        for problem, several in list(problems.items())[:MOST_PROBLEMS]
    ]
    more = len(problems) - len(lines)
    lines += [f"- and {more} other mistakes"] if more > 0 else []
    head = f"{bad} of {cells} combinations cannot be carried out, so none was started:"
    return "\n".join([head, *lines])


def words(cell: Iterable[tuple[str, Any]]) -> str:
    """A combination in words: `lr 0.001, trainable_from layer4`."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in cell
    )


# ---------------------------------------------------------------- who goes together


def grouped(jobs: Sequence[Job], stages: Sequence[str], lanes: int) -> list[list[Job]]:
    """Jobs that can share frozen features, in groups for one worker each; the slowest groups first.

    Runs of the same data, augmentation and frozen depth have the same features below the boundary. No group is longer
    than an even share of the jobs, so that no worker waits for the longest.
    """
    alike: dict[Any, list[Job]] = defaultdict(list)
    for job in jobs:
        first = job.plan.phases[0].trainable_from
        depth = stages.index(resolve_depth(first, stages))
        draw = job.seed if job.per_class is not None or not job.plan.pretrained else -1
        size = job.per_class or math.inf
        alike[depth, -size, -job.plan.epochs, draw, job.plan.augment, job.plan.pretrained].append(
            job
        )
    share = max(1, math.ceil(len(jobs) / max(1, lanes)))
    return [
        together[start : start + share]
        for _, group in sorted(alike.items(), key=lambda item: item[0])
        for together in [sorted(group, key=lambda job: job.seed)]
        for start in range(0, len(together), share)
    ]
