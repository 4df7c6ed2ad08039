"""Bounds that tests hold: what was measured is kept beside each, so that one sees how much room is left.

`make fresh` prints them all. A bound that is kept by luck on one machine fails on the next, so it should have 15 %
of room.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

KEPT = Path(__file__).resolve().parents[1] / "build" / "bounds.jsonl"
ROOM = 0.15  # of a bound, that should be left


@dataclass(frozen=True)
class Held:
    """A bound and what was measured, both in `unit`."""

    name: str
    measured: float
    bound: float
    unit: str = ""

    @property
    def room(self) -> float:
        """How much of the bound is left, as a share; below 0 where it is broken."""
        return 1 - self.measured / self.bound

    @property
    def is_roomy(self) -> bool:
        """Whether enough of it is left."""
        return self.room >= ROOM


def held(name: str, measured: float, bound: float, unit: str = "", file: Path = KEPT) -> None:
    """Assert that what was measured is not above its bound, and keep both."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open(
        "a", encoding="utf-8"
    ) as kept:  # one write a line: several processes test at once
        kept.write(json.dumps(asdict(Held(name, measured, bound, unit))) + "\n")
    assert measured <= bound, f"{name}: {measured:.4g} {unit} is above {bound:.4g} {unit}"


def read(file: Path = KEPT) -> list[Held]:
    """The tightest measurement of each name, the least room first; none where nothing was kept."""
    if not file.exists():
        return []
    tightest: dict[str, Held] = {}
    for line in filter(str.strip, file.read_text("utf-8").splitlines()):
        one = Held(**json.loads(line))
        if one.name not in tightest or one.room < tightest[one.name].room:
            tightest[one.name] = one
    return sorted(tightest.values(), key=lambda one: one.room)


def table(found: Iterable[Held]) -> str:
    """A line a bound, with its room in per cent."""
    lines = [f"{'measured':>12}{'bound':>12}{'room':>7}  what"]
    for one in found:
        numbers = f"{one.measured:>12.4g}{one.bound:>12.4g}{100 * one.room:>6.0f}%"
        mark = "" if one.is_roomy else "  <- too little room"
        lines.append(f"{numbers}  {one.name}{f' ({one.unit})' if one.unit else ''}{mark}")
    return "\n".join(lines)
