"""Other images, the same weights: a network that takes the statistics of its BatchNorm layers from what it meets now.

No label and no gradient is needed (Li et al., "Revisiting batch normalization for practical domain adaptation", 2016).
Where there are few images, the old statistics may keep a say, as if they came from so many images themselves
(Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", 2020).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import BackboneError, DataError
from labkit.insight.inside import drawn, looking_at, outputs, split_of
from labkit.models import Backbone
from labkit.tuning.contracts import Split
from labkit.tuning.given import a_count, a_number, a_run, a_run_or, a_seed, takes
from labkit.tuning.precision import autocast
from labkit.tuning.task import evaluate

if TYPE_CHECKING:
    from labkit.tuning import Evaluation, Run

BATCH_NORM = nn.modules.batchnorm._BatchNorm
MOST = 256  # images whose statistics are taken together
MOST_IMAGES = 1e9  # that the old statistics can count for


@dataclass(frozen=True, eq=False)
class Adapted:
    """The network of a run with statistics of other images; the run itself is as it was.

    `images` is how many were looked at, `prior` for how many the old statistics counted. `table` has a row a stage:
    how far the mean of what its BatchNorm layers were given lay from the one they had stored, in stored standard
    deviations (`offset`), and how much wider than stored it was spread (`spread`, a factor).
    """

    run: Run = field(repr=False)
    model: nn.Module = field(repr=False)
    images: int
    prior: float
    table: pd.DataFrame = field(repr=False)

    def evaluate(self, split: Split | str = "valid") -> Evaluation:
        """Exact counts on a whole split, by its name or itself, as `run.evaluate` gives them."""
        name = split if isinstance(split, str) else "sample"
        questions = split_of(self.run, split)

        def scores(rows: Tensor) -> Tensor:
            return _answers(self.model, self.run, questions, rows)

        return evaluate(questions, name, scores)


@takes(
    run=a_run,
    count=a_count(2, error=DataError),
    prior=a_number(0, MOST_IMAGES, DataError),
    seed=a_seed,
)
def adapt(
    run: Run, split: Split | str = "valid", count: int = MOST, prior: float = 0, seed: int = 0
) -> Adapted:
    """A copy of a run's network whose BatchNorm statistics are those of other images. No weight moves.

    Args:
        run: whose network it is. It is not changed.
        split: images such as those that are to come, by the name of a split or itself; their labels are not looked at.
        count: how many of them at most, drawn by `seed`; they go through the network together.
        prior: for how many images the old statistics count: 0 forgets them, 16 keeps a say where there are few.

    Raises:
        BackboneError: there is no BatchNorm layer with statistics.
        DataError: fewer than 2 images, or a prior below 0.
        SplitError: no such split.
    """
    images = split_of(run, split, labelled=False)
    rows = drawn(images, count, seed)
    with looking_at(run) as current:
        model = copy.deepcopy(current)
    with _looked_at_statistics(model, prior, renew=True) as found:
        _answers(model, run, images, rows)
    return Adapted(run, model, len(rows), prior, _by_stage(found, run.stages))


@takes(
    run=a_run_or(Adapted, "what insight.adapt gave"), count=a_count(2, error=DataError), seed=a_seed
)
def statistics_gap(
    run: Run | Adapted, split: Split | str = "valid", count: int = MOST, seed: int = 0
) -> pd.DataFrame:
    """How far what the BatchNorm layers are given by a split lies from what they have stored: a row a stage.

    Columns as in `Adapted.table`: offset, spread. Changes nothing. Raises as `adapt` does.
    """
    whose = run.run if isinstance(run, Adapted) else run
    images = split_of(whose, split, labelled=False)
    rows = drawn(images, count, seed)
    with looking_at(whose) as current:
        model = run.model if isinstance(run, Adapted) else current
        with _looked_at_statistics(model, prior=0, renew=False) as found:
            _answers(model, whose, images, rows)
    return _by_stage(found, whose.stages)


@takes(run=a_run)
def carried_on(run: Run) -> Backbone:
    """The network of a run as it is now, head and all, as the start of another run on data with the same classes."""
    with looking_at(run) as current:
        model = copy.deepcopy(current)
    return Backbone.from_module(
        lambda classes: copy.deepcopy(model).train().requires_grad_(True), run.stages, run.net.name
    )


# ---------------------------------------------------------------- the parts


@torch.no_grad()
def _answers(model: nn.Module, run: Run, split: Split, rows: Tensor) -> Tensor:
    with autocast(run.precision, runtime.device()):
        return outputs(model, run, split, rows)


@contextmanager
def _looked_at_statistics(
    model: nn.Module, prior: float, renew: bool
) -> Iterator[dict[str, tuple[float, float]]]:
    """Inside, every BatchNorm layer notes by its name what it is given; with `renew` it takes it over before it works.

    The layers stay in evaluation mode, so each normalises by what it has just taken over, and the next one is given
    what it will be given ever after.
    """
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, BATCH_NORM) and layer.running_mean is not None
    }
    if not layers:
        raise BackboneError(
            "This network has no BatchNorm layer with statistics, so there are none to adapt. Fine-tune it on a few "
            "labelled images instead."
        )
    found: dict[str, tuple[float, float]] = {}

    def look(name: str, layer: Any, given: Tensor) -> None:
        values = given.detach().float().transpose(0, 1).flatten(1)  # channels, everything else
        mean, variance = values.mean(1), values.var(1)
        stored = (layer.running_var + layer.eps).sqrt()
        offset = ((mean - layer.running_mean) / stored).abs().median()
        spread = ((variance + layer.eps).sqrt() / stored).log().mean().exp()
        found[name] = (float(offset), float(spread))
        if renew:
            share = len(given) / (len(given) + prior)
            layer.running_mean.lerp_(mean, share)
            layer.running_var.lerp_(variance, share)

    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(
                layer.register_forward_pre_hook(
                    lambda layer, given, name=name: look(name, layer, given[0])
                ).remove
            )
        yield found


def _by_stage(found: dict[str, tuple[float, float]], stages: tuple[str, ...]) -> pd.DataFrame:
    """The mean over the layers of each stage that has some, input to output."""
    rows = {
        stage: [pair for name, pair in found.items() if name.split(".")[0] == stage]
        for stage in stages
    }
    return pd.DataFrame(
        [
            {
                "stage": stage,
                "offset": fmean(o for o, _ in some),
                "spread": fmean(s for _, s in some),
            }
            for stage, some in rows.items()
            if some
        ]
    ).set_index("stage")
