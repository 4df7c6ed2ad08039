"""How one learns here: predictions, exercises with checks, quizzes, progress. It knows no lesson but by its number.

A lesson needs few names from here: `predict`, `reveal`, `score`, `quiz`, `check` and `hint`. Each is imported when it
is first used.
"""

from labkit import lazy

lazy.attach(__name__)
