"""The precision for the floor: all four are tried, because the loops that labkit is measured against get the best one.

labkit itself tries nothing, because a first step must not wait. The floor chooses in the rehearsal, which is not timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from labkit.bench.work import Clock
from labkit.runtime import CLEARLY, PRECISIONS, Precision, remember, remembered

TURNS = 3  # for the clock, after one to warm up


def choose_precision(key: str, trial: Callable[[Precision], object]) -> Precision:
    """The precision in which `trial` runs fastest on this machine, measured once and remembered.

    bf16 is nearly twice as fast where the processor has instructions for it and far slower where it has not;
    channels_last helps or hurts by shape. One takes the place of a plainer one only if it is a tenth faster: on a busy
    machine less is chance. `key` names the work.
    """
    known = remembered(key)
    if known in [[p.dtype, p.memory_format] for p in PRECISIONS]:
        return next(p for p in PRECISIONS if [p.dtype, p.memory_format] == known)
    seconds = _seconds(trial)
    best = PRECISIONS[0]
    for precision in PRECISIONS[1:]:
        if seconds[precision] < CLEARLY * seconds[best]:
            best = precision
    remember(key, [best.dtype, best.memory_format])
    return best


def _seconds(trial: Callable[[Precision], object]) -> dict[Precision, float]:
    """The shortest time of each candidate. They take turns, so that a busy moment of the machine meets them all."""
    best = dict.fromkeys(PRECISIONS, math.inf)
    for turn in range(1 + TURNS):
        for precision in PRECISIONS:
            clock = Clock()
            trial(precision)
            if turn:  # the first is to warm up
                best[precision] = min(best[precision], clock.lap())
    return best
