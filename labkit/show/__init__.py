"""What the lab shows: figures that carry their own words, comparisons, and the live console.

Only this room and `learn` know matplotlib. Nothing here trains a model or holds the state of a run.
"""
