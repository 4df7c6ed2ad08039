"""What the lab draws: figures that carry their own words, comparisons, reports.

Nothing here trains a model or holds the state of a run. The live panel is in `console`.
"""
