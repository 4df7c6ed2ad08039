"""The parts of the README that are made: its badges, and the table of lessons."""

from __future__ import annotations

import re

from labkit.errors import LabkitError
from labkit.learn.lessons import LESSONS
from labkit.publish import colab

_TABLE = re.compile(r"(?<=\n## Lessons\n\n\| \| \|\n\|---\|---\|\n)(?:\|.*\n)+")


def made(text: str, repository: str, notebook: str) -> str:
    """The text of a README with badges for the repository that is set, and a row for each lesson.

    Raises LabkitError where it has no table of lessons to fill in.
    """
    rows = "".join(
        f"| [{lesson}](notebooks/{lesson.notebook}) | {lesson.question} |\n" for lesson in LESSONS
    )
    text, found = _TABLE.subn(lambda _: rows, text)
    if not found:
        raise LabkitError(
            "README.md has no table of lessons: a heading `## Lessons`, then a table of two columns with empty heads."
        )
    return colab.with_badges(text, repository, notebook)
