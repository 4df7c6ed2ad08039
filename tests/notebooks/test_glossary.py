"""Every word of the glossary is used, explained and found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.publish import glossary
from labkit.publish.build import build, sources

ROOT = Path(__file__).parents[2]
TERMS = glossary.read((ROOT / "notebooks" / "src" / "glossary.md").read_text("utf-8"))


def test_the_notebooks_are_those_that_their_sources_make() -> None:
    assert build(ROOT, check=True).changed == (), "run `make notebooks` and commit what changed"


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_is_one_honest_paragraph(term: glossary.Term) -> None:
    assert "\n\n" not in term.text
    assert 15 <= len(term.text.split()) <= 90
    assert "!" not in term.text
    assert term.name == term.name.lower() or term.name in ("BatchNorm", "L2-SP")


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_is_used_in_a_lesson(term: glossary.Term) -> None:
    assert any(term.pattern.search(path.read_text("utf-8")) for path in sources(ROOT))


def test_no_two_terms_share_a_form() -> None:
    forms = [form.lower() for term in TERMS for form in (term.name, *term.also)]
    assert sorted(forms) == sorted(set(forms))


def test_anchors_are_what_jupyterlab_makes_of_the_headings() -> None:
    assert all(re.fullmatch(r"[\w-]+", term.anchor) for term in TERMS)
