"""The list of lessons says what README, the notebooks and the checks say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

from labkit.learn import exercises
from labkit.learn.lessons import LESSONS, Lesson
from labkit.publish.build import sources

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)


def asked(source: Path) -> tuple[str, ...]:
    """The ids of the predictions that a source asks for, in their order."""
    cells = jupytext.read(source, fmt="py:percent").cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return tuple(
        call.args[0].value
        for call in sorted(calls, key=lambda call: call.lineno)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "predict" and call.args
        if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    )


def test_the_list_has_the_lessons_that_are_written(root: Path) -> None:
    assert [lesson.name for lesson in LESSONS] == [source.stem for source in sources(root)]


def test_the_readme_has_every_lesson_with_its_question(root: Path) -> None:
    table = re.findall(
        r"^\| \[(\d\d .+?)\]\(notebooks/(.+?)\) \| (.+?) \|$", (root / "README.md").read_text("utf-8"), re.M
    )  # fmt: skip
    assert table == [(str(lesson), lesson.notebook, lesson.question) for lesson in LESSONS]


@each_lesson
def test_a_notebook_is_headed_by_its_title_or_its_question(lesson: Lesson, root: Path) -> None:
    first = (root / "notebooks" / "src" / f"{lesson.name}.py").read_text("utf-8").splitlines()[1]
    question = lesson.question[0].lower() + lesson.question[1:]
    allowed = (lesson.title, f"{lesson.title}: {question}", lesson.question)
    assert first in [f"# # {lesson.number} · {heading}" for heading in allowed]


@each_lesson
def test_the_predictions_are_those_that_the_lesson_asks_for(lesson: Lesson, root: Path) -> None:
    assert lesson.predictions == asked(root / "notebooks" / "src" / f"{lesson.name}.py")


@each_lesson
def test_the_exercises_are_those_that_can_be_checked(lesson: Lesson) -> None:
    assert len(lesson.exercises) >= 2
    for id in lesson.exercises:
        assert exercises.find(id).id == id
    registered = [id for id in exercises._known if id.startswith(f"{lesson.number}-")]
    assert list(lesson.exercises) == registered


def test_a_lesson_without_checks_has_no_exercises() -> None:
    assert exercises.ids("99") == ()


@each_lesson
@pytest.mark.parametrize("folder", ["notebooks", "notebooks/solutions"])
def test_a_lesson_says_at_its_end_how_its_kernel_is_shut_down(
    folder: str, lesson: Lesson, root: Path
) -> None:
    last = nbformat.read(root / folder / f"{lesson.name}.ipynb", as_version=4).cells[-1]
    assert "Shut Down Kernel" in last.source
    assert "Disconnect and delete runtime" in last.source
