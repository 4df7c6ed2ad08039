"""The learner's map of the course: what is done in each lesson, what is open, where to go on.

It reads the progress file of this machine and the package's own list of lessons, and nothing else; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labkit.learn import progress
from labkit.learn.lessons import LESSONS, Lesson
from labkit.learn.note import said

if TYPE_CHECKING:
    from labkit.show.figure import Figure

State = Literal["done", "begun", "not begun"]
Entries = Mapping[str, Mapping[str, Any]]

MARKS: Mapping[State, str] = {"done": "●", "begun": "◐", "not begun": "○"}
ANEW = "from labkit.learn import progress; progress.forget()"


@dataclass(frozen=True)
class Step:
    """A lesson on the learner's way.

    Of its predictions: `guessed` were committed, `met` have met their outcome, `right` came true. Of its exercises:
    `solved`; `hints` were opened. Of its quiz, `answered` questions were.
    """

    lesson: Lesson
    guessed: int
    met: int
    right: int
    solved: int
    hints: int
    answered: int
    begun: bool

    @property
    def state(self) -> State:
        """Done is who has committed every prediction, solved every exercise and answered the quiz."""
        if not self.to_guess and not self.to_solve and not self.to_answer:
            return "done"
        return "begun" if self.begun else "not begun"

    @property
    def to_guess(self) -> int:
        """Predictions that are open."""
        return len(self.lesson.predictions) - self.guessed

    @property
    def to_solve(self) -> int:
        """Exercises that are open."""
        return len(self.lesson.exercises) - self.solved

    @property
    def to_answer(self) -> int:
        """Questions of the quiz that are open."""
        return len(self.lesson.quiz) - self.answered

    @property
    def predictions(self) -> str:
        """What became of the predictions, in words."""
        made = f"{self.guessed} of {len(self.lesson.predictions)} made"
        return f"{made}, {self.right} of {self.met} came true" if self.met else made

    @property
    def exercises(self) -> str:
        """What became of the exercises, in words."""
        solved = f"{self.solved} of {len(self.lesson.exercises)} solved"
        return f"{solved}, {_counted(self.hints, 'hint')} opened" if self.hints else solved

    @property
    def quiz(self) -> str:
        """What became of the quiz, in words."""
        return f"{self.answered} of {len(self.lesson.quiz)} answered"

    @property
    def open(self) -> str:
        """What is left to do, in words; empty when all is done."""
        numbers = (self.to_guess, self.to_solve, self.to_answer)
        names = ("prediction", "exercise", "question")
        left = [_counted(n, name) for n, name in zip(numbers, names, strict=True) if n]
        return " and ".join([", ".join(left[:-1]), left[-1]] if left[1:] else left)


@dataclass(frozen=True)
class CourseMap:
    """All lessons in their order with what is done in each, and the file that says so."""

    steps: tuple[Step, ...]
    file: Path

    @property
    def done(self) -> int:
        """How many lessons done."""
        return sum(step.state == "done" for step in self.steps)

    @property
    def next(self) -> Step | None:
        """The furthest lesson that was begun, if something is open there, else the next one that has something open.

        None when the whole course is done.
        """
        furthest = max((place for place, step in enumerate(self.steps) if step.begun), default=0)
        ahead = self.steps[furthest:] + self.steps[:furthest]
        return next((step for step in ahead if step.state != "done"), None)

    @property
    def headline(self) -> str:
        """How far the learner has come."""
        return f"{self.done} of {len(self.steps)} lessons done."

    @property
    def kept(self) -> str:
        """Where all this is kept."""
        return f"This is kept in {self.file}, a file on this machine, and sent nowhere."

    def figure(self) -> Figure:
        """The path through the lessons."""
        from labkit.learn import course_figures

        return course_figures.path(self)

    def facts(self) -> dict[str, Any]:
        """All of it as plain data, for programs."""
        return {
            "file": str(self.file),
            "done": self.done,
            "next": self.next.lesson.number if self.next else None,
            "lessons": [_facts(step) for step in self.steps],
        }

    def __str__(self) -> str:
        lines = [line for step in self.steps for line in self._lines(step)]
        way = _way(self.next, str(self.next.lesson)) if self.next else _END
        head = [f"Your map of the course. {self.headline}", way, ""]
        return "\n".join([*head, *lines, "", self.kept, f"To begin anew: {ANEW}"])

    __repr__ = __str__

    def _lines(self, step: Step) -> Iterator[str]:
        here = f"   <- go on here: {step.open}" if step is self.next else ""
        yield f"{MARKS[step.state]} {step.lesson} · {step.lesson.question}{here}"
        if step.begun:
            told = (
                f"predictions: {step.predictions}; exercises: {step.exercises}; quiz: {step.quiz}"
            )
            yield f"    {step.state}; {told}"

    def _repr_html_(self) -> str:
        way = _way(self.next, _link(self.next.lesson)) if self.next else _END
        return (
            f"<div data-labkit='course-map' style='max-width:62em'>"
            f"<p><strong>{self.headline}</strong> {way}</p>{self.figure().image()}{self._table()}"
            f"<p>{escape(self.kept)}<br>To begin anew: <code>{escape(ANEW)}</code></p></div>"
        )

    def _table(self) -> str:
        names = ("Lesson", "State", "Predictions", "Exercises", "Quiz")
        heads = "".join(f"<th scope='col' style='{_CELL}'>{name}</th>" for name in names)
        rows = "".join(map(self._row, self.steps))
        return (
            f"<table style='{_TABLE}'><caption style='{_CELL}'>Your map of the course</caption>"
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _row(self, step: Step) -> str:
        here = "<br><strong>go on here</strong>" if step is self.next else ""
        mark = f"<span aria-hidden='true'>{MARKS[step.state]}</span>"
        state = f"<span style='white-space:nowrap'>{mark} {step.state}{here}</span>"
        cells = (state, step.predictions, step.exercises, step.quiz)
        rest = "".join(f"<td style='{_CELL}'>{text}</td>" for text in cells)
        name = f"{_link(step.lesson)}<br>{said(step.lesson.question)}"
        return f"<tr><th scope='row' style='{_CELL};font-weight:normal'>{name}</th>{rest}</tr>"


def course_map() -> CourseMap:
    """The learner's map of the course, as the progress file tells it now."""
    kept = {drawer: progress.read(drawer) for drawer in ("predictions", "exercises", "quizzes")}
    return CourseMap(tuple(_step(lesson, **kept) for lesson in LESSONS), progress.path())


# ---------------------------------------------------------------- from entries to steps


def _step(lesson: Lesson, predictions: Entries, exercises: Entries, quizzes: Entries) -> Step:
    """What the entries of a lesson come to; what they should not hold counts as nothing."""
    guesses = [predictions[id] for id in lesson.predictions if "guess" in predictions.get(id, {})]
    known = [guess for guess in guesses if "outcome" in guess]
    tried = [exercises[id] for id in lesson.exercises if id in exercises]
    answered = sum(text in quizzes.get(lesson.number, {}) for text in lesson.quiz)
    return Step(
        lesson,
        guessed=len(guesses),
        met=len(known),
        right=sum(guess["guess"] == guess["outcome"] for guess in known),
        solved=sum(one.get("solved") is True for one in tried),
        hints=sum(_count(one.get("hints")) for one in tried),
        answered=answered,
        begun=bool(guesses or tried or answered),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


# ---------------------------------------------------------------- in words

_END = "You have come to the end of the course."
_TABLE = "border-collapse:collapse;table-layout:auto;margin:.6em 0"
_CELL = "text-align:left;vertical-align:top;padding:.25em .8em .25em 0"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _way(step: Step, name: str) -> str:
    return f"Go on with {name} ({step.open} to go)."


def _link(lesson: Lesson) -> str:
    """The lesson's name, as a link where its notebook lies beside the one that asks; on Colab there is none."""
    name = said(str(lesson))
    there = Path(lesson.notebook).is_file()
    return f"<a href='{lesson.notebook}'>{name}</a>" if there else name


def _facts(step: Step) -> dict[str, Any]:
    lesson = step.lesson
    return {
        "lesson": lesson.number,
        "title": lesson.title,
        "question": lesson.question,
        "notebook": lesson.notebook,
        "state": step.state,
        "predictions": {
            "of": len(lesson.predictions),
            "made": step.guessed,
            "met": step.met,
            "right": step.right,
        },
        "exercises": {
            "of": len(lesson.exercises),
            "solved": step.solved,
            "hints": step.hints,
        },
        "quiz": {"of": len(step.lesson.quiz), "answered": step.answered},
    }
