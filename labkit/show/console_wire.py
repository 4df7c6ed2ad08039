"""Two things that ipykernel does with a widget's messages and that a panel which asks ten times a second cannot have.

Both reach into the kernel behind the comm, so both look before they touch: where the kernel is another one, or none,
they do nothing and the panel works as it did.
"""

from __future__ import annotations

from typing import Any

QUIET = "_labkit_quiet_comms"  # on the kernel: the comms whose questions do not make it look busy


def answer_where_asked(comm: Any) -> None:
    """Have a message handled by the subshell it is addressed to.

    ipykernel 7.4 sends it to the shell that last published on the comm instead; for a widget made in a cell that is
    the main shell, where the first poll would wait behind every cell of a "run all". Elsewhere this does nothing.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _, addressed: addressed


def answer_quietly(comm: Any) -> None:
    """Have the comm's messages answered without the kernel telling every page that it is busy.

    JupyterLab shows each change in the tab's icon, the toolbar and the status bar. Ten questions a second made these
    flicker, and drawing them took a third of all that a shown console took. The "idle" that ends an answer is still
    sent: a page waits for it before it forgets the question.
    """
    kernel = _kernel()
    if not all(hasattr(kernel, name) for name in ("_publish_status", "get_parent")):
        return
    if not hasattr(kernel, QUIET):
        setattr(kernel, QUIET, set())
        kernel._publish_status = _without_busy(kernel, kernel._publish_status)
    getattr(kernel, QUIET).add(comm.comm_id)


def answer_loudly(comm: Any) -> None:
    """Undo `answer_quietly`, for a comm that is about to close."""
    getattr(_kernel(), QUIET, set()).discard(comm.comm_id)


def _kernel() -> Any:
    try:
        from IPython import get_ipython

        return getattr(get_ipython(), "kernel", None)
    except ImportError:
        return None


def _without_busy(kernel: Any, publish: Any) -> Any:
    def publish_status(status: str, channel: str, parent: Any = None) -> None:
        asked = parent or kernel.get_parent(channel)
        if status != "busy" or asked.get("content", {}).get("comm_id") not in getattr(
            kernel, QUIET
        ):
            publish(status, channel, parent)

    return publish_status
