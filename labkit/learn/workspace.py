"""The learner's own copies of the lessons, in `work/` beside `notebooks/`: learning changes no file of the checkout.

A copy is made once. Where the lesson has changed since, a copy that nobody worked on is made anew, and one that was
worked on stays as it is, until `reset` puts it aside. What was copied is remembered by its digest, in `.copied.json`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from labkit import runtime
from labkit.errors import FileError, LabkitError, shown

SOURCE, FOLDER = "notebooks", "work"
MEMORY = ".copied.json"  # in the folder: the digest of each file as it was copied
ASIDE = "earlier"  # in the folder: copies that were put aside


@dataclass(frozen=True)
class Workspace:
    """The folder of copies, and the lessons that have changed since the learner began to work on their copies."""

    folder: Path
    outdated: tuple[str, ...] = ()


def prepare(checkout: Path) -> Workspace:
    """Copy every lesson that has no copy yet, and those that have changed where nobody worked on the copy.

    Raises FileError where the folder cannot be written.
    """
    folder = checkout / FOLDER
    copied, outdated = _remembered(folder), []
    for lesson in sorted((checkout / SOURCE).glob("*.ipynb")):
        ours, digest = folder / lesson.name, _digest(lesson)
        untouched = ours.exists() and _digest(ours) == copied.get(lesson.name)
        if not ours.exists() or untouched:
            if copied.get(lesson.name) != digest or not ours.exists():
                _write(ours, lesson.read_bytes())
            copied[lesson.name] = digest
        elif copied.get(lesson.name) != digest:
            outdated.append(lesson.name)
    _write(folder / MEMORY, json.dumps(copied, indent=1, sort_keys=True).encode())
    return Workspace(folder, tuple(outdated))


def reset(checkout: Path, lesson: str) -> tuple[Path, Path | None]:
    """A fresh copy of a lesson, and where the earlier one was put aside, if there was one.

    `lesson` is its number, as in "03", or the name of its notebook. Nothing is lost: the earlier copy moves to
    `work/earlier/` with the time in its name. Raises LabkitError for a lesson that is none, with those there are.
    """
    source, ours = _find(checkout, lesson), checkout / FOLDER
    copy, aside = ours / source.name, None
    if copy.exists() and _digest(copy) != _digest(source):
        aside = _free(ours / ASIDE / f"{copy.stem}-{datetime.now():%Y-%m-%d-%H%M%S}.ipynb")
        aside.parent.mkdir(parents=True, exist_ok=True)
        copy.rename(aside)
    _write(copy, source.read_bytes())
    copied = _remembered(ours) | {source.name: _digest(source)}
    _write(ours / MEMORY, json.dumps(copied, indent=1, sort_keys=True).encode())
    return copy, aside


def copy_of(notebook: Path, checkout: Path) -> Path | None:
    """The learner's copy of a lesson of the checkout; None for any other notebook."""
    at = notebook.resolve()
    return checkout / FOLDER / at.name if at.parent == (checkout / SOURCE).resolve() else None


def _find(checkout: Path, lesson: str) -> Path:
    there = sorted((checkout / SOURCE).glob("[0-9]*.ipynb"))
    number = lesson.zfill(2) if lesson.isdecimal() else lesson
    for path in there:
        if number in (path.name[:2], path.stem, path.name):
            return path
    known = ", ".join(path.name[:2] for path in there)
    if not known:
        raise LabkitError(
            f"There are no lessons in {checkout / SOURCE}. Run this in the checkout of labkit."
        )
    raise LabkitError(f"There is no lesson {shown(lesson)}. Give its number; there are {known}.")


def _remembered(folder: Path) -> dict[str, str]:
    """What was copied; empty where that is not known, and then every copy counts as worked on."""
    try:
        known = json.loads((folder / MEMORY).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return (
        {str(name): str(digest) for name, digest in known.items()}
        if isinstance(known, dict)
        else {}
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _free(path: Path) -> Path:
    """That path, or the next with a number behind it: two resets in one second put two copies aside."""
    number = 2
    while path.exists():
        path = path.with_stem(f"{path.stem.partition('~')[0]}~{number}")
        number += 1
    return path


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        runtime.write_atomic(path, content)
    except OSError as trouble:
        raise FileError.of(path, trouble) from trouble
