"""Experiments and claims, a file for each lesson that has some; a new lesson is named here and nowhere else.

A file has `EXPERIMENTS`, what is on record, and may have `CLAIMS`, what a rule decides from it.
"""

from __future__ import annotations

from labkit.insight.evidence.claim import Claim
from labkit.insight.evidence.lessons import (
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
    lesson_09,
    lesson_10,
    lesson_11,
    lesson_12,
    lesson_13,
    lesson_15,
)
from labkit.insight.evidence.setting import Experiment

LESSONS = (
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
    lesson_09,
    lesson_10,
    lesson_11,
    lesson_12,
    lesson_13,
    lesson_15,
)

EXPERIMENTS: tuple[Experiment, ...] = tuple(one for lesson in LESSONS for one in lesson.EXPERIMENTS)
CLAIMS: tuple[Claim, ...] = tuple(
    sorted(
        (one for lesson in LESSONS for one in getattr(lesson, "CLAIMS", ())),
        key=lambda claim: claim.number,
    )
)
