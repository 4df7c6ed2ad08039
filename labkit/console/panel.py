"""What every widget of ours is: one that can be let go, with all it shows.

A widget stays alive until it is closed, because Jupyter keeps a list of them, and with it whatever it shows: a whole
family of runs. So a widget is closed when the cell that showed it is run again and shows something else in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import anywidget

SHOWN = "_labkit_shown"  # on the shell: which cell shows which panels
KEPT_OUTPUT = re.compile(r"_\d*|__|___")  # names under which IPython keeps what a cell gave


def beside(file: str, name: str) -> str:
    """The text of a file that lies beside a module, given its `__file__`.

    anywidget would take the path as well, but then holds every widget of that class for ever: it has the file tell the
    widget of changes.
    """
    return Path(file).with_name(name).read_text("utf-8")


class Panel(anywidget.AnyWidget):
    """A widget that is closed when its place on the page is taken."""

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        if (shown := shown_here()) is not None:
            shown.note(self)
        return super()._repr_mimebundle_(**kwargs)

    def after_cell(self) -> None:
        """A cell has ended, whichever it was."""

    def give_way(self) -> None:
        """Its place on the page is taken, and no other cell shows it."""
        self.close()


class Shown:
    """The panels that each cell shows, in one shell. It holds none of them."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._now: WeakSet[Panel] = WeakSet()  # shown by the cell that runs
        self._cells: dict[str, WeakSet[Panel]] = {}
        self._elsewhere: WeakSet[Panel] = WeakSet()  # by cells without a name
        shell.events.register("post_run_cell", self._after_cell)

    def note(self, panel: Panel) -> None:
        """The cell that runs shows a panel."""
        self._now.add(panel)

    def panels(self) -> Iterator[Panel]:
        """Those on the page."""
        yield from {panel for some in (*self._cells.values(), self._elsewhere) for panel in some}

    def _after_cell(self, result: Any) -> None:
        cell = getattr(getattr(result, "info", None), "cell_id", None)
        now, self._now = self._now, WeakSet()
        if cell is None:
            self._elsewhere |= now
        else:
            before, self._cells[cell] = self._cells.get(cell, WeakSet()), now
            for panel in list(before - WeakSet(self.panels())):
                panel.give_way()
                self._forget_output(panel)
        for panel in self.panels():
            panel.after_cell()
        self._now.clear()

    def _forget_output(self, panel: Panel) -> None:
        """Out[3] and its like would hold a panel that can no longer be seen."""
        shell = self._shell
        outputs: dict[int, Any] = shell.user_ns.get("_oh", {})
        for number in [number for number, value in outputs.items() if value is panel]:
            del outputs[number]
        for names in (shell.user_ns, getattr(shell, "user_ns_hidden", {}), vars(shell.displayhook)):
            for name in [name for name, value in names.items() if value is panel]:
                if KEPT_OUTPUT.fullmatch(name):
                    names[name] = ""


def shown_here() -> Shown | None:
    """What the shell that this code runs in shows; None outside IPython."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return None
    if not hasattr(shell, SHOWN):
        setattr(shell, SHOWN, Shown(shell))
    found: Shown = getattr(shell, SHOWN)
    return found
