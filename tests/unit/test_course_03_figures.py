"""The figure of lesson 03 says in words and numbers what is on record."""

import pytest

from labkit.course import evidence
from labkit.course.lesson_03.figures import label_noise


@pytest.mark.parametrize(("group", "few"), [("digits", 10), ("ants-bees", 30)])
def test_the_figure_holds_what_the_record_says(group: str, few: int) -> None:
    figure = label_noise(group)
    table = figure.table
    assert len(table) == 14
    one = table[(table["trains"] == "head") & (table["labels are"] == "two fifths wrong")].iloc[-1]
    known = evidence.estimate(f"label-noise/{group}/head-{4 * few}-wrong-0.4")
    assert one["mean (%)"] == round(100 * known.mean, 1)
    assert "two fifths wrong" in figure.alt
    assert figure.png().startswith(b"\x89PNG")
    assert all("labels" in axes.get_xlabel() for axes in figure.axes)
