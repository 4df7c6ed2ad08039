"""`labkit pretrain`: the shipped weights again, by the recipes that made them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labkit.cli.output import (
    AsJson,
    for_a_folder,
    tell,
    watch,
)

if TYPE_CHECKING:
    from labkit.pretraining import PretrainingRecipe


pretrain = typer.Typer(
    help="Make the shipped weights again, by the recipes that made them.", no_args_is_help=True
)

Out = Annotated[Path, typer.Option(callback=for_a_folder, help="The folder for weights and card.")]
Epochs = Annotated[int | None, typer.Option(min=2, help="Fewer or more than the recipe says.")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Steps an epoch; by default what the recipe says.")
]
Seed = Annotated[int | None, typer.Option(help="Another draw of chance than the recipe's.")]


@pretrain.command()
def photos(
    source: Annotated[
        Path,
        typer.Option("--data", help="Tiny ImageNet: the unpacked archive, or its parquet files."),
    ],
    out: Out = Path("build/weights"),
    epochs: Epochs = None,
    steps: Steps = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Train resnet10 on the photographs of Tiny ImageNet; interrupted, go on from the last epoch."""
    from labkit.pretraining import PHOTOS, pretrain_photos

    _tell_weights(
        pretrain_photos(source, out, _changed(PHOTOS, epochs, steps, seed), watch), as_json
    )


@pretrain.command()
def glyphs(
    out: Out = Path("build/weights"),
    epochs: Epochs = None,
    steps: Steps = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Train resnet10-glyphs on letters that labkit draws itself; nothing is downloaded."""
    from labkit.pretraining import GLYPHS, pretrain_glyphs

    _tell_weights(pretrain_glyphs(out, _changed(GLYPHS, epochs, steps, seed), watch), as_json)


def _changed(
    recipe: PretrainingRecipe, epochs: int | None, steps: int | None, seed: int | None
) -> PretrainingRecipe:
    asked: dict[str, Any] = {"epochs": epochs, "steps_per_epoch": steps, "seed": seed}
    return replace(recipe, **{key: value for key, value in asked.items() if value is not None})


def _tell_weights(path: Path, as_json: bool) -> None:
    from labkit.models import ModelCard

    card = ModelCard.read(path.with_suffix(".json"))
    tell({"weights": path, **asdict(card)}, f"{card}\nWritten to {path}", as_json)
