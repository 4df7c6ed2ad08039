"""The card of a trained run: what it is, what it learned from, how well it does and how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from labkit import runtime
from labkit.hosts import version_of
from labkit.models import Measure, ModelCard
from labkit.tuning.evaluation import Evaluation

if TYPE_CHECKING:
    from labkit.tuning.run import Run


def model_card(run: Run, test: Evaluation | None = None) -> ModelCard:
    """What is known about the network of a run, as it is now.

    Args:
        run: trained as far as it is.
        test: an evaluation on a test split, where one was opened; the card never opens one itself.

    No path of this machine is in it: a card travels with the weights.
    """
    found = [test] if test is not None else []
    found += [run.evaluate("valid")] if len(run.data.valid) else []
    base = getattr(run.net, "card", None)
    return ModelCard(
        name=run.name,
        title=f"{run.net.name} fine-tuned on {run.data.name} ({run.plan.name})",
        architecture=base.architecture if base else run.net.name,
        parameters=run.parameters_trained()[1],
        data=f"{run.data.name}, {len(run.data.train)} training samples",
        data_licence=getattr(getattr(run.data, "card", None), "licence", "unknown"),
        classes=tuple(map(str, run.data.classes)),
        made_with="labkit.Run with the plan, the seed and the commands of the recipe",
        recipe=_recipe(run),
        seconds=training_seconds(run),
        machine=runtime.processor_name(),
        measures=_measures(found),
    )


def training_seconds(run: Run) -> float:
    """How long the steps of a run took by the clock on the wall, without validation."""
    history = run.history
    return float(history.loc[history["split"] == "train", "seconds"].sum())


def _measures(found: Sequence[Evaluation]) -> tuple[Measure, ...]:
    """The test split comes first where it is there: the first measure is the one a card is asked for."""
    words = {"valid": "validation split", "test": "test split"}
    return tuple(
        Measure.of(words.get(one.split, one.split), one.correct, one.count) for one in found
    )


def _recipe(run: Run) -> dict[str, Any]:
    """All that made the run, as plain values."""
    base = getattr(run.net, "card", None)
    return {
        "backbone": run.net.name,
        "started_from": base.title if base and run.plan.pretrained else "random weights",
        "plan": run.plan.to_dict(),
        "seed": run.seed,
        "commands": [[c.step, c.kind, dict(c.args)] for c in run.log],
        "steps": run.step_number,
        "epochs": run.epoch,
        "ended_by": run.ended_by,
        "budget_seconds": run.budget.seconds if run.budget else None,
        "trained_in": str(run.precision),
        "input": _input(run),
        "versions": {name: version_of(name) for name in ("torch", "labkit")},
    }


def _input(run: Run) -> str:
    """What the network takes, in words."""
    inputs, _ = run.data.train.batch(torch.tensor([0]))
    shape = getattr(inputs, "shape", None)
    if shape is None or len(shape) != 4:
        return "as the batches of the data"
    return f"float32 (n, {', '.join(map(str, shape[1:]))}), images in [0, 1], normalised by the network itself"
