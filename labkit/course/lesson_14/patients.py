"""The patients of the clinic: runs with a known fault, and the examinations that show what any run shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

from labkit.errors import LabkitError
from labkit.insight import diagnosis, probes
from labkit.insight.kinds import images_of
from labkit.learn.note import Note
from labkit.records import sabotage
from labkit.records.sabotage import bugs

if TYPE_CHECKING:
    import pandas as pd

    from labkit.show.figure import Figure
    from labkit.tuning import Audit, Run

DISEASES = sabotage.CLINIC
MOST_ROWS = 12  # of a table that a sheet shows; the probe itself has them all


# ---------------------------------------------------------------- examinations


@dataclass(frozen=True)
class ExaminationResult:
    """What one examination of a patient shows: the question it answers, a table, and a figure where there is one."""

    patient: int
    name: str
    question: str
    table: pd.DataFrame
    figure: Figure | None = None
    remark: str = ""

    def __str__(self) -> str:
        shown = self.table.to_string(index=False) if len(self.table) else ""
        head = f"Patient {self.patient}, {self.name}: {self.question}"
        return "\n".join(part for part in (head, self.remark, shown) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from labkit.show.figure import table_html

        head = (
            f"<p>Patient {self.patient}, {self.name}: <strong>{escape(self.question)}</strong></p>"
        )
        remark = f"<p>{escape(self.remark)}</p>" if self.remark else ""
        if self.figure is not None:
            return head + remark + self.figure.html()
        return head + remark + (table_html(self.table) if len(self.table) else "")


@dataclass(frozen=True)
class Examination:
    """One way to look at a patient: what it is called and the question it answers.

    `look` gives a figure, or something with a `table()`, or None where there is nothing to look at.
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
                f"{len(run.data.train)} training and {len(run.data.valid)} validation images, "
                f"{len(run.data.classes)} classes.",
                f"Trained {trained}, batches of {plan.batch_size}, augmentation: {plan.augment}.",
                f"The rate was {_rates(run)}; the run {run.status} at step {run.step_number}.",
            ),
        )

    @cached_property
    def curves(self) -> Figure:
        """Loss and accuracy by step."""
        from labkit.show.figures import plot_history

        return plot_history(self.run)

    @cached_property
    def audited(self) -> Figure:
        """The audit as a figure."""
        from labkit.show.figures import plot_audit

        return plot_audit(self.run)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row a step and a validation."""
        return self.run.history

    def audit(self) -> Audit:
        """What changed in each stage, and whether anything moved that never trained."""
        found = self._evidence.audit
        assert found is not None
        return found

    def memory(self) -> probes.OptimizerMemory:
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
        """Which validation images are among the training ones."""
        return self._evidence.twins

    def scales(self) -> probes.Scales | None:
        """On which scale the images come."""
        return self._evidence.scales

    def examine(self, name: str) -> ExaminationResult:
        """One examination as a sheet to read: question, table, figure. `EXAMINATIONS` names them, in their order."""
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
    def _sheets(self) -> dict[str, ExaminationResult]:
        return {}

    @cached_property
    def _diagnosis(self) -> diagnosis.Diagnosis:
        return diagnosis.diagnose(self.run)

    @property
    def _evidence(self) -> diagnosis.Observations:
        return self._diagnosis.observations


@lru_cache(maxsize=1)  # eight trained networks with their checkpoints would not fit a small machine
def _trained(case: sabotage.Case, number: int) -> Run:
    run = sabotage.make(case)
    run.name = f"patient {number}"
    return bugs.cover(run.fit())


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
        "Which validation images are among the training ones?",
        lambda patient: patient.twins(),
    ),
    "scales": Examination(
        "Scale",
        "On which scale do the images of both splits come?",
        lambda patient: patient.scales(),
    ),
}


def _sheet(patient: Patient, name: str) -> ExaminationResult:
    from labkit.course.lesson_14 import figures as clinic_charts

    examination, shown = EXAMINATIONS[name], EXAMINATIONS[name].look(patient)
    remark = _remark(shown)
    if shown is None:
        return ExaminationResult(
            patient.number, name, examination.question, _no_rows(), None, remark
        )
    if name in ("curves", "audit"):
        return ExaminationResult(
            patient.number, name, examination.question, shown.table, shown, remark
        )
    table = shown.table()
    figure: Figure | None = None
    if not isinstance(shown, probes.Twins):
        table = table.reset_index()
    elif shown.copies:
        figure = clinic_charts.pairs(images_of(patient.run), shown.copies)
    return ExaminationResult(
        patient.number, name, examination.question, table.head(MOST_ROWS), figure, remark
    )


def _remark(shown: Any) -> str:
    """What a table does not say by itself."""
    if shown is None:
        return "There is nothing to look at: the run ended before its last validation."
    if isinstance(shown, probes.Twins):
        said = f"{len(shown.copies)} of {shown.looked_at} images looked at have a copy."
        return f"{said} The first are shown." if len(shown.copies) > MOST_ROWS else said
    if isinstance(shown, probes.Recount):
        return f"{shown.count} images. A count of right answers is a whole number."
    if isinstance(shown, probes.Scales):
        return (
            "The network takes images from 0 to 1. Spread: how wide the values are that its first BatchNorm is "
            "given, where 1 is what it learned."
        )
    return ""


def _no_rows() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


def _rates(run: Run) -> str:
    rates = sorted({phase.lr for phase in run.plan.phases})
    return " and ".join(f"{rate:.2g}" for rate in rates)
