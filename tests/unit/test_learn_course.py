"""The map says what the progress file holds, in words, as a table and as a figure, and shows nothing as markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from labkit.learn import check, course_map, hint, predict, progress, reveal
from labkit.learn.course_map import ANEW
from labkit.learn.lessons import LESSONS, Lesson

HOSTILE = "<script>alert(1)</script><img src=x>$x$"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def write(file: Path, **drawers: Any) -> None:
    file.write_text(json.dumps({"version": 1, **drawers}))


def guessed(ids: tuple[str, ...], outcome: str | None = "a") -> dict[str, dict[str, Any]]:
    met = {} if outcome is None else {"outcome": outcome}
    entry = {"question": "?", "choices": ["a", "b"], "guess": "a", "confidence": 70, **met}
    return dict.fromkeys(ids, entry)


def solved(ids: tuple[str, ...], hints: int = 0) -> dict[str, dict[str, Any]]:
    return {id: {"attempts": 1, "solved": True, "hints": hints} for id in ids}


def answered(*lessons: Lesson) -> dict[str, dict[str, str]]:
    return {one.number: dict.fromkeys(one.quiz, "the first of the options") for one in lessons}


def whole_course() -> dict[str, Any]:
    return {
        "predictions": {k: v for one in LESSONS for k, v in guessed(one.predictions).items()},
        "exercises": {k: v for one in LESSONS for k, v in solved(one.exercises).items()},
        "quizzes": answered(*LESSONS),
    }


class Page(HTMLParser):
    """The rows of the map's table as text, the elements it has, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag == "br" and self.rows:
            self.rows[-1][-1] += " "

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def each(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


# ---------------------------------------------------------------- what is done, and what is next


def test_an_empty_map_begins_at_the_beginning(file: Path) -> None:
    found = course_map()
    assert [step.lesson for step in found.steps] == list(LESSONS)
    assert {step.state for step in found.steps} == {"not begun"}
    assert (found.done, found.next) == (0, found.steps[0])
    assert not file.exists()


def test_what_a_learner_does_is_on_the_map() -> None:
    predict("00-three-labels", "?", ("low", "high"), guess="low")
    reveal("00-three-labels", "low")
    hint("00-best-epoch")
    hint("00-best-epoch")
    check("00-best-epoch", ...)
    first = course_map().steps[0]
    assert (first.guessed, first.met, first.right) == (1, 1, 1)
    assert (first.solved, first.hints, first.state) == (0, 2, "begun")
    assert first.predictions == "1 of 1 made, 1 of 1 came true"
    assert first.exercises == "0 of 2 solved, 2 hints opened"
    assert first.open == "2 exercises and 4 questions"


def test_a_guess_without_an_outcome_is_neither_true_nor_false(file: Path) -> None:
    write(file, predictions=guessed(LESSONS[2].predictions[:2], outcome=None))
    step = course_map().steps[2]
    assert step.predictions == "2 of 3 made"
    assert step.open == "1 prediction, 3 exercises and 4 questions"


def test_next_is_the_furthest_lesson_that_was_begun(file: Path) -> None:
    write(file, predictions=guessed(LESSONS[5].predictions[:1]))
    assert course_map().next == course_map().steps[5]


def test_next_is_the_one_after_the_furthest_where_that_is_done(file: Path) -> None:
    lesson = LESSONS[5]
    done = {"predictions": guessed(lesson.predictions), "exercises": solved(lesson.exercises)}
    write(file, **done)
    assert course_map().steps[5].state == "begun"
    assert course_map().steps[5].open == "4 questions"
    write(file, **done, quizzes=answered(lesson))
    assert course_map().steps[5].state == "done"
    assert course_map().next == course_map().steps[6]


def test_what_was_left_open_comes_after_the_last_lesson(file: Path) -> None:
    course = whole_course()
    del course["exercises"][LESSONS[3].exercises[1]]
    write(file, **course)
    found = course_map()
    assert (found.done, found.next) == (16, found.steps[3])
    assert found.steps[3].open == "1 exercise"


def test_the_whole_course_has_no_next(file: Path) -> None:
    write(file, **whole_course())
    found = course_map()
    assert (found.done, found.next) == (len(LESSONS), None)
    assert "17 of 17 lessons done. You have come to the end of the course." in " ".join(
        str(found).split()
    )
    assert "go on here" not in found._repr_html_()


def test_answers_to_questions_that_the_quiz_asks_count(file: Path) -> None:
    lesson = LESSONS[0]
    write(file, quizzes={lesson.number: {lesson.quiz[1]: "so", "Not asked any more?": "yes"}})
    first = course_map().steps[0]
    assert (first.answered, first.state) == (1, "begun")
    assert first.quiz == "1 of 4 answered"
    assert progress.read("a drawer that there is not") == {}


# ---------------------------------------------------------------- what it holds, said three ways


def test_the_text_tells_every_lesson_the_file_and_how_to_begin_anew(file: Path) -> None:
    write(file, predictions=guessed(LESSONS[0].predictions))
    text = str(course_map())
    assert all(f"{lesson} · {lesson.question}" in text for lesson in LESSONS)
    assert "begun; predictions: 1 of 1 made, 1 of 1 came true; exercises: 0 of 2 solved" in text
    assert f"kept in {file}, a file on this machine, and sent nowhere" in text
    assert ANEW in text


def test_the_way_to_begin_anew_works(file: Path) -> None:
    write(file, **whole_course())
    exec(ANEW)
    assert course_map().done == 0


def test_the_table_says_what_the_text_says(file: Path) -> None:
    lesson = LESSONS[0]
    write(file, predictions=guessed(lesson.predictions), exercises=solved(lesson.exercises[:1], 1))
    page = Page(course_map()._repr_html_())
    assert page.rows[0] == ["Lesson", "State", "Predictions", "Exercises", "Quiz"]
    assert page.rows[1] == [
        "00 Start here Does my machine work, and what is this place?",
        "◐ begun go on here",
        "1 of 1 made, 1 of 1 came true",
        "1 of 2 solved, 1 hint opened",
        "0 of 4 answered",
    ]
    assert len(page.rows) == 1 + len(LESSONS)
    assert [head.get("scope") for head in page.each("th")] == ["col"] * 5 + ["row"] * len(LESSONS)
    assert len(page.each("caption")) == 1


def test_a_lesson_is_a_link_only_where_its_notebook_lies(file: Path, tmp_path: Path) -> None:
    assert Page(course_map()._repr_html_()).each("a") == []
    (tmp_path / LESSONS[1].notebook).write_text("{}")
    links = Page(course_map()._repr_html_()).each("a")
    assert links == [{"href": "01_why_fine_tune.ipynb"}]


def test_the_figure_says_in_words_what_it_shows(file: Path) -> None:
    lesson = LESSONS[0]
    begun = guessed((*lesson.predictions, *LESSONS[1].predictions))
    quizzes = answered(lesson)
    write(file, predictions=begun, exercises=solved(lesson.exercises), quizzes=quizzes)
    figure = course_map().figure()
    assert "Done: 00; begun: 01; not begun: 02, 03," in figure.alt
    assert figure.alt.endswith("Go on with 01.")
    assert list(figure.table["state"])[:3] == ["done", "begun", "not begun"]
    assert figure.png().startswith(b"\x89PNG")
    image = Page(course_map()._repr_html_()).each("img")
    assert [each["alt"] for each in image] == [figure.alt]


# ---------------------------------------------------------------- files that are not as they should be


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 0}', '{"version": 1, "exercises": 3}']
)
def test_a_file_that_cannot_be_read_leaves_an_empty_map(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.warns(UserWarning, match="unreadable-1"):
        assert course_map().done == 0


def test_a_file_from_before_a_drawer_was_there_is_read(file: Path) -> None:
    write(file, exercises=solved(LESSONS[0].exercises))
    assert course_map().steps[0].solved == 2


def test_a_hostile_entry_stays_text_and_counts_as_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "<b>progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(file))
    entry = {"question": HOSTILE, "guess": HOSTILE, "outcome": [HOSTILE], "confidence": HOSTILE}
    exercise = {"solved": HOSTILE, "hints": HOSTILE, "attempts": None}
    write(
        file,
        predictions={HOSTILE: entry, f"00-{HOSTILE}": entry, "00-three-labels": entry},
        exercises={HOSTILE: exercise, "00-best-epoch": exercise, "00-two-rates": {"hints": -3}},
    )
    found = course_map()
    first = found.steps[0]
    assert (first.guessed, first.right, first.solved, first.hints) == (1, 0, 0, 0)
    page = Page(found._repr_html_())
    assert not page.each("script")
    assert not page.each("b")
    assert HOSTILE not in str(found)
    found.figure().png()
