"""What a run tells: how far each stage moved, how sure a difference is, and one sentence of what is
happening.

Everything here reads runs and trains none, but for `evidence`, which trains many and keeps what
came of them.
"""

from labkit.insight.coach import sentence
from labkit.insight.drift import drift_table, layers_drift
from labkit.insight.metrics import Estimate, mean_interval, paired_difference
from labkit.insight.speed import epoch_seconds
from labkit.insight.worst import Guess, worst

__all__ = [
    "Estimate",
    "Guess",
    "drift_table",
    "epoch_seconds",
    "layers_drift",
    "mean_interval",
    "paired_difference",
    "sentence",
    "worst",
]
