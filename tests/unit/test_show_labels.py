"""The figure of suspect labels: words, numbers, both labels under each image, legible on any page."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import labkit
from labkit import insight
from labkit.runtime import Precision
from tests.unit.test_show_figures import HOSTILE, contrast


@pytest.fixture(scope="module")
def run():
    data = labkit.load_data("digits", size=16).subset(per_class=8).mislabel(0.2)
    net = labkit.load_backbone("resnet10-glyphs")
    return labkit.Run(net, data, labkit.feature_extraction(epochs=1), precision=Precision())


@pytest.fixture(scope="module")
def found(run):
    return insight.suspect_labels(run)


def test_each_figure_bears_both_labels_and_where_it_lies(run, found):
    shown = labkit.suspect_labels(run, count=5, seen=found)
    titles = [axes.get_title() for axes in shown.axes if axes.get_title()]
    assert len(titles) == len(shown.table) == 5
    for title, one in zip(titles, found.worst(5), strict=True):
        assert f"train {one.index}" in title
        assert f"given {found.classes[one.given]} " in title
        assert f"rather {found.classes[one.proposed]} " in title


def test_it_has_words_and_a_table(run):
    shown = labkit.suspect_labels(run, count=3)
    assert shown.alt.startswith("The 3 least believable of 80 labels")
    assert shown.alt.endswith(".")
    assert "<table" in shown.html()


def test_it_is_legible_on_any_page(run, found):
    shown = labkit.suspect_labels(run, seen=found)
    image = np.asarray(Image.open(io.BytesIO(shown.png())).convert("RGBA"))
    assert (image[..., 3] == 255).all()
    assert image.shape[1] <= 1000
    for text in (text for text in shown.findobj(Text) if text.get_text().strip()):
        assert contrast(text.get_color(), shown.get_facecolor()) >= 4.5


def test_likely_and_unlikely_differ_by_more_than_colour(run, found):
    shown = labkit.suspect_labels(run, count=80, seen=found)
    widths = {
        bool(found.likely[one.index]): axes.spines["left"].get_linewidth()
        for axes, one in zip(shown.axes, found.worst(80), strict=False)
    }
    assert widths[True] > widths[False]


def test_names_are_never_markup_nor_mathematics(run, found):
    shown = labkit.suspect_labels(run, seen=replace(found, classes=HOSTILE))
    assert "<script>" not in shown.html()
    titles = [axes.title for axes in shown.axes if axes.get_title()]
    assert not any(text.get_parse_math() for text in titles)
    assert shown.png()
