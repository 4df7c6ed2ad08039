"""A lesson's quiz as data: questions, options, and a reason for every option, read from `quiz.toml` in its folder.

A file is a list of `[[question]]`: its `text`, and three or four `[[question.option]]` with a `text` and a `reason`,
one of them with `right = true`. A question that repeats what the record says of a claim names it, as in
`claims = { 6 = "it depends" }`, so that a test can ask the record. A quiz that breaks a rule is refused where it is
loaded, so a card never has to look again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import UNREADABLE, LabkitError, shown
from labkit.learn import folders

LETTERS = "abcd"
_FEWEST_QUESTIONS, _FEWEST_OPTIONS = 3, 3
_STRETCH = 2  # how many times as long as the shortest option of a question the longest may be


class QuizError(LabkitError, ValueError):
    """A quiz that cannot be asked, or an answer that it does not offer."""


@dataclass(frozen=True)
class Option:
    """An answer on offer, and the reason why it is right, or which idea it misses."""

    text: str
    reason: str
    right: bool = False

    @property
    def verdict(self) -> str:
        """A word on this option, as it stands before its reason."""
        return "✓ Right." if self.right else "○ Not this one."


@dataclass(frozen=True)
class Question:
    """One question with three or four options of similar length, of which exactly one is right.

    `claims` holds what the question says of the record: verdicts by the number of the claim.
    """

    text: str
    options: tuple[Option, ...]
    claims: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts = [option.text for option in self.options]
        reasons = {option.reason for option in self.options}
        lengths = sorted(map(len, texts))
        rights = sum(option.right for option in self.options)
        offered = _FEWEST_OPTIONS <= len(texts) <= len(LETTERS)
        self._ask("a text of its own", bool(self.text))
        self._ask(f"{_FEWEST_OPTIONS} to {len(LETTERS)} options", offered)
        self._ask("exactly one right option", rights == 1)
        self._ask("options that differ", len({text.casefold() for text in texts}) == len(texts))
        self._ask("a reason of its own for every option", len(reasons - {""}) == len(texts))
        self._ask("options of similar length", 0 < lengths[-1] <= _STRETCH * lengths[0])

    def _ask(self, rule: str, kept: bool) -> None:
        if not kept:
            raise QuizError(f"A question needs {rule}. This one has not: {self.text!r}")

    @property
    def right(self) -> int:
        """The place of the right option."""
        return next(place for place, option in enumerate(self.options) if option.right)


def lessons() -> tuple[str, ...]:
    """The lessons that have a quiz, by their two digits."""
    return folders.lessons_with("quiz.toml")


def load(lesson: str) -> tuple[Question, ...]:
    """The questions of a lesson, in order.

    Raises:
        QuizError: no such quiz, or one that breaks a rule.
    """
    if not isinstance(lesson, str) or lesson not in lessons():
        there = ", ".join(lessons())
        raise QuizError(f"There is no quiz {shown(lesson)}. There is one for each of {there}.")
    try:
        return read((folders.folder(lesson) / "quiz.toml").read_text("utf-8"))
    except QuizError as problem:
        raise QuizError(f"the quiz of lesson {lesson}: {problem}") from problem


def read(text: str) -> tuple[Question, ...]:
    """The questions that a TOML text holds. A line break in a text counts as a space.

    Raises:
        QuizError: it is not TOML, has keys that mean nothing, or breaks a rule.
    """
    try:
        tables = tomllib.loads(text)
        asked = tuple(_question(**table) for table in tables.pop("question", ()))
    except UNREADABLE as problem:
        raise QuizError(str(problem)) from problem
    if tables:
        raise QuizError(f"{', '.join(tables)} means nothing here, only [[question]] does.")
    if len(asked) < _FEWEST_QUESTIONS or len({each.text for each in asked}) < len(asked):
        raise QuizError(f"A quiz needs {_FEWEST_QUESTIONS} or more questions, no two alike.")
    return asked


def _question(text: str, option: list[Any], claims: Mapping[str, str] | None = None) -> Question:
    options = tuple(_option(**each) for each in option)
    verdicts = {int(number): verdict for number, verdict in (claims or {}).items()}
    return Question(_flowing(text), options, verdicts)


def _option(text: str, reason: str, right: bool = False) -> Option:
    return Option(_flowing(text), _flowing(reason), right)


def _flowing(text: str) -> str:
    return " ".join(text.split())
