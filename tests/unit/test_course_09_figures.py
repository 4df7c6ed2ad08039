"""The figures of lesson 09 show what the record says, and images as training sees them."""

from __future__ import annotations

import pytest

import labkit
from labkit.course import evidence
from labkit.course.lesson_09 import figures as stopping


def test_views_tell_levels_and_classes_and_come_again_from_the_seed() -> None:
    digits = labkit.load_data("digits", size=16)
    figure = stopping.views(digits.train, [0, 5], digits.classes, count=2, seed=3)
    names = [digits.classes[int(digits.train.labels[image])] for image in (0, 5)]
    assert f"2 images ({', '.join(names)})" in figure.alt
    assert list(figure.table["level"]) == ["light", "strong"]
    assert set(figure.table["mirrors"]) == {"no"}, "a mirrored digit is no digit"
    again = stopping.views(digits.train, [0, 5], digits.classes, count=2, seed=3)
    other = stopping.views(digits.train, [0, 5], digits.classes, count=2, seed=4)
    assert figure.png() == again.png() != other.png()


def test_courses_have_a_mean_for_every_epoch_and_none_for_training_that_never_was() -> None:
    table = stopping.courses("digits-10-wrong-labels").table
    assert set(table["plan"]) == set(stopping.LEVELS)
    epochs = table.groupby("split")["epoch"].agg(["min", "max"])
    assert list(epochs.loc["training"]) == [1, 20]
    assert list(epochs.loc["validation"]) == [0, 20]
    assert (table["low"] <= table["mean"]).all()


def test_what_stopping_gained_is_the_recorded_difference() -> None:
    table = stopping.picked().table
    assert (table.groupby("where").size() == 5).all()
    assert table["where"].nunique() == 2 * len(stopping.PLACES) + 1
    key = "when-to-stop/ants-bees/constant-rate"
    shown = table[table["where"] == "ants and bees, constant rate"]["points"].mean()
    assert shown == pytest.approx(100 * evidence.estimate(f"{key}/by-loss", key).mean)
