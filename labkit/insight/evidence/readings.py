"""Numbers that several experiments read off a finished run."""

from __future__ import annotations

from labkit.insight.evidence.setting import Reading
from labkit.insight.forgetting import remembered
from labkit.tuning import Run


def _old_accuracy(run: Run) -> float:
    return remembered(run).accuracy


REMEMBERED = Reading(_old_accuracy)  # of 1,000 questions of the old task, with the old head
