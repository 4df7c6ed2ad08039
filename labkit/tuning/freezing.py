"""Freezing, and the proof of it.

A stage is frozen when its parameters take no gradient **and** it stays in eval mode. The second half is the one that
most code forgets: in train mode BatchNorm updates its running statistics on every forward pass, gradient or not, and
a "frozen" network drifts (lesson 05); dropout goes on rolling its dice, and what the stage makes of a sample is no
constant. The audit compares every tensor with where it started and names what moved, and what still rolls dice.

What trains is decided for parts: the weights of a stage, which train from a depth on, and the adapters in it, which
always train. A parameter that several stages share belongs to the first of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from labkit.errors import StageError, shown
from labkit.settings import FrozenStatistics
from labkit.tuning.evaluation import set_modes

if TYPE_CHECKING:
    import pandas as pd

StageTensors = Mapping[str, Mapping[str, Tensor]]  # part -> name in the stage -> tensor


def stage(model: nn.Module, name: str) -> nn.Module:
    """The module of a stage: stages are the named children of the model."""
    return model.get_submodule(name)


@dataclass(frozen=True)
class Part:
    """What trains or stands still as one: the weights of a stage, or the adapters in it.

    `tensors` are parameters and persistent buffers by their name in the stage, `parameters` those of them that can
    train.
    """

    name: str
    stage: str
    adapters: bool
    tensors: dict[str, Tensor]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return {key: t for key, t in self.tensors.items() if isinstance(t, nn.Parameter)}

    def trains(self, stages: Sequence[str], trainable_from: str) -> bool:
        """Whether it trains where the stages from `trainable_from` up do. Adapters always do."""
        return self.adapters or stages.index(self.stage) >= stages.index(trainable_from)


def parts(model: nn.Module, stages: Sequence[str]) -> tuple[Part, ...]:
    """All tensors of a model, each in one part: for every stage its weights, then its adapters if it has any."""
    found, taken = [], set()
    for name in stages:
        module = stage(model, name)
        weights: dict[str, Tensor] = {}
        adapters: dict[str, Tensor] = {}
        inside = tuple(
            f"{prefix}." if prefix else "" for prefix, m in module.named_modules() if is_adapter(m)
        )
        for key, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) in taken:  # tied: it stands where it came first
                continue
            taken.add(id(tensor))
            (adapters if key.startswith(inside) else weights)[key] = tensor
        found.append(Part(name, name, False, weights))
        if adapters:
            found.append(Part(f"{name} adapters", name, True, adapters))
    return tuple(found)


def is_adapter(module: nn.Module) -> bool:
    """Whether a module was put into a network to train while what is around it stands still, as LoRA's are.

    Such a module says so: `is_adapter = True`.
    """
    return bool(getattr(module, "is_adapter", False))


def refuse_if_nothing_trains(
    every: Sequence[Part], stages: Sequence[str], trainable_from: str
) -> None:
    """Raise StageError where no parameter would train: all that the stages hold belongs to stages below."""
    if not any(part.parameters for part in every if part.trains(stages, trainable_from)):
        owner = next(part.stage for part in reversed(every) if part.parameters)
        raise StageError(
            f"trainable_from={shown(trainable_from)} would train nothing: the weights of {trainable_from} are those "
            f"of {owner} as well, and train with them. Use trainable_from={shown(owner)} or a stage below it."
        )


def freeze_below(
    model: nn.Module,
    stages: Sequence[str],
    trainable_from: str,
    statistics: FrozenStatistics = "fixed",
) -> None:
    """Freeze the stages before `trainable_from`, but for their adapters, and unfreeze the others."""
    first = stages.index(trainable_from)
    for depth, name in enumerate(stages):
        module = stage(model, name).train(depth >= first or statistics == "running")
        for inside in module.modules():
            if is_adapter(inside):
                inside.train()
    for part in parts(model, stages):
        trains = part.trains(stages, trainable_from)
        for parameter in part.parameters.values():
            parameter.requires_grad_(trains)


class Stance:
    """How a model is trained: which of its modules are in train mode in a step, which parameters take a gradient.

    A model stands so inside a step only. Between two steps all of it is in eval mode: a learner's own `model(images)`
    then answers as `evaluate` does and moves no statistics of BatchNorm, and what a learner does to modes and
    gradients between two steps changes no step.
    """

    def __init__(self, model: nn.Module) -> None:
        """As the model stands now; it is left in eval mode."""
        self._in_step = [(module, module.training) for module in model.modules()]
        self._between = [(module, False) for module, _ in self._in_step]
        self._learning = [(p, p.requires_grad) for p in model.parameters()]
        model.eval()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside, the model stands as it is to be trained; after, it is in eval mode."""
        for parameter, learns in self._learning:
            if parameter.requires_grad is not learns:
                parameter.requires_grad_(learns)
        set_modes(self._in_step)
        try:
            yield
        finally:
            set_modes(self._between)

    def rolls_dice(self, module: nn.Module) -> tuple[str, ...]:
        """The dropouts inside a module, by name, that are in train mode in a step, outside of adapters."""
        adapters = {inner for m in module.modules() if is_adapter(m) for inner in m.modules()}
        training = {inner for inner, trains in self._in_step if trains} - adapters
        return tuple(name for name, m in module.named_modules() if m in training and _drops(m))

    def in_train_mode(self, module: nn.Module) -> bool:
        """Whether a module of the model is in train mode in a step."""
        return any(training for one, training in self._in_step if one is module)


def _drops(module: nn.Module) -> bool:
    """Whether a module drops a share of what goes through it when it is in train mode.

    Attention and transformer layers of torch keep their share as a number, text models have modules of their own.
    """
    shares = (getattr(module, name, 0.0) for name in ("p", "dropout", "dropout_p"))
    named = "dropout" in type(module).__name__.lower() or isinstance(module, nn.MultiheadAttention)
    return named and any(isinstance(share, float) and share > 0 for share in shares)


@torch.no_grad()
def snapshot(model: nn.Module, stages: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Every parameter and buffer as it is now, part by part, on the CPU, never to be written to.

    What is the same to the bit as in a snapshot that somebody still holds is not copied again: runs that begin with the
    same weights hold them once.
    """
    return {
        part.name: {key: _kept(value.detach()) for key, value in part.tensors.items()}
        for part in parts(model, stages)
    }


_snapshots: WeakValueDictionary[Any, Tensor] = WeakValueDictionary()


def _kept(value: Tensor) -> Tensor:
    """The tensor of an earlier snapshot that equals `value`, else a copy, on the CPU."""
    here = value.cpu()
    numbers = here.contiguous().view(-1).view(torch.uint8)
    key = (tuple(here.shape), here.stride(), here.dtype, zlib.crc32(numbers[:4096].numpy().data))
    known = _snapshots.get(key)
    if known is not None and torch.equal(known.contiguous().view(-1).view(torch.uint8), numbers):
        return known
    _snapshots[key] = copy = here.clone()
    return copy


@dataclass(frozen=True)
class StageAudit:
    """What happened to one part since the run began; `drift` is the distance moved over the length at the start."""

    stage: str
    trainable: bool
    ever_trained: bool
    parameters: int
    tensors_changed: int
    buffers_changed: int
    drift: float


@dataclass(frozen=True)
class Audit:
    """The proof that frozen means frozen, or the list of what moved all the same."""

    rows: tuple[StageAudit, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no stage moved that was never allowed to."""
        return not self.problems

    def table(self) -> pd.DataFrame:
        """One row a stage."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows]).set_index("stage")

    def __repr__(self) -> str:
        verdict = (
            "Frozen stages are unchanged, to the bit." if self.ok else "\n".join(self.problems)
        )
        return f"{self.table().to_string()}\n{verdict}"

    def _repr_html_(self) -> str:
        from html import escape

        verdict = "Frozen stages are unchanged, to the bit." if self.ok else " ".join(self.problems)
        return f"{self.table().to_html(float_format='%.4f')}<p>{escape(verdict)}</p>"


def audit(
    model: nn.Module,
    stages: Sequence[str],
    start: StageTensors,
    trainable_from: str,
    ever_trained: Collection[str],
    stance: Stance | None = None,
) -> Audit:
    """Compare every part with its tensors at the start of the run; `ever_trained` are names of stages.

    With a `stance`, also say which dropouts roll dice in stages that are frozen now.
    """
    rows, problems = [], []
    for part in parts(model, stages):
        moved, learned = _changed(part, start[part.name]), set(part.parameters)
        trains, weights = part.trains(stages, trainable_from), len(moved & learned)
        trained = part.stage in ever_trained or (part.adapters and bool(ever_trained))
        rows.append(
            StageAudit(
                stage=part.name,
                trainable=trains,
                ever_trained=trained,
                parameters=sum(p.numel() for p in part.parameters.values()),
                tensors_changed=weights,
                buffers_changed=len(moved - learned),
                drift=drift_of(part, start[part.name]),
            )
        )
        if moved and not trained:
            problems.append(
                f"{part.name} was never trained, yet {weights} parameters and {len(moved - learned)} buffers "
                f"changed, first of all {min(moved)}."
            )
        dice = stance.rolls_dice(stage(model, part.stage)) if stance and not trains else ()
        if dice:
            problems.append(
                f"{part.name} is frozen, yet {len(dice)} of its dropouts roll dice in every step, first of all "
                f"{dice[0] or part.name}: what it makes of a sample is no constant."
            )
    return Audit(tuple(rows), tuple(problems))


def _changed(part: Part, start: Mapping[str, Tensor]) -> set[str]:
    return {
        key
        for key, value in part.tensors.items()
        if not torch.equal(value.detach().cpu(), start[key])
    }


@torch.no_grad()
def drift_of(part: Part, start: Mapping[str, Tensor]) -> float:
    """How far the parameters moved, as a share of their length at the start: ||w - w0|| / ||w0||."""
    moved = length = 0.0
    for key, value in part.parameters.items():
        origin = start[key].to(value.device)
        moved += float((value - origin).square().sum())
        length += float(origin.square().sum())
    return (moved / length) ** 0.5 if length else 0.0
