"""Questions to a run that its curves do not answer: what the optimiser holds, which mode each stage is in, whether a
count repeats, whether images are on both sides, and on which scale they come.

Each probe looks and changes nothing, takes well under a second, and has a `table()` for the eye. A probe that makes no
sense for a run (no BatchNorm, no images, nothing to validate on) gives None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.insight.coach import trace_of
from labkit.insight.inside import as_inputs, given_to, start_of
from labkit.tuning import EpochDone, StepDone
from labkit.tuning.contracts import Split

if TYPE_CHECKING:
    import pandas as pd

    from labkit.tuning import Run

BATCH_NORM = nn.modules.batchnorm._BatchNorm
SAMPLE = 64  # images whose scale is measured
MOST_TRAIN, MOST_VALID = 4096, 512  # images that are compared with each other
SIDE = 16  # pixels to which they are shrunk for it
SAME = 0.995  # correlation of two images from which on they are one


class _Rows:
    """What all answers with a row a stage share."""

    rows: Sequence[Any]

    def table(self) -> pd.DataFrame:
        """One row a stage, input to output."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows]).set_index("stage")


# ---------------------------------------------------------------- the optimiser


@dataclass(frozen=True)
class StageMemory:
    """A stage in the optimiser. `parameters` that could train and how many of them it holds (`held`).

    `remembers` is how many steps its state (Adam's averages) has seen, None where it keeps no count; `trained` is for
    how many steps the stage has been training without a break.
    """

    stage: str
    trainable: bool
    parameters: int
    held: int
    lr: float
    remembers: int | None
    trained: int


@dataclass(frozen=True)
class OptimizerMemory(_Rows):
    """What the optimiser holds and remembers, stage by stage."""

    rows: tuple[StageMemory, ...]


def memory(run: Run) -> OptimizerMemory:
    """What the optimiser holds of each stage, and how old its memory of it is."""
    steps = trace_of(run).steps  # those that still hold: a rewind takes back what came after it
    with run.paused() as model:
        held = {id(p): group for group in run.optimizer.param_groups for p in group["params"]}
        rows = [
            _stage_memory(run, name, list(model.get_submodule(name).parameters()), held, steps)
            for name in run.stages
        ]
    return OptimizerMemory(tuple(rows))


def _stage_memory(
    run: Run,
    stage: str,
    parameters: list[nn.Parameter],
    held: dict[int, dict[str, Any]],
    steps: list[StepDone],
) -> StageMemory:
    depth = run.stages.index(stage)
    trainable = depth >= run.stages.index(run.settings.trainable_from)
    mine = [p for p in parameters if id(p) in held]
    counts = [s["step"] for p in mine if "step" in (s := run.optimizer.state.get(p, {}))]
    return StageMemory(
        stage=stage,
        trainable=trainable,
        parameters=sum(p.numel() for p in parameters),
        held=sum(p.numel() for p in mine),
        lr=float(held[id(mine[0])]["lr"]) if mine else 0.0,
        remembers=int(max(map(float, counts))) if counts else None,
        trained=_trained_without_break(run, depth, steps) if trainable else 0,
    )


def _trained_without_break(run: Run, depth: int, steps: list[StepDone]) -> int:
    count = 0
    for step in reversed(steps):
        if run.stages.index(step.trainable_from) > depth:
            break
        count += 1
    return count


# ---------------------------------------------------------------- train mode and eval mode


@dataclass(frozen=True)
class StageMode:
    """The BatchNorm layers of a stage, and how many of them are in train mode in a step."""

    stage: str
    trainable: bool
    batch_norms: int
    in_train_mode: int


@dataclass(frozen=True)
class Modes(_Rows):
    """Which mode the BatchNorm layers are in, stage by stage."""

    rows: tuple[StageMode, ...]


def modes(run: Run) -> Modes:
    """Which mode each stage trains in: frozen ones belong in eval mode, the others in train mode."""
    first = run.stages.index(run.settings.trainable_from)
    rows = []
    with run.paused() as model:
        for depth, name in enumerate(run.stages):
            layers = [m for m in model.get_submodule(name).modules() if isinstance(m, BATCH_NORM)]
            training = sum(map(run.in_train_mode, layers))
            rows.append(StageMode(name, depth >= first, len(layers), training))
    return Modes(tuple(rows))


# ---------------------------------------------------------------- counting again


@dataclass(frozen=True)
class Recount:
    """The last validation as the run told it, and counted again now in eval mode over the whole split.

    `told_correct` is what accuracy times count comes to; a count is a whole number. Losses are in nats.
    """

    count: int
    told_correct: float
    told_loss: float
    correct: int
    loss: float

    @property
    def agrees(self) -> bool:
        """Whether the run told what is there, but for the last digits of floating point."""
        same = abs(self.told_correct - self.correct) < 1e-3
        return same and math.isclose(self.told_loss, self.loss, rel_tol=1e-3, abs_tol=1e-4)

    def table(self) -> pd.DataFrame:
        """One row as told, one as counted again."""
        import pandas as pd

        rows = [
            ("told", self.told_correct, self.told_correct / self.count, self.told_loss),
            ("counted again", self.correct, self.correct / self.count, self.loss),
        ]
        return pd.DataFrame(rows, columns=["who", "correct", "accuracy", "loss"]).set_index("who")


def recount(run: Run) -> Recount | None:
    """The last validation again; None where the model has moved since, or there was nothing to validate on."""
    told = [event for _, event in run.journal.since(0) if isinstance(event, EpochDone)]
    if run.status == "failed" or not told or not told[-1].valid_count:
        return None
    last = told[-1]
    if last.step != run.step_number or last.valid_loss is None:
        return None
    again = run.evaluate("valid")
    return Recount(again.count, last.valid_correct, last.valid_loss, again.correct, again.loss)


# ---------------------------------------------------------------- images on both sides


@dataclass(frozen=True)
class Twins:
    """How many of the `looked_at` validation images have a copy among the training ones, and which."""

    looked_at: int
    copies: tuple[int, ...]
    nearest: tuple[float, ...]

    @property
    def share(self) -> float:
        """Copies over images looked at."""
        return len(self.copies) / self.looked_at

    def table(self) -> pd.DataFrame:
        """One row a copy: its number in the validation split, and how alike the two images are (1: the same)."""
        import pandas as pd

        rows = [(index, self.nearest[index]) for index in self.copies]
        return pd.DataFrame(rows, columns=["validation image", "correlation"])


def twins(run: Run) -> Twins | None:
    """Which validation images are among the training ones, exactly or but for a few grey levels.

    Two images are the same when, shrunk to 16 x 16 and free of their own mean and contrast, they correlate by 0.995
    or more. Looks at the first 512 validation and 4,096 training images.
    """
    train, valid = _images(run.data.train, MOST_TRAIN), _images(run.data.valid, MOST_VALID)
    if train is None or valid is None:
        return None
    nearest = (_shapes(valid) @ _shapes(train).T).max(dim=1).values
    copies = (nearest >= SAME).nonzero().flatten().tolist()
    return Twins(len(valid), tuple(copies), tuple(nearest.tolist()))


def _images(split: Split, most: int) -> Tensor | None:
    """Images (n, C, H, W), shrunk; None where the split is empty or its batches are no images."""
    if not len(split):
        return None
    parts = []
    for rows in torch.arange(min(most, len(split))).split(256):
        inputs, _ = split.batch(rows)
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            return None
        parts.append(F.adaptive_avg_pool2d(inputs, SIDE) if inputs.shape[-1] > SIDE else inputs)
    return torch.cat(parts)


def _shapes(images: Tensor) -> Tensor:
    """Images as vectors (n, d) of mean 0 and length 1, whatever their brightness and contrast."""
    flat = images.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-9)


# ---------------------------------------------------------------- the scale of the images


@dataclass(frozen=True)
class Scale:
    """How the images of one split come: their numbers, and what the first BatchNorm layer makes of them.

    `offset` is how far the means it sees are from those it learned, in learned standard deviations; `spread` the
    standard deviation it sees over the learned one. Both are medians over channels: a dead one would pull any mean.
    """

    split: str
    low: float
    high: float
    mean: float
    std: float
    offset: float
    spread: float


@dataclass(frozen=True)
class Scales:
    """The scale of the training and the validation images."""

    train: Scale
    valid: Scale
    learned: bool  # whether the network brought statistics to compare with

    def table(self) -> pd.DataFrame:
        """One row a split."""
        import pandas as pd

        return pd.DataFrame([asdict(self.train), asdict(self.valid)]).set_index("split")


def scales(run: Run) -> Scales | None:
    """On which scale the images of both splits come, and what the network as it began makes of them."""
    if not len(run.data.valid):
        return None
    batches = {name: _sample(getattr(run.data, name)) for name in ("train", "valid")}
    if not all(isinstance(batch, Tensor) and batch.ndim == 4 for batch in batches.values()):
        return None
    net = start_of(run)
    layer = next((module for module in net.modules() if isinstance(module, BATCH_NORM)), None)
    if layer is None or layer.running_mean is None:
        return None
    learned = bool(run.plan.pretrained and (layer.running_mean != 0).any())
    train, valid = (
        _scale(name, batch, _given(layer, net, as_inputs(run, batch)), layer)
        for name, batch in batches.items()
    )
    return Scales(train, valid, learned)


def _sample(split: Split) -> Any:
    """A sample from the whole length of a split, as it is validated: not augmented."""
    rows = torch.linspace(0, len(split) - 1, min(SAMPLE, len(split))).long()
    return split.batch(rows)[0]


@torch.no_grad()
def _given(layer: nn.Module, net: nn.Module, batch: Any) -> Tensor:
    """What a layer of a network in eval mode is given of a batch, as (channels, values)."""
    return given_to(layer, net, batch).transpose(0, 1).flatten(1)


def _scale(name: str, batch: Tensor, given: Tensor, layer: Any) -> Scale:
    means, deviations = given.mean(1), given.std(1).clamp_min(1e-9)
    learned = (layer.running_var + layer.eps).sqrt()
    return Scale(
        split=name,
        low=float(batch.min()),
        high=float(batch.max()),
        mean=float(batch.mean()),
        std=float(batch.std()),
        offset=float(((means - layer.running_mean) / learned).abs().median()),
        spread=float((deviations / learned).median()),
    )
