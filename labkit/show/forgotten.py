"""What is left of the old task while the new one is learned, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from labkit.insight import OldTask, old_task
from labkit.insight import forgetting as story_of
from labkit.show.picture import Marked, Picture, dress, legend, look, shorten

if TYPE_CHECKING:
    from labkit.tuning import Run


def forgetting(runs: Run | Sequence[Run], task: OldTask | None = None) -> Picture:
    """Accuracy on the old task (left) and on the new one (right), epoch by epoch: a line a run.

    The band is the 95 % Wilson interval over the old questions: what other questions would change, not other seeds.
    `task` is by default the old task of the first run's backbone. Raises as `insight.remembered` does.
    """
    several = list(runs) if isinstance(runs, Sequence) else [runs]
    task = task or old_task(several[0].net)
    picture = Picture(9, 3.8)
    old, new = picture.subplots(1, 2, sharey=True)
    dress(old, "epoch", "accuracy (%)", f"The old task: {task.name}")
    dress(new, "epoch", "", f"The new task: {several[0].data.name}")
    entries, tables = [], []
    for number, run in enumerate(several):
        way, rows = look(number), story_of(run, task)
        line = old.plot(rows["epoch"], 100 * rows["old"], color=way.colour, marker=way.marker)[0]
        old.fill_between(
            rows["epoch"],
            100 * rows["old_low"],
            100 * rows["old_high"],
            color=way.colour,
            alpha=0.18,
        )
        new.plot(rows["epoch"], 100 * rows["new"], color=way.colour, marker=way.marker)
        entries.append(Marked(line, shorten(run.name)))
        tables.append(rows.assign(run=run.name))
    old.set_ylim(0, 102)
    legend(picture, entries)
    table = pd.concat(tables, ignore_index=True)
    said = "; ".join(_in_words(run, rows) for run, rows in zip(several, tables, strict=True))
    return picture.told(f"Accuracy on {task.name} and on the new task. {said}.", table)


def _in_words(run: Run, rows: pd.DataFrame) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"{run.name}: the old task from {first['old']:.0%} to {last['old']:.0%}, "
        f"the new one from {first['new']:.0%} to {last['new']:.0%} in {last['epoch']:.0f} epochs"
    )


def frontier(table: pd.DataFrame, by: str = "way") -> Picture:
    """What is left of the old task against what was learned of the new: a point a row, with its name beside it.

    `table` has columns `old` and `new` (accuracies, 0 to 1) and a name in the column `by`. Up and to the right is good.
    """
    picture = Picture(7, 4.6)
    axes = dress(picture.subplots(), "new task (accuracy, %)", "old task (accuracy, %)")
    entries = []
    for number, row in enumerate(table.itertuples()):
        way = look(number)
        point = axes.plot(
            100 * row.new,
            100 * row.old,
            color=way.colour,
            marker=way.marker,
            markersize=8,
            linestyle="",
        )[0]
        entries.append(Marked(point, shorten(str(getattr(row, by)))))
    axes.margins(0.12)
    legend(picture, entries)
    said = "; ".join(
        f"{getattr(row, by)}: old {row.old:.0%}, new {row.new:.0%}" for row in table.itertuples()
    )
    return picture.told(
        f"What is left of the old task, and what was learned of the new. {said}.", table
    )
