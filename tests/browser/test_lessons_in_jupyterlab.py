"""Every lesson in a real JupyterLab: no cell fails, and nobody is shut out of its outputs.

Three lessons are run here as a learner runs them, and lesson 05 in the test of its console; widgets that a single
lesson shows have tests of their own. Of all others the solution was run by nbval, which keeps what it has shown: that
is opened here, and it is made sure that nothing in the lesson waits for an exercise to be solved. Where nbval has not
run it, the lesson is run after all.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from conftest import NOTEBOOKS

EXECUTED = NOTEBOOKS.parent / "build" / "executed"  # written by tests/notebooks/promises.py
STEERED = "05"  # opened and run in test_console_in_jupyterlab.py: once is enough
# 03: what fastai draws into a widget that is not shown, nbval keeps beside it; 14: asks the learner's own function of
# every patient.
RUN_HERE = {"00", "03", "14"}
LESSONS = sorted(p.name for p in NOTEBOOKS.glob("[0-9]*.ipynb") if p.name[:2] != STEERED)
LOOKED_AT = [name for name in LESSONS if name[:2] not in RUN_HERE]


@pytest.mark.slow
@pytest.mark.timeout(600)  # a promise about outcomes: a busy machine takes its time
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_and_shuts_nobody_out(lesson, open_notebook, server, shots):
    if lesson in LOOKED_AT and was_executed(lesson):
        shown = f"executed-{lesson}"
        shutil.copy(EXECUTED / lesson, server.root / shown)
        server.trust(shown)
        notebook = open_notebook(shown)
    else:
        notebook = open_notebook(lesson)
        notebook.run_all(seconds=480)
    assert notebook.cell_errors() == []
    notebook.screenshot(shots, f"lesson {lesson[:2]}")
    assert notebook.axe() == []
    assert notebook.console_errors == []


def test_there_are_lessons_to_run():
    assert LESSONS, "no lesson was found: run `make notebooks`"


@pytest.mark.parametrize("lesson", LOOKED_AT)
def test_a_lesson_goes_on_with_nothing_solved(lesson):
    source = (NOTEBOOKS / "src" / lesson).with_suffix(".py")
    asked_for: set[str] = set()
    for cell in jupytext.read(source, fmt="py:percent").cells:
        if "stub" in cell.metadata.get("tags", ()):
            asked_for |= bound(cell.source)
        elif cell.cell_type == "code" and not exempt(cell):
            assert not asked_for & names(cell.source), cell.source


def was_executed(lesson: str) -> bool:
    """Whether the solution was run as it stands."""
    kept, built = EXECUTED / lesson, NOTEBOOKS / "solutions" / lesson
    return kept.exists() and cells_of(kept) == cells_of(built)


def cells_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells]


def exempt(cell) -> bool:
    """A solution, which a learner does not have, or a check, which takes any answer."""
    return "solution" in cell.metadata.get("tags", ()) or "learn.check(" in cell.source


def bound(code: str) -> set[str]:
    """The names that a cell's statements define."""
    found: set[str] = set()
    for statement in ast.parse(code).body:
        is_definition = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        found |= {statement.name} if is_definition else names(statement, ast.Store)
    return found


def names(code: str | ast.AST, context: type[ast.expr_context] = ast.Load) -> set[str]:
    tree = ast.parse(code) if isinstance(code, str) else code
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {name.id for name in found if isinstance(name.ctx, context)}
