"""`labkit sweep`: every combination of settings with every seed."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from labkit.cli.output import (
    AsJson,
    for_a_folder,
    tell,
)
from labkit.errors import LabkitError
from labkit.hosts import how_to_install
from labkit.settings import SETTINGS


def sweep(
    lr: Annotated[str, typer.Option(help="Learning rates, such as 1e-4,1e-3.")] = "1e-4,1e-3",
    trainable_from: Annotated[
        str | None, typer.Option(help="Frozen depths, such as head,layer4; the first that trains.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = 5,
    per_class: Annotated[
        str | None, typer.Option(help="Training examples of every class, such as 5,20.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help=f"More to vary, such as weight_decay=0,0.1. There are {', '.join(SETTINGS)}."
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="A data set, or the path of a folder.")] = "digits",
    size: Annotated[int | None, typer.Option(help="Side of the images in pixels.")] = None,
    backbone: Annotated[str, typer.Option(help="A network by name.")] = "resnet10-glyphs",
    plan: Annotated[
        str, typer.Option(help="feature_extraction, partial, full, gradual or from_scratch.")
    ] = "partial",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each phase.")] = 5,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; else one a core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="A dask scheduler, such as tcp://10.0.0.1:8786.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=for_a_folder, help="The folder for the rows.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train every combination with every seed; interrupted, the same command goes on."""
    from labkit import Run, load_backbone, load_data, sweeps

    axes: dict[str, Any] = {"lr": _numbers(lr, float)}
    if trainable_from is not None:
        axes["trainable_from"] = trainable_from.split(",")
    if per_class is not None:
        axes["per_class"] = _numbers(per_class, int)
    axes |= dict(map(_axis, vary or ()))
    first = _plan(plan, axes.get("trainable_from", ["head"])[0], epochs)
    base = Run(load_backbone(backbone), load_data(data, size=size), first)
    client = _client(scheduler) if scheduler else None
    made = sweeps.sweep(
        base, client=client, out=out, workers=workers, seed=range(seeds), **axes
    ).run(progress=not as_json)
    summary = made.summary()
    facts = {
        "folder": made.folder,
        "rows": [row.to_dict() for row in made.rows],
        "summary": json.loads(summary.to_json(orient="records")),
    }
    tell(facts, f"{summary.to_string(index=False)}\nThe rows are in {made.folder}", as_json)


def _numbers(text: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise LabkitError(f"{text!r} are no numbers; write them as in 1,10,100.") from None


def _axis(text: str) -> tuple[str, list[Any]]:
    """A setting and its values, as in weight_decay=0,0.1."""
    name, _, values = text.partition("=")
    if name not in SETTINGS or not values:
        raise LabkitError(
            f"{text!r} names no setting with values; write them as in weight_decay=0,0.1. Settings are "
            f"{', '.join(SETTINGS)}."
        )
    return name, [_value(each.strip()) for each in values.split(",")]


def _value(text: str) -> Any:
    """A number, True or False where the text is one; else the text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _plan(name: str, depth: str, epochs: int) -> Any:
    from labkit import tuning

    plans: dict[str, Any] = {
        "feature_extraction": tuning.feature_extraction,
        "partial": partial(tuning.partial, depth),
        "full": tuning.full,
        "gradual": tuning.gradual,
        "from_scratch": tuning.from_scratch,
    }
    if name not in plans:
        raise LabkitError(f"There is no plan {name!r}. There are {', '.join(plans)}.")
    return plans[name](epochs=epochs)


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise LabkitError(f"--scheduler needs dask: {how_to_install('scale')}") from None
    try:
        return Client(address, timeout=20)
    except (OSError, ValueError) as error:
        raise LabkitError(f"no dask scheduler answers at {address}: {error}") from None
