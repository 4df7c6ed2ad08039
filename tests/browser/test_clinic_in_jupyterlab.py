"""The ward of lesson 14 in a real JupyterLab: a patient is trained, looked at and diagnosed without a mouse."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

WARD = (
    "import os, tempfile\nos.environ['LABKIT_PROGRESS'] = tempfile.mkdtemp() + '/progress.json'",
    "from labkit.course.lesson_14.clinic import Clinic\nclinic = Clinic(seed=3)",
    "clinic.card()",
)


@pytest.mark.timeout(300)
def test_a_patient_is_looked_at_and_diagnosed_by_keyboard(open_notebook, write_notebook, shots):
    notebook = open_notebook(write_notebook("clinic.ipynb", *WARD))
    notebook.run_all()
    card = notebook.page.locator("[data-labkit='clinic']")

    def hook(name: str) -> Locator:
        return card.locator(f"[data-labkit='{name}']")

    hook("patient-1").press("Enter")
    expect(hook("sheet").locator("img")).to_be_visible(timeout=90_000)
    expect(hook("about")).to_contain_text("Patient 1")
    hook("examine-modes").press("Space")
    expect(hook("sheet")).to_contain_text("in train mode")
    hook("examine-audit").press("Space")
    expect(card.get_by_role("img", name="Audit of patient 1")).to_be_visible()

    disease = notebook.evaluate("clinic[1]._case.kind")
    hook(f"disease-{disease}").press("Space")
    hook("commit").press("Enter")
    expect(hook("note")).to_contain_text("Right:")
    expect(hook("patient-1")).to_have_text("1 ✓")
    expect(hook("score")).to_have_text("1 of 1 first diagnoses right.")

    assert notebook.barriers(card, shots, "clinic") == []
    assert notebook.cell_errors() == []
    assert notebook.console_errors == []
