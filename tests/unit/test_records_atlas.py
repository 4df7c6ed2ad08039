"""The atlas: it answers from recorded runs, says how sure it is and where it ends, and judges real runs by its band."""

from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

import labkit
from labkit.errors import AtlasError, LabkitError, LearningRateError
from labkit.records import atlas, table
from labkit.records.atlas import Expectation, Sheet, record
from labkit.records.atlas.asking import point
from labkit.records.atlas.record import RecordedRun
from labkit.runtime import Precision
from tests.small_atlas import RIGHT, SHEET as MADE_UP, entry, write_made_up

BUILT = Sheet("digits", "resnet10-glyphs", 16, (3,), (1e-3, 1e-2), ("head",), (0, 1), 1)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_made_up(tmp_path_factory.mktemp("made_up"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real record: four short runs of the head, in a worker process."""
    folder = tmp_path_factory.mktemp("built")
    told: list[str] = []
    atlas.build(BUILT, out=folder, workers=1, tell=told.append)
    assert told == [f"{BUILT.name}: 4 of 4 runs"]
    return folder


def asked(folder: Path, lr: float = 1e-3, depth: Any = "head", labels: Any = 3) -> Expectation:
    return atlas.expect(MADE_UP, None, depth, lr, labels, out=folder)


# ---------------------------------------------------------------- what is expected


def test_at_a_recorded_rate_the_intervals_are_students_over_the_seeds(made_up: Path) -> None:
    values = [right / 359 for right in RIGHT[1e-3]]
    got = asked(made_up).at(1)
    mean, error = fmean(values), stdev(values)
    low, high = stats.t.interval(0.95, 4, mean, error / sqrt(5))
    assert (got.mean, got.mean_low, got.mean_high) == pytest.approx((mean, low, high))
    low, high = stats.t.interval(0.95, 4, mean, error * sqrt(1 + 1 / 5))
    assert got.low <= low < got.low + 1 / 359  # outward to whole examples
    assert got.high - 1 / 359 < high <= got.high
    assert (got.low * 359) % 1 == pytest.approx(0, abs=1e-6)


def test_one_more_run_lands_in_the_band_as_often_as_promised() -> None:
    chance = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        runs = chance.normal(0.8, 0.05, 6)
        band = point(6, runs[:5].mean(), runs[:5].std(ddof=1), 5, 10_000)
        inside += band.low <= runs[5] <= band.high
    assert 0.94 <= inside / 4000 <= 0.96


def test_between_two_rates_it_is_linear_in_the_logarithm(made_up: Path) -> None:
    ends = asked(made_up, 1e-3).at(1), asked(made_up, 1e-2).at(1)
    middle = asked(made_up, 10**-2.5).at(1)
    quarter = asked(made_up, 10**-2.75).at(1)
    assert middle.mean == pytest.approx(fmean(end.mean for end in ends))
    assert quarter.mean == pytest.approx(0.75 * ends[0].mean + 0.25 * ends[1].mean)
    width = [p.mean_high - p.mean_low for p in (*ends, middle)]
    assert width[2] == pytest.approx(fmean(width[:2]))


def test_a_band_is_never_narrower_than_one_example(made_up: Path) -> None:
    got = asked(made_up, 1e-1).at(1)
    assert (got.low * 359, got.high * 359) == pytest.approx((249, 251))


@settings(max_examples=50, deadline=None)
@given(
    lr=st.floats(1e-3, 1e-1), depth=st.sampled_from(MADE_UP.depths), labels=st.sampled_from((3, 10))
)
def test_every_answer_is_ordered_and_a_fraction(
    made_up: Path, lr: float, depth: str, labels: int
) -> None:
    for p in asked(made_up, lr, depth, labels).curve:
        assert 0 <= p.low <= p.mean_low <= p.mean <= p.mean_high <= p.high <= 1


def test_it_never_answers_beyond_its_ends(made_up: Path) -> None:
    for lr in (9e-4, 0.2):
        with pytest.raises(AtlasError, match=r"0\.001 to 0\.1"):
            asked(made_up, lr)
    with pytest.raises(LearningRateError):
        asked(made_up, -1.0)
    assert asked(made_up, 1e-3 * (1 + 1e-9)).lr == 1e-3  # that is rounding, not beyond


def test_neighbours_answer_with_a_note_and_strangers_not_at_all(made_up: Path) -> None:
    got = asked(made_up, depth="layer3", labels=9)
    assert (got.trainable_from, got.per_class) == ("layer4", 10)
    assert got.notes == (
        "layer3 is not on record; this is for layer4.",
        "9 examples a class are not on record; this is for 10.",
    )
    with pytest.raises(AtlasError, match="3 and 10 examples a class"):
        asked(made_up, labels=100)
    with pytest.raises(AtlasError, match="whole number"):
        asked(made_up, labels=2.5)
    with pytest.raises(LabkitError, match="no such stage"):
        asked(made_up, depth="layer9")
    with pytest.raises(AtlasError, match="Did you mean digits/resnet10"):
        atlas.expect("digits", "resnet11", "head", 1e-3, 3)


def test_a_sentence_and_a_message_say_it(made_up: Path) -> None:
    got = asked(made_up, 1e-2)
    assert got.sentence() == "The atlas expects 83 to 86 % after epoch 1 (mean 84 %, 5 seeds)."
    message = json.loads(json.dumps(got.as_message()))
    assert message["sentence"] == got.sentence()
    assert message["curve"][1]["low"] == got.at(1).low
    assert list(got.table()["epoch"]) == [0, 1]
    with pytest.raises(AtlasError, match="epochs 0 to 1"):
        got.at(7)


# ---------------------------------------------------------------- runs that diverged, records that are wrong


def test_runs_that_diverged_are_told_and_never_averaged(tmp_path: Path) -> None:
    bad = [("head", 3, 1e-2, 0), *(("head", 3, 1e-1, seed) for seed in range(4))]

    def changed(one: RecordedRun) -> RecordedRun:
        return replace(one, status="diverged", right=(40,)) if one.id in bad else one

    entries = [changed(entry(*setting)) for setting in record.settings(MADE_UP)]
    table.write(tmp_path / f"{MADE_UP.file}.csv", entries)
    some = asked(tmp_path, 1e-2)
    assert some.at(1).mean == pytest.approx(fmean(RIGHT[1e-2][1:]) / 359)
    assert "4 seeds, 1 more diverged" in some.sentence()
    assert asked(tmp_path, 1e-1).sentence().endswith("4 of its runs diverged.")
    assert asked(tmp_path, 3e-2).curve == ()
    assert asked(tmp_path, 3e-3).seeds == 4


def test_a_record_that_is_missing_damaged_or_incomplete_says_how_to_make_it(tmp_path: Path) -> None:
    path = tmp_path / f"{MADE_UP.file}.csv"
    command = "labkit atlas build digits/resnet10-glyphs"
    with pytest.raises(AtlasError, match=command):
        asked(tmp_path)
    entries = [entry(*setting) for setting in record.settings(MADE_UP)]
    table.write(path, entries[:-3])
    with pytest.raises(AtlasError, match=f"lacks 3 runs.*{command}"):
        asked(tmp_path)
    path.write_text(path.read_text().replace("0.001", "x"))
    with pytest.raises(AtlasError, match="cannot be read"):
        asked(tmp_path)


# ---------------------------------------------------------------- made, resumed, done again


@pytest.mark.slow
def test_what_was_built_is_complete_and_not_made_again(built: Path) -> None:
    assert atlas.problems(BUILT, built) == []
    provenance = table.read_provenance(built / f"{BUILT.file}.json")
    assert provenance["weights"] == labkit.load_backbone(BUILT.net).card.sha256  # type: ignore[union-attr]
    assert (
        provenance["runs"],
        provenance["grid"]["size"],
        provenance["machine"]["threads_a_run"],
    ) == (4, 16, 1)
    told: list[str] = []
    atlas.build(BUILT, out=built, tell=told.append)
    assert told == [f"{BUILT.name}: complete and up to date"]
    other = replace(BUILT, batch_size=8)
    assert "another recipe" in atlas.problems(other, built)[0]


@pytest.mark.slow
def test_a_recorded_run_comes_out_the_same_by_hand(built: Path) -> None:
    (again,) = atlas.check(BUILT, runs=1, chance=0, out=built)
    assert again.same, again
    assert again.inside
    with pytest.raises(AtlasError, match="another recipe"):
        atlas.check(replace(BUILT, batch_size=8), out=built)


# ---------------------------------------------------------------- the verdict


def made(**other: Any) -> labkit.Run:
    """A run as those of BUILT, or with something else about it."""
    plan = {"epochs": 1, "batch_size": 16, **other.pop("plan", {})}
    facts = {"lr": 1e-2, "labels": 3, "size": 16, **other}
    data = labkit.load_data("digits", size=facts["size"]).subset(facts["labels"], 7)
    if "shift" in facts:
        data = data.shift(facts["shift"])
    plan = labkit.partial("head", facts["lr"], **plan)
    return labkit.Run(labkit.load_backbone(BUILT.net), data, plan, 7, precision=Precision())


@pytest.mark.slow
def test_a_real_run_is_judged_by_where_it_lands(built: Path) -> None:
    run = made()
    expected = atlas.expect(BUILT, None, "head", 1e-2, 3, out=built)
    assert expected.judge(run).sentence == (
        "The atlas cannot tell: the run has not finished an epoch."
    )
    verdict = expected.judge(run.fit())
    got = run.evaluate("valid").accuracy
    assert verdict.accuracy == pytest.approx(got)
    assert verdict.outcome == "inside"
    assert verdict.inside
    assert verdict.sentence.startswith(
        f"After epoch 1 the run has {100 * got:.0f} %. The atlas expected"
    )
    narrow = replace(expected.at(1), low=got + 1 / 359, high=1.0)
    outside = replace(expected, curve=(expected.at(0), narrow)).judge(run)
    assert outside.outcome == "outside"
    assert not outside.inside
    has, low = 100 * got, 100 * (got + 1 / 359)
    assert f"{has:.1f} %" in outside.sentence or round(has) != round(low)


def test_a_run_is_looked_up_by_its_settings_and_its_data(made_up: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("labkit.records.atlas.sheets.SHEETS", (MADE_UP,))
    run = made(lr=1e-3)
    run.set(lr=3e-3)
    expected = atlas.expect_run(run, out=made_up)
    assert (expected.trainable_from, expected.lr, expected.per_class) == ("head", 3e-3, 3)
    with pytest.raises(AtlasError, match="per_class=40 is too far"):
        atlas.expect_run(made(labels=40), out=made_up)


@pytest.mark.slow
def test_only_a_run_like_those_on_record_is_judged(built: Path) -> None:
    expected = atlas.expect(BUILT, None, "head", 1e-2, 3, out=built)
    others = {
        "batch_size is 8, on record 16": made(plan={"batch_size": 8}),
        "schedule is cosine, on record constant": made(plan={"schedule": "cosine"}),
        "the learning rate is 0.003, on record 0.01": made(lr=3e-3),
        "the number of examples a class is 4, on record 3": made(labels=4),
        "the size of the images is 8, on record 16": made(size=8),
        "optimizer is sgd, on record adamw": made(plan={"optimizer": "sgd"}),
        "the shift of the images is negative, on record none": made(shift="negative"),
        "hold is 30, on record 0": made(plan={"hold": 30.0}),
    }
    for told, run in others.items():
        verdict = expected.judge(run)
        assert (verdict.outcome, verdict.differences) == ("cannot tell", (told,))
        assert told in verdict.sentence
    steered = made()
    steered.step()
    steered.set(lr=1e-2)
    assert "steered while it trained (lr)" in expected.judge(steered).sentence
    early = made(lr=3e-3)
    early.set(lr=1e-2)  # before training it is only another way to say so
    assert expected.judge(early).differences == ()


# ---------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("sheet", atlas.SHEETS, ids=lambda sheet: sheet.name)
def test_a_shipped_record_is_complete_up_to_date_and_small(sheet: Sheet) -> None:
    assert atlas.problems(sheet) == []
    path = record.RECORDS / f"{sheet.file}.csv"
    assert path.stat().st_size < 500_000
    provenance = json.loads(path.with_suffix(".json").read_text())
    assert {"plan", "weights", "machine", "run_seconds", "date", "grid"} <= set(provenance)
