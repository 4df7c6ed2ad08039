"""Numbers that several experiments read off a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.records.evidence.setting import Measurement

if TYPE_CHECKING:
    from labkit.tuning import Run


def _old_accuracy(run: Run) -> float:
    from labkit.insight import remembered

    return remembered(run).accuracy


REMEMBERED = Measurement(_old_accuracy)  # of 1,000 questions of the old task, with the old head
