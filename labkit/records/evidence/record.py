"""How evidence is kept: one CSV with a row a run, and one JSON that says how the rows came about.

A row carries a digest of its recipe (data, labels, plan, weights), so that a record made by another
recipe than today's is found out. Files are written whole or not at all, after every run: an
interrupted build goes on where it was.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from math import nan
from pathlib import Path
from typing import Any

from labkit import runtime
from labkit.errors import UNREADABLE, EvidenceError
from labkit.records.evidence.setting import Setting
from labkit.records.story import machine_and_versions
from labkit.records.story import read_story as read_story
from labkit.records.story import write_story as write_story


@dataclass(frozen=True)
class Row:
    """One run: `correct` of `count` after the last epoch, on the split that is reported.

    `valid_correct`, `best_correct` and `best_epoch` are of the validation split. `seconds` is time
    by the clock, validation included, and `cpu_seconds` processor time, which other work on the
    machine does not stretch. `statistics` is how far the BatchNorm statistics of stages that never
    trained have moved (relative; 0 when they stood still), `drift` how far the parameters below the
    head are from where they began (relative; nan in records older than this column). `curve` is the right answers on
    the validation split before training and after each epoch (empty in records older than this column). `readings` is
    what the setting's readings gave, as `name=number`, or `name=number:number:number` where one gave a curve.
    """

    group: str
    plan: str
    seed: int
    correct: int
    count: int
    valid_correct: int
    best_correct: int
    best_epoch: int
    valid_count: int
    epochs: int
    steps: int
    seconds: float
    cpu_seconds: float
    statistics: float
    precision: str
    recipe: str
    drift: float = nan
    curve: str = ""
    readings: str = ""

    @property
    def accuracy(self) -> float:
        return self.correct / self.count

    def reading(self, name: str) -> float:
        """What one of the setting's readings gave, of a curve the last number; nan where it was not asked for."""
        return self.curve_of(name)[-1]

    def curve_of(self, name: str) -> tuple[float, ...]:
        """All numbers that a reading gave, in their order; (nan,) where it was not asked for."""
        numbers = dict(one.split("=") for one in self.readings.split())
        return tuple(float(number) for number in numbers.get(name, "nan").split(":"))

    def share_until(self, right: int) -> float:
        """The share of the training after which `right` validation answers were first there; 1 if they never were."""
        epochs = [int(count) for count in self.curve.split()]
        reached = (epoch for epoch, count in enumerate(epochs) if count >= right)
        return next(reached, self.epochs) / self.epochs

    def belongs_to(self, setting: Setting, seed: int) -> bool:
        """Whether this is the run of that setting with that seed, whatever its recipe."""
        return (self.group, self.plan, self.seed) == (setting.group, setting.plan.name, seed)


@dataclass(frozen=True)
class Trial:
    """One rate tried, on examples that are not reported; `weights`: how their checksum begins."""

    group: str
    plan: str
    rate: float
    seed: int
    correct: int
    count: int
    weights: str


def digest(setting: Setting, weights: str) -> str:
    """Twelve hexadecimal digits that change when anything about the recipe of a setting does."""
    content = {
        "data": dict(setting.data),
        "split": setting.split,
        "labels": setting.labels,
        "net": setting.net,
        "weights": weights if setting.plan.pretrained else None,
        "plan": setting.plan.to_dict(),
        **setting.extras(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def read(path: Path, kind: type[Any]) -> list[Any]:
    """The rows of a CSV, none where there is no file; EvidenceError if it is damaged."""
    if not path.exists():
        return []
    convert = {"int": int, "float": float, "str": str}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                kind(
                    **{
                        f.name: convert[str(f.type)](line[f.name])
                        for f in fields(kind)
                        if f.name in line or f.default is MISSING
                    }
                )
                for line in csv.DictReader(file)
            ]
    except (OSError, *UNREADABLE) as error:
        raise EvidenceError(f"{path.name} cannot be read ({error}). Build it again.") from error


def write(path: Path, rows: Sequence[Any]) -> None:
    """Write records of one kind as CSV, whole or not at all."""
    text = io.StringIO()
    table = csv.DictWriter(text, [f.name for f in fields(rows[0])], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    runtime.write_atomic(path, text.getvalue().encode())


def machine() -> dict[str, Any]:
    """What the runs were made on and with."""
    return {"threads": runtime.threads(), **machine_and_versions()}
