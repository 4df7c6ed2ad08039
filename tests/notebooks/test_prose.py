"""How the lessons and their quizzes are written: short sentences, no hype, no number that is not on record."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import jupytext
import nbformat
import pytest

from labkit.learn import exercises, questions
from labkit.publish import glossary
from labkit.publish.build import sources

ROOT = Path(__file__).parents[2]
SOURCES = sources(ROOT)
SECTIONS = [
    "The question",
    "Predict",
    "The idea in plain PyTorch",
    "The same through labkit",
    "Your turn in the console",
    "Exercise 1",
    "Exercise 2",
    "What the evidence says",
    "Quiz",
    "Pitfalls",
    "Summary",
    "References",
]
MOST_WORDS = 30
HYPE = re.compile(
    r"\b(amazing|incredible|powerful|magical|revolutionary|state[- ]of[- ]the[- ]art|simply|easily|obviously)\b",
    re.I,
)
RESULT = re.compile(r"\d+(?:\.\d+)?\s?(?:%|per ?cent\b|points?\b|seconds?\b|s\b|times\b|×)", re.I)

pytestmark = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@cache
def prose(source: Path) -> tuple[str, ...]:
    """The Markdown cells of a source, references left out: they follow other rules."""
    cells = jupytext.read(source, fmt="py:percent").cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return tuple(text for text in texts if not text.startswith("## References"))


@cache
def asked(source: Path) -> tuple[tuple[str, ...], ...]:
    """What each question of the lesson's quiz says: the question, its options and their reasons."""
    return tuple(
        (each.text, *(text for option in each.options for text in (option.text, option.reason)))
        for each in questions.load(source.stem[:2])
    )


@cache
def terms() -> tuple[glossary.Term, ...]:
    return glossary.read((ROOT / "notebooks" / "src" / "glossary.md").read_text("utf-8"))


def quiz(source: Path) -> tuple[str, ...]:
    """All that the lesson's quiz says."""
    return tuple(text for question in asked(source) for text in question)


@cache
def code(source: Path) -> str:
    cells = jupytext.read(source, fmt="py:percent").cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def sentences(text: str) -> list[str]:
    """Sentences of a cell: headings, table cells and items of lists stand alone; a colon ends none."""
    text = re.sub(r"```.*?```|<[^>]+>|^\|[-|: ]+\|$", " ", text, flags=re.S | re.M)
    text = re.sub(r"\{[^}]*\}", "x", text)
    blocks = re.split(r"\n\s*\n|\n(?=#|- |\d+\. |\|)|(?<!^)\|", text)
    return [
        part for block in blocks for part in re.split(r"(?<=[.?])\**\s+", " ".join(block.split()))
    ]


def test_sentences_are_short(source: Path) -> None:
    texts = prose(source) + quiz(source)
    assert not [s for text in texts for s in sentences(text) if len(s.split()) > MOST_WORDS]


def test_nobody_shouts_and_nobody_sells(source: Path) -> None:
    for text in prose(source) + quiz(source):
        assert "!" not in text.replace("![", "")
        assert not HYPE.findall(text), text


def test_every_number_about_results_comes_from_the_record(source: Path) -> None:
    for text in prose(source)[1:] + quiz(source):  # the header tells time and memory
        bare = RESULT.findall(re.sub(r"`[^`]*`|\{[^}]*\}|95 % intervals?", "", text))
        assert not bare, f"{bare} in: {text}"


def test_the_lesson_has_the_shape_of_a_lesson(source: Path) -> None:
    headings = re.findall(r"^## (.+)$", "\n".join(prose(source)) + "\n## References", re.M)
    found = [next((h for h in headings if h.startswith(wanted)), None) for wanted in SECTIONS]
    assert None not in found, f"missing: {SECTIONS[found.index(None)]}"
    places = [headings.index(heading) for heading in found]
    assert places == sorted(places)
    for row in ("You will be able to", "Time", "Memory", "Builds on"):
        assert f"- **{row}:** " in prose(source)[0]


def test_a_guess_is_asked_for_before_any_other_code_and_its_outcome_told(source: Path) -> None:
    text = code(source)
    asked = re.findall(r"predict\(\s*\"([\w-]+)\"", text)
    assert asked
    assert text.index("predict(") < text.index("import labkit\n")
    assert sorted(asked) == sorted(re.findall(r"reveal\(\s*\"([\w-]+)\"", text))
    assert all(id.startswith(source.stem[:2]) for id in asked)


def test_the_exercises_are_those_that_have_checks(source: Path) -> None:
    lesson = source.stem[:2]
    with pytest.raises(Exception, match="There is no exercise") as listed:
        exercises.find(f"{lesson}-none")
    known = set(re.findall(rf"{lesson}-[\w-]+", str(listed.value))) - {f"{lesson}-none"}
    assert set(re.findall(r"check\(\"([\w-]+)\"", code(source))) == known
    assert set(re.findall(r"\{exercise:([\w-]+)\}", "\n".join(prose(source)))) == known
    assert len(known) >= 2


def test_the_quiz_is_asked_once_and_is_the_lessons_own(source: Path) -> None:
    assert re.findall(r"learn\.quiz\((.*)\)", code(source)) == [f'"{source.stem[:2]}"']


def test_every_question_is_about_something_that_the_glossary_explains(source: Path) -> None:
    for question in asked(source):
        assert any(term.pattern.search(" ".join(question)) for term in terms()), question[0]


def test_the_console_is_opened_once_on_a_run_of_its_own(source: Path) -> None:
    assert re.findall(r"labkit\.console\((\w+)\)", code(source)) == ["playground"]
    after = code(source).split("labkit.console(playground)")[1]
    assert "playground" not in after


def test_every_term_is_linked_where_it_first_appears(source: Path) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{source.stem}.ipynb", 4)
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    known = {term.anchor for term in terms()}
    links = re.findall(r"\]\(glossary\.ipynb#([^)]+)\)", text)
    assert len(links) >= 10
    assert len(set(links)) == len(links)
    assert set(links) <= known


def test_a_table_has_no_heading_without_words(source):
    lines = [line for text in prose(source) for line in text.splitlines()]
    headings = [above for above, rule in pairwise(lines) if re.fullmatch(r"\|[-:| ]+\|", rule)]
    assert all(all(map(str.strip, row.strip("|").split("|"))) for row in headings), headings
