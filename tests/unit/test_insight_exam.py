"""The coach's examination: its record is whole, says what its rows say, and a random few come out the same again."""

from __future__ import annotations

import json

import pytest

from labkit.insight import exam
from labkit.insight.exam import Answer, Share


@pytest.fixture(scope="module")
def recorded():
    return exam.answers()


def test_the_record_holds_every_run_of_the_examination(recorded):
    assert exam.missing() == []
    assert exam.right_first(recorded).count >= 60
    assert exam.false_alarms(recorded).count >= 60


def test_a_random_few_of_the_recorded_runs_are_told_the_same_again():
    for then, now in exam.recheck(3):
        assert (now.told, now.status) == (then.told, then.status), then


def test_the_story_beside_the_record_is_that_of_its_rows(recorded):
    story = json.loads((exam.RECORDS / "coach.json").read_text())
    assert story["right_first"]["hits"] == sum(a.right for a in recorded if a.kind != "sound")
    assert story["false_alarms"]["hits"] == sum(not a.right for a in recorded if a.kind == "sound")


def test_an_interrupted_examination_goes_on_where_it_was(tmp_path, monkeypatch):
    sat = []

    def sit(case):
        sat.append(case)
        return Answer(case.kind, case.seed, case.material, case.kind, "", "ended", 9, 0.1)

    monkeypatch.setattr(exam, "sit", sit)
    exam.build(tmp_path, most=3)
    assert len(exam.answers(tmp_path)) == 3
    exam.build(tmp_path, most=2)
    assert sat == exam.cases()[:5]
    exam.build(tmp_path, again=True, most=1)
    assert sat[-1] == exam.cases()[0]
    assert len(exam.answers(tmp_path)) == 1


def test_the_confusion_table_counts_each_run_once_and_the_shares_have_wilson_intervals():
    rows = [
        Answer("leakage", 0, "digits", "leakage", "", "ended", 9, 0.1),
        Answer("leakage", 1, "digits", "sound", "", "ended", 9, 0.1),
        Answer("sound", 0, "digits", "augmented", "", "ended", 9, 0.1),
        Answer("sound", 1, "digits", "overfitting", "", "ended", 9, 0.1),
    ]
    table = exam.confusion(rows)
    assert table.to_numpy().sum() == 4
    assert table.loc["leakage", "sound"] == 1
    assert exam.right_first(rows) == Share(1, 2)
    assert exam.false_alarms(rows) == Share(1, 2)  # a note is no alarm
    assert str(Share(63, 65)) == "63 of 65, 96.9% (89.5% to 99.2%)"
    assert "False alarms" in exam.summary(rows)
