"""The record: one row a measurement, with all that is needed to judge it and to make it again, as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Literal

from labkit import runtime
from labkit.bench.work import Outcome, Work
from labkit.errors import UNREADABLE, BenchError, FileError
from labkit.hosts import version_of

RECORDS = Path(__file__).parent / "records"
Status = Literal["measured", "missing", "failed"]
PACKAGES = (
    "labkit",
    "torch",
    "torchvision",
    "fastai",
    "transformers",
    "accelerate",
    "keras",
    "scikit-learn",
    "numpy",
    "pillow",
)


@dataclass(frozen=True)
class BenchRow:
    """One peer, one work, one seed.

    `seconds` is the time to the end. Where `extended_from` is a number, only so many epochs were measured and their
    mean stands for the others. `correct` has the validation count after each measured epoch, of `count`. `peak_mb`
    is the peer's own process, `worker_peak_mb` the largest of its worker processes. `rehearsal` took so many seconds
    before the clock ran; `cpu_seconds` are those of the measured epochs, in all processes of the peer. `cold` is the
    time to the end in a fresh process with empty caches that rehearsed nothing, imports counted.
    """

    work: str
    peer: str
    seed: int
    status: Status = "measured"
    seconds: float | None = None
    epochs: int = 0
    extended_from: int | None = None
    setup: float = 0.0
    epoch_seconds: tuple[float, ...] = ()
    correct: tuple[int, ...] = ()
    count: int = 0
    peak_mb: float | None = None
    worker_peak_mb: float | None = None
    rehearsal: float = 0.0
    cpu_seconds: float = 0.0
    cold: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def of(cls, work: Work, peer: str, asked: int, answer: dict[str, Any]) -> BenchRow:
        """The row of what a process answered; `asked` is how many epochs the whole work has."""
        outcome = Outcome(**{f.name: answer[f.name] for f in fields(Outcome)})
        done = len(outcome.epochs)
        short = work.epochs < asked
        return cls(
            work.name,
            peer,
            work.seed,
            seconds=round(to_the_end(outcome, work, asked), 4),
            epochs=asked,
            extended_from=done if short else None,
            setup=round(outcome.setup, 4),
            epoch_seconds=tuple(round(second, 5) for second in outcome.epochs),
            correct=tuple(outcome.correct),
            count=outcome.count,
            peak_mb=_rounded(answer["peak_mb"]),
            worker_peak_mb=_rounded(answer["worker_peak_mb"]),
            rehearsal=round(answer["rehearsal"], 3),
            cpu_seconds=round(answer["cpu_seconds"], 2),
            parts={name: round(second, 4) for name, second in outcome.parts.items()},
            facts=outcome.facts,
        )


def to_the_end(outcome: Outcome, work: Work, asked: int) -> float:
    """Seconds for all epochs that were asked for: where fewer were measured, their mean stands for the others."""
    more = asked / len(outcome.epochs) if work.epochs < asked else 1
    return outcome.setup + sum(outcome.epochs) * more


def cold_seconds(work: Work, asked: int, answer: dict[str, Any]) -> float:
    """The cold figure out of what a process answered."""
    outcome = Outcome(**{f.name: answer[f.name] for f in fields(Outcome)})
    return round(answer["loaded"] + to_the_end(outcome, work, asked), 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


@dataclass
class Record:
    """All rows of a bench, and where and with what they were measured.

    `works`, `peers` and `inputs` describe what was asked; `scaling` and `profile` are filled in by their own
    commands.
    """

    made_with: str = "labkit bench"
    when: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    optimizer: str = "SGD, Nesterov's momentum 0.9, constant rate, no weight decay"
    inputs: dict[str, Any] = field(default_factory=dict)
    works: list[dict[str, Any]] = field(default_factory=list)
    peers: list[dict[str, str]] = field(default_factory=list)
    rows: list[BenchRow] = field(default_factory=list)

    def row(self, work: str, peer: str, seed: int) -> BenchRow | None:
        """The row of a measurement, or None."""
        same = (r for r in self.rows if (r.work, r.peer, r.seed) == (work, peer, seed))
        return next(same, None)

    def of(self, work: str, peer: str) -> list[BenchRow]:
        """All rows of a peer at a work, one a seed."""
        return [row for row in self.rows if (row.work, row.peer) == (work, peer)]


def read(path: Path) -> Record:
    """The record in a file.

    Raises BenchError when there is none, or when it is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        rows = [BenchRow(**_tuples(row)) for row in content.pop("rows")]
        return Record(**content, rows=rows)
    except FileNotFoundError:
        raise BenchError(
            f"There is no record {path}. Make one: labkit bench --out {path}"
        ) from None
    except (OSError, *UNREADABLE) as error:
        raise BenchError(
            f"{path} is not a record of the bench ({error}). Make a new one: labkit bench --out {path}"
        ) from error


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def write(record: Record, path: Path) -> Path:
    """Write a record whole or not at all. Raises FileError where it cannot be written."""
    try:
        return runtime.write_atomic(path, (json.dumps(asdict(record), indent=1) + "\n").encode())
    except OSError as trouble:
        raise FileError.of(path, trouble) from trouble


def machine() -> dict[str, Any]:
    """What the numbers belong to."""
    return {
        "processor": runtime.processor_name(),
        "threads": runtime.threads(),
        "memory_gb": round((runtime.memory_limit() or 0) / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The installed version of each package; what is not installed is left out."""
    found = {}
    for name in names:
        try:
            found[name] = version_of(name)
        except PackageNotFoundError:
            continue
    return found
