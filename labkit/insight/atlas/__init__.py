"""The atlas: recorded sweeps that answer at once what a run with some settings will come to.

`records/` holds a sheet for each data set and network: a CSV with a row a run and a JSON with recipe, machine,
versions and seconds. `expect` answers from them with a mean curve and a band; `expectation.judge(run)` says whether a
run that was really made landed inside. Asking trains nothing; `build` and `check` do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from labkit.insight.atlas.asking import (
    Expectation,
    Point,
    Verdict,
    curve_of,
    differences,
    expect,
    expect_run,
    judge,
    names,
)
from labkit.insight.atlas.record import Recorded, load
from labkit.insight.atlas.sheets import SHEETS, Sheet, find

if TYPE_CHECKING:
    from labkit.insight.atlas.making import build, check, problems, real_run

_MAKING = ("build", "check", "problems", "real_run")

__all__ = [
    "SHEETS",
    "Expectation",
    "Point",
    "Recorded",
    "Sheet",
    "Verdict",
    "build",
    "check",
    "curve_of",
    "differences",
    "expect",
    "expect_run",
    "find",
    "judge",
    "load",
    "names",
    "problems",
    "real_run",
]


def __getattr__(name: str) -> Any:
    if name in _MAKING:  # it knows the engine, which a question does not need
        return getattr(import_module("labkit.insight.atlas.making"), name)
    raise AttributeError(f"labkit.insight.atlas has no {name!r}; it has {', '.join(__all__)}")
