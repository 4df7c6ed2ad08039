"""`labkit data`: what data sets there are, bringing them here, and what is wrong with their files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labkit.cli.output import (
    AsJson,
    tell,
)

if TYPE_CHECKING:
    from labkit.data import ImageData


data = typer.Typer(
    help="What data sets there are, bringing them here, and what is wrong with their files."
)


@data.callback(invoke_without_command=True)
def list_data(context: typer.Context, as_json: AsJson = False) -> None:
    """List the data sets: whether they are at hand, what there is to fetch, and who may use them."""
    if context.invoked_subcommand is None:
        from labkit.data.overview import listed

        rows = listed()
        tell(rows, "\n".join(map(_entry, rows)), as_json)


def _entry(row: dict[str, Any]) -> str:
    state = "at hand" if row["at_hand"] else f"to fetch, {row['megabytes']} MB"
    head = f"{row['name']:<12}{state:<20}{row['pictures']} images, {row['classes']} classes"
    return f"{head}\n{'':12}{row['title']}\n{'':12}licence: {row['licence']}"


@data.command("fetch")
def fetch_data(
    name: Annotated[str, typer.Argument(help="A data set that `labkit data` lists.")],
    as_json: AsJson = False,
) -> None:
    """Bring a data set here, checked against its published checksum; interrupted, it goes on."""
    from labkit.data import fetch

    folder = fetch(name)
    words = f"{name} is at {folder}." if folder else f"{name} needs no fetching."
    tell({"name": name, "folder": folder}, words, as_json)


@data.command("report")
def report_data(
    name: Annotated[str, typer.Argument(help="A data set, or the path of a folder of images.")],
    size: Annotated[int | None, typer.Option(help="Side of the images in pixels.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load a data set or a folder of images, and name every file that is not as it should be."""
    from labkit.data import load_data

    loaded = load_data(name, size=size)
    tell(_facts_of(loaded), _words_of(loaded), as_json)


def _facts_of(loaded: ImageData) -> dict[str, Any]:
    return {
        "name": loaded.name,
        "size": loaded.size,
        "classes": list(loaded.classes),
        "pictures": {part: len(getattr(loaded, part)) for part in ("train", "valid", "test")},
        "findings": [asdict(finding) for finding in loaded.report],
    }


def _words_of(loaded: ImageData) -> str:
    facts = _facts_of(loaded)
    parts = ", ".join(f"{count} {part}" for part, count in facts["pictures"].items() if count)
    head = f"{loaded.name}: {len(loaded.classes)} classes, {loaded.size} px, images: {parts}"
    return "\n".join([head, *(f"  {finding}" for finding in loaded.report)])
