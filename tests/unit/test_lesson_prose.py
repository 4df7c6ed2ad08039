"""Lessons are written like a good teacher speaks: no sentence that needs two breaths, no exclamation marks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest

SOURCES = sorted(Path("notebooks/src").glob("[0-9][0-9]_*.py"))
MOST_WORDS = 30


def sentences(markdown: str) -> Iterator[str]:
    """The sentences of a Markdown text: without tables, code, formulas and the addresses of links."""
    text = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*#>]|\d+\.)\s)", text):
        if paragraph.lstrip().startswith("|"):
            continue
        plain = re.sub(
            r"\{[^}]*\}", "number", paragraph
        )  # a citation: one number in the built text
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain)
        plain = re.sub(r"`[^`]*`|\$[^$]*\$", "code", plain)
        plain = re.sub(r"^\s*(?:[-*#>]+|\d+\.)\s*", "", plain.replace("**", ""))
        yield from re.split(r"(?<=[.?!])\s+", " ".join(plain.split()))


def written(source: Path) -> Iterator[str]:
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "markdown":
            yield from sentences(cell.source)


def test_sentences_are_told_apart() -> None:
    text = "# A head\n\nOne `a.b()` two. Is it\nthree?\n\n- four\n- [five](six.seven)\n\n| no | table |"
    assert list(sentences(text)) == ["A head", "One code two.", "Is it three?", "four", "five"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem[:2])
def test_no_sentence_needs_two_breaths(source: Path) -> None:
    long = [sentence for sentence in written(source) if len(sentence.split()) > MOST_WORDS]
    assert long == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem[:2])
def test_nothing_is_shouted(source: Path) -> None:
    assert [sentence for sentence in written(source) if sentence.endswith("!")] == []


def test_there_are_lessons_to_read() -> None:
    assert SOURCES, "run the tests from the top of the repository"
