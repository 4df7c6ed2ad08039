"""A lesson's quiz on a card: choose an option and read at once why it is right, or which idea it misses.

The learner may go on choosing. The first choice for each question is what counts, and it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import traitlets

from labkit.console import assets
from labkit.console.panel import Panel
from labkit.console.wire import Message
from labkit.errors import shown
from labkit.learn import progress
from labkit.learn.note import said
from labkit.learn.questions import LETTERS, Question, QuizError, load

_NONE = -1  # the place of an option that was not chosen


class Quiz(Panel):
    """The card with a lesson's questions; text, and HTML that folds, where there is no front-end.

    `first` and `latest` hold the place of an option for each question, -1 where none was chosen.
    """

    _esm = assets.script_beside(__file__, "quiz_card.js")
    _css = assets.style_beside(__file__, "quiz_card.css")
    lesson = traitlets.Unicode().tag(sync=True)
    questions = traitlets.List(traitlets.Dict()).tag(sync=True)
    first = traitlets.List(traitlets.Int()).tag(sync=True)
    latest = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, lesson: str) -> None:
        self.asked = load(lesson)
        kept = progress.read("quizzes").get(lesson, {})
        first = [_place(question, kept.get(question.text)) for question in self.asked]
        super().__init__(
            lesson=lesson,
            questions=[_to_page(question) for question in self.asked],
            first=first,
            latest=first,
        )

    @property
    def right(self) -> int:
        """Questions whose first choice was right."""
        return sum(q.right == place for q, place in zip(self.asked, self.first, strict=True))

    def choose(self, question: int, option: int) -> None:
        """Choose an option of a question, both counted from 0. Only the first choice is kept.

        Raises:
            QuizError: for a question or an option that is not there.
        """
        if type(question) is not int or question not in range(len(self.asked)):
            raise QuizError(
                f"Question {shown(question)} is none of the {len(self.asked)}, which are counted from 0."
            )
        chosen = self.asked[question]
        if type(option) is not int or option not in range(len(chosen.options)):
            letters = ", ".join(LETTERS[: len(chosen.options)])
            raise QuizError(f"Question {question + 1} has the options {letters}. Choose one.")
        if self.first[question] == _NONE:
            with progress.entry("quizzes", self.lesson) as kept:
                kept[chosen.text] = chosen.options[option].text
            self.first = _with(self.first, question, option)
        self.latest = _with(self.latest, question, option)

    def answer(self, answers: Sequence[str] | Mapping[int, str]) -> None:
        """Choose by letters: one a question, or by the number of the question, counted from 1.

        Raises:
            QuizError: for a number or a letter that is not on offer; then nothing was chosen.
        """
        if not isinstance(answers, Mapping):
            if not isinstance(answers, Sequence) or len(answers) != len(self.asked):
                example = LETTERS[0] * len(self.asked)
                raise QuizError(
                    f"answers={shown(answers)} does not answer {len(self.asked)} questions. Give a letter for each, "
                    f'as in answers="{example}", or name the question, as in answers={{1: "a"}}.'
                )
            answers = dict(enumerate(answers, start=1))
        for question, option in [self._places(*each) for each in answers.items()]:
            self.choose(question, option)

    def _places(self, number: Any, letter: Any) -> tuple[int, int]:
        """The places of a question and of an option, from how a learner names them."""
        if type(number) is not int or number not in range(1, len(self.asked) + 1):
            raise QuizError(
                f"There is no question {shown(number)}. Count from 1 to {len(self.asked)}."
            )
        letters = LETTERS[: len(self.asked[number - 1].options)]
        if not isinstance(letter, str) or letter.lower() not in tuple(letters):
            raise QuizError(
                f"Question {number} has the options {', '.join(letters)}, not {shown(letter)}."
            )
        return number - 1, letters.index(letter.lower())

    def obey(self, asked: Message, buffers: Sequence[Any]) -> None:
        """Choose what the page chose."""
        if asked.get("kind") != "choose":
            raise QuizError("A message needs the kind choose, a question and an option.")
        for name in ("question", "option"):
            if name not in asked:
                raise QuizError(f"A choice needs {name!r}, the place counted from 0.")
        self.choose(asked["question"], asked["option"])

    def __repr__(self) -> str:
        asked = "\n".join(self._described(number) for number in range(len(self.asked)))
        answered = len(self.first) - self.first.count(_NONE)
        score = f"First choices: {self.right} of {answered} right." if answered else "Not begun."
        how = f'learn.quiz("{self.lesson}", answers="{LETTERS[0] * len(self.asked)}")'
        return f"{asked}\n{score} To answer in code, a letter for each question: {how}"

    def _described(self, number: int) -> str:
        """A question as text, with the reason for the latest choice."""
        question, place = self.asked[number], self.latest[number]
        offered = zip(LETTERS, question.options, strict=False)
        lines = [f"{number + 1}. {question.text}", *(f"   {a}) {o.text}" for a, o in offered)]
        if place != _NONE:
            chosen = question.options[place]
            lines.append(f"   {LETTERS[place]}) {chosen.verdict} {chosen.reason}")
        return "\n".join(lines)

    def stand_in(self) -> tuple[Message, Message]:
        """Options that unfold into their reasons."""
        return {"text/html": folded(self.asked)}, {}


def quiz(lesson: str, answers: Sequence[str] | Mapping[int, str] | None = None) -> Quiz:
    """Ask the questions of a lesson, and answer every option with a reason.

    Args:
        lesson: its two digits, as in "05".
        answers: to answer in code, a letter for each question, as in "bac"; or letters by the
            number of the question, as in {2: "a"}. None shows the card and waits for nobody.

    Raises:
        QuizError: for a lesson without a quiz, and for an answer that is not on offer.
    """
    card = Quiz(lesson)
    if answers is not None:
        card.answer(answers)
    return card


def folded(questions: Sequence[Question]) -> str:
    """Questions as HTML that needs no script: each option unfolds into its verdict and its reason."""
    return "<ol>" + "".join(f"<li>{_item(question)}</li>" for question in questions) + "</ol>"


def _item(question: Question) -> str:
    options = "".join(
        f"<details><summary>{letter}) {said(option.text)}</summary>"
        f"<p>{escape(option.verdict)} {said(option.reason)}</p></details>"
        for letter, option in zip(LETTERS, question.options, strict=False)
    )
    return f"<p><strong>{said(question.text)}</strong></p>{options}"


def _to_page(question: Question) -> dict[str, Any]:
    names = ("text", "verdict", "reason", "right")
    options = [{name: getattr(each, name) for name in names} for each in question.options]
    return {"text": question.text, "options": options}


def _place(question: Question, text: Any) -> int:
    """The place of the option with that text; a quiz may have been rewritten since it was kept."""
    texts = [option.text for option in question.options]
    return texts.index(text) if text in texts else _NONE


def _with(places: list[int], question: int, option: int) -> list[int]:
    return [*places[:question], option, *places[question + 1 :]]
