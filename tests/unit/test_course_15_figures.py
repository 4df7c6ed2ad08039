"""The figures of lesson 15 say in words and numbers what they show."""

from __future__ import annotations

from math import nan

from labkit.course import evidence
from labkit.course.lesson_15 import figures as recipes


def test_a_rate_that_nothing_trains_at_is_a_gap() -> None:
    figure = recipes.rates({"head": [1e-3, 2e-3, 1e-3, 1e-5], "stem": [nan, nan, 1e-5, 1e-6]}, 2)
    assert "everything is unfrozen after step 2" in figure.alt
    assert "stem: at most 1e-05, at the end 1e-06" in figure.alt
    assert figure.table["stem"].isna().sum() == 2
    assert list(figure.table["step"]) == [1, 2, 3, 4]
    assert figure.png().startswith(b"\x89PNG")


def test_every_recorded_choice_is_drawn_against_our_plan_seed_by_seed() -> None:
    figure = recipes.choices()
    seeds = evidence.find("fine-tune").seeds
    assert len(figure.table) == len(recipes.OTHERS) * len(seeds)
    assert list(dict.fromkeys(figure.table["plan"])) == list(recipes.OTHERS.values())
    gap = evidence.estimate("fine-tune/digits-10/fine_tune", "fine-tune/digits-10/our-plan")
    assert f"fastai's fine_tune: {100 * gap.mean:+.1f}" in figure.alt
