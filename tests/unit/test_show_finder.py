"""The range test in a notebook: a figure that says what it shows, on any page, by more than colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import labkit
from labkit.runtime import Precision
from labkit.show.figure import CARD
from labkit.show.finder import RangeTest, learning_rates
from labkit.tuning.finder import number
from tests.unit.test_show_figures import contrast
from tests.unit.test_tuning_finder import flat, seen, typical


@pytest.fixture(scope="module")
def test():
    """A real range test of a run on few digits."""
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=10, seed=0)
    net = labkit.load_backbone("resnet10-glyphs")
    run = labkit.Run(net, data, labkit.feature_extraction(), precision=Precision())
    return labkit.find_lr(run, seconds=None)


def stroke(line):
    return (line.get_linestyle(), line.get_marker())


def test_the_facade_gives_rates_words_and_a_figure(test):
    assert isinstance(test, RangeTest)
    assert test.suggestion is not None
    assert str(test) == test.explain()
    bundle, metadata = test._repr_mimebundle_()
    assert bundle["image/png"]
    assert bundle["text/plain"] == test.explain()
    assert test.explain() in bundle["text/html"]
    assert test.explain() in metadata["image/png"]["alt"]
    assert "learning rate" in bundle["text/html"].split("<table")[1]


def test_suggested_and_current_rate_differ_by_stroke_and_words(test):
    axes = learning_rates(test).axes[0]
    assert axes.get_xscale() == "log"
    upright = {line.get_xdata()[0]: line for line in axes.lines if len(set(line.get_xdata())) == 1}
    assert stroke(upright[test.suggestion]) != stroke(upright[test.current])
    written = [text.get_text() for text in axes.texts]
    assert f"try {number(test.suggestion)}" in written
    assert "now" in written


def test_rules_differ_by_marker_and_stand_at_their_rates(test):
    axes = learning_rates(test).axes[0]
    points = {
        line.get_marker(): line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1
    }
    assert len(points) == 3
    assert sorted(points.values()) == sorted(test.suggestions.values())


def test_the_rising_ground_is_hatched_and_named():
    shown = learning_rates(seen(typical()))
    assert any(patch.get_hatch() for patch in shown.axes[0].patches)
    assert any("the loss rises" in text.get_text() for text in shown.legends[0].get_texts())


def test_a_loss_that_blows_up_does_not_squash_the_curve():
    losses = typical()
    losses[-3:] = (1e3, 1e6, 1e12)
    low, high = learning_rates(seen(losses)).axes[0].get_ylim()
    assert low == 0
    assert 2.3 < high < 6


@pytest.mark.parametrize("losses", [flat(), [2.3], [], [0.0] * 30])
def test_any_curve_can_be_drawn_and_told(losses):
    shown = learning_rates(seen(losses, name="<b>$x_1$</b>"))
    assert shown.alt.endswith(".")
    assert "<b>" not in shown.html()
    image = np.asarray(Image.open(io.BytesIO(shown.png())).convert("RGBA"))
    assert (image[..., 3] == 255).all()  # its own card: the same on a light and a dark page
    for text in shown.findobj(Text):
        if text.get_text().strip():
            assert contrast(text.get_color(), CARD) >= 4.5, text.get_text()
