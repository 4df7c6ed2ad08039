"""A claim of the course that a rule decides: the rule was written before the runs, the verdict follows from the record.

A rule asks the same question in several places. Yes everywhere is *supported*, yes nowhere is *not supported*, and
anything between is *it depends*. Yes always means: the whole 95 % interval over seeds lies on that side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labkit.insight.metrics import Estimate

Ask = Callable[..., Estimate]  # as `evidence.estimate`: a key, and another to compare with


@dataclass(frozen=True)
class Claim:
    """A general statement, the rule in words, and the rule as code: an answer for each place it is asked in.

    `preregistered` says whether the history shows the rule before the record. Where both came in one commit nobody can
    see it, so the rule is asked of confirming runs as well, which were made when it had long been there.
    """

    number: int
    statement: str
    rule: str
    asked: Callable[[Ask], Iterator[tuple[str, bool]]]
    preregistered: bool = True

    def verdict(self, ask: Ask) -> str:
        """`supported`, `not supported` or `it depends`."""
        answers = [answer for _, answer in self.asked(ask)]
        return "supported" if all(answers) else "it depends" if any(answers) else "not supported"
