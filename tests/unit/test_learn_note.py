"""What the lab says to a learner: text stays text, and code looks like code."""

from __future__ import annotations

from labkit.learn.note import Note


def test_code_looks_like_code_and_all_else_is_spelt() -> None:
    html = Note("`loss` < 1", ("<b>",), ("set `lr`",))._repr_html_()
    assert "<code>loss</code> &lt; 1" in html
    assert "&lt;b&gt;" in html
    assert "set <code>lr</code>" in html


def test_markup_between_backticks_is_no_markup() -> None:
    assert "<code>&lt;img src=x&gt;</code>" in Note("`<img src=x>`")._repr_html_()
