"""Comparing runs: one table, one figure, and how far to trust them."""

from __future__ import annotations

import pytest

import labkit
from labkit.errors import EvidenceError
from labkit.runtime import Precision, wilson
from labkit.tuning import StepDone


@pytest.fixture(scope="module")
def runs():
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=6, seed=0)
    net = labkit.load_backbone("resnet10-glyphs", weights=None)
    run = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=2), precision=Precision()).fit()
    return [run, run.branch(2, lr=1e-2).fit()]


def test_the_table_holds_what_the_runs_hold(runs):
    table = labkit.compare(runs).table
    assert list(table["run"]) == [run.name for run in runs]
    for row, run in zip(table.itertuples(), runs, strict=True):
        end = run.evaluate("valid")
        low, high = wilson(end.correct, end.count)
        assert row._6 == pytest.approx(100 * end.accuracy, abs=0.05)
        assert row._7 == f"{100 * low:.0f} to {100 * high:.0f}"
        assert row.epochs == 2
        steps = [e.seconds for _, e in run.journal.since(0) if isinstance(e, StepDone)]
        assert row.seconds == pytest.approx(sum(steps), abs=0.05)
    assert list(table["branched"]) == ["", f"from {runs[0].name} at step 2"]


def test_columns_that_say_nothing_new_are_not_shown(runs):
    shown = {several: str(labkit.compare(runs[:several])).splitlines()[0] for several in (1, 2)}
    assert not {"plan", "branched"} & set(shown[1].split())
    assert "branched" in shown[2].split()


def test_one_seed_is_called_chance(runs):
    assert "One seed" in labkit.compare(runs).note
    assert "One seed" not in labkit.compare(runs[:1]).note


def test_a_notebook_gets_table_figure_and_note_as_text(runs):
    clone = runs[0].branch(1, name="<script>alert(1)</script>")
    bundle, _ = labkit.compare([runs[0], clone])._repr_mimebundle_()
    assert "<script>" not in bundle["text/html"]
    assert "&lt;script&gt;" in bundle["text/html"]
    assert "One seed" in bundle["text/plain"]
    assert bundle["image/png"]


def test_a_run_that_was_never_validated_can_be_compared(runs):
    fresh = labkit.Run(runs[0].net, runs[0].data, labkit.full(), precision=Precision())
    table = labkit.compare([fresh]).table
    assert table["valid (%)"].isna().all()


def test_nothing_to_compare_is_said_so():
    with pytest.raises(EvidenceError, match="nothing to compare"):
        labkit.compare([])
