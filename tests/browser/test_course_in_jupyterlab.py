"""The learner's map and calibration in a real JupyterLab: read by all, and each lesson a click away."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

BEGUN = """
import json, os, tempfile
from labkit.learn.lessons import LESSONS
os.environ["LABKIT_PROGRESS"] = tempfile.mkdtemp() + "/progress.json"
guesses = {
    id: {"question": "<b>Where</b>?", "guess": "low", "confidence": (50, 70, 95)[place % 3],
         "outcome": "low" if place % 5 else "high"}
    for place, id in enumerate(id for lesson in LESSONS[:6] for id in lesson.predictions)
}
tasks = {id: {"solved": True, "hints": 1} for lesson in LESSONS[:4] for id in lesson.exercises}
with open(os.environ["LABKIT_PROGRESS"], "w") as file:
    json.dump({"version": 1, "predictions": guesses, "exercises": tasks}, file)
"""


@pytest.mark.timeout(300)
def test_map_and_calibration_are_read_by_all(open_notebook, write_notebook, shots):
    cells = (BEGUN, "from labkit import learn\nlearn.score()", "learn.course_map()")
    notebook = open_notebook(write_notebook("course.ipynb", *cells))
    notebook.run_all()
    score = notebook.page.locator("[data-labkit='score']")
    score.get_by_text("Your predictions, one by one").press("Enter")
    score.get_by_text("The same as a table").press("Enter")
    assert score.locator("b").count() == 0
    course = notebook.page.get_by_role("table", name="Your map of the course")
    expect(course.get_by_role("row", name="05 Partial fine-tuning")).to_contain_text("go on here")
    assert notebook.barriers(score, shots, "score") == []
    assert (
        notebook.barriers(notebook.page.locator("[data-labkit='course-map']"), shots, "map") == []
    )

    course.get_by_role("link", name="05 Partial fine-tuning").click()
    opened = "() => window.jupyterapp.shell.currentWidget?.context?.path"
    notebook.page.wait_for_function(f"{opened} === '05_partial_fine_tuning.ipynb'")
    assert notebook.cell_errors() == []
    assert notebook.console_errors == []
