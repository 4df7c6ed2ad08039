"""The parts of a run (network, data, plan, seed, precision), checked before anything is built of them."""

from __future__ import annotations

from pathlib import PurePath

from labkit import runtime
from labkit.errors import BackboneError, DataError, PlanError, SplitError, shown
from labkit.tuning.commands import Settings, check_augment, check_rehearsal
from labkit.tuning.contracts import Data, Net
from labkit.tuning.plans import Plan, check_seed
from labkit.tuning.task import task_of


def validate_parts(net: Net, data: Data, plan: Plan, seed: int, precision: object = "auto") -> int:
    """Raise the error that fits where the parts make no run; the seed as a plain number."""
    if not hasattr(net, "build") or not hasattr(net, "stages"):
        raise BackboneError(
            f"net={type(net).__name__} is not a backbone. Use labkit.load_backbone('resnet10'), or "
            "labkit.Backbone.from_module for a network of your own."
        )
    if not isinstance(plan, Plan):
        raise PlanError(
            f"plan={shown(plan)} is not a Plan. Use labkit.full(), labkit.partial('layer4') or the like."
        )
    whole = check_seed(seed)
    _check_precision(precision)
    _check_data(data)
    if len(data.train) < 2:
        raise SplitError(
            f"{data.name} has {len(data.train)} training samples; a run needs 2 or more."
        )
    check_augment(plan.augment, data)
    check_rehearsal(plan.rehearse, net, data, plan)
    for phase in range(len(plan.phases)):
        Settings.of(plan, phase, tuple(net.stages))
    return whole


def _check_data(data: Data) -> None:
    """Splits to train and validate on, and what their task asks for."""
    if isinstance(data, str | PurePath):
        raise DataError(f"data={str(data)!r} is a name. Load it: labkit.load_data({str(data)!r}).")
    missing = [part for part in ("train", "valid", "classes") if not hasattr(data, part)]
    if not missing:
        parts = ("__len__", "batch", "labels")
        missing = [f"train.{part}" for part in parts if not hasattr(data.train, part)]
    if missing:
        raise DataError(
            f"data is a {type(data).__name__}, which a run cannot train on: it has no {', '.join(missing)}. Use "
            "labkit.load_data, with the name of a data set or a folder of images."
        )
    task_of(data).check(data)


def _check_precision(precision: object) -> None:
    ours = isinstance(precision, runtime.Precision) and precision in runtime.PRECISIONS
    if not ours and not (isinstance(precision, str) and precision == "auto"):
        known = ", ".join(
            f"Precision({p.dtype!r}, {p.memory_format!r})" for p in runtime.PRECISIONS
        )
        raise PlanError(
            f"precision={shown(precision)} is not known. Use 'auto', or from labkit.runtime one of {known}."
        )
