"""What the lessons have on record: the experiments and claims of every lesson that has a `claims.py`."""

from __future__ import annotations

from labkit.learn.lessons import LESSONS
from labkit.records.evidence import Chapter, Evidence

evidence = Evidence(
    tuple(Chapter.of(claims) for lesson in LESSONS if (claims := lesson.part("claims")))
)
