"""What the figures are given: a run, or a sentence that says what else it was."""

from __future__ import annotations

from typing import Any

from labkit.errors import RunError
from labkit.tuning.watched import Watched


def refuse_no_run(seen: Any, function: str, or_else: str = "") -> None:
    """Raise RunError unless `seen` is something that trains and tells: a Run, or a Learner that is steered.

    `function` is what was called; `or_else` what it takes beside a run.
    """
    if isinstance(seen, Watched):
        return
    from torch import nn

    what = type(seen).__name__ if not isinstance(seen, str) else repr(seen)
    hint = " Give the run itself instead of its model." if isinstance(seen, nn.Module) else ""
    raise RunError(
        f"{function} takes a run, as labkit.Run makes it{f', or {or_else}' if or_else else ''}, not {what}.{hint}"
    )
