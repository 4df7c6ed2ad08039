"""A few sentences for the learner that read well as text, as HTML, in the light and in the dark."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Literal

Tone = Literal["right", "not yet", "plain"]

_MARKS = {"right": "✓", "not yet": "○", "plain": "·"}
_BOX = "border-left:3px solid currentColor;padding:.2em 0 .2em .9em;margin:.4em 0;max-width:46em"


@dataclass(frozen=True)
class Note:
    """A headline, points below it, and hints that unfold one inside the other."""

    headline: str
    points: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    tone: Tone = "plain"

    def __str__(self) -> str:
        lines = [f"{_MARKS[self.tone]} {self.headline}", *(f"  - {point}" for point in self.points)]
        return "\n".join(lines + [f"  Hint: {hint}" for hint in self.hints[:1]])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        points = "".join(f"<li>{said(point)}</li>" for point in self.points)
        listed = f"<ul style='margin:.3em 0'>{points}</ul>" if points else ""
        head = f"<strong>{_MARKS[self.tone]} {said(self.headline)}</strong>"
        return f"<div style='{_BOX}'>{head}{listed}{_ladder(self.hints)}</div>"


def said(text: str) -> str:
    """The text as HTML; what stands between backticks looks like code, all else stays as it is spelt."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _ladder(hints: tuple[str, ...]) -> str:
    """Hints nested so that the second can only be opened from within the first."""
    html = ""
    for number, hint in reversed(list(enumerate(hints, start=1))):
        summary = f"<summary style='cursor:pointer'>Hint {number} of {len(hints)}</summary>"
        inside = f"<div style='margin-left:1em'>{said(hint)}{html}</div>"
        html = f"<details>{summary}{inside}</details>"
    return html
