"""The heat map of a sweep, and `labkit.sweep`, which shows it filling in while the runs go on.

Rows come from the sweep; here they are only drawn. A redraw takes processor time from the runs it shows, so it
happens at most twice a second and never costs more than a twentieth of the time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from itertools import product
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from labkit.settings import SETTINGS
from labkit.show.figure import CARD, FAINT, INK, SHADES, Figure, cell, dress, headline
from labkit.sweeps import Sweep, sweep as quiet_sweep
from labkit.tuning.given import a, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

PAUSE = 0.5  # seconds between two redraws, at least
SHARE = 20  # and at least this many times what the last one cost
PANELS = 6  # drawn; the table has the others
WORDS = {
    **{name: setting.axis for name, setting in SETTINGS.items()},
    "per_class": "training examples of each class",
}


def sweep(
    base: Run,
    *,
    client: Any = None,
    out: Path | str | None = None,
    workers: int | None = None,
    test: bool = False,
    **axes: Any,
) -> Sweep:
    """Train every combination of some settings with several seeds, starting now, and show a heat map in a notebook.

    `labkit.sweep(run, lr=[1e-4, 1e-3], trainable_from=["head", "layer4"], seed=range(5))` makes 20 runs in processes
    of this machine, or on a cluster whose `dask.distributed` client is given. `.run()` waits for them with a
    progress bar, `for row in sweep:` takes each as it comes, `.table` and `.summary()` hold what there is. Arguments
    and errors are those of `labkit.sweeps.sweep`.
    """
    made = quiet_sweep(base, client=client, out=out, workers=workers, test=test, **axes).start()
    if _in_notebook():
        show_live(made)
    return made


@takes(made=a(Sweep, source="labkit.sweep(run, ...)"))
def show_live(made: Sweep) -> threading.Thread:
    """Show the heat map of a sweep here and redraw it as rows arrive; returns the thread that does."""
    from IPython.display import display

    handle = display(heat_map(made), display_id=True)
    thread = threading.Thread(
        target=_follow, args=(made, handle), name="labkit-heat-map", daemon=True
    )
    thread.start()
    made.watchers.append(thread)
    return thread


def _follow(made: Sweep, handle: Any) -> None:
    """Redraw when there is news, until no more can come."""
    drawn, pause = -1, PAUSE
    while True:
        over = made.over  # asked first, so that the last drawing has every row
        if len(made.rows) != drawn or over:
            drawn, began = len(made.rows), time.perf_counter()
            handle.update(heat_map(made))
            pause = max(PAUSE, SHARE * (time.perf_counter() - began))
        if over:
            return
        made.wait(pause)


def _in_notebook() -> bool:
    """Whether there is a page that can show a figure and change it later."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


# ---------------------------------------------------------------- the figure


@takes(made=a(Sweep, source="labkit.sweep(run, ...)"))
def heat_map(made: Sweep) -> Figure:
    """Mean validation accuracy over the finished seeds, learning rate to the right, frozen depth upward.

    Every cell also says its mean in per cent and how many seeds it is of. Other axes take the place of these two
    where they were not swept; each combination of any further ones has a panel of its own.
    """
    table = made.summary()
    across, up, others = _roles(made.axes)
    table = table.assign(**{name: "all runs" for name in (across, up) if name not in table})
    panels = list(product(*(dict.fromkeys(table[name]) for name in others)))[:PANELS]
    columns, lines = list(dict.fromkeys(table[across])), list(dict.fromkeys(table[up]))
    lines = sorted(lines, key=made.stages.index) if up == "trainable_from" else lines
    width, height = 1.9 + 0.95 * len(columns), 1.25 + 0.5 * len(lines)
    abreast = min(len(panels), 2)
    figure = Figure(max(5.0, width * abreast), height * -(-len(panels) // abreast) + 0.5)
    grid = list(figure.subplots(-(-len(panels) // abreast), abreast, squeeze=False).flat)
    scale = _scale(table["mean"])
    for axes, chosen in zip(grid, panels, strict=False):
        rows = table[(table[others] == list(chosen)).all(axis=1)] if others else table
        _panel(axes, rows, (across, columns), (up, lines), scale)
        told = ", ".join(f"{name} {value}" for name, value in zip(others, chosen, strict=True))
        axes.set_title(told, color=INK, fontsize=9, loc="left", parse_math=False)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    headline(figure, f"Validation accuracy (%), mean over finished seeds; {_how_far(made)}")
    shown = table[[*made.axes, *(n for n in table if n not in (*made.axes, across, up))]]
    return figure.told(_words(made, table), _in_per_cent(shown))


def _roles(axes: Sequence[str]) -> tuple[str, str, list[str]]:
    """Which axis runs to the right, which upward, and which get panels."""
    names = list(axes)
    across = "lr" if "lr" in names else next((n for n in names if n != "trainable_from"), "setting")
    rest = [name for name in names if name != across]
    up = "trainable_from" if "trainable_from" in rest else next(iter(rest), " ")
    return across, up, [name for name in rest if name != up]


def _panel(
    axes: Axes,
    table: pd.DataFrame,
    across: tuple[str, list[Any]],
    up: tuple[str, list[Any]],
    scale: tuple[float, float],
) -> None:
    dress(axes, WORDS.get(across[0], across[0]), WORDS.get(up[0], up[0]).strip())
    axes.grid(False)
    for row in table.to_dict("records"):
        _cell(axes, across[1].index(row[across[0]]), up[1].index(row[up[0]]), row, scale)
    axes.set_xlim(-0.5, len(across[1]) - 0.5)
    axes.set_ylim(len(up[1]) - 0.5, -0.5)
    axes.set_xticks(range(len(across[1])), [_label(value) for value in across[1]], parse_math=False)
    names = ["" if up[0] == " " else _label(value) for value in up[1]]
    axes.set_yticks(range(len(up[1])), names, parse_math=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


def _cell(axes: Axes, x: int, y: int, row: dict[Any, Any], scale: tuple[float, float]) -> None:
    """A coloured cell with its numbers; hatched where there is nothing to average yet."""
    known = not isnan(row["mean"])
    colour = SHADES(_share(row["mean"], scale)) if known else CARD
    square, text = cell(axes, x, y, colour, _cell_text(row))
    if not known:
        square.set_hatch("//")
        text.set(color=FAINT, bbox={"facecolor": CARD, "edgecolor": "none", "pad": 1.5})


def _cell_text(row: dict[Any, Any]) -> str:
    bad = [f"{row[kind]} {kind}" for kind in ("diverged", "failed") if row[kind]]
    if isnan(row["mean"]):
        return "\n".join(bad) or "to come"
    return "\n".join([f"{100 * row['mean']:.1f}", f"n = {row['seeds']}", *bad])


def _scale(means: pd.Series) -> tuple[float, float]:
    known = means.dropna()
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _share(mean: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return (mean - low) / (high - low) if high > low else 0.5


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _how_far(made: Sweep) -> str:
    done = f"{len(made.rows)} of {len(made)} runs"
    return f"{done}, {made.state}" if made.state in ("stopped", "failed") else done


def _words(made: Sweep, table: pd.DataFrame) -> str:
    """What the figure shows, for whoever does not see it."""
    known = table.dropna(subset=["mean"])
    head = f"Heat map of mean validation accuracy over finished seeds, {_how_far(made)}"
    if known.empty:
        return f"{head}; nothing is finished yet."
    ends = [
        ("best", known.loc[known["mean"].idxmax()]),
        ("worst", known.loc[known["mean"].idxmin()]),
    ]
    told = [
        f"{end} {100 * row['mean']:.1f} % ({_where(made, row)}, {row['seeds']} seeds)"
        for end, row in ends
    ]
    return f"{head}: {'; '.join(told)}."


def _where(made: Sweep, row: Any) -> str:
    return ", ".join(f"{name} {_label(row[name])}" for name in made.axes) or "the base run"


def _in_per_cent(table: pd.DataFrame) -> pd.DataFrame:
    shares = ["mean", "low", "high"]
    return table.assign(**{name: 100 * table[name] for name in shares}).rename(
        columns={name: f"{name} (%)" for name in shares}
    )
