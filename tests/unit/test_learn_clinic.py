"""The clinic: eight patients of the learner's own, and an answer with reasons to every diagnosis."""

from __future__ import annotations

import pytest

from labkit.errors import LabkitError
from labkit.insight import sabotage
from labkit.learn import clinic, progress
from labkit.learn.clinic import DISEASES, Clinic, Patient


@pytest.fixture(autouse=True)
def _own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


@pytest.fixture(scope="module")
def patients():
    """The patients of one seed, trained once for all tests."""
    return tuple(Patient(number, case) for number, case in enumerate(clinic.draw(5), start=1))


@pytest.fixture
def ward(patients):
    ward = Clinic(seed=5)
    ward.patients = patients
    return ward


def number_of(ward: Clinic, disease: str) -> int:
    return 1 + [case.kind for case in clinic.draw(ward.seed)].index(disease)


def test_every_clinic_has_the_eight_diseases_and_no_two_seeds_the_same_patients():
    wards = [clinic.draw(seed) for seed in range(20)]
    assert all(sorted(case.kind for case in ward) == sorted(DISEASES) for ward in wards)
    assert len({tuple(case.kind for case in ward) for ward in wards}) > 15
    first, second = (sabotage.make(sabotage.Case("leakage", seed, "clinic")) for seed in (0, 1))
    assert first.plan != second.plan


def test_a_learner_keeps_their_patients_and_another_learner_gets_others(tmp_path, monkeypatch):
    mine = Clinic()
    assert Clinic().seed == mine.seed
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "another.json"))
    assert Clinic().seed != mine.seed


def test_a_right_diagnosis_is_answered_with_what_shows_it_and_what_rules_out_the_others(ward):
    note = ward.diagnose(number_of(ward, "statistics-drift"), "statistics-drift")
    assert note.tone == "right"
    assert "BatchNorm statistics there have drifted" in note.points[0]
    assert note.points[1].startswith("Not frozen-moves: in the audit no parameter")


def test_a_wrong_diagnosis_is_answered_with_what_speaks_against_it_and_hints_not_the_answer(ward):
    number = number_of(ward, "averaged-averages")
    note = ward.diagnose(number, "leakage")
    assert note.tone == "not yet"
    assert "0 of" in note.points[0]
    assert "averaged" not in note.headline + note.points[0] + note.hints[0]
    assert "averaged-averages" in note.hints[-1]
    later = ward.diagnose(number, "averaged-averages")
    assert later.tone == "right"
    assert "first word on this patient was leakage" in later.points[-1]


def test_the_score_counts_first_words_and_says_where_to_look(ward):
    ward.diagnose(number_of(ward, "leakage"), "leakage")
    ward.diagnose(number_of(ward, "averaged-averages"), "leakage")
    note = ward.score()
    assert note.headline == "1 of 2 first diagnoses right."
    assert "it was averaged-averages" in note.points[0]
    assert "6 patients still to see" in note.points[-1]
    assert progress.read("exercises")["14-clinic"]["solved"] is False


def test_a_patient_shows_what_a_run_shows_and_not_its_disease(ward):
    patient = ward[number_of(ward, "averaged-averages")]
    shown = f"{patient.about}{patient.curves.alt}{patient.run!r}{patient.run.name}"
    assert not any(disease in shown for disease in DISEASES)
    assert len(patient.history)
    assert patient.audit().rows
    assert len(patient.memory().table()) == len(patient.modes().table()) == len(patient.run.stages)
    assert patient.scales().table().index.tolist() == ["train", "valid"]
    assert patient.recount() is not None
    assert patient.twins().looked_at


def test_every_disease_can_be_told_from_what_it_is_taken_for():
    assert set(clinic.LIKE) == set(DISEASES)
    for disease, others in clinic.LIKE.items():
        assert disease not in others
        assert set(others) <= set(sabotage.KINDS)
        assert clinic._where_to_look(disease)


def test_a_patient_or_disease_that_does_not_exist_is_an_error_that_names_those_there_are():
    ward = Clinic(seed=0)
    with pytest.raises(LabkitError, match="1 to 8"):
        ward.patient(9)
    with pytest.raises(LabkitError, match="leakage"):
        ward.diagnose(1, "a cold")
