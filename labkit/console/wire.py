"""What the messages of all widgets need: an answer to each of them, and two habits of ipykernel worked around.

A page that is not answered waits, and nobody sees the traceback in the kernel; so whatever a page says, and whatever
goes wrong, it is told in a sentence. The two habits are of no use to a panel that asks ten times a second. What works
around them reaches into the kernel behind the comm, so it looks before it touches: where the kernel is another one, or
none, it does nothing and the panel works as it did.
"""

from __future__ import annotations

from typing import Any

from labkit.errors import LabkitError, clipped

Message = dict[str, Any]

SENTENCE = 1000  # characters of an error that travel
SENT_BACK = 100  # characters of what a page calls itself or its question
QUIET = "_labkit_quiet_comms"  # on the kernel: the comms whose questions do not make it look busy


def in_words(trouble: Exception) -> str:
    """What went wrong, as a sentence for the page."""
    if isinstance(trouble, LabkitError):
        return clipped(sendable(str(trouble)), SENTENCE)
    what = clipped(sendable(str(trouble))) or "no more is known"
    return f"labkit could not do this ({type(trouble).__name__}: {what}). Run the cell again."


def sendable(text: str) -> str:
    """A text that can be sent: half a pair of surrogates, which JSON can name, is no text that UTF-8 has."""
    return text.encode("utf-8", "replace").decode("utf-8")


def sent_back(value: object) -> str | int | None:
    """What a page called itself or its question, to be told it again; None for what no page of ours would say."""
    if isinstance(value, str):
        return sendable(value[:SENT_BACK])
    small = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return value if small else None  # type: ignore[return-value]


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
