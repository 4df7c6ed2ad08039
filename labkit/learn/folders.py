"""The folder of a lesson: what is of that lesson alone lies there, and is found by the lesson's two digits.

This room knows no lesson by name; a course is a package with a folder `lesson_NN` for each.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

COURSE = "labkit.course"
_HERE = Path(__file__).resolve().parents[1] / "course"


def folder(lesson: str) -> Path:
    """Where the things of a lesson lie, whether or not there is such a lesson."""
    return _HERE / f"lesson_{lesson}"


def lessons_with(file: str) -> tuple[str, ...]:
    """The lessons that have such a file, by their two digits."""
    return tuple(
        sorted(p.parent.name.removeprefix("lesson_") for p in _HERE.glob(f"lesson_*/{file}"))
    )


def module(lesson: str, name: str) -> ModuleType | None:
    """A module of a lesson, such as `checks` or `claims`; None where it has no such."""
    if not (folder(lesson) / f"{name}.py").is_file():
        return None
    return import_module(f"{COURSE}.lesson_{lesson}.{name}")
