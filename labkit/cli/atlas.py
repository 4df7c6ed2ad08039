"""`labkit atlas`: recorded sweeps that answer at once what a run will come to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.output import AsJson, Figure, for_a_folder, tell, watch, write

atlas = typer.Typer(help="Recorded sweeps that answer at once what a run will come to.")

SheetName = Annotated[
    str | None, typer.Argument(help="A sheet, such as digits/resnet10-glyphs; by default all.")
]


@atlas.callback(invoke_without_command=True)
def list_atlas(context: typer.Context, as_json: AsJson = False) -> None:
    """List the sheets, and whether the record of each is complete and up to date."""
    if context.invoked_subcommand is None:
        from labkit.records import atlas as room

        found = {sheet.name: room.problems(sheet) for sheet in room.SHEETS}
        lines = [bad[0] if bad else f"{name}: complete" for name, bad in found.items()]
        tell(found, "\n".join(lines), as_json)


@atlas.command("show")
def atlas_show(
    name: Annotated[str, typer.Argument(help="A sheet that `labkit atlas` lists.")],
    trainable_from: Annotated[
        str, typer.Option("--from", help="The first stage that trains.")
    ] = "layer4",
    lr: Annotated[float, typer.Option(help="The learning rate.")] = 1e-3,
    per_class: Annotated[
        int | None, typer.Option(help="Training examples of every class; by default the middle.")
    ] = None,
    figure: Figure = None,
    as_json: AsJson = False,
) -> None:
    """What a run with these settings will come to, by the recorded ones."""
    from labkit.insight.reading import in_columns
    from labkit.records import atlas as room

    sheet = room.find(name)
    labels = per_class or sheet.per_class[len(sheet.per_class) // 2]
    expected = room.expect(sheet, None, trainable_from, lr, labels)
    if figure is not None:
        from labkit.show.atlas import figure as draw

        write(figure, draw(expected).png())
    tell(expected.as_message(), f"{in_columns(expected.rows())}\n{expected}", as_json)


@atlas.command("build")
def atlas_build(
    name: SheetName = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, a thread each.")] = 2,
    out: Annotated[
        Path | None, typer.Option(callback=for_a_folder, help="The folder for the records.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Even if it is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the recorded runs that are missing; interrupted, the same command goes on."""
    from labkit.records import atlas as room

    paths = room.build(name, out=out, workers=workers, tell=watch, again=again)
    tell({"records": paths}, "\n".join(f"The runs are in {path}" for path in paths), as_json)


@atlas.command("check")
def atlas_check(
    name: SheetName = None,
    runs: Annotated[int, typer.Option(min=1, help="How many recorded runs to do again.")] = 3,
    chance: Annotated[int | None, typer.Option(help="Draws the runs; by default anew.")] = None,
    as_json: AsJson = False,
) -> None:
    """Do a few recorded runs again; fail when one lands outside its band or a record is stale."""
    from labkit.records import atlas as room

    done = room.check(name, runs=runs, chance=chance)
    facts = [{"run": str(one), "same": one.same, "inside": one.inside} for one in done]
    tell(facts, "\n".join(map(str, done)), as_json)
    raise typer.Exit(0 if all(one.inside for one in done) else 1)
