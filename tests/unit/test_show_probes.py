"""The figures of the probes: words, numbers, letters that contrast, and names that stay text."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

import labkit
from labkit import insight
from labkit.insight import Confusion
from labkit.runtime import Precision
from labkit.show.figure import Figure, ink_on
from tests.small import Clouds, Small
from tests.unit.test_show_figures import HOSTILE, contrast


@pytest.fixture(scope="module")
def run():
    data = labkit.load_data("digits").subset(per_class=6)
    net = labkit.load_backbone("resnet10-glyphs")
    plan = labkit.partial("layer4", lr=1e-3, epochs=2)
    return labkit.Run(net, data, plan, precision=Precision()).fit()


@pytest.fixture(scope="module")
def figures(run):
    return {
        "confusion": labkit.confusion(run),
        "calibration": labkit.calibration(run, temperature=insight.fit_temperature(run)),
        "worst_images": labkit.worst_images(run, 6),
        "uncertain_images": labkit.uncertain_images(run, 6),
        "feature_map": labkit.feature_map(run, count=80),
        "similarity": labkit.similarity(run, count=80),
        "filters": labkit.filters(run),
        "activations": labkit.activations(run, 2, "layer2"),
        "grad_cam": labkit.grad_cam(run, [0, 1, 2]),
        "gradient_norms": labkit.gradient_norms(run, count=4),
    }


NAMES = (
    "confusion", "calibration", "worst_images", "uncertain_images", "feature_map",
    "similarity", "filters", "activations", "grad_cam", "gradient_norms",
)  # fmt: skip


@pytest.mark.slow
def test_activations_are_told_in_a_sentence(figures):
    assert "and what layer2 makes of it: 11 of " in figures["activations"].alt


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_every_figure_of_a_probe_has_words_and_numbers(figures, name):
    shown = figures[name]
    assert isinstance(shown, Figure)
    assert len(shown.alt) > 40
    assert shown.alt.endswith(".")
    assert len(shown.table)
    assert "<table" in shown.html()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_every_figure_of_a_probe_is_legible_on_any_page(figures, name):
    shown = figures[name]
    image = np.asarray(Image.open(io.BytesIO(shown.png())).convert("RGBA"))
    assert (image[..., 3] == 255).all()
    assert image.shape[1] <= 1000
    for text in (text for text in shown.findobj(Text) if text.get_text().strip()):
        ground = ground_of(text, shown)
        assert contrast(text.get_color(), ground) >= 4.5, text.get_text()


def ground_of(text, shown):
    """What a letter stands on: the cell it lies in, or the card."""
    for patch in text.axes.patches if text.axes else ():
        if hasattr(patch, "get_xy") and patch.get_width() == 1:
            x, y = patch.get_xy()
            if (x + 0.5, y + 0.5) == tuple(text.get_position()):
                return patch.get_facecolor()[:3]
    return shown.get_facecolor()[:3]


@pytest.mark.parametrize("name", ["calibration", "similarity", "gradient_norms", "feature_map"])
def test_axes_with_numbers_name_their_unit(figures, name):
    labelled = [axes for axes in figures[name].axes if axes.get_xlabel()]
    assert labelled
    assert "(" in labelled[0].get_xlabel()


def test_a_result_that_is_at_hand_is_drawn_without_the_run(run):
    assert labkit.confusion(insight.confusion(run)).alt == labkit.confusion(run).alt
    assert labkit.grad_cam(insight.grad_cam(run, [4])).alt == labkit.grad_cam(run, [4]).alt
    table = insight.gradient_norms(run, steps=[1, 2])
    assert "from step 1 to 2" in labkit.gradient_norms(table).alt


def test_class_names_are_never_markup_nor_mathematics():
    found = Confusion("valid", HOSTILE, np.eye(10, dtype=np.int64) + 1)
    shown = labkit.confusion(found)
    assert "<script>" not in shown.html()
    ticks = [*shown.axes[0].get_xticklabels(), *shown.axes[0].get_yticklabels()]
    assert not any(text.get_parse_math() for text in ticks)
    assert shown.png()


def test_many_classes_are_drawn_as_colours_alone():
    names = tuple(f"class {number}" for number in range(200))
    shown = labkit.confusion(Confusion("valid", names, np.eye(200, dtype=np.int64)))
    assert not shown.axes[0].texts
    assert "No mistake" in shown.alt
    assert shown.png()


def test_the_words_of_a_feature_map_say_what_moved(figures, run):
    assert f"fitted at step {run.step_number}" in figures["feature_map"].alt
    drawn = [axes for axes in figures["feature_map"].axes if axes.collections]
    assert len({axes.get_xlim() for axes in drawn}) == 1
    assert len({axes.get_ylim() for axes in drawn}) == 1


def test_on_a_page_the_frames_of_a_feature_map_can_be_gone_through_without_a_script(figures):
    shown = figures["feature_map"]
    page = shown.html()
    assert len(shown.frames) == len(shown.table) == 3
    assert page.count('type="radio"') == page.count("<label for=") == 3
    assert page.count(" checked>") == 1
    assert page.count("<img ") == page.count(' alt="') == 4  # the frames, and all of them in one
    assert "<script" not in page
    for frame, step in zip(shown.frames, shown.table["step"], strict=True):
        assert f"after step {step}:" in frame.alt
        assert frame.axes[0].get_xlim() == shown.axes[0].get_xlim()


def test_frozen_stages_are_said_to_be_frozen_in_the_gradients(figures):
    assert "stem frozen" in figures["gradient_norms"].alt
    labels = [text.get_text() for text in figures["gradient_norms"].legends[0].get_texts()]
    assert labels[0] == "stem (frozen)"


def test_a_heat_map_without_heat_is_told(run):
    found = insight.grad_cam(run, [0])
    empty = {"maps": torch.zeros_like(found.maps), "heat": torch.zeros_like(found.heat)}
    shown = labkit.grad_cam(replace(found, **empty))
    assert "nothing speaks for it" in shown.alt
    assert shown.png()


def test_data_without_figures_has_figures_too():
    clouds = labkit.Run(Small(), Clouds(), labkit.full(lr=1e-2, epochs=1)).fit()
    assert labkit.feature_map(clouds, stage="middle", count=40).png()
    assert labkit.similarity(clouds).png()


def test_ink_contrasts_with_every_shade():
    for shade in np.linspace(0, 1, 21):
        assert contrast(ink_on((shade, shade, shade)), (shade, shade, shade)) >= 4.5
