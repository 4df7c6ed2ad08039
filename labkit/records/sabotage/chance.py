"""Where the settings of a made run come from: a seed, and a pool that says which part of each range it may use.

The rules of the coach were tuned on runs of the pool "development", which draws every number from the middle half of
its range. The pool "held-out" draws from the two outer quarters, with seeds of its own: no number it uses was seen
while a rule was tuned. The pool "clinic" draws from the whole range, because a learner is to be surprised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

import torch

from labkit import runtime
from labkit.errors import EvidenceError

Pool = Literal["development", "held-out", "clinic"]
POOLS: tuple[str, ...] = get_args(Pool)
T = TypeVar("T")


class Chance:
    """Draws for one run: the same pool, kind and seed give the same draws."""

    def __init__(self, pool: Pool, kind: str, seed: int) -> None:
        if pool not in POOLS:
            raise EvidenceError(f"There is no pool {pool!r}. There are {', '.join(POOLS)}.")
        self.pool = pool
        self._generator = runtime.generator(seed, "sabotage", pool, kind)

    def number(self, low: float, high: float, logarithmic: bool = False) -> float:
        """A number of this pool's part of the range; `logarithmic` for what is thought of in factors, such as rates."""
        place = self._place()
        if logarithmic:
            return float(low * (high / low) ** place)
        return low + (high - low) * place

    def whole(self, low: int, high: int) -> int:
        """A whole number of this pool's part of the range, both ends included."""
        return min(high, low + math.floor(self.number(0, high - low + 1)))

    def choice(self, options: Sequence[T]) -> T:
        """One of a few ways that have no order; every pool has them all."""
        return options[int(torch.randint(len(options), (1,), generator=self._generator))]

    def _place(self) -> float:
        """Where in a range from 0 to 1: the middle half, the two outer quarters, or anywhere."""
        place = float(torch.rand(1, generator=self._generator))
        if self.pool == "development":
            return 0.25 + 0.5 * place
        if self.pool == "held-out":
            return place / 2 if place < 0.5 else 0.5 + place / 2
        return place
