"""The lessons of the course, one folder each: `lesson_05` has all that is of lesson 05 alone.

In a folder, each file only where the lesson has such: `claims.py` (the experiments on record, and the rules that decide
its claims), `recorded/` (those runs), `checks.py` (what an answer to an exercise must do), `figures.py` (figures that
no other lesson draws), `quiz.toml`. The text is a notebook, written in `notebooks/src`. `labkit.learn.lessons` is the
table of contents; nothing else names a lesson.
"""

from labkit import lazy

lazy.attach(__name__)
