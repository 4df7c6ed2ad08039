"""The clinic of lesson 14: eight runs, each with something wrong in it, for the learner to find out what.

The runs are drawn from a seed that is drawn once for each learner and kept with the progress, so that no two learners
get the same and each gets the same again tomorrow. A patient shows what any run shows: curves, the audit, the probes.
A diagnosis is answered with reasons taken from the run itself: what shows the fault, and what speaks against the one
that was named.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

import torch

from labkit import runtime
from labkit.errors import LabkitError, shown
from labkit.insight import diagnosis, probes
from labkit.insight.kinds import images_of
from labkit.learn import progress
from labkit.learn.note import Note
from labkit.records import sabotage
from labkit.records.sabotage import slips
from labkit.tuning.plans import check_seed

if TYPE_CHECKING:
    import pandas as pd

    from labkit.course.lesson_14.card import ClinicCard
    from labkit.show.picture import Picture
    from labkit.tuning import Audit, Run

ENTRY = "14-clinic"
DISEASES = sabotage.CLINIC
MOST_ROWS = 12  # of a table that a sheet shows; the probe itself has them all
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


# ---------------------------------------------------------------- examinations


@dataclass(frozen=True)
class Sheet:
    """What one examination of a patient shows: the question it answers, a table, and a picture where there is one."""

    patient: int
    name: str
    question: str
    table: pd.DataFrame
    picture: Picture | None = None
    remark: str = ""

    def __str__(self) -> str:
        shown = self.table.to_string(index=False) if len(self.table) else ""
        head = f"Patient {self.patient}, {self.name}: {self.question}"
        return "\n".join(part for part in (head, self.remark, shown) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from labkit.show.picture import table_html

        head = (
            f"<p>Patient {self.patient}, {self.name}: <strong>{escape(self.question)}</strong></p>"
        )
        remark = f"<p>{escape(self.remark)}</p>" if self.remark else ""
        if self.picture is not None:
            return head + remark + self.picture.html()
        return head + remark + (table_html(self.table) if len(self.table) else "")


@dataclass(frozen=True)
class Examination:
    """One way to look at a patient: what it is called and the question it answers.

    `look` gives a picture, or something with a `table()`, or None where there is nothing to look at.
    """

    title: str
    question: str
    look: Callable[[Patient], Any]


class Patient:
    """One run of the clinic. It is trained when it is first looked at, in a second or two."""

    def __init__(self, number: int, case: sabotage.Case) -> None:
        self.number, self._case = number, case

    @property
    def run(self) -> Run:
        """The run itself, trained to its end: `labkit.console(patient.run)` shows it too.

        The run of one patient is kept at a time. That of another is trained again when it is asked for.
        """
        return _trained(self._case, self.number)

    @cached_property
    def about(self) -> Note:
        """What the learner is told: network, data and plan as they were meant to be."""
        run, plan = self.run, self.run.plan
        trained = ", then ".join(
            f"from {p.trainable_from} up for {p.epochs} epochs" for p in plan.phases
        )
        return Note(
            f"Patient {self.number}: {run.net.name} on {run.data.name}.",
            (
                f"{len(run.data.train)} training and {len(run.data.valid)} validation pictures, "
                f"{len(run.data.classes)} classes.",
                f"Trained {trained}, batches of {plan.batch_size}, augmentation: {plan.augment}.",
                f"The rate was {_rates(run)}; the run {run.status} at step {run.step_number}.",
            ),
        )

    @cached_property
    def curves(self) -> Picture:
        """Loss and accuracy by step."""
        from labkit.show.figures import history

        return history(self.run)

    @cached_property
    def audited(self) -> Picture:
        """The audit as a picture."""
        from labkit.show.figures import audit

        return audit(self.run)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row a step and a validation."""
        return self.run.history

    def audit(self) -> Audit:
        """What changed in each stage, and whether anything moved that never trained."""
        found = self._evidence.audit
        assert found is not None
        return found

    def memory(self) -> probes.Memory:
        """What the optimiser holds and remembers."""
        found = self._evidence.memory
        assert found is not None
        return found

    def modes(self) -> probes.Modes:
        """Which mode each stage trains in."""
        found = self._evidence.modes
        assert found is not None
        return found

    def recount(self) -> probes.Recount | None:
        """The last validation as told, and counted again; None where the run failed."""
        return self._evidence.recount

    def twins(self) -> probes.Twins | None:
        """Which validation pictures are among the training ones."""
        return self._evidence.twins

    def scales(self) -> probes.Scales | None:
        """On which scale the pictures come."""
        return self._evidence.scales

    def examine(self, name: str) -> Sheet:
        """One examination as a sheet to read: question, table, picture. `EXAMINATIONS` names them, in their order."""
        if name not in EXAMINATIONS:
            raise LabkitError(
                f"There is no examination {name!r}. There are {', '.join(EXAMINATIONS)}."
            )
        return self._sheets.get(name) or self._sheets.setdefault(name, _sheet(self, name))

    def __repr__(self) -> str:
        return f"Patient {self.number}: .about, .curves, and .examine(one of {', '.join(EXAMINATIONS)})"

    def _repr_html_(self) -> str:
        return self.about._repr_html_() + self.curves.html()

    @cached_property
    def _sheets(self) -> dict[str, Sheet]:
        return {}

    @cached_property
    def _diagnosis(self) -> diagnosis.Diagnosis:
        return diagnosis.diagnose(self.run)

    @property
    def _evidence(self) -> diagnosis.Evidence:
        return self._diagnosis.evidence


@lru_cache(maxsize=1)  # eight trained networks with their checkpoints would not fit a small machine
def _trained(case: sabotage.Case, number: int) -> Run:
    run = sabotage.make(case)
    run.name = f"patient {number}"
    return slips.cover(run.fit())


EXAMINATIONS: dict[str, Examination] = {
    "curves": Examination(
        "Curves",
        "Does the loss fall, and does validation follow?",
        lambda patient: patient.curves,
    ),
    "audit": Examination(
        "Audit",
        "Who moved, in parameters and in buffers, and who should not have?",
        lambda patient: patient.audited,
    ),
    "memory": Examination(
        "Optimiser",
        "Does it hold all that is to train, and does it remember as many steps as were trained?",
        lambda patient: patient.memory(),
    ),
    "modes": Examination(
        "Modes",
        "How many BatchNorm layers of each stage are in training mode, and how many should be?",
        lambda patient: patient.modes(),
    ),
    "recount": Examination(
        "Recount",
        "Does the last validation come out the same when it is counted again?",
        lambda patient: patient.recount(),
    ),
    "twins": Examination(
        "Copies",
        "Which validation pictures are among the training ones?",
        lambda patient: patient.twins(),
    ),
    "scales": Examination(
        "Scale",
        "On which scale do the pictures of both splits come?",
        lambda patient: patient.scales(),
    ),
}


def _sheet(patient: Patient, name: str) -> Sheet:
    from labkit.course.lesson_14 import figures as clinic_charts

    examination, shown = EXAMINATIONS[name], EXAMINATIONS[name].look(patient)
    remark = _remark(shown)
    if shown is None:
        return Sheet(patient.number, name, examination.question, _no_rows(), None, remark)
    if name in ("curves", "audit"):
        return Sheet(patient.number, name, examination.question, shown.table, shown, remark)
    table = shown.table()
    picture: Picture | None = None
    if not isinstance(shown, probes.Twins):
        table = table.reset_index()
    elif shown.copies:
        picture = clinic_charts.pairs(images_of(patient.run), shown.copies)
    return Sheet(patient.number, name, examination.question, table.head(MOST_ROWS), picture, remark)


def _remark(shown: Any) -> str:
    """What a table does not say by itself."""
    if shown is None:
        return "There is nothing to look at: the run ended before its last validation."
    if isinstance(shown, probes.Twins):
        said = f"{len(shown.copies)} of {shown.looked_at} pictures looked at have a copy."
        return f"{said} The first are shown." if len(shown.copies) > MOST_ROWS else said
    if isinstance(shown, probes.Recount):
        return f"{shown.count} pictures. A count of right answers is a whole number."
    if isinstance(shown, probes.Scales):
        return (
            "The network takes pictures from 0 to 1. Spread: how wide the values are that its first BatchNorm is "
            "given, where 1 is what it learned."
        )
    return ""


def _no_rows() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


# ---------------------------------------------------------------- the ward and its book


@dataclass(frozen=True)
class Told:
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
        from labkit.course.lesson_14.card import ClinicCard

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

    def told(self) -> tuple[Told, ...]:
        """The first diagnosis of every patient that has one."""
        book = progress.read("exercises").get(ENTRY, {}).get("told", {})
        return tuple(
            Told(patient.number, book[str(patient.number)], patient._case.kind)
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
        "leakage": "`twins` looks for validation pictures among the training ones.",
        "normalisation": "`scales` shows on which scale the pictures of both splits come.",
        "rate-too-large": "Look at the first ten steps of the training loss, and at the drift in `audit`.",
        "averaged-averages": "`recount` and the table of `curves` show how many were right. That is a whole number.",
        "stale-moments": "`memory` shows how many steps the optimiser remembers.",
    }[kind]


def _lower(sentence: str) -> str:
    """The sentence as it stands in the middle of another; a name such as BatchNorm keeps its capital."""
    first = sentence.split()[0]
    named = any(letter.isupper() for letter in first[1:])
    return sentence if named else sentence[0].lower() + sentence[1:]


def _rates(run: Run) -> str:
    rates = sorted({phase.lr for phase in run.plan.phases})
    return " and ".join(f"{rate:.2g}" for rate in rates)


def _right(patients: tuple[Patient, ...], told: dict[str, Any]) -> list[int]:
    return [p.number for p in patients if told.get(str(p.number)) == p._case.kind]
