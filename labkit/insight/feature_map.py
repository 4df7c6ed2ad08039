"""Where a network puts some samples, in two dimensions, as training goes on.

The two axes are found once, by principal component analysis of the features at one step. Every frame is drawn on the
same axes, so what moves between frames is the features, not the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from labkit.errors import DataError, StageError
from labkit.insight.inside import check_stage, drawn, features, looking_at, split_of
from labkit.insight.revisit import chosen_steps, epoch_ends, epochs_done, revisit, spread_out
from labkit.tuning.contracts import Split
from labkit.tuning.given import a_count, a_run, a_seed, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

FRAMES = 6


@dataclass(frozen=True, eq=False)
class Frame:
    """The features of n samples after some step: `points` float64 (n, 2).

    `shown` is the share of their variance that the two axes show here. `apart` is the share of the variance, over all
    channels, that lies between the classes: 0 where they are mixed, 1 where each class is one point.
    """

    step: int
    epoch: float
    points: Tensor
    shown: float
    apart: float


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Frames of a stage on axes that never change: `axes` (2, channels) around `centre` (channels,).

    `indices` (n,) are the samples' positions in the split, `labels` (n,) their classes, `fitted_at` the step whose
    features gave the axes.
    """

    stage: str
    split: str
    classes: tuple[str, ...]
    indices: Tensor
    labels: Tensor
    fitted_at: int
    axes: Tensor
    centre: Tensor
    frames: tuple[Frame, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row a frame: step, epoch, and the shares `shown` and `apart`."""
        rows = [(frame.step, frame.epoch, frame.shown, frame.apart) for frame in self.frames]
        return pd.DataFrame(rows, columns=["step", "epoch", "shown", "apart"])


@takes(run=a_run, count=a_count(2, error=DataError), seed=a_seed)
def feature_map(
    run: Run,
    stage: str | None = None,
    steps: Sequence[int] | None = None,
    fitted_at: int | None = None,
    count: int = 200,
    split: Split | str = "valid",
    seed: int = 0,
) -> FeatureMap:
    """Follow the features of a stage through a run, on two axes that are fitted once.

    Args:
        run: what was trained so far is revisited on a clone; the run is not touched.
        stage: whose output to draw; by default the last before the head.
        steps: after which steps; by default up to six ends of epochs, the beginning and now among them.
        fitted_at: the step whose features give the axes; by default the last of `steps`.
        count: how many samples, drawn by `seed`.
        split: the name of the split, or itself.

    Raises:
        StageError, CommandError, SplitError: a stage, step or split that is not there.
    """
    name = check_stage(run, run.stages[-2] if stage is None else stage)
    part = split_of(run, split)
    indices, epochs = drawn(part, count, seed), epochs_done(run)
    chosen = spread_out(epoch_ends(run), FRAMES) if steps is None else chosen_steps(run, steps)
    fitted_at = chosen[-1] if fitted_at is None else chosen_steps(run, [fitted_at])[0]
    seen = {}
    for step, clone in revisit(run, {*chosen, fitted_at}):
        with looking_at(clone) as model:
            seen[step] = features(model, run, part, indices, [name])[name]
    centre, axes = _fit(seen[fitted_at], name)
    labels = torch.as_tensor(part.labels)[indices]
    frames = tuple(_frame(step, epochs[step], seen[step], centre, axes, labels) for step in chosen)
    names = tuple(run.data.classes)
    where = split if isinstance(split, str) else "sample"
    return FeatureMap(name, where, names, indices, labels, fitted_at, axes, centre, frames)


def _fit(x: Tensor, stage: str) -> tuple[Tensor, Tensor]:
    from sklearn.decomposition import PCA

    if x.shape[1] < 2 or len(x) < 3:
        raise StageError(
            f"{stage} gives {x.shape[1]} channels of {len(x)} samples, too few for two axes; "
            "take another stage or more samples."
        )
    if not bool((x != x[0]).any()):
        raise DataError(
            f"{stage} gives the same for all {len(x)} samples: there is nothing to map."
        )
    fitted = PCA(n_components=2, svd_solver="full").fit(x.numpy())
    return torch.from_numpy(fitted.mean_), torch.from_numpy(fitted.components_)


def _frame(
    step: int, epoch: float, x: Tensor, centre: Tensor, axes: Tensor, labels: Tensor
) -> Frame:
    points = (x - centre) @ axes.T
    total = _scatter(x)
    within = sum(_scatter(x[labels == label]) for label in labels.unique())
    known = total > 0
    return Frame(
        step=step,
        epoch=epoch,
        points=points,
        shown=_scatter(points) / total if known else 0.0,
        apart=1 - within / total if known else 0.0,
    )


def _scatter(x: Tensor) -> float:
    """The sum of squared distances from the mean."""
    return float((x - x.mean(0)).square().sum())
