"""Exercises that check themselves: a property is tested, and what is wrong is named, never the code.

A check is a generator function that takes the learner's answer and yields one sentence for each
thing that is wrong; it yields nothing when all is right. The checks of a lesson are in `checks.py` of its folder, and
are found by the id of the exercise, as in "05-freeze".
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from labkit.errors import LabkitError, shown
from labkit.learn import folders, progress
from labkit.learn.note import Note

Test = Callable[[Any], Iterator[str]]

_CELL = re.compile(r"ipykernel_\d|<ipython-input")  # the names IPython gives to cells
_MARK = re.compile(r'^@exercise\(\s*"([\w-]+)"', re.M)
_LESSON = re.compile(r"\w{1,40}")
_MOST_PROBLEMS = 3  # a longer list is a wall, and the rest often falls with the first
_known: dict[str, Exercise] = {}


@dataclass(frozen=True)
class Exercise:
    """What a lesson asks for: a title, how hard (1 to 3), how long (minutes), the hints, and its test."""

    id: str
    title: str
    difficulty: int
    minutes: int
    hints: tuple[str, ...]
    test: Test

    @property
    def label(self) -> str:
        """Difficulty and time in words, as the notebook shows them."""
        words = {1: "a gentle start", 2: "takes some thought", 3: "a challenge"}
        level = f"Difficulty {self.difficulty} of 3 ({words[self.difficulty]})"
        return f"{level}, about {self.minutes} minutes"

    def problems(self, answer: Any) -> list[str]:
        """What is wrong with the answer, in words; empty if nothing is."""
        if answer is ...:
            return ["There is no answer here yet: replace the three dots."]
        try:
            return list(islice(self.test(answer), _MOST_PROBLEMS))
        except NotImplementedError:
            return [
                "There is no answer here yet: write your lines in place of the one that raises."
            ]
        except Exception as error:  # the learner's code may raise anything; the lesson goes on
            return [f"Your code stopped with {type(error).__name__}: {error}{_where(error)}"]


def exercise(
    id: str, title: str, difficulty: int, minutes: int, hints: tuple[str, ...]
) -> Callable[[Test], Test]:
    """Decorator that makes a test known as the check of an exercise."""

    def register(test: Test) -> Test:
        _known[id] = Exercise(id, title, difficulty, minutes, hints, test)
        return test

    return register


def ids(lesson: str) -> tuple[str, ...]:
    """The ids of a lesson's exercises in their order; none where a lesson has no checks.

    They are read from the text of the checks, because to import those takes torch.
    """
    file = folders.folder(lesson) / "checks.py"
    return tuple(_MARK.findall(file.read_text("utf-8"))) if file.is_file() else ()


def find(id: str) -> Exercise:
    """The exercise of that id. Raises `LabkitError` where there is none."""
    if not isinstance(id, str):
        raise LabkitError(
            f"{shown(id)} is not the id of an exercise. An id reads like '05-freeze'."
        )
    lesson = id.partition("-")[0]
    if not _LESSON.fullmatch(lesson):
        raise LabkitError(
            f"{shown(id)}: no lesson has this exercise. An id reads like '05-freeze'."
        )
    if folders.module(lesson, "checks") is None:
        raise LabkitError(
            f"{id!r}: no lesson {lesson!r} has exercises. An id reads like '05-freeze'."
        )
    if id not in _known:
        there = ", ".join(sorted(known for known in _known if known.startswith(f"{lesson}-")))
        raise LabkitError(f"There is no exercise {id!r}. Lesson {lesson} has {there}.")
    return _known[id]


def check(id: str, answer: Any) -> Note:
    """Test the learner's answer and say what is wrong, or that nothing is.

    Raises `LabkitError` for an id that does not exist, and never for an answer.
    """
    task = find(id)
    problems = task.problems(answer)
    with progress.entry("exercises", id) as kept:
        if not kept.get("solved"):
            kept["attempts"] = kept.get("attempts", 0) + 1
            kept["solved"] = not problems
    if not problems:
        return Note(f"Right: {task.title}.", tone="right")
    return Note(f"Not yet: {task.title}.", tuple(problems), task.hints, tone="not yet")


def hint(id: str) -> Note:
    """The next hint of an exercise; each call goes one rung further, and the last rung repeats."""
    task = find(id)
    with progress.entry("exercises", id) as kept:
        rung = min(kept.get("hints", 0), len(task.hints) - 1)
        kept["hints"] = rung + 1
    return Note(f"Hint {rung + 1} of {len(task.hints)}: {task.hints[rung]}")


def _where(error: Exception) -> str:
    """The line of the learner's own cell at which it stopped, if it was in a cell."""
    frames = traceback.extract_tb(error.__traceback__)
    cells = [frame.lineno for frame in frames if _CELL.search(frame.filename)]
    return f" (line {cells[-1]} of your cell)" if cells else ""
