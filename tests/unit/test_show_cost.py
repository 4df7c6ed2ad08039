"""The figures of what training costs: words, numbers, units, legible on any page, nothing told by colour alone."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import labkit
from labkit import insight
from labkit.runtime import Precision
from labkit.show import cost as figures
from tests.unit.test_show_figures import HOSTILE, contrast


@pytest.fixture(scope="module")
def run():
    data = labkit.load_data("digits", size=16).subset(per_class=2)
    net = labkit.load_backbone("resnet10-glyphs")
    plan = labkit.feature_extraction(epochs=1, batch_size=10)
    return labkit.Run(net, data, plan, precision=Precision())


@pytest.fixture(scope="module")
def costs(run):
    fitted = labkit.Run(run.net, run.data, run.plan, precision=Precision()).fit()
    return [insight.cost(run), insight.cost(fitted)]


@pytest.fixture(scope="module")
def drawn(run, costs):
    steps = insight.step_costs(run, ["stem", "layer4", "head"])
    return [figures.step_bars(steps), figures.cost_bars(costs, insight.machines()["laptop"])]


def test_they_have_words_units_and_a_table(drawn):
    for figure in drawn:
        assert len(figure.alt.split()) >= 10
        assert figure.alt.endswith(".")
        assert "<table" in figure.html()
        labels = [axes.get_xlabel() for axes in figure.axes if axes.axison]
        assert all("(" in label for label in labels)


def test_they_are_legible_on_any_page(drawn):
    for figure in drawn:
        image = np.asarray(Image.open(io.BytesIO(figure.png())).convert("RGBA"))
        assert (image[..., 3] == 255).all()
        assert image.shape[1] <= 1000
        for text in (text for text in figure.findobj(Text) if text.get_text().strip()):
            assert contrast(text.get_color(), figure.get_facecolor()) >= 4.5


def test_the_parts_of_a_bar_differ_by_more_than_colour(drawn):
    for axes in drawn[0].axes:
        looks = [
            (bars.patches[0].get_facecolor(), bars.patches[0].get_hatch())
            for bars in axes.containers
        ]
        assert all(one[1] != other[1] for one, other in pairwise(looks))


def test_a_bar_is_as_long_as_its_number(run, drawn):
    steps = insight.step_costs(run, ["stem", "layer4", "head"])
    for place, step in enumerate(steps):
        parts = [bars.patches[place] for bars in drawn[0].axes[0].containers]
        assert sum(part.get_width() for part in parts) == pytest.approx(step.again / 1e9)
        assert parts[-1].get_x() + parts[-1].get_width() == pytest.approx(step.again / 1e9)


def test_the_depth_of_now_is_marked_and_what_was_timed_is_told(run):
    steps = insight.step_costs(run, ["stem", "layer4", "head"])
    figure = figures.step_bars(steps, now="layer4", seconds={"layer4": (0.0125, 7)})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["stem", "layer4 (now)", "head"]
    assert figure.axes[2].get_xlabel() == "measured time of a step (ms)"
    assert [text.get_text() for text in figure.axes[2].texts] == [
        figures.NEED_TIME,
        "12",
        figures.NEED_TIME,
    ]
    assert "from layer4, as now: " in figure.alt
    assert figure.alt.count("as now") == 1
    assert "12 ms (median of 7 steps)" in figure.alt
    assert list(figure.table["time (ms)"].dropna()) == [12.5]


def test_what_a_step_costs_now_is_counted_once_and_follows_the_depth(run, monkeypatch):
    draw, clone = figures.StepsNow(), run.branch()
    assert "from head, as now" in draw(clone).alt
    monkeypatch.setattr(figures, "step_costs", None)  # nothing has to be counted again
    clone.set(trainable_from="layer3")
    assert "from layer3, as now" in draw(clone).alt
    monkeypatch.undo()
    clone.set(batch_size=5)
    assert "over 5 samples" in draw(clone).alt


def test_a_plan_that_was_not_trained_says_so(drawn):
    words = [text.get_text() for text in drawn[1].findobj(Text)]
    assert figures.NEED_TIME in words


def test_names_are_never_markup_nor_mathematics(costs):
    hostile = [replace(costs[0], name=name) for name in HOSTILE]
    figure = figures.cost_bars(hostile)
    assert "<script>" not in figure.html()
    assert figure.png()
