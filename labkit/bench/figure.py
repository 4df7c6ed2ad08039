"""The bench as a figure: a panel a work, a bar a peer, seconds on a logarithmic scale."""

from __future__ import annotations

from typing import Any

import pandas as pd

from labkit.bench.record import Record
from labkit.bench.report import FLOOR, OURS, Line, lines
from labkit.errors import BenchError
from labkit.show.figure import COLOURS, EDGE, FAINT, INK, Figure, dress, shorten

HATCHES = {OURS: "", FLOOR: "xx"}  # bars differ in hatching as well as in colour
OTHERS = "//"


def draw(record: Record) -> Figure:
    """Horizontal bars of the time to the end; raises BenchError when nothing was measured."""
    measured = [line for line in lines(record) if line.seconds is not None]
    if not measured:
        raise BenchError("There is nothing to draw: no measurement of this record came to its end.")
    works = [work for work in record.works if any(line.work == work["name"] for line in measured)]
    counts = [sum(line.work == work["name"] for line in measured) for work in works]
    figure = Figure(8, 0.9 * len(works) + 0.3 * sum(counts))
    grid = figure.subplots(len(works), 1, squeeze=False, sharex=True, height_ratios=counts)
    for axes, work in zip(grid.flat, works, strict=True):
        last = "time to the end (seconds, logarithmic)" if work is works[-1] else ""
        dress(axes, last, "", shorten(work["title"], 70))
        _bars(axes, [line for line in measured if line.work == work["name"]])
    return figure.told(_words(works, measured), _table(works, measured))


def _bars(axes: Any, found: list[Line]) -> None:
    found = sorted(found, key=lambda line: _mean(line))
    colours = {OURS: COLOURS[0], FLOOR: EDGE}
    bars = axes.barh(
        range(len(found)),
        [_mean(line) for line in found],
        color=[colours.get(line.peer, COLOURS[1]) for line in found],
        edgecolor=FAINT,
        hatch=[HATCHES.get(line.peer, OTHERS) for line in found],
    )
    axes.bar_label(bars, [_label(line) for line in found], padding=4, color=INK, fontsize=9)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_yticks(range(len(found)), [line.title for line in found], parse_math=False)
    axes.invert_yaxis()
    axes.grid(False, axis="y")


def _mean(line: Line) -> float:
    return line.seconds.mean if line.seconds else 0.0


def _label(line: Line) -> str:
    return f"{line.time}, {line.remark}" if "extended" in line.remark else line.time


def _words(works: list[dict[str, Any]], measured: list[Line]) -> str:
    said = []
    for work in works:
        times = [f"{line.title} {_label(line)}" for line in measured if line.work == work["name"]]
        said.append(f"{work['title']}: {', '.join(times)}")
    return f"Time to the end of the same work. {'; '.join(said)}."


def _table(works: list[dict[str, Any]], measured: list[Line]) -> pd.DataFrame:
    titles = {work["name"]: work["title"] for work in works}
    rows = [
        {
            "work": titles[line.work],
            "by": line.title,
            "seconds": _mean(line),
            "validation accuracy": line.accuracy,
            "peak memory": line.memory,
            "remark": line.remark,
        }
        for line in measured
    ]
    return pd.DataFrame(rows)
