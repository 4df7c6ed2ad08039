"""The figure that only lesson 08 draws: what trains in which epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from labkit.show.figure import (
    CARD,
    Figure,
    cell,
    dress,
    headline,
    look,
)
from labkit.tuning import Plan
from labkit.tuning.plans import resolve_depth


def phases(plans: Mapping[str, Plan], stages: Sequence[str]) -> Figure:
    """What trains in which epoch: a panel a plan, a row a stage (input at the bottom), a square an epoch."""
    longest = max(plan.epochs for plan in plans.values())
    figure = Figure(9, (0.8 + 0.28 * len(stages)) * len(plans))
    headline(figure, "Filled: the stage trains in that epoch")
    panels = figure.subplots(len(plans), 1, squeeze=False)[:, 0]
    tables = []
    for axes, (name, plan) in zip(panels, plans.items(), strict=True):
        dress(axes, "epoch" if axes is panels[-1] else "", "stage", name)
        tables.append(_unfreezing(axes, plan, stages).assign(plan=name))
        axes.set(xlim=(0.4, longest + 0.6), ylim=(-0.6, len(stages) - 0.4))
        axes.set_xticks(range(1, longest + 1))
    table = pd.concat(tables, ignore_index=True)[["plan", "epoch", "trains"]]
    said = "; ".join(
        f"{name}: first {rows['trains'].iloc[0]}, at last {rows['trains'].iloc[-1]}"
        for name, rows in table.groupby("plan", sort=False)
    )
    return figure.told(f"What trains in each epoch, filled squares. {said}.", table)


def _unfreezing(axes: Axes, plan: Plan, stages: Sequence[str]) -> pd.DataFrame:
    """One panel of `phases`, and its numbers."""
    axes.grid(False)
    axes.set_yticks(range(len(stages)), stages)
    lowest = [
        stages.index(resolve_depth(phase.trainable_from, stages))
        for phase in plan.phases
        for _ in range(phase.epochs)
    ]
    for epoch, first in enumerate(lowest, 1):
        for row in range(len(stages)):
            cell(axes, epoch, row, look(0).colour if row >= first else CARD)
    trains = [", ".join(stages[first:]) for first in lowest]
    return pd.DataFrame({"epoch": range(1, plan.epochs + 1), "trains": trains})
