"""What lesson 09 reads off a run: the epoch that patience keeps, and the test split as it was then."""

from __future__ import annotations

import pytest

import labkit
from labkit.course.lesson_09 import claims as lesson_09
from labkit.course.lesson_09.claims import Disturbed, stopped
from labkit.tuning import EpochDone

LOSSES = (2.0, 2.1, 1.2, 0.9, 1.0, 0.95, 0.8, 0.85, 0.9, 0.88, 0.7)


def epochs(losses):
    return [
        EpochDone(
            step=10 * number, epoch=number, train_loss=None, train_correct=0, train_count=0,
            valid_loss=loss, valid_correct=0, valid_count=10, seconds=0.0,
        )
        for number, loss in enumerate(losses)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("patience", "kept", "last"), [(1, 0, 1), (2, 3, 5), (3, 6, 9), (9, 10, 10)]
)
def test_patience_keeps_the_best_epoch_before_it_ran_out(patience, kept, last):
    best, end = stopped(epochs(LOSSES), patience)
    assert (best.epoch, end.epoch) == (kept, last)


@pytest.fixture(scope="module")
def run():
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=3)
    net = labkit.load_backbone("resnet10-glyphs")
    plan = labkit.feature_extraction(0.1, 4, batch_size=10)
    return labkit.Run(net, data, plan, seed=0).fit()


def test_a_past_epoch_is_tested_as_it_was_and_the_run_stays_where_it_is(run):
    at, history = run.step_number, len(run.history)
    second = lesson_09._epochs(run)[2]
    asked = lesson_09._tested(run, second)
    assert (run.step_number, len(run.history)) == (at, history)
    assert asked == run.branch(step=second.step).evaluate("test").accuracy
    short = labkit.Run(run.net, run.data, run.plan, seed=0).fit(epochs=2)
    assert asked == short.evaluate("test").accuracy


def test_what_is_read_off_agrees_with_the_history(run):
    valid = run.history.query("split == 'valid'")
    assert lesson_09.FIT["validation-loss"].ask(run) == list(valid["loss"])
    assert lesson_09.FIT["rise"].ask(run) == pytest.approx(
        valid["loss"].iloc[-1] / valid["loss"].min() - 1
    )
    best = valid.loc[valid["loss"].idxmin()]
    there = run.branch(step=int(best.step)).evaluate("test").accuracy
    assert lesson_09.STOP["by-loss"].ask(run) == there
    gap = run.evaluate("train").accuracy - run.evaluate("valid").accuracy
    assert lesson_09.FIT["gap"].ask(run) == gap


def test_only_what_is_meant_is_disturbed(run):
    data = labkit.load_data("digits", size=16, seed=0).subset(per_class=10)
    other = Disturbed(0.3, watched=20)(data, seed=5)
    assert 10 < int((other.train.labels != data.train.labels).sum()) < 45
    assert len(other.valid) == 20
    assert other.test is data.test
    assert Disturbed(0.3)(data, seed=5).valid is data.valid
