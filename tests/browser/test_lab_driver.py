"""The eyes of this layer: what is wrong in a page is seen, so silence elsewhere has a meaning."""

from __future__ import annotations

import pytest
from lab_driver import KernelError

CELLS = (
    "answer = 42\nanswer",
    """
    from IPython.display import HTML
    HTML("<input><script>console.error('the page complains')</script>")
    """,
    "1 / 0",
)


def test_errors_complaints_and_barriers_are_seen(open_notebook, write_notebook, shots):
    notebook = open_notebook(write_notebook("broken.ipynb", *CELLS))
    notebook.run_all()
    assert notebook.evaluate("answer") == 42
    assert notebook.cell_errors() == ["ZeroDivisionError: division by zero"]
    assert any("the page complains" in error for error in notebook.console_errors)
    assert any(barrier.startswith("label") for barrier in notebook.axe())
    assert notebook.screenshot(shots, "driver").stat().st_size > 1000
    with pytest.raises(KernelError, match="NameError"):
        notebook.evaluate("no_such_name")
