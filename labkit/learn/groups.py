"""How predictions are grouped, in the score and in the figure of it."""

from __future__ import annotations

GROUPS = {"less than 50 %": 50, "50 to 69 %": 70, "70 to 89 %": 90, "90 % or more": 101}
ELSEWHERE = "other"  # predictions that no lesson asked for
