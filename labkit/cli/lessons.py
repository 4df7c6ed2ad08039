"""`labkit build-lessons` and `labkit book`: what people open, from its sources."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.output import (
    CHECKOUT,
    FIRST_LESSON,
    AsJson,
    for_a_folder,
    tell,
    watch,
)


def build_lessons(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when something is stale.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the notebooks of this checkout from notebooks/src, and badges and lessons of its README."""
    from labkit.publish import build

    root = CHECKOUT
    built = build.build(root, check=check)
    changed = [*built.changed, *_refresh_readme(root, check)]
    facts = {
        "notebooks": [str(path) for path in built.notebooks],
        "changed": [str(path) for path in changed],
    }
    names = ", ".join(path.name for path in changed)
    words = (
        f"{'Out of date' if check else 'Written'}: {names}"
        if names
        else "Everything is up to date."
    )
    tell(facts, words, as_json)
    raise typer.Exit(1 if check and changed else 0)


def _refresh_readme(root: Path, check: bool) -> list[Path]:
    """The README, if its badges or its table of lessons are out of date."""
    from labkit.publish import build, readme

    path = root / "README.md"
    text = path.read_text("utf-8")
    wanted = readme.made(text, build.repository(root), FIRST_LESSON.as_posix())
    if not check and wanted != text:
        path.write_text(wanted, "utf-8")
    return [] if wanted == text else [path]


def book(
    out: Annotated[
        Path, typer.Option(callback=for_a_folder, help="The folder of the site.")
    ] = Path("build/book"),
    executed: Annotated[
        Path,
        typer.Option(
            callback=for_a_folder,
            help="Where executed solutions and recorded consoles are kept.",
        ),
    ] = Path("build/executed"),
    again: Annotated[
        bool, typer.Option("--again", help="Execute and record every lesson anew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the reading edition of this checkout: a site of executed lessons, their consoles recorded."""
    from labkit.publish import book as room

    built = room.build(CHECKOUT, out, executed, again, watch)
    tell(asdict(built), str(built), as_json)
