"""Runs side by side: one table, one figure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from labkit.run_card import training_seconds
from labkit.runtime import wilson
from labkit.show import figures
from labkit.show.figure import Figure, table_html
from labkit.tuning.given import as_runs

if TYPE_CHECKING:
    from labkit.tuning import Run


@dataclass(frozen=True)
class Comparison:
    """Several runs in one table and one figure; in a notebook it shows both."""

    table: pd.DataFrame
    figure: Figure
    note: str

    @property
    def _shown(self) -> pd.DataFrame:
        """The table without columns that say nothing new, so that it fits a narrow page."""
        idle = {
            "plan": (self.table["plan"] == self.table["run"]).all(),
            "branched": not self.table["branched"].any(),
        }
        return self.table.drop(columns=[name for name, drop in idle.items() if drop])

    def __str__(self) -> str:
        return f"{self._shown.to_string(index=False)}\n{self.note}"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle, metadata = self.figure._repr_mimebundle_()
        text = f"{table_html(self._shown)}<p>{html.escape(self.note)}</p>{bundle['text/html']}"
        return {**bundle, "text/plain": str(self), "text/html": text}, metadata


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs: one table and one figure of all.

    Raises EvidenceError when there is none, RunError for something else than runs.

    Table, a row a run: name, plan, where it branched off, epochs, validation accuracy at the end
    with its 95 % Wilson interval and at best (in per cent), seconds, and how many parameters were
    trained.
    """
    several = as_runs("labkit.compare", runs)
    table = pd.DataFrame([_row(run) for run in several])
    return Comparison(table, figures.plot_history(several), _note(several))


def _row(run: Run) -> dict[str, Any]:
    trained, total = run.parameters_trained()
    return {
        "run": run.name,
        "plan": run.plan.name,
        "seed": run.seed,
        "branched": _origin(run),
        "epochs": int(run.epoch),
        **_accuracy(_valid(run)),
        "seconds": round(training_seconds(run), 1),
        "trained": f"{trained:,} of {total:,}",
    }


def _accuracy(valid: pd.DataFrame) -> dict[str, Any]:
    """The last and the best accuracy in per cent, and the interval of the last."""
    if valid.empty:
        return {"valid (%)": None, "95 % interval": "", "best (%)": None}
    last = valid.iloc[-1]
    low, high = wilson(int(last["correct"]), int(last["count"]))
    return {
        "valid (%)": round(100 * float(last["accuracy"]), 1),
        "95 % interval": f"{100 * low:.0f} to {100 * high:.0f}",
        "best (%)": round(100 * float(valid["accuracy"].max()), 1),
    }


def _valid(run: Run) -> pd.DataFrame:
    table = run.history
    return table[table["split"] == "valid"]


def _origin(run: Run) -> str:
    """Where a branch left its parent; runs that are no branch have nothing to say."""
    return f"from {run.origin[0]} at step {run.origin[1]}" if run.origin else ""


def _note(runs: Sequence[Run]) -> str:
    """How far to trust the differences."""
    counts = [int(count) for run in runs for count in _valid(run)["count"].tail(1)]
    if not counts:
        return "Nothing has been validated yet."
    said = f"The intervals are those of {min(counts)} validation examples."
    if len(runs) > 1 and len({run.seed for run in runs}) == 1:
        said += " One seed cannot tell a plan from chance: repeat with others before you conclude."
    return said
