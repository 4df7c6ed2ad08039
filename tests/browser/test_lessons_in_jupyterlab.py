"""Every lesson, opened and run in a real JupyterLab: no cell fails, and nobody is shut out of its outputs."""

from __future__ import annotations

import pytest
from conftest import NOTEBOOKS

STEERED = "05_partial_fine_tuning.ipynb"  # opened and run in test_console_in_jupyterlab.py: once is enough
LESSONS = sorted(path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb") if path.name != STEERED)


@pytest.mark.slow
@pytest.mark.timeout(600)  # a promise about outcomes: a busy machine takes its time
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_and_shuts_nobody_out(lesson, open_notebook, shots):
    notebook = open_notebook(lesson)
    notebook.run_all(seconds=480)
    assert notebook.cell_errors() == []
    notebook.screenshot(shots, f"lesson {lesson[:2]}")
    assert notebook.axe() == []
    assert notebook.console_errors == []


def test_there_are_lessons_to_run():
    assert LESSONS, "no lesson was found: run `make notebooks`"
