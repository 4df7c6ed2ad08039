"""The figures of lesson 12 say in words and numbers what is on record."""

from __future__ import annotations

import pytest

import labkit
from labkit.course import evidence
from labkit.course.lesson_12 import figures as shifting
from labkit.data import KINDS


@pytest.mark.parametrize("place", shifting.PLACES)
def test_accuracy_by_strength_is_what_is_on_record(place):
    figure = shifting.by_strength(place)
    assert len(figure.table) == len(KINDS) * 2 * 5
    dark = figure.table.query("kind == 'dark' and strength == 1 and network == 'as it is'").iloc[0]
    known = evidence.estimate(f"domain-shift/{place}/clean/dark")
    assert dark["mean (%)"] == round(100 * known.mean, 1)
    assert all(kind in figure.alt for kind in KINDS)


def test_what_comes_back_is_shown_for_every_shift_and_way():
    figure = shifting.recovered()
    assert len(figure.table) == 2 * 3 * len(KINDS)
    known = evidence.estimate("domain-shift/ants-bees/clean/stain-labels")
    row = figure.table.query(
        "data == 'ants and bees' and shift == 'stain' and network == 'trained on with a few labels'"
    ).iloc[0]
    assert row["low (%)"] == round(100 * known.low, 1)


def test_the_amounts_begin_with_what_it_is_without():
    figure = shifting.amounts()
    assert list(figure.table["images"].unique()) == [0, 2, 4, 8, 16, 32, 64]


def test_a_gallery_has_a_row_a_kind_and_a_column_a_strength():
    data = labkit.load_data("digits")
    figure = shifting.gallery(
        data.valid, 3, data.classes, strengths=(0, 1), kinds=("blur", "stain")
    )
    assert len(figure.axes) == 4
    assert "blur: out of focus" in figure.alt
    assert len(figure.png()) > 1000
