"""Real runs with something wrong in them, made on purpose and drawn with a seed: to test the coach, to teach the eye.

`cases` names what can be wrong, `kinds` draws runs of each kind, `bugs` are the mistakes themselves, and `chance` says
which part of each range a run may be drawn from. Nothing here is used by a learner's own runs.
"""

from labkit import lazy

lazy.attach(__name__)
