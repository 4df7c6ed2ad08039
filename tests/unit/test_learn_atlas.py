"""The card "what would happen", without a browser: it answers, makes a real run, judges it, and leaves a figure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import learn
from labkit.errors import AtlasError, LabkitError
from labkit.learn import atlas_panel
from labkit.learn.atlas_panel import AtlasCard
from labkit.records import atlas, table
from labkit.records.atlas.record import RecordedRun
from labkit.show.atlas import figure
from tests.small_atlas import SHEET, write_made_up
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_made_up(tmp_path_factory.mktemp("atlas"))


@pytest.fixture
def card(folder: Path) -> AtlasCard:
    return AtlasCard(SHEET, folder)


def test_the_card_opens_from_a_name_and_says_where_there_is_none(
    monkeypatch: Any, folder: Path
) -> None:
    monkeypatch.setattr("labkit.records.atlas.asking.SHEETS", (SHEET,))
    monkeypatch.setattr("labkit.records.atlas.sheets.SHEETS", (SHEET,))
    for _ in range(2):  # the name stays a function
        card = learn.atlas_card("digits", "resnet10-glyphs", out=folder)
        assert card.table["name"] == "digits/resnet10-glyphs"
    with pytest.raises(AtlasError, match="The atlas has no sheet 'digits/resnet11'"):
        learn.atlas_card("digits", "resnet11")


def test_the_card_sends_all_that_the_page_needs_once(card: AtlasCard) -> None:
    table = json.loads(json.dumps(card.table))
    assert card.start == {"trainable_from": "layer4", "per_class": 10, "lr": 1e-3}
    assert [len(table["mean"]), len(table["mean"][0]), len(table["mean"][0][0])] == [2, 2, 3]
    assert len(json.dumps(table)) < 40_000
    full = atlas.SHEETS[0]
    assert 2 * 4 * 3 * 6 * 7 * 10 < 40_000, full  # what a whole sheet takes


def test_a_real_run_is_made_and_judged_without_a_page(card: AtlasCard) -> None:
    run, verdict = card.run_it(lr=1e-2, trainable_from="head", per_class=3)
    assert (run.seed, run.status, run.epoch) == (5, "ended", 1)
    assert run.settings.lr == 1e-2
    assert verdict.outcome in ("inside", "outside")
    assert verdict.sentence == card.expect(1e-2, "head", 3).judge(run).sentence
    assert card.runs == (run,)
    again, _ = card.run_it(lr=1e-2, trainable_from="head", per_class=3)
    assert again.seed == 6  # a new draw
    for wrong in ({"lr": 0.5}, {"per_class": 4}, {"trainable_from": "layer3"}):
        with pytest.raises(AtlasError):
            card.run_it(**wrong)


def test_the_page_starts_a_run_and_hears_of_every_epoch(card: AtlasCard) -> None:
    nothing = card.reply({"kind": "poll", "client": "a"})
    assert nothing == {"client": "a", "attempt": None, "problem": ""}
    wish = {"kind": "run", "client": "a", "lr": 1e-2, "trainable_from": "head", "per_class": 3}
    first = card.reply(wish)["attempt"]
    assert first["status"] in ("preparing", "running")
    wait_until(lambda: card.reply({"kind": "poll"})["attempt"]["status"] == "over", 60)
    last = card.reply({"kind": "poll"})["attempt"]
    assert len(last["right"]) == 2
    assert last["sentence"].startswith("After epoch 1 the run has")
    assert last["outcome"] in ("inside", "outside")
    assert json.loads(json.dumps(last)) == last


def test_a_second_run_waits_its_turn_and_nonsense_is_answered(
    card: AtlasCard, monkeypatch: Any
) -> None:
    monkeypatch.setattr(atlas_panel.Attempt, "go", lambda self: None)  # one that never ends
    wish = {"kind": "run", "lr": 1e-2, "trainable_from": "head", "per_class": 3}
    assert card.reply(wish)["problem"] == ""
    assert "still going" in card.reply(wish)["problem"]
    for message in (None, [], {"kind": "run"}, {**wish, "lr": "x"}, {**wish, "lr": True}):
        assert isinstance(card.reply(message)["problem"], str)
    assert "outside of what is on record" in card.reply({**wish, "lr": 1})["problem"]


def test_what_keeps_a_run_from_being_made_is_told(card: AtlasCard, monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr("labkit.learn.atlas_panel.atlas.real_run", broken)
    with pytest.raises(LabkitError, match="OSError: no such disk"):
        card.run_it(lr=1e-2, trainable_from="head", per_class=3)
    assert "no such disk" in card.reply({"kind": "poll"})["attempt"]["sentence"]


# ---------------------------------------------------------------- where scripts do not run


def test_a_figure_a_table_and_a_sentence_stand_in(card: AtlasCard) -> None:
    data, metadata = card._repr_mimebundle_()
    assert data["image/png"]
    assert "<table" in data["text/html"]
    assert "The atlas expects" in data["text/plain"]
    assert "The atlas expects" in metadata["image/png"]["alt"]


def test_the_figure_shows_the_band_the_run_and_the_map(card: AtlasCard, folder: Path) -> None:
    run, verdict = card.run_it(lr=1e-2, trainable_from="head", per_class=3)
    expected = card.expect(3e-3, "head", 3)
    drawn = figure(expected, run, out=folder)
    curve, grid = drawn.axes
    numbers = [text.get_text() for text in grid.texts]
    means = 100 * atlas.load(SHEET, folder).mean[:, 0, :, -1]
    assert numbers == [f"{mean:.0f}" for mean in means.ravel()]
    assert any(line.get_label() and len(line.get_xdata()) == 2 for line in curve.lines)
    assert "cannot tell" in drawn.alt  # another rate
    assert verdict.sentence in figure(card.expect(1e-2, "head", 3), run, out=folder).alt
    assert run.name[:10] in " ".join(drawn.table.columns)
    assert drawn.png()


def test_a_cell_whose_runs_diverged_can_be_drawn(tmp_path: Path) -> None:
    def bad(one: RecordedRun) -> RecordedRun:
        return replace(one, status="diverged", right=(40,)) if one.lr == 1e-1 else one

    path = write_made_up(tmp_path) / f"{SHEET.file}.csv"
    table.write(path, [bad(one) for one in table.read(path, RecordedRun)])
    card = AtlasCard(SHEET, tmp_path)
    assert json.loads(json.dumps(card.table))["mean"][0][0][2] == [None, None]
    drawn = figure(card.expect(1e-1), out=tmp_path)
    assert [text.get_text() for text in drawn.axes[1].texts].count("–") == 2
    assert "10 of its runs" not in drawn.alt
    assert "5 of its runs diverged" in drawn.alt
