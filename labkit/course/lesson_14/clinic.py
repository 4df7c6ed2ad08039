"""The clinic of lesson 14: eight runs, each with something wrong in it, for the learner to find out what.

The runs are drawn from a seed that is drawn once for each learner and kept with the progress, so that no two learners
get the same and each gets the same again tomorrow. A patient shows what any run shows: curves, the audit, the probes.
A diagnosis is answered with reasons taken from the run itself: what shows the fault, and what speaks against the one
that was named.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from labkit import runtime
from labkit.course.lesson_14.card import ClinicCard
from labkit.course.lesson_14.patients import DISEASES, Patient
from labkit.errors import LabkitError, shown
from labkit.insight import diagnosis
from labkit.learn import progress
from labkit.learn.note import Note
from labkit.records import sabotage
from labkit.tuning.plans import check_seed

if TYPE_CHECKING:
    import pandas as pd


ENTRY = "14-clinic"
LIKE: dict[str, tuple[str, ...]] = {  # what a fault is easily taken for, the likeliest first
    "statistics-drift": ("frozen-moves", "eval-mode", "normalisation"),
    "head-left-out": ("rate-too-small", "stale-moments", "underfitting"),
    "eval-mode": ("statistics-drift", "averaged-averages", "overfitting"),
    "leakage": ("averaged-averages", "eval-mode"),
    "normalisation": ("rate-too-small", "statistics-drift", "underfitting"),
    "rate-too-large": ("stale-moments", "normalisation", "overfitting"),
    "averaged-averages": ("eval-mode", "leakage", "little-validation"),
    "stale-moments": ("rate-too-small", "rate-too-large", "head-left-out"),
}


@dataclass(frozen=True)
class LearnerDiagnosis:
    """What the learner said of one patient, and what it was."""

    patient: int
    told: str
    was: str

    @property
    def right(self) -> bool:
        return self.told == self.was


class Clinic:
    """Eight patients and the learner's book of diagnoses.

    `seed` draws the patients; without one, the learner's own is used, drawn anew the first time and kept.
    Raises PlanError for what is no seed.
    """

    def __init__(self, seed: int | None = None) -> None:
        seed = None if seed is None else check_seed(seed)
        with progress.entry("exercises", ENTRY) as kept:
            if seed is None:
                seed = kept.get("seed", secrets.randbelow(2**31))
            if kept.get("seed") != seed:
                kept.clear()
                kept.update(seed=seed, solved=False, told={})
        self.seed = seed
        self.patients = tuple(
            Patient(number, case) for number, case in enumerate(draw(seed), start=1)
        )

    def __getitem__(self, number: int) -> Patient:
        return self.patient(number)

    def __iter__(self) -> Iterator[Patient]:
        return iter(self.patients)

    def __len__(self) -> int:
        return len(self.patients)

    def patient(self, number: int) -> Patient:
        """A patient by number, from 1 on. Raises LabkitError where there is none."""
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not 1 <= number <= len(self.patients):
            raise LabkitError(
                f"There is no patient {shown(number)}. There are patients 1 to {len(self.patients)}."
            )
        return self.patients[number - 1]

    @property
    def diseases(self) -> pd.DataFrame:
        """What the patients may have: the names to say, and what each means."""
        import pandas as pd

        rows = [(name, sabotage.KINDS[name].title) for name in DISEASES]
        return pd.DataFrame(rows, columns=["name", "what it is"]).set_index("name")

    def card(self) -> ClinicCard:
        """The ward as a card to click or tab through: patients, examinations, diagnosis, answer."""
        return ClinicCard(self)

    def diagnose(self, number: int, disease: str) -> Note:
        """Say what a patient has. The first word counts; the answer gives reasons either way."""
        patient = self.patient(number)
        if disease not in DISEASES:
            raise LabkitError(f"{disease!r} is no disease here. These are: {', '.join(DISEASES)}.")
        was = patient._case.kind
        with progress.entry("exercises", ENTRY) as kept:
            told = kept.setdefault("told", {})
            first = told.setdefault(str(number), disease)
            kept["solved"] = (
                len(told) == len(self.patients) and len(_right(self.patients, told)) > 5
            )
        note = _right_note(patient) if disease == was else _wrong_note(patient, disease)
        if first == disease:
            return note
        again = f"Your first word on this patient was {first}; that one counts."
        return Note(note.headline, (*note.points, again), note.hints, note.tone)

    def told(self) -> tuple[LearnerDiagnosis, ...]:
        """The first diagnosis of every patient that has one."""
        book = progress.read("exercises").get(ENTRY, {}).get("told", {})
        return tuple(
            LearnerDiagnosis(patient.number, book[str(patient.number)], patient._case.kind)
            for patient in self.patients
            if str(patient.number) in book
        )

    def score(self) -> Note:
        """How many first diagnoses were right, and which were not, with what to look at again."""
        told = self.told()
        wrong = [one for one in told if not one.right]
        points = [
            f"Patient {one.patient}: you said {one.told}, it was {one.was}. {_where_to_look(one.was)}"
            for one in wrong
        ]
        left = len(self.patients) - len(told)
        if left:
            points.append(f"{left} patient{'s' if left > 1 else ''} still to see.")
        if not told:
            return Note("No diagnosis yet.", tuple(points))
        done = not wrong and not left
        headline = f"{len(told) - len(wrong)} of {len(told)} first diagnoses right."
        return Note(headline, tuple(points), tone="right" if done else "plain")

    def __repr__(self) -> str:
        return f"A clinic of {len(self)} patients. {self.score()}"


def draw(seed: int) -> list[sabotage.Case]:
    """The eight cases of a seed: every disease once, in an order and with settings of the seed's own."""
    order = torch.randperm(len(DISEASES), generator=runtime.generator(seed, "clinic")).tolist()
    return [sabotage.Case(DISEASES[index], seed, "clinic") for index in order]


# ---------------------------------------------------------------- reasons


def _right_note(patient: Patient) -> Note:
    evidence, was = patient._evidence, patient._case.kind
    points = [_shown(patient)]
    found = {finding.kind for finding in patient._diagnosis.findings}
    others = [kind for kind in LIKE[was] if kind not in found][:2]
    points += [f"Not {kind}: {_lower(diagnosis.against(kind, evidence))}" for kind in others]
    return Note(f"Right: {sabotage.KINDS[was].title}.", tuple(points), tone="right")


def _wrong_note(patient: Patient, disease: str) -> Note:
    """What speaks against the disease that was named, and hints that lead to the right one."""
    evidence, was = patient._evidence, patient._case.kind
    named = sabotage.KINDS[disease].title
    hints = (_where_to_look(was), _shown(patient), f"It is {was}: {sabotage.KINDS[was].title}.")
    return Note(
        f"Not yet: {_lower(named)}?",
        (diagnosis.against(disease, evidence),),
        hints,
        tone="not yet",
    )


def _shown(patient: Patient) -> str:
    """What shows the disease in this very run, by the coach's own rule."""
    was = patient._case.kind
    said = [finding.sentence for finding in patient._diagnosis.findings if finding.kind == was]
    return said[0] if said else f"{sabotage.KINDS[was].title}: {_where_to_look(was)}"


def _where_to_look(kind: str) -> str:
    return {
        "statistics-drift": "`audit` tells parameters and buffers apart.",
        "head-left-out": "`memory` shows what the optimiser holds; `audit` shows whether the head moved.",
        "eval-mode": "`modes` shows who trains in eval mode; `recount` validates again as it should be done.",
        "leakage": "`twins` looks for validation images among the training ones.",
        "normalisation": "`scales` shows on which scale the images of both splits come.",
        "rate-too-large": "Look at the first ten steps of the training loss, and at the drift in `audit`.",
        "averaged-averages": "`recount` and the table of `curves` show how many were right. That is a whole number.",
        "stale-moments": "`memory` shows how many steps the optimiser remembers.",
    }[kind]


def _lower(sentence: str) -> str:
    """The sentence as it stands in the middle of another; a name such as BatchNorm keeps its capital."""
    first = sentence.split()[0]
    named = any(letter.isupper() for letter in first[1:])
    return sentence if named else sentence[0].lower() + sentence[1:]


def _right(patients: tuple[Patient, ...], told: dict[str, Any]) -> list[int]:
    return [p.number for p in patients if told.get(str(p.number)) == p._case.kind]
