"""What an hour of a machine costs: a table that is meant to be edited, with a date and a source on every row.

`prices.toml` beside this file holds examples. A learner makes rows of their own, or a file of the same form. Energy is
the method that most tools fall back on where a machine has no counter: watts at work, times seconds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.errors import UNREADABLE, FileError, PriceError, clipped, shown

SHIPPED = Path(__file__).with_name("prices.toml")
HOUR = 3600  # seconds
LARGEST = 1e12  # of a price or of watts: beyond the dearest machine there is


@dataclass(frozen=True)
class Machine:
    """One row of a price table: what an hour costs, in a currency of three letters, and the watts drawn at work.

    `date` is that of the source, a date or text such as "2026-06-17". `estimate` says that a number was worked out
    rather than read. Raises PriceError for a row that a reader could not judge.
    """

    name: str
    price_per_hour: float
    currency: str
    watts: float
    date: date
    source: str
    estimate: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "date", _date(self.name, self.date))
        for field in ("name", "source"):
            _check_text(self.name, field, getattr(self, field))
        for field in ("price_per_hour", "watts"):
            _check_amount(self.name, field, getattr(self, field))
        if not isinstance(self.currency, str) or not _is_code(self.currency):
            raise PriceError(
                f"{shown(self.name)}: currency={shown(self.currency)} must be a code of three capital letters, "
                "such as EUR."
            )
        if not isinstance(self.estimate, bool):
            raise PriceError(
                f"{shown(self.name)}: estimate={shown(self.estimate)} must be True or False."
            )

    def money(self, seconds: float) -> float:
        """What so many seconds cost, in the currency of the row."""
        return self.price_per_hour * seconds / HOUR

    def watt_hours(self, seconds: float) -> float:
        """What so many seconds of work draw, in watt-hours."""
        return self.watts * seconds / HOUR


def machines(path: Path | str | None = None) -> dict[str, Machine]:
    """The rows of a price table by name: those that ship, or of a TOML file of the same form.

    Raises PriceError for a file that cannot be read, a row that lacks something, or a name that two rows have.
    """
    FileError.refuse_no_path(SHIPPED if path is None else path)
    path = SHIPPED if path is None else Path(path)
    try:
        rows = tomllib.loads(path.read_text("utf-8")).get("machine", [])
    except (OSError, *UNREADABLE) as trouble:
        raise PriceError(f"{path} is no price table that can be read: {trouble}.") from trouble
    if not isinstance(rows, list) or not rows:
        raise PriceError(f"{path} has no rows. Each begins with a line [[machine]].")
    found: dict[str, Machine] = {}
    for row in rows:
        machine = _row(path, row)
        if machine.name in found:
            raise PriceError(f"{path} has two rows named {machine.name!r}. Give each its own name.")
        found[machine.name] = machine
    return found


def price_table(rows: Mapping[str, Machine] | Sequence[Machine]) -> pd.DataFrame:
    """Price rows as a table, with their units in the headings."""
    given = rows.values() if isinstance(rows, Mapping) else rows
    listed = list(given) if isinstance(given, Iterable) else []
    if not listed or not all(isinstance(machine, Machine) for machine in listed):
        raise PriceError(
            f"{shown(rows)} are no price rows. Give a list of insight.Machine, or what insight.machines() gave."
        )
    table = pd.DataFrame([asdict(machine) for machine in listed])
    table["estimate"] = ["yes" if machine.estimate else "no" for machine in listed]
    return table.rename(columns={"name": "machine", "price_per_hour": "price an hour"})


def _row(path: Path, row: Any) -> Machine:
    names = [field.name for field in fields(Machine)]
    if not isinstance(row, dict) or set(row) != set(names):
        given = clipped(", ".join(row)) if isinstance(row, dict) else shown(row)
        raise PriceError(f"{path}: a row has {given or 'nothing'}; it needs {', '.join(names)}.")
    return Machine(**row)


# ---------------------------------------------------------------- checks of the arguments


def _date(name: object, given: object) -> date:
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise PriceError(
            f"{shown(name)}: date={shown(given)} must be a day, such as 2026-06-17: a price without one cannot "
            "be judged."
        ) from None


def _check_text(name: object, field: str, given: object) -> None:
    if not isinstance(given, str) or not given.strip():
        raise PriceError(
            f"{shown(name)}: {field}={shown(given)} must say something: a row needs a name, and a page or bill to "
            "look it up."
        )


def _check_amount(name: object, field: str, given: object) -> None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise PriceError(
            f"{shown(name)}: {field}={shown(given)} must be a number, without its unit."
        )
    if not 0 <= given <= LARGEST:  # a comparison, because math.isfinite takes no number above 1e308
        raise PriceError(
            f"{shown(name)}: {field}={shown(given)} must be 0 or more, and at most {LARGEST:.0e}."
        )


def _is_code(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()
