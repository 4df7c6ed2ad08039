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
from labkit.insight.atlas.making import build, check, problems, real_run
from labkit.insight.atlas.record import Recorded, load
from labkit.insight.atlas.sheets import SHEETS, Sheet, find

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
