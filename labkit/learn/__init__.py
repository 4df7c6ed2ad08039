"""The teacher's room: predictions, exercises with checks, quizzes, progress, notebooks from their sources.

A lesson needs few names from here: `predict`, `reveal`, `score`, `quiz`, `check` and `hint`. Each is
imported when it is first used. This room may import every other room but the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {
    "warm_up": "warming",
    "predict": "predictions",
    "reveal": "predictions",
    "score": "scoring",
    "quiz": "quiz_card",
    "check": "exercises",
    "hint": "exercises",
    "photographs": "material",
    "atlas_card": "atlas_panel",
    "classify": "predict_card",
    "predict_panel": "predict_card",
    "Clinic": "clinic",
    "seal": "sealed",
    "course_map": "course",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"labkit.learn.{_NAMES[name]}"), name)
    raise AttributeError(f"labkit.learn has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
