"""The live console: one widget that steers a run, or a family of runs, while they train.

The widget is only a door. What it knows is in `session.py`, what it shows in `js/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.console import assets
from labkit.console.panel import Panel, shown_here
from labkit.console.session import Session
from labkit.console.wire import Message
from labkit.errors import CommandError, LabkitError
from labkit.tuning import Run
from labkit.tuning.given import a_flag, as_runs, takes
from labkit.tuning.loop import Steerable


@takes(autostart=a_flag)
def console(run: Steerable | Sequence[Steerable], autostart: bool = False) -> Console:
    """The live panel for a run, or for several runs in one picture; training starts when the learner says so.

    Args:
        run: what to show and steer, a `labkit.Run` or what a bridge makes one of; of several the first is active.
        autostart: start training in the background at once.

    Raises:
        CommandError: what was given is not a run, or there is none.
    """
    try:
        runs = as_runs("console", run)
    except LabkitError as refusal:
        raise CommandError(f"console() shows a labkit.Run or a list of them. {refusal}") from None
    panel = Console(Session(runs))
    if autostart:
        runs[0].start()
    return panel


class Console(Panel):
    """The panel. `run` is the run its controls act on, `runs` the whole family, branches made in the panel too."""

    _esm = assets.console_script()
    _css = assets.style_beside(__file__, "console.css")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._still: Any = None  # the displayed output, whose picture can be replaced
        self._drawn = 0  # journal entries when it was drawn

    @property
    def run(self) -> Run:
        """The active run."""
        return self._session.run

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs of the family."""
        return self._session.runs

    def reply(self, message: object, buffers: Sequence[Any] = ()) -> Message:
        """The session's answer: it has a form of its own for each kind of message, errors included."""
        return self._session.answer(message)

    def __repr__(self) -> str:
        return f"Console of {', '.join(map(repr, self.runs))}"

    def _ipython_display_(self, **_: Any) -> None:
        """Show the panel so that its still picture can be brought up to date while no browser watches."""
        from IPython.display import display

        if self.comm is None:
            display({"text/plain": f"{self!r}, closed"}, raw=True)
            return
        data, metadata = self._repr_mimebundle_()
        self._still = display(data, metadata=metadata, raw=True, display_id=True)
        self._drawn = self._events()

    def after_cell(self) -> None:
        """After a cell that trained: a notebook that is executed without a browser keeps what it came to."""
        unseen = self._still is not None and not self._session.prober.ever_watched
        if unseen and self._events() > self._drawn:
            data, metadata = self._repr_mimebundle_()
            self._still.update(data, metadata=metadata, raw=True)
            self._drawn = self._events()

    def close(self) -> None:
        """End the panel and all that it does for its page. The runs go on as they are."""
        if self.comm is not None:
            self._session.close()
        super().close()

    def give_way(self) -> None:
        """Its place on the page is taken: runs that no other console shows pause, as nobody can do it any more."""
        shown = shown_here()
        others = [panel for panel in shown.panels() if isinstance(panel, Console)] if shown else []
        seen = {run for panel in others if panel is not self for run in panel.runs}
        for run in set(self.runs) - seen:
            if run.status == "running":
                run.submit("pause")
        self.close()

    def _events(self) -> int:
        return sum(len(run.journal) for run in self.runs)

    def stand_in(self) -> tuple[Message, Message]:
        """The figure and the table of the runs."""
        return stand_in(self.runs)


def stand_in(runs: Sequence[Run]) -> tuple[Message, Message]:
    """A mimebundle of the runs without scripts: figure, table and text; before any training only the text."""
    from html import escape

    if not any(len(run.journal) for run in runs):
        lines = "".join(f"<p>{escape(repr(run))}</p>" for run in runs)
        return {"text/html": lines}, {}
    from labkit.show.compare import compare  # matplotlib loads only when there is something to draw

    return compare(runs)._repr_mimebundle_()
