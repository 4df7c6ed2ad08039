"""Real runs with something wrong in them, made on purpose and drawn with a seed: to test the coach, to teach the eye.

`kinds` lists what can be wrong and draws runs; `slips` are the mistakes themselves; `chance` says which part of each
range a run may be drawn from. Nothing here is used by a learner's own runs.
"""

from labkit.insight.sabotage.chance import POOLS, Chance, Pool
from labkit.insight.sabotage.kinds import CLINIC, KINDS, Case, Kind, find, make, train

__all__ = ["CLINIC", "KINDS", "POOLS", "Case", "Chance", "Kind", "Pool", "find", "make", "train"]
