"""The ward as a card: choose a patient, order an examination, commit a diagnosis, read why it was right or not.

The page asks and the kernel answers. Training a patient takes a second or two, so that it happens in a thread of its
own and the page asks for news meanwhile. What the card does is also a call: `clinic[3].examine("audit")` and
`clinic.diagnose(3, "leakage")`.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from labkit.console import assets
from labkit.console.panel import Panel
from labkit.console.wire import Message, in_words, sent_back
from labkit.course.lesson_14.patients import DISEASES, EXAMINATIONS, ExaminationResult
from labkit.errors import LabkitError, shown
from labkit.learn.note import Note
from labkit.records import sabotage

if TYPE_CHECKING:
    from labkit.course.lesson_14.clinic import Clinic

KINDS = ("examine", "diagnose", "poll")  # of message


class ClinicCard(Panel):
    """The card; the book of diagnoses in words where scripts do not run."""

    _esm = assets.script_beside(__file__, "card.js")
    _css = assets.style_beside(__file__, "card.css")
    ward = traitlets.Dict().tag(sync=True)  # what never changes

    def __init__(self, clinic: Clinic) -> None:
        super().__init__(
            ward={
                "patients": [patient.number for patient in clinic],
                "examinations": [
                    {"name": name, "title": one.title} for name, one in EXAMINATIONS.items()
                ],
                "diseases": [
                    {"name": name, "title": sabotage.KINDS[name].title} for name in DISEASES
                ],
            }
        )
        self._clinic = clinic
        self._lock = threading.Lock()
        self._job: Request | None = None

    def obey(self, asked: Message, buffers: Sequence[Any]) -> None:
        """Begin an examination or a diagnosis, or only tell how the last one stands."""
        if asked.get("kind") not in KINDS:
            raise LabkitError(f"A message needs a kind, one of {', '.join(KINDS)}.")
        if asked["kind"] != "poll":
            self._begin(*(asked.get(key) for key in ("kind", "patient", "name")))

    def state(self, asked: Message) -> Message:
        """Who asked, the book, and the last job, if it is news to the page."""
        job = self._job if self._job is not None and self._job.id != asked.get("have") else None
        return {
            "client": sent_back(asked.get("client")),
            "job": job.to_message() if job is not None else None,
            "book": [{"patient": one.patient, "right": one.right} for one in self._clinic.told()],
            "score": self._clinic.score().headline,
        }

    def _begin(self, kind: Any, number: Any, name: Any) -> Request:
        """Have something done in a thread of its own; one thing at a time."""
        patient = self._clinic.patient(number)
        known = EXAMINATIONS if kind == "examine" else DISEASES
        if not isinstance(name, str) or name not in known:
            raise LabkitError(f"There is no {shown(name)} here. There are {', '.join(known)}.")
        with self._lock:
            if self._job is not None and not self._job.over:
                raise LabkitError(f"Patient {self._job.patient} is still being seen to. Wait.")
            job = Request(0 if self._job is None else self._job.id + 1, patient.number, kind, name)
            self._job = job
        threading.Thread(
            target=job.go, args=(self._clinic,), name="labkit-clinic", daemon=True
        ).start()
        return job

    def __repr__(self) -> str:
        return repr(self._clinic)

    def stand_in(self) -> tuple[Message, Message]:
        """The book in words."""
        return {"text/html": self._clinic.score()._repr_html_()}, {}


@dataclass(eq=False)
class Request:
    """One wish of the page, from the click to what came of it."""

    id: int
    patient: int
    kind: str  # "examine" or "diagnose"
    name: str
    about: Note | None = None
    result: ExaminationResult | Note | None = None
    trouble: str = ""
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        """Whether there is a result, or none will come."""
        return self._over.is_set()

    def go(self, clinic: Clinic) -> None:
        """Train the patient where that was not done yet, then look or judge."""
        try:
            patient = clinic.patient(self.patient)
            self.about = patient.about
            if self.kind == "examine":
                self.result = patient.examine(self.name)
            else:
                self.result = clinic.diagnose(self.patient, self.name)
        except Exception as trouble:  # told to the page: a thread has nobody to raise to
            self.trouble = in_words(trouble)
        finally:
            self._over.set()

    def to_message(self) -> dict[str, Any]:
        """Where it stands, for the page."""
        over = self.over
        return {
            "id": self.id,
            "patient": self.patient,
            "kind": self.kind,
            "name": self.name,
            "over": over,
            "trouble": self.trouble if over else "",
            "about": _said(self.about) if over and self.about else None,
            "sheet": _shown(self.result)
            if over and isinstance(self.result, ExaminationResult)
            else None,
            "note": _said(self.result) if over and isinstance(self.result, Note) else None,
        }


def _said(note: Note) -> dict[str, Any]:
    return {
        "headline": note.headline,
        "points": list(note.points),
        "hints": list(note.hints),
        "tone": note.tone,
    }


def _shown(sheet: ExaminationResult) -> dict[str, Any]:
    """A sheet as plain values: the figure as PNG in base 64 with its words, the table cell by cell as text."""
    figure = sheet.figure
    return {
        "question": sheet.question,
        "remark": sheet.remark,
        "image": base64.b64encode(figure.png()).decode() if figure is not None else "",
        "alt": figure.alt if figure is not None else "",
        "columns": [str(name).replace("_", " ") for name in sheet.table.columns],
        "rows": [[_cell(value) for value in row] for row in sheet.table.itertuples(index=False)],
    }


def _cell(value: Any) -> str:
    """A value of a table as a reader wants it."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
