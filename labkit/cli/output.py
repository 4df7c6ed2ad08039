"""What a command answers with, and where it may write."""

from __future__ import annotations

import codecs
import io
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer

from labkit.errors import FileError

CHECKOUT = Path(__file__).resolve().parents[2]
FIRST_LESSON = Path("notebooks/00_start_here.ipynb")

AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON, for programs.")]


def tell(facts: Any, words: str, as_json: bool) -> None:
    """Answer in words, or with data."""
    typer.echo(json.dumps(facts, indent=2, default=str) if as_json else words)


def watch(progress: object) -> None:
    """Say how far a long work is, where it does not mix with the answer."""
    typer.echo(str(progress), err=True)


# ---------------------------------------------------------------- letters that the output lacks

# Our own signs where the output has no code for them; any other letter becomes a question mark.
PLAIN = {"●": "*", "◐": "+", "○": "o", "✓": "v", "·": ".", "…": "...", "–": "-", "—": "-", "×": "x"}
PLAIN |= {"≤": "<=", "≥": ">="}


def never_stop_for_a_letter() -> None:
    """What the output has no code for is written in plain letters, instead of ending the command with a traceback.

    A redirect on Windows is written in the code page of the country, which knows neither our signs nor the names of
    all files.
    """
    codecs.register_error("labkit.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _may_fail(stream):
            stream.reconfigure(errors="labkit.plain")


def _may_fail(stream: io.TextIOWrapper) -> bool:
    utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    return stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8)


def _plain(trouble: UnicodeError) -> tuple[str, int]:
    assert isinstance(trouble, UnicodeEncodeError)
    letters = trouble.object[trouble.start : trouble.end]
    return "".join(PLAIN.get(letter, "?") for letter in letters), trouble.end


# ---------------------------------------------------------------- where something is to be written


def for_a_file(path: Path | None) -> Path | None:
    """The path that an option names, if a file can be written there: said before the work that would fill it."""
    if path is not None:
        path = path.expanduser()
        _refuse_unwritable(path, folder=False)
    return path


def for_a_folder(path: Path | None) -> Path | None:
    """The same for a folder, which is made where there is none."""
    if path is not None:
        path = path.expanduser()
        _refuse_unwritable(path, folder=True)
    return path


def _refuse_unwritable(path: Path, folder: bool) -> None:
    """Raise FileError unless a file can be written at `path`, or in it. Nothing is left there by asking."""
    try:
        if folder and not _is_there(path, stat.S_ISDIR):
            raise FileError(f"{path} is a file. Name a folder; it is made if it is not there.")
        if not folder and not _is_there(path, stat.S_ISREG):
            raise FileError(f"{path} is a folder, or no regular file. Name a file in a folder.")
        places = [path, *path.absolute().parents] if folder else path.absolute().parents
        nearest = next(place for place in places if place.exists())
        TemporaryFile(dir=nearest).close()  # permissions alone do not tell: a disk may be read-only
    except FileError:
        raise
    except (OSError, ValueError) as trouble:
        raise FileError.of(path, trouble) from trouble


def _is_there(path: Path, as_wanted: Callable[[int], bool]) -> bool:
    """Whether what lies at a path is of the wanted kind; True where nothing is."""
    try:
        return as_wanted(path.stat().st_mode)
    except FileNotFoundError:
        return True


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    from labkit.runtime import write_atomic

    try:
        write_atomic(path, content)
    except OSError as trouble:
        raise FileError.of(path, trouble) from trouble


Figure = Annotated[Path | None, typer.Option(callback=for_a_file, help="The PNG file to draw.")]
