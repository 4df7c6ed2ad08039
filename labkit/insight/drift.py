"""How far each stage has moved from where it began, and whether what was frozen stood still."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import pandas as pd

from labkit.insight.inside import built_again
from labkit.tuning.given import a_run, takes

if TYPE_CHECKING:
    from labkit.tuning import Run


@takes(run=a_run)
def drift_table(run: Run) -> pd.DataFrame:
    """One row a stage, input to output, from `run.audit()`.

    Columns: stage; trainable (now); parameters (a count); tensors_changed and buffers_changed (how
    many, compared bit by bit with those at the start); drift (the distance moved over the length at
    the start, ||w - w0|| / ||w0||; 0.01 means one per cent); moved (that, in words).
    """
    return pd.DataFrame(
        [
            {
                "stage": row.stage,
                "trainable": row.trainable,
                "parameters": row.parameters,
                "tensors_changed": row.tensors_changed,
                "buffers_changed": row.buffers_changed,
                "drift": row.drift,
                "moved": in_words(row.drift, row.buffers_changed),
            }
            for row in run.audit().rows
        ]
    )


def in_words(drift: float, buffers_changed: int = 0) -> str:
    """A relative drift for a reader: `as it began`, `by 0.4 %`, `by 61 times its length`, `statistics only`."""
    if drift == 0:
        return "statistics only" if buffers_changed else "as it began"
    percent = 100 * drift
    if drift >= 2:
        return (
            f"by {drift:.2g} times its length" if drift < 10 else f"by {drift:.0f} times its length"
        )
    return f"by {percent:.0f} %" if percent >= 10 else f"by {percent:.2g} %"


@takes(run=a_run)
def layers_drift(run: Run) -> float:
    """How far the parameters of all stages below the head are from where they began, as one number.

    ||w - w0|| / ||w0|| over all of them together; 0 when they stood still.
    """
    fresh = built_again(run)
    moved = length = 0.0
    with run.paused() as model:
        for stage in run.stages[:-1]:
            now = dict(model.get_submodule(stage).named_parameters())
            for name, start in fresh.get_submodule(stage).named_parameters():
                moved += float((now[name].detach().cpu().float() - start.detach()).square().sum())
                length += float(start.detach().square().sum())
    return sqrt(moved / length) if length else 0.0


def statistics_drift(run: Run) -> float:
    """How far the BatchNorm statistics of stages that never trained have moved, relatively.

    0 when frozen means frozen. It is ||s - s0|| / ||s0|| over the running means and variances of
    those stages.
    """
    moved_on = {row.stage for row in run.audit().rows if row.ever_trained}
    frozen = [stage for stage in run.stages if stage not in moved_on]
    fresh = built_again(run)
    moved = length = 0.0
    with run.paused() as model:
        for stage in frozen:
            now = dict(model.get_submodule(stage).named_buffers())
            for name, start in fresh.get_submodule(stage).named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    moved += float((now[name].cpu() - start).square().sum())
                    length += float(start.square().sum())
    return sqrt(moved / length) if length else 0.0
