"""How long the epochs of a run took, and what keeping the output of frozen stages saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from labkit.tuning import EpochDone
from labkit.tuning.given import a_run, takes

if TYPE_CHECKING:
    from labkit.tuning import Run


@takes(run=a_run)
def epoch_seconds(run: Run) -> pd.DataFrame:
    """One row an epoch: seconds its training steps took, and those it would have taken with frozen stages run again.

    The second number adds what the samples found in the cache would have cost, at the price of those computed there;
    validation is counted in it too. Epoch 1 fills the cache, later ones live on it.
    """
    epochs = [event for _, event in run.journal.since(0) if isinstance(event, EpochDone)]
    rows = [
        (done.epoch, done.seconds, done.seconds + done.saved_seconds)
        for done in epochs
        if done.epoch
    ]
    table = pd.DataFrame(rows, columns=["epoch", "seconds", "frozen stages run again"])
    # Named over the index, not below: a second line of headings would be empty but for one cell.
    return table.set_index("epoch").rename_axis(index=None, columns="epoch")
