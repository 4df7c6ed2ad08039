"""Who is measured when: every peer at every work with every seed, one process at a time, the order turning round."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.bench.inputs import Inputs
from labkit.bench.peers import Peer
from labkit.bench.processes import ask
from labkit.bench.record import BenchRow, Record, cold_seconds, machine, versions, write
from labkit.bench.work import Work
from labkit.errors import BenchError
from labkit.hosts import how_to_install

Tell = Callable[[str], None]
# Not of a work's description.
PLACES = {"folder", "rehearsal", "state", "weights", "threads", "seed"}


def measure(
    works: Sequence[Work],
    peers: Sequence[Peer],
    seeds: int = 1,
    epochs_measured: int | None = None,
    quick: bool = False,
    out: Path | None = None,
    known: Record | None = None,
    tell: Tell | None = None,
    cold: bool = False,
) -> Record:
    """Measure works by peers, side by side on this machine.

    Args:
        epochs_measured: of a peer whose epochs all cost the same, measure no more than this and extend the mean.
        quick: small images of digits in place of photographs.
        out: the record is written there after every measurement.
        known: a record of earlier measurements; what it has is not measured again.
        tell: gets a line for every measurement.
        cold: measure each work once more as on a machine's first day: empty caches, nothing rehearsed, imports counted.

    A peer that is not installed, or that fails, has a row that says so.
    """
    record = _new_record(works, peers, known)
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        inputs = Inputs(Path(folder), quick)
        for work, peer, seed in _turns(works, peers, seeds):
            row = record.row(work.name, peer.name, seed)
            if row is not None and not (cold and row.cold is None):
                continue
            if row is not None:
                record.rows.remove(row)
            row = row or _measure(inputs, work, peer, seed, epochs_measured)
            if cold and row.status == "measured":
                row = replace(row, cold=_cold(inputs, work, peer, seed, epochs_measured))
            record.rows.append(row)
            weights = record.inputs.get("weights", {}) | inputs.about.get("weights", {})
            record.inputs |= inputs.about | {"weights": weights}
            record.when = datetime.now(UTC).isoformat(timespec="seconds")
            if out is not None:
                write(record, out)
            if tell is not None:
                tell(_line(row))
    return record


def _new_record(works: Sequence[Work], peers: Sequence[Peer], known: Record | None) -> Record:
    """An empty record, or the known one without its missing and failed rows: those are tried again."""
    record = known or Record()
    record.machine = machine()
    record.versions |= versions()  # of a tool that is not installed now, those it was measured with
    record.works = _merged(record.works, [_described(work) for work in works])
    described = [
        {"name": p.name, "title": p.title, "differs": p.differs, "needs": " ".join(p.needs)}
        for p in peers
    ]
    record.peers = _merged(record.peers, described)
    record.rows = [row for row in record.rows if row.status == "measured"]
    return record


def _described(work: Work) -> dict[str, Any]:
    return {key: value for key, value in asdict(work).items() if key not in PLACES}


def _merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The old entries in their order, each as it is described now, and those that are new."""
    now = {entry["name"]: entry for entry in new}
    return [now.pop(entry["name"], entry) for entry in old] + list(now.values())


def _turns(
    works: Sequence[Work], peers: Sequence[Peer], seeds: int
) -> Iterator[tuple[Work, Peer, int]]:
    """Works in order, peers forward and backward in turns: a machine that warms up favours nobody."""
    for seed in range(seeds):
        for number, work in enumerate(works):
            able = [peer for peer in peers if peer.does(work)]
            yield from (
                (work, peer, seed) for peer in able[:: 1 if (number + seed) % 2 == 0 else -1]
            )


def _measure(inputs: Inputs, work: Work, peer: Peer, seed: int, most: int | None) -> BenchRow:
    if missing := peer.missing():
        problem = f"not installed: {', '.join(missing)} ({how_to_install('bench,lessons')})"
        return BenchRow(work.name, peer.name, seed, status="missing", problem=problem)
    job = _job(inputs, work, peer, seed, most)
    try:
        answer = ask("peer", {"peer": peer.name, "work": asdict(job)}, inputs.scratch)
    except BenchError as problem:
        return BenchRow(work.name, peer.name, seed, status="failed", problem=str(problem))
    if not peer.forks:  # torch asks the system by short commands, which would be taken for workers
        answer["worker_peak_mb"] = None
    return BenchRow.of(job, peer.name, work.epochs, answer)


def _cold(inputs: Inputs, work: Work, peer: Peer, seed: int, most: int | None) -> float:
    job = _job(inputs, work, peer, seed, most)
    answer = ask("cold", {"peer": peer.name, "work": asdict(job)}, inputs.scratch)
    return cold_seconds(job, work.epochs, answer)


def _job(inputs: Inputs, work: Work, peer: Peer, seed: int, most: int | None) -> Work:
    """The work where its images lie, shortened for a peer whose epochs all cost the same."""
    job = inputs.place(work, seed)
    return replace(job, epochs=min(most, job.epochs)) if peer.extends and most else job


def _line(row: BenchRow) -> str:
    head = f"{row.work} by {row.peer}, seed {row.seed}"
    if row.seconds is None:
        return f"{head}: {row.status}, {row.problem}"
    extended = f" (extended from {row.extended_from} epochs)" if row.extended_from else ""
    cold = f", cold {row.cold:.2f} s" if row.cold is not None else ""
    return f"{head}: {row.seconds:.2f} s{extended}{cold}, {row.correct[-1]} of {row.count} right"
