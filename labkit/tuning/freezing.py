"""Freezing, and the proof of it.

A stage is frozen when its parameters take no gradient **and** it stays in eval mode. The second half is the one that
most code forgets: in train mode BatchNorm updates its running statistics on every forward pass, gradient or not, and
a "frozen" network drifts (lesson 05). The audit compares every tensor with where it started and names what moved.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from labkit.tuning.plans import FrozenStatistics

if TYPE_CHECKING:
    import pandas as pd

StageTensors = Mapping[str, Mapping[str, Tensor]]  # stage -> name in the stage -> tensor


def stage(model: nn.Module, name: str) -> nn.Module:
    """The module of a stage: stages are the named children of the model."""
    return model.get_submodule(name)


def freeze_below(
    model: nn.Module,
    stages: Sequence[str],
    trainable_from: str,
    statistics: FrozenStatistics = "fixed",
) -> None:
    """Freeze the stages before `trainable_from` and thaw the others."""
    first = stages.index(trainable_from)
    for depth, name in enumerate(stages):
        thawed = depth >= first
        stage(model, name).requires_grad_(thawed).train(thawed or statistics == "running")


@torch.no_grad()
def snapshot(model: nn.Module, stages: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Every parameter and buffer as it is now, stage by stage, on the CPU, never to be written to.

    What is the same to the bit as in a snapshot that somebody still holds is not copied again: runs that begin with the
    same weights hold them once.
    """
    return {
        name: {key: _kept(value.detach()) for key, value in tensors(stage(model, name)).items()}
        for name in stages
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


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and persistent buffers of a module by name."""
    return module.state_dict(keep_vars=True)


@dataclass(frozen=True)
class StageAudit:
    """What happened to one stage since the run began; `drift` is the distance moved over the length at the start."""

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
) -> Audit:
    """Compare every stage with its tensors at the start of the run."""
    rows, problems = [], []
    first = stages.index(trainable_from)
    for depth, name in enumerate(stages):
        moved = _changed(stage(model, name), start[name])
        learned = {key for key, _ in stage(model, name).named_parameters()}
        buffers = sorted(moved - learned)
        rows.append(
            StageAudit(
                stage=name,
                trainable=depth >= first,
                ever_trained=name in ever_trained,
                parameters=sum(p.numel() for p in stage(model, name).parameters()),
                tensors_changed=len(moved & learned),
                buffers_changed=len(buffers),
                drift=drift_of(stage(model, name), start[name]),
            )
        )
        if moved and name not in ever_trained:
            problems.append(
                f"{name} was never trained, yet {len(moved & learned)} parameters and {len(buffers)} buffers "
                f"changed, first of all {min(moved)}."
            )
    return Audit(tuple(rows), tuple(problems))


def _changed(module: nn.Module, start: Mapping[str, Tensor]) -> set[str]:
    return {
        key
        for key, value in tensors(module).items()
        if not torch.equal(value.detach().cpu(), start[key])
    }


@torch.no_grad()
def drift_of(module: nn.Module, start: Mapping[str, Tensor]) -> float:
    """How far the parameters moved, as a share of their length at the start: ||w - w0|| / ||w0||."""
    moved = length = 0.0
    for key, value in module.named_parameters():
        origin = start[key].to(value.device)
        moved += float((value - origin).square().sum())
        length += float(origin.square().sum())
    return (moved / length) ** 0.5 if length else 0.0
