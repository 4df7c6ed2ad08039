"""Load what a lesson needs while its reader reads.

Importing torch takes seconds, and a learner spends longer than that on a lesson's first page. So the first cell of
every lesson returns at once and leaves the imports to a thread. Whatever needs a module earlier waits for it: Python
imports a module once, whichever thread asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from threading import Thread
from typing import Any

from labkit.errors import ArgumentError, shown
from labkit.learn import footprint
from labkit.learn.note import Note

# Modules, not the rooms they stand in: a room imports what it offers when that is first used.
USUAL = (
    "torch",
    "labkit.data.load",
    "labkit.models.backbone",
    "labkit.tuning.run",
    "labkit.show.figures",
)
READING = Note("While you read, the lab loads what this lesson needs. You can go on at any time.")


def warm_up(*modules: str) -> None:
    """Import what every lesson needs, and these modules, in the background. It returns at once.

    A module that cannot be imported is passed over here: the cell that needs it says what is wrong.
    """
    wrong = [name for name in modules if not isinstance(name, str)]
    if wrong:
        raise ArgumentError(
            f"warm_up takes names of modules as text, such as 'labkit.show.figures', not {shown(wrong[0])}."
        )
    line = _Line()
    thread = Thread(target=_load, args=((*USUAL, *modules), line.take_away), name="labkit-warm-up")
    _after_this_cell(thread.start)


def _load(modules: tuple[str, ...], done: Callable[[], object]) -> None:
    for name in modules:
        with suppress(Exception):  # whatever a module raises, it raises again where it is imported
            import_module(name)
            if name == "torch":  # before an optimizer is made
                footprint.keep_small()
    with suppress(Exception):  # torch cannot be imported
        footprint.keep_small()  # fastai has brought the compiler after all, and code for cards with it
    done()


def _after_this_cell(begin: Callable[[], object]) -> None:
    """Begin when the cell has ended, so that the imports do not slow its own answer; at once outside of Jupyter."""
    shell = _shell()
    if shell is None:
        begin()
        return

    def once(*_: object) -> None:
        shell.events.unregister("post_run_cell", once)
        begin()

    shell.events.register("post_run_cell", once)


class _Line:
    """The sentence that says so; it goes away when everything is loaded."""

    def __init__(self) -> None:
        self._shown: Any = None
        if _shell() is not None:
            from IPython.display import display

            self._shown = display(READING, display_id=True)

    def take_away(self) -> None:
        if self._shown is not None:
            self._shown.update({"text/plain": ""}, raw=True)


def _shell() -> Any:
    """The notebook's shell, or None outside of one."""
    import sys

    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
