"""Forgetting: the old head is asked the old questions, and the run is none the wiser."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import labkit
from labkit import insight
from labkit.errors import BackboneError, DataError, SplitError
from labkit.insight.forgetting import OldTask, old_task
from labkit.show import forgotten

PLAN = {"epochs": 2, "batch_size": 10}


@pytest.fixture(scope="module")
def glyphs():
    return labkit.load_backbone("resnet10-glyphs")


@pytest.fixture(scope="module")
def letters(glyphs):
    return old_task(glyphs, count=400)


@pytest.fixture(scope="module")
def digits():
    return labkit.load_data("digits").subset(per_class=4)


def test_before_any_training_the_old_task_is_done_as_well_as_the_card_says(glyphs, letters, digits):
    run = labkit.Run(glyphs, digits, labkit.full(1e-3, **PLAN))
    now = insight.remembered(run, letters)
    low, high = now.interval
    assert now.count == 400
    assert low <= glyphs.card.accuracy <= high


def test_what_is_frozen_forgets_nothing_and_a_large_rate_forgets_nearly_all(
    glyphs, letters, digits
):
    head = labkit.Run(glyphs, digits, labkit.feature_extraction(1e-2, **PLAN))
    before = insight.remembered(head, letters).correct
    assert insight.remembered(head.fit(), letters).correct == before
    wild = labkit.Run(glyphs, digits, labkit.full(1e-1, **PLAN)).fit()
    assert insight.remembered(wild, letters).accuracy < 0.5 * before / len(letters)


def test_asking_changes_nothing_about_the_run(glyphs, letters, digits):
    asked, left_alone = (
        labkit.Run(glyphs, digits, labkit.full(1e-3, **PLAN), seed=3) for _ in range(2)
    )
    for run in (asked, left_alone):
        run.fit(epochs=1)
    insight.forgetting(asked, letters)
    with asked.fit().paused() as one, left_alone.fit().paused() as other:
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.slow
def test_the_table_of_forgetting_begins_before_training_and_ends_now(glyphs, letters, digits):
    run = labkit.Run(glyphs, digits, labkit.full(3e-2, **PLAN)).fit()
    table = insight.forgetting(run, letters)
    assert list(table["epoch"]) == [0, 1, 2]
    assert table["old"].iloc[-1] == insight.remembered(run, letters).accuracy
    assert table["old"].iloc[-1] < table["old"].iloc[0]
    assert table["new"].iloc[-1] == run.evaluate("valid").accuracy
    assert ((table["old_low"] <= table["old"]) & (table["old"] <= table["old_high"])).all()


# ---------------------------------------------------------------- a diary, while a run trains


@pytest.fixture
def trained(glyphs, digits):
    """A run with a diary that was asked after 0, 2 and 4 steps; at 2 it was told a large rate."""
    run, diary = labkit.Run(glyphs, digits, labkit.full(1e-3, **PLAN)), insight.Diary()
    for _ in range(2):
        diary.ask(run)
        run.step()
        run.step()
        if run.step_number == 2:
            run.set(lr=0.1)
    diary.ask(run)
    return run, diary


def test_a_diary_grows_as_the_run_trains_and_says_what_the_run_would_say(trained):
    run, diary = trained
    pages = diary.ask(run).set_index("step")
    assert list(pages.index) == [0, 2, 4]
    now = insight.remembered(run, old_task(run.net, 400))
    assert tuple(pages.loc[4, ["old", "old_low", "old_high"]]) == (now.accuracy, *now.interval)
    learned = run.evaluate("valid")
    assert tuple(pages.loc[4, ["new", "new_low", "new_high"]]) == (
        learned.accuracy,
        *learned.interval,
    )
    assert pages.loc[4, "old"] < pages.loc[0, "old"]


@pytest.mark.slow
def test_a_diary_that_is_opened_late_knows_how_the_run_began(trained):
    run, diary = trained
    late = insight.Diary().ask(run)
    assert list(late["step"]) == [0, 4]
    assert late.iloc[0].equals(diary.ask(run).iloc[0])


def test_a_rewind_takes_pages_back_and_the_same_way_again_finds_them(trained, monkeypatch):
    run, diary = trained
    run.rewind(2)
    assert list(diary.ask(run)["step"]) == [0, 2]
    run.set(lr=0.1)
    run.step()
    run.step()
    monkeypatch.setattr(insight.Diary, "_note", None)  # nothing has to be asked again
    assert list(diary.ask(run)["step"]) == [0, 2, 4]


@pytest.mark.slow
def test_another_way_after_a_rewind_has_pages_of_its_own(trained):
    run, diary = trained
    there = diary.ask(run)["old"].iloc[-1]
    run.rewind(2)
    run.step()
    run.step()
    pages = diary.ask(run).set_index("step")
    assert list(pages.index) == [0, 2, 4]
    assert pages.loc[4, "old"] > there  # no large rate this time


@pytest.mark.slow
def test_a_branch_shares_the_pages_of_its_parent_until_they_part(trained):
    run, diary = trained
    child = run.branch(step=2)
    child.step()
    assert list(diary.ask(child)["step"]) == [0, 2, 3]
    assert list(diary.ask(run)["step"]) == [0, 2, 4]
    other = labkit.Run(run.net, run.data, run.plan, seed=1)
    assert list(diary.ask(other)["step"]) == [0]


def test_without_validation_a_diary_tells_of_the_old_task_alone(glyphs, digits):
    nothing = replace(digits, valid=digits.valid.take(torch.arange(0)))
    pages = insight.Diary().ask(labkit.Run(glyphs, nothing, labkit.full(1e-3, **PLAN)))
    assert pages["old"].iloc[0] > 0.5
    assert pages[["new", "new_low", "new_high"]].isna().all(axis=None)


@pytest.mark.slow
def test_the_figure_of_a_diary_says_both_tasks_with_their_intervals(trained):
    run, _ = trained
    draw = forgotten.ForgettingSoFar()
    first, again = draw(run.branch(step=0)), draw(run)
    assert "up to step 0, moments asked: 1;" in first.alt
    assert "up to step 4, moments asked: 2;" in again.alt
    assert "old head: printed letters, from 9" in again.alt
    assert "validation: digits, from" in again.alt
    assert again.alt.count("95 % interval") == 2
    axes = again.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step (optimiser updates)", "accuracy (%)")
    assert list(again.table["step"]) == [0, 4]
    assert again.png().startswith(b"\x89PNG")


def test_the_same_questions_are_asked_again_by_the_same_seed(glyphs):
    one, same, other = (old_task(glyphs, count=50, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.labels, other.labels)


def test_what_is_rehearsed_is_never_what_is_asked(glyphs):
    questions, examples = old_task(glyphs, count=50), insight.old_examples(glyphs, count=50)
    asked = {image.numpy().tobytes() for image in questions.images}
    assert not asked & {image.numpy().tobytes() for image in examples.images}


def test_photographs_to_rehearse_are_training_photographs(photos):
    pytest.importorskip("pyarrow")
    if not (photos / "tiny-imagenet-200").is_dir():
        pytest.skip("left out: no Tiny ImageNet")
    net = labkit.load_backbone("resnet10")
    examples, questions = insight.old_examples(net, count=400), old_task(net, count=400)
    assert len(examples) == 400
    assert len(examples.labels.unique()) > 100
    asked = {image.numpy().tobytes() for image in questions.images}
    assert not asked & {image.numpy().tobytes() for image in examples.images}


@pytest.mark.slow
def test_photographs_are_asked_of_the_photographs_backbone(photos, digits):
    pytest.importorskip("pyarrow")
    if not (photos / "tiny-imagenet-200").is_dir():
        pytest.skip("left out: no Tiny ImageNet")
    net = labkit.load_backbone("resnet10")
    task = old_task(net, count=1000)
    run = labkit.Run(
        net, labkit.load_data("digits", size=64).subset(per_class=2), labkit.full(1e-3, 1)
    )
    low, high = insight.remembered(run, task).interval
    assert low <= net.card.accuracy <= high


def test_where_there_is_no_old_task_it_is_said_what_to_do(
    glyphs, letters, digits, tmp_path, monkeypatch
):
    scratch = labkit.Run(glyphs, digits, labkit.from_scratch(1e-3, **PLAN))
    with pytest.raises(BackboneError, match="no old head"):
        insight.remembered(scratch, letters)
    with pytest.raises(BackboneError, match="OldTask of your own"):
        old_task(labkit.load_backbone("resnet18", weights=None))
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match="LABKIT_DATA"):
        old_task(labkit.load_backbone("resnet10"))


def test_an_old_task_of_ones_own_is_asked_too(glyphs, digits):
    run = labkit.Run(glyphs, digits, labkit.full(1e-3, **PLAN))
    own = OldTask(
        "mine", torch.zeros(3, 1, 32, 32, dtype=torch.uint8), torch.zeros(3, dtype=torch.long)
    )
    assert insight.remembered(run, own).count == 3


@pytest.mark.slow
def test_the_figure_says_for_every_run_what_is_left_and_what_was_gained(glyphs, letters, digits):
    head, wild = (
        labkit.Run(glyphs, digits, plan, name=name).fit()
        for name, plan in (
            ("head $only$", labkit.feature_extraction(1e-2, **PLAN)),
            ("wild", labkit.full(1e-1, **PLAN)),
        )
    )
    figure = forgotten.plot_forgetting([head, wild], letters)
    before = f"{insight.remembered(head, letters).accuracy:.0%}"
    assert f"head $only$: the old task from {before} to {before}" in figure.alt
    assert set(figure.table["run"]) == {"head $only$", "wild"}
    assert figure.png().startswith(b"\x89PNG")


@pytest.mark.slow
def test_between_start_and_now_the_ends_are_the_start_and_now(glyphs, letters, digits):
    run = labkit.Run(glyphs, digits, labkit.full(1e-2, **PLAN)).fit()
    with run.paused() as model:
        before = {name: value.clone() for name, value in model.state_dict().items()}
    line = insight.between(run, (0, 0.5, 1), letters).set_index("share")
    assert line.loc[0, "old"] > line.loc[1, "old"]
    assert line.loc[1, "old"] == insight.remembered(run, letters).accuracy
    assert line.loc[1, "new"] == run.evaluate("valid").accuracy
    untouched = labkit.Run(glyphs, digits, labkit.full(1e-2, **PLAN))
    assert line.loc[0, "old"] == insight.remembered(untouched, letters).accuracy
    with run.paused() as model:
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_line_is_asked_on_the_split_of_ones_choice(glyphs, letters, digits):
    run = labkit.Run(glyphs, digits, labkit.full(1e-2, **PLAN)).fit()
    asked = insight.between(run, (1,), letters, split="test")["new"].iloc[0]
    assert asked == run.evaluate("test").accuracy
    with pytest.raises(SplitError, match="valid, test"):
        insight.between(run, (1,), letters, split="old")


@pytest.mark.slow
def test_the_figure_of_the_line_says_what_lies_along_it(glyphs, letters, digits):
    run = labkit.Run(glyphs, digits, labkit.full(1e-2, **PLAN), name="far $away$").fit()
    figure = forgotten.plot_between(run, (0, 0.5, 1), letters)
    line = insight.between(run, (0, 0.5, 1), letters)
    assert f"far $away$: at 0 {line['old'][0]:.0%} and {line['new'][0]:.0%}, at 0.5" in figure.alt
    assert list(figure.table["old"]) == list(line["old"])
    assert figure.png().startswith(b"\x89PNG")
