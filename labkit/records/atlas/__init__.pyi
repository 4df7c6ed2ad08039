from labkit.records.atlas.asking import (
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
from labkit.records.atlas.making import build, check, problems, real_run
from labkit.records.atlas.record import Recorded, load
from labkit.records.atlas.sheets import SHEETS, Sheet, find

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
