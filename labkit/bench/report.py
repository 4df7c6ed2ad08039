"""What a record says: a table in words, the targets with what was reached, and the README's section.

Speeds are compared only where the accuracies agree: counts after the same epoch, each with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from math import isnan
from typing import Any

from labkit.bench.record import BenchRow, Record
from labkit.errors import BenchError
from labkit.insight.metrics import Estimate, mean_interval
from labkit.runtime import wilson

RIVALS = ("pytorch", "fastai")  # the targets are set against the faster of these
OURS, FLOOR = "labkit", "floor"
BEGIN, END = "<!-- bench: begin, written by `labkit bench --readme` -->", "<!-- bench: end -->"


@dataclass(frozen=True)
class Line:
    """A peer at a work, all seeds together. `seconds` is None where it is missing or failed."""

    work: str
    peer: str
    title: str
    seconds: Estimate | None
    cold: Estimate | None
    accuracy: str
    memory: str
    remark: str

    @property
    def time(self) -> str:
        """Seconds in words, with the interval where there are several seeds."""
        return _with_interval(self.seconds)

    @property
    def first_day(self) -> str:
        """The same in a fresh process with empty caches, imports counted."""
        return _with_interval(self.cold)


def lines(record: Record) -> list[Line]:
    """One line for every work and peer of a record that has a row."""
    found = []
    for work in record.works:
        for peer in record.peers:
            rows = record.of(work["name"], peer["name"])
            if rows:
                found.append(_line(work["name"], peer, rows))
    return found


def _line(work: str, peer: dict[str, str], rows: list[BenchRow]) -> Line:
    good = [row for row in rows if row.seconds is not None]
    remarks = [f"extended from {_epochs(row.extended_from)}" for row in good if row.extended_from]
    remarks += [row.problem for row in rows if row.problem]
    return Line(
        work,
        peer["name"],
        peer["title"],
        _mean(row.seconds for row in good),
        _mean(row.cold for row in good),
        _accuracy(good),
        _memory(good),
        "; ".join(dict.fromkeys(remarks)),
    )


def _mean(seconds: Iterable[float | None]) -> Estimate | None:
    known = [value for value in seconds if value is not None]
    return mean_interval(known) if known else None


def _with_interval(seconds: Estimate | None) -> str:
    if seconds is None:
        return "—"
    between = f" ({_figures(seconds.low)} to {_figures(seconds.high)})"
    return _seconds(seconds.mean) + ("" if isnan(seconds.low) else between)


def _accuracy(rows: list[BenchRow]) -> str:
    """One seed: its share with the Wilson interval; several: their mean with Student's."""
    if not rows:
        return "—"
    after = f" after {_epochs(rows[0].extended_from)}" if rows[0].extended_from else ""
    if len(rows) > 1:
        return mean_interval(row.correct[-1] / row.count for row in rows).percent() + after
    low, high = wilson(rows[0].correct[-1], rows[0].count)
    share = rows[0].correct[-1] / rows[0].count
    return f"{share:.0%} ({100 * low:.0f} to {100 * high:.0f}){after}".replace("%", " %")


def _memory(rows: list[BenchRow]) -> str:
    own = max((row.peak_mb or 0 for row in rows), default=0)
    worker = max((row.worker_peak_mb or 0 for row in rows), default=0)
    if not own:
        return "—"
    return f"{own:,.0f} MB" + (f" + {worker:,.0f} MB a worker" if worker else "")


# ---------------------------------------------------------------- targets


@dataclass(frozen=True)
class TargetResult:
    """A target and what was reached: `value` against `limit`, both ratios or both seconds."""

    work: str
    what: str
    value: float
    limit: float
    at_least: bool
    unit: str = "×"

    @property
    def kept(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        reached = f"{_figures(self.value)}{self.unit} (target {sign} {self.limit:g}{self.unit})"
        return f"{self.what}: {reached}, {'kept' if self.kept else 'MISSED'}"


def verdicts(record: Record) -> list[TargetResult]:
    """Every target that the record has the measurements for."""
    means = {(line.work, line.peer): line.seconds.mean for line in lines(record) if line.seconds}
    return list(chain.from_iterable(_verdicts(work, means) for work in record.works))


def _verdicts(work: dict[str, Any], means: dict[tuple[str, str], float]) -> list[TargetResult]:
    name, found = work["name"], []
    ours, floor = means.get((name, OURS)), means.get((name, FLOOR))
    if ours is None:
        return []
    rivals = {peer: means[name, peer] for peer in RIVALS if (name, peer) in means}
    if work["peers_at_least"] and rivals:
        fastest = min(rivals, key=lambda peer: rivals[peer])
        others = f", the faster of {' and '.join(rivals)}" if len(rivals) > 1 else ""
        what = f"times as fast as {fastest}{others}"
        found.append(TargetResult(name, what, rivals[fastest] / ours, work["peers_at_least"], True))
    if work["floor_at_most"] and floor:
        found.append(
            TargetResult(name, "times the floor", ours / floor, work["floor_at_most"], False)
        )
    if work["seconds_at_most"]:
        limit = work["seconds_at_most"]
        found.append(TargetResult(name, "seconds in all", ours, limit, False, " s"))
    return found


def agreements(record: Record) -> dict[tuple[str, str], bool]:
    """For each work and peer: whether its accuracy agrees with labkit's.

    One seed: each accuracy lies in the other's 95 % interval. Several: the interval of the mean difference, seed by
    seed, holds 0. Both are counted after the last epoch that both have measured.
    """
    found = {}
    for work in record.works:
        ours = {row.seed: row for row in record.of(work["name"], OURS) if row.correct}
        for peer in record.peers:
            theirs = {row.seed: row for row in record.of(work["name"], peer["name"]) if row.correct}
            both = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
            if both and peer["name"] != OURS:
                found[work["name"], peer["name"]] = _agree(both)
    return found


def _agree(pairs: list[tuple[BenchRow, BenchRow]]) -> bool:
    counts = [(*_at_the_same_epoch(a, b), a.count, b.count) for a, b in pairs]
    if len(counts) == 1:
        a, b, n, m = counts[0]
        return _within(b / m, wilson(a, n)) and _within(a / n, wilson(b, m))
    gap = mean_interval(a / n - b / m for a, b, n, m in counts)
    return _within(0.0, (gap.low, gap.high))


def _at_the_same_epoch(a: BenchRow, b: BenchRow) -> tuple[int, int]:
    """Counts after the last epoch both have; where a peer has no epochs (one fit), the last of each."""
    if 1 in (len(a.correct), len(b.correct)) and not (a.extended_from or b.extended_from):
        return a.correct[-1], b.correct[-1]
    last = min(len(a.correct), len(b.correct)) - 1
    return a.correct[last], b.correct[last]


def _within(value: float, interval: tuple[float, float]) -> bool:
    return interval[0] - 1e-12 <= value <= interval[1] + 1e-12


# ---------------------------------------------------------------- words


def table(record: Record) -> str:
    """The whole record as text: each work with its peers, the targets, and what each peer does differently."""
    ours = {
        line.work: line.seconds.mean for line in lines(record) if _is_ours(line) and line.seconds
    }
    agree, blocks = agreements(record), []
    for work in record.works:
        rows = [
            (
                line.title,
                line.time,
                _ratio(line, ours),
                line.first_day,
                line.accuracy,
                line.memory,
                _say(line, agree),
            )
            for line in lines(record)
            if line.work == work["name"]
        ]
        head = ("", "time", "against labkit", "cold", "validation accuracy", "peak memory", "")
        told = [f"  {verdict}" for verdict in verdicts(record) if verdict.work == work["name"]]
        if rows:
            blocks.append("\n".join([_title(work), *_aligned([head, *rows]), *told]))
    return "\n\n".join([*blocks, _notes(record)])


def _is_ours(line: Line) -> bool:
    return line.peer == OURS


def _ratio(line: Line, ours: dict[str, float]) -> str:
    if line.seconds is None or line.work not in ours or _is_ours(line):
        return ""
    return f"{_figures(line.seconds.mean / ours[line.work])}×"


def _say(line: Line, agree: dict[tuple[str, str], bool]) -> str:
    differs = agree.get((line.work, line.peer)) is False
    return "; ".join(filter(None, [line.remark, "ACCURACY DIFFERS" if differs else ""]))


def _title(work: dict[str, Any]) -> str:
    return f"{work['title']}: {work['backbone']} at {work['size']} px, batch {work['batch_size']}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _notes(record: Record) -> str:
    notes = ["The same for all:", f"  {_where(record)}", f"  {record.optimizer}"]
    notes += [f"  {line}" for line in _weights(record)]
    notes += ["What each does differently:"]
    notes += [f"  {peer['title']}: {peer['differs']}" for peer in record.peers]
    return "\n".join(notes)


def _where(record: Record) -> str:
    machine, data = record.machine, record.inputs.get("data", {})
    return (
        f"{data.get('train', 0)} training and {data.get('val', 0)} validation images of "
        f"{data.get('name', 'no data')}; {machine.get('threads')} thread(s) of {machine.get('processor')}"
    )


def _weights(record: Record) -> list[str]:
    """What the networks start from, said so that nobody takes random weights for published ones."""
    said = []
    for backbone, about in record.inputs.get("weights", {}).items():
        if about["kind"] == "pretrained":
            said.append(f"{backbone} starts from its pre-trained weights.")
        else:
            said.append(
                f"{backbone} starts from one file of seeded random weights, the same for all, because the published "
                "ones were not on this machine: times are those of the real network, accuracies are not."
            )
    return said


# ---------------------------------------------------------------- the README


def readme_section(record: Record | None, scaling: dict[str, Any] | None = None) -> str:
    """The README's "How fast", made from the records (of `labkit bench` and `... scaling`) and from nothing else."""
    if record is None:
        return "Nothing is on record yet: `labkit bench --out labkit/bench/records/bench.json` makes a record."
    ours = {line.work: line for line in lines(record) if _is_ours(line)}
    peers = [peer for peer in record.peers if _measured(record, peer["name"])]
    head = "| the same work by | " + " | ".join(_short(peer["title"]) for peer in peers) + " |"
    body = [_readme_row(record, work, peers) for work in record.works if work["name"] in ours]
    parts = [
        "`labkit bench` does the same work with each tool, one process at a time on one machine: the same photographs, "
        "network, initial weights, optimiser, batch and epochs, a validation after every epoch. Seconds to the end, "
        "final validation accuracy with its 95 % interval:",
        "\n".join([head, "|---" * (1 + len(peers)) + "|", *body]),
        _readme_notes(record),
        *([_readme_scaling(scaling)] if scaling else []),
    ]
    return "\n\n".join(parts)


def _readme_scaling(found: dict[str, Any]) -> str:
    """Seconds and peak memory as the number of photographs grows."""
    rows = {(row["images"], row["trainable_from"]): row for row in found["rows"]}
    sizes = sorted({images for images, _ in rows})
    head = "| photographs at 64 px | " + " | ".join(f"{size:,}" for size in sizes) + " |"
    body = [
        f"| {depth} | " + " | ".join(_readme_size(rows.get((size, depth))) for size in sizes) + " |"
        for depth in dict.fromkeys(depth for _, depth in rows)
    ]
    said = (
        f"As work grows (`labkit bench scaling`, {found['epochs']} epochs of the shipped backbone on Tiny ImageNet): "
        "seconds, and peak memory of the whole process."
    )
    return "\n\n".join([said, "\n".join([head, "|---" * (1 + len(sizes)) + "|", *body])])


def _readme_size(row: dict[str, Any] | None) -> str:
    return f"{_seconds(row['seconds'])}<br>{row['peak_mb'] or 0:,.0f} MB" if row else ""


def _measured(record: Record, peer: str) -> bool:
    return any(row.peer == peer and row.seconds is not None for row in record.rows)


def _short(title: str) -> str:
    return title.removesuffix(" (torch backend)")


def _readme_row(record: Record, work: dict[str, Any], peers: list[dict[str, str]]) -> str:
    found = {line.peer: line for line in lines(record) if line.work == work["name"]}
    cells = [_readme_cell(found.get(peer["name"])) for peer in peers]
    return f"| {work['title']} | {' | '.join(cells)} |"


def _readme_cell(line: Line | None) -> str:
    if line is None or line.seconds is None:
        return ""
    star = " \\*" if "extended" in line.remark else ""
    cold = f"<br>cold {_seconds(line.cold.mean)}" if line.cold else ""
    return f"{_seconds(line.seconds.mean)}{star}{cold}<br>{line.accuracy}"


def _readme_notes(record: Record) -> str:
    checks: list[tuple[Callable[[], bool], str]] = [
        (
            lambda: any(row.extended_from for row in record.rows),
            "\\* Some epochs were measured and their mean extended to the rest; the accuracy is that after the "
            "measured ones.",
        ),
        (
            lambda: any(row.cold is not None for row in record.rows),
            "Cold: as on a machine that has never seen it, in a fresh process with empty caches, imports counted; the "
            "other figures begin when everything is loaded.",
        ),
        (
            lambda: _measured(record, FLOOR),
            "The floor is no tool: it decodes once, runs the frozen part once and trains the rest in a bare loop.",
        ),
    ]
    said = [text for holds, text in checks if holds()]
    differing = [
        f"{work} by {peer}" for (work, peer), same in agreements(record).items() if not same
    ]
    if differing:
        said.append(f"Accuracies differ by more than chance in: {', '.join(differing)}.")
    else:
        said.append("Where two can be compared, the accuracies agree within their intervals.")
    said += [
        *_weights(record),
        f"Measured on {_where(record)}, torch {record.versions.get('torch')}.",
    ]
    return " ".join([*said, "What each does differently is in `labkit bench --show`."])


def with_section(readme: str, section: str) -> str:
    """The README with its section replaced; raises BenchError where the marks are not there."""
    if (
        readme.count(BEGIN) != 1
        or readme.count(END) != 1
        or readme.index(BEGIN) > readme.index(END)
    ):
        raise BenchError(
            f"The README needs these two lines once, in this order: {BEGIN} and {END}."
        )
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{section}\n{END}{rest.split(END)[1]}"


# ---------------------------------------------------------------- numbers


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count != 1 else ''}"


def _seconds(value: float) -> str:
    return f"{_figures(value)} s"


def _figures(value: float) -> str:
    """Three figures at most: 0.41, 12.3, 301."""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"
