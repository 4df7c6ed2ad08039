"""The teacher's room: predictions, exercises with checks, quizzes, progress, notebooks from their sources.

A lesson needs few names from here: `predict`, `reveal`, `score`, `quiz`, `check` and `hint`. Each is
imported when it is first used. This room may import every other room but the command line.
"""

from labkit import lazy

lazy.attach(__name__)
