"""What every widget of ours is: one that answers its page, and can be let go with all it shows.

The page asks and the panel answers, in the thread in which it was asked: it never speaks on its own, which is what
keeps it quick in every Jupyter.

A widget stays alive until it is closed, because Jupyter keeps a list of them, and with it whatever it shows: a whole
family of runs. So a widget is closed when the cell that showed it is run again and shows something else in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakSet

import anywidget

from labkit.console.wire import (
    Message,
    answer_loudly,
    answer_quietly,
    answer_where_asked,
    in_words,
)

SHOWN = "_labkit_shown"  # on the shell: which cell shows which panels
KEPT_OUTPUT = re.compile(r"_\d*|__|___")  # names under which IPython keeps what a cell gave


class Panel(anywidget.AnyWidget):
    """A widget that answers its page, and is closed when its place there is taken.

    A kind of panel says what every reply carries (`state`), what it does at a message (`obey`), and what stands in for
    it where scripts do not run (`stand_in`).
    """

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(_heard)
        answer_where_asked(self.comm)
        answer_quietly(self.comm)

    def reply(self, message: object, buffers: Sequence[Any] = ()) -> Message:
        """The reply to a message of the page; one that makes no sense gets a problem as its reply."""
        asked = message if isinstance(message, dict) else {}
        told, problem = {}, ""
        try:
            told = self.obey(asked, buffers) or {}
        except Exception as trouble:  # whatever it is: a page that hears nothing waits for ever
            problem = in_words(trouble)
        return {**self.state(asked), **told, "problem": problem}

    def obey(self, asked: Message, buffers: Sequence[Any]) -> Message | None:
        """Do what the page asks; returns what only this reply carries, and raises what went wrong."""

    def state(self, asked: Message) -> Message:
        """What every reply carries."""
        return {}

    def stand_in(self) -> tuple[Message, Message]:
        """What stands in where scripts do not run: content and metadata by mime type."""
        return {}, {}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[Message, Message]:
        """The widget, and beside it what stands in for it."""
        if (shown := shown_here()) is not None:
            shown.note(self)
        live = super()._repr_mimebundle_(**kwargs)
        data, metadata = live if isinstance(live, tuple) else (live or {}, {})
        still, about = self.stand_in()
        return {**still, **data, "text/plain": repr(self)}, {**about, **metadata}

    def close(self) -> None:
        """End the panel and all that it does for its page."""
        if self.comm is not None:
            answer_loudly(self.comm)
        super().close()

    def after_cell(self) -> None:
        """A cell has ended, whichever it was."""

    def give_way(self) -> None:
        """Its place on the page is taken, and no other cell shows it."""
        self.close()


def _heard(panel: Panel, message: object, buffers: Sequence[Any]) -> None:
    panel.send(panel.reply(message, buffers))


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
