"""The coach's examination: its record is whole, says what its rows say, and a random few come out the same again."""

from __future__ import annotations

import json

import pytest

from labkit.errors import EvidenceError
from labkit.records import exam
from labkit.records.exam import Answer, Share


@pytest.fixture(scope="module")
def recorded():
    return exam.answers()


def test_the_record_holds_every_run_of_the_examination(recorded):
    assert exam.missing() == []
    assert exam.right_first(recorded).count >= 60
    assert exam.false_alarms(recorded).count >= 60


@pytest.mark.slow
def test_a_random_few_of_the_recorded_runs_are_told_the_same_again():
    for one in exam.recheck(3):
        assert one.same, one


def test_the_provenance_beside_the_record_is_that_of_its_rows(recorded):
    provenance = json.loads((exam.RECORDS / "coach.json").read_text())
    assert provenance["right_first"]["hits"] == sum(a.right for a in recorded if a.kind != "sound")
    named = [a.curves == a.kind for a in recorded if a.kind != "sound"]
    assert provenance["from_curves"]["hits"] == sum(named)
    assert provenance["false_alarms"]["hits"] == sum(
        not a.right for a in recorded if a.kind == "sound"
    )


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
        Answer("leakage", 0, "digits", "leakage", "", "ended", 9, 0.1, "sound"),
        Answer("leakage", 1, "digits", "sound", "", "ended", 9, 0.1, "leakage"),
        Answer("sound", 0, "digits", "augmented", "", "ended", 9, 0.1, "sound"),
        Answer("sound", 1, "digits", "overfitting", "", "ended", 9, 0.1),
    ]
    table = exam.confusion(rows)
    assert table.to_numpy().sum() == 4
    assert table.loc["leakage", "sound"] == 1
    assert exam.right_first(rows) == Share(1, 2)
    assert exam.false_alarms(rows) == Share(1, 2)  # a note is no alarm
    assert exam.from_curves(rows) == Share(1, 2)
    assert exam.by_kind(rows).set_index("kind").loc["leakage"].tolist() == [2, 1, 1]
    assert str(Share(63, 65)) == "63 of 65, 96.9% (89.5% to 99.2%)"
    assert "False alarms" in exam.summary(rows)


def test_what_curves_alone_show_is_judged_without_audit_and_probes(recorded):
    """Of kinds that only audit and probes can see, none is named from the curves; of those they bend, some are."""
    named = exam.by_kind(recorded).set_index("kind")["from the curves alone"]
    assert all(named[kind] == 0 for kind in ("statistics-drift", "head-left-out", "leakage"))
    assert named["overfitting"] > 0
    assert named.sum() == exam.from_curves(recorded).hits < exam.right_first(recorded).hits


def test_texts_cite_the_record_by_name_and_a_wrong_name_is_an_error(recorded, tmp_path):
    assert exam.share("right-first") == exam.right_first(recorded)
    assert Share(3, 68).words() == "3 of 68, 4 % (2 to 12)"
    with pytest.raises(EvidenceError, match="false-alarms"):
        exam.share("luck")
    with pytest.raises(EvidenceError, match="labkit evidence coach"):
        exam.share("right-first", tmp_path)
