"""Figures: readable on any page, with units, words and numbers, and names that stay text."""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

import labkit
from labkit.insight import worst
from labkit.runtime import Precision
from labkit.show import figure, figures
from labkit.show.figure import Figure

HOSTILE = (
    "<b>zero</b>",
    "$one_1$",
    "_two",
    '"><script>',
    "\\frac{",
    "five & co",
    "$$",
    "七",
    "eight",
    "",
)


@pytest.fixture(scope="module")
def run():
    """A real run of two epochs on few digits, steered twice on the way."""
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=6, seed=0)
    net = labkit.load_backbone("resnet10-glyphs", weights=None)
    run = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=2), precision=Precision())
    run.step()
    run.set(lr=3e-4)
    run.step()
    run.set(trainable_from="layer4")
    return run.fit()


@pytest.fixture(scope="module")
def guesses(run):
    return worst(run.evaluate("valid"), 7)


@pytest.fixture(scope="module")
def recorded():
    return pd.DataFrame(
        {"data": data, "plan": plan, "seed": seed, "accuracy": 0.5 + 0.1 * i + 0.01 * seed}
        for data in ("ants-bees", "digits")
        for i, plan in enumerate(("from scratch", "linear probe", "full"))
        for seed in range(5)
    )


@pytest.fixture(scope="module")
def gallery(run, guesses, recorded):
    other = run.branch(2, lr=1e-2).fit()
    return {
        "history": figures.plot_history(run),
        "several": figures.plot_history([run, other]),
        "drift": figures.plot_drift(run),
        "audit": figures.plot_audit(run),
        "images": figures.images(run.data.valid, guesses, run.data.classes),
        "evidence": figures.evidence(recorded, "accuracy", "plan", panel="data"),
    }


def luminance(colour):
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


NAMES = ("history", "several", "drift", "audit", "images", "evidence")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_words_and_numbers(gallery, name):
    shown = gallery[name]
    assert isinstance(shown, Figure)
    assert len(shown.alt) > 40
    assert shown.alt.endswith(".")
    assert len(shown.table)


@pytest.mark.parametrize("name", ["history", "several", "drift", "evidence"])
def test_every_axis_with_numbers_names_what_it_measures_and_its_unit(gallery, name):
    for axes in gallery[name].axes:
        assert "(" in axes.get_xlabel()
        if name in ("history", "several"):
            assert "(" in axes.get_ylabel()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_the_page_behind_a_figure_does_not_show_through(gallery, name):
    image = np.asarray(Image.open(io.BytesIO(gallery[name].png())).convert("RGBA"))
    assert (image[..., 3] == 255).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_letter_contrasts_with_the_card(gallery, name):
    shown = gallery[name]
    letters = [text for text in shown.findobj(Text) if text.get_text().strip()]
    assert letters
    needed = 3.0 if name == "audit" else 4.5  # the audit's coloured words are bold as well
    for text in letters:
        assert contrast(text.get_color(), shown.get_facecolor()) >= needed, text.get_text()


def test_every_line_contrasts_with_the_card_and_differs_by_more_than_colour(gallery):
    for colour in figure.COLOURS:
        assert contrast(colour, figure.CARD) >= 3.0
    seen = [(look.marker, str(look.style)) for look in map(figure.look, range(15))]
    assert len(set(seen)) == len(seen)
    styles = {line.get_linestyle() for line in gallery["history"].axes[0].lines}
    assert len(styles) >= 2


def test_markers_stand_where_a_command_took_effect_and_say_what_it_was(gallery, run):
    for axes in gallery["history"].axes:
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert marks == [command.step for command in run.log]
    labels = [text.get_text() for text in gallery["history"].legends[0].get_texts()]
    assert "step 1: learning rate 0.0003" in labels
    assert "step 2: trainable from layer4" in labels


def test_accuracy_is_drawn_from_exact_counts(gallery, run):
    valid = run.history[run.history["split"] == "valid"]
    drawn = [line for line in gallery["history"].axes[1].lines if line.get_marker() == "s"]
    assert list(drawn[0].get_ydata()) == pytest.approx(
        list(100 * valid["correct"] / valid["count"])
    )


def test_the_table_counts_each_epoch_once(run):
    table = figures.epochs_table(run)
    assert list(table["epoch"]) == [0, 1, 2]
    train = run.history[run.history["split"] == "train"]
    first = train[train["step"] <= table["step"].iloc[1]]
    accuracy = 100 * first["correct"].sum() / first["count"].sum()
    assert table["training accuracy (%)"].iloc[1] == pytest.approx(accuracy)


def test_a_run_that_has_not_started_can_be_drawn(run):
    fresh = labkit.Run(run.net, run.data, run.plan, precision=Precision())
    shown = figures.plot_history(fresh)
    assert "nothing trained yet" in shown.alt
    assert shown.png()


def test_a_notebook_gets_an_image_with_its_words_a_table_and_plain_text(gallery):
    bundle, metadata = gallery["drift"]._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == gallery["drift"].alt == bundle["text/plain"]
    assert 'alt="Distance of each stage' in bundle["text/html"]
    assert "<table" in bundle["text/html"]


def test_names_are_never_markup_nor_mathematics(run, guesses):
    shown = figures.images(run.data.valid, guesses, HOSTILE, title="$x_1$ <i>worst</i>")
    html = shown.html()
    for name in ("<b>", "<script>", "<i>"):
        assert name not in html
    assert "&lt;b&gt;" in figures.images(run.data.valid, guesses, ("<b>",) * 10).html()
    titles = [axes.title for axes in shown.axes if axes.get_title()]
    assert titles
    assert not any(text.get_parse_math() for text in titles)


@pytest.mark.slow
def test_hostile_run_names_are_drawn_as_they_are(run):
    for name in ("$\\frac{$", "_hidden", "<img src=x onerror=alert(1)>"):
        clone = run.branch(1, name=name)
        shown = figures.plot_history([clone, run])
        assert "<img src=x" not in shown.html()
        assert any(name[:8] in text.get_text() for text in shown.legends[0].get_texts())


def test_right_and_wrong_differ_by_sign_as_well_as_colour(run):
    best_first = tuple(reversed(worst(run.evaluate("valid"), 10_000)))[:3]
    wrong_first = worst(run.evaluate("valid"), 3)
    shown = figures.images(run.data.valid, best_first + wrong_first, run.data.classes)
    titles = [axes.get_title() for axes in shown.axes if axes.get_title()]
    assert titles[0].startswith("✓")
    assert titles[3].startswith("✗")
    assert "truly" in titles[3]


def test_drift_tells_frozen_stages_in_words(gallery):
    said = gallery["drift"].alt
    assert "stem" in said
    assert "(frozen)" in said


def test_the_sprung_trap_is_named_in_the_audit(run):
    plan = labkit.feature_extraction(epochs=1).with_(frozen_statistics="running")
    trapped = labkit.Run(run.net, run.data, plan, precision=Precision()).fit()
    shown = figures.plot_audit(trapped)
    assert "stem was never trained" in shown.alt
    assert "statistics only" in set(shown.table["moved"])
    assert (
        "unchanged"
        in figures.plot_audit(
            labkit.Run(
                run.net, run.data, labkit.feature_extraction(epochs=1), precision=Precision()
            ).fit()
        ).alt
    )


def test_evidence_shows_every_seed_and_the_interval(gallery, recorded):
    first = gallery["evidence"].axes[0]
    dots = [line for line in first.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [5, 5, 5]
    summary = gallery["evidence"].table
    assert len(summary) == 6
    assert (summary["low"] < summary["mean"]).all()
