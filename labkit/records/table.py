"""A record of runs: a CSV with a row a run, and a JSON beside it, their provenance, that says how the rows came about.

Evidence, atlas and exam are kept in this way. The rows of a sweep are not: its driver appends each to a file that it
has locked, and a full disk must not end it. Nor is the bench, whose rows hold dictionaries, all in one JSON.

A row is a frozen dataclass; the types of its fields say how its columns are read. Files are written whole or not at
all, after every run, so a build that was interrupted goes on where it was. Reading needs neither torch nor pandas.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

from labkit import runtime
from labkit.errors import UNREADABLE, EvidenceError, LabkitError

Tell = Callable[[str], None]
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn")


class TableRow(Protocol):
    """A row of a table: a dataclass with an `id`, which tells its run from the other runs of the table."""

    @property
    def id(self) -> Hashable: ...


AnyRow = TypeVar("AnyRow", bound=TableRow)
Todo = TypeVar("Todo")


# ---------------------------------------------------------------- the rows


PARSE: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str}
PARSE["tuple[int, ...]"] = lambda text: tuple(map(int, text.split()))


def read(path: Path, kind: type[AnyRow], error: type[LabkitError] = EvidenceError) -> list[AnyRow]:
    """The rows of a CSV, none where there is no file; raises `error` if it is damaged.

    A column that is missing, because the file is older than it, has the default of its field.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(line, kind) for line in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, *UNREADABLE) as trouble:
        raise error(f"{path.name} cannot be read ({trouble}). Build it again.") from trouble


def _row(line: dict[str, str], kind: Any) -> Any:
    if None in line.values():
        raise ValueError("a line is cut short")
    columns = [f for f in fields(kind) if f.name in line or f.default is MISSING]
    return kind(**{f.name: PARSE[str(f.type)](line[f.name]) for f in columns})


def write(path: Path, rows: Sequence[Any]) -> Path:
    """Write rows of one kind as CSV, whole or not at all.

    A field with `metadata={"format": ...}` is written in that format. Several numbers are kept apart by spaces.
    """
    columns = fields(rows[0])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([column.name for column in columns])
    table.writerows([_written(getattr(row, f.name), f) for f in columns] for row in rows)
    return runtime.write_atomic(path, text.getvalue().encode())


def _written(value: Any, column: Field[Any]) -> Any:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return format(value, column.metadata["format"]) if column.metadata else value


def fill(
    path: Path,
    rows: Iterable[AnyRow],
    todo: Iterable[Todo],
    make: Callable[[Todo], AnyRow],
    order: Sequence[Hashable] | None = None,
) -> Iterator[tuple[Todo, AnyRow]]:
    """Make the runs that are missing, one after another, and yield each with its row once that is on disk.

    `rows` are those on record; a new one takes the place of an old one with the same id. `order` are the ids in the
    order of the file, which leaves out rows that it does not name; by default new rows come last.
    """
    known = {row.id: row for row in rows}
    for one in todo:
        row = make(one)
        known[row.id] = row
        write(path, [known[key] for key in order or known if key in known])
        yield one, row


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that change when anything in the content does."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


# ---------------------------------------------------------------- the provenance beside them


def read_provenance(path: Path, error: type[LabkitError] = EvidenceError) -> dict[str, Any]:
    """What the JSON beside a record says; empty where there is none. Raises `error` where it cannot be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, *UNREADABLE) as trouble:
        raise error(f"{path.name} cannot be read ({trouble}). Build it again.") from trouble


def write_provenance(path: Path, provenance: dict[str, Any]) -> Path:
    """Write the JSON beside a record, whole or not at all."""
    text = json.dumps(provenance, indent=1, ensure_ascii=False) + "\n"
    return runtime.write_atomic(path, text.encode())


def machine(**threads: int) -> dict[str, Any]:
    """What runs are made on and with, after what the caller says of its threads."""
    return {
        **threads,
        "processor": runtime.processor_name(),
        "device": str(runtime.device()),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


# ---------------------------------------------------------------- doing some runs again


@dataclass(frozen=True)
class Recheck:
    """A recorded run done again: what was on record, what came out, and whether one more seed could have ended there.

    On the machine of the record both are the same. Elsewhere sums are taken in another order, and the band in which
    one more seed lands in 95 of 100 cases tells chance from a record that no longer holds.
    """

    run: str
    then: Any
    now: Any
    inside: bool
    words: str

    @property
    def same(self) -> bool:
        return bool(self.now == self.then)

    def __str__(self) -> str:
        return f"{self.run}: {self.words}"


def recheck(
    recorded: Sequence[Todo],
    runs: int,
    chance: int | str | None,
    redo: Callable[[Todo], Recheck],
    tell: Tell | None = None,
) -> list[Recheck]:
    """Do so many of the recorded runs again, drawn by `chance`, or all where there are fewer."""
    done = []
    for one in random.Random(chance).sample(recorded, min(runs, len(recorded))):
        done.append(redo(one))
        if tell is not None:
            tell(str(done[-1]))
    return done
