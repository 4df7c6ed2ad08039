"""Widgets that a single lesson shows, in a real JupyterLab: a few cells with the widget, not the lesson around it."""

from __future__ import annotations

import io

import pytest
from console_page import QUESTIONS, Console
from PIL import Image
from playwright.sync_api import expect

PANEL = (
    """
    import labkit
    from labkit import learn
    net, data = labkit.load_backbone("resnet10-glyphs"), labkit.load_data("digits").subset(per_class=5)
    run = labkit.Run(net, data, labkit.feature_extraction(lr=1e-2, epochs=1), seed=0).fit()
    """,
    "learn.predict_panel(run)",
)
FASTAI = (
    """
    import labkit
    from labkit.bridges import fastai as bridge
    net, data = labkit.load_backbone("resnet10-glyphs"), labkit.load_data("digits").subset(per_class=20)
    """,
    """
    run = bridge.Steered(
        bridge.learner(net, data, batch_size=20), lambda learner: learner.fine_tune(400), data=data, name="fine_tune"
    )
    labkit.console(run)
    """,
)


@pytest.mark.timeout(300)
def test_an_image_that_is_chosen_gets_a_class_and_its_reasons(open_notebook, write_notebook, shots):
    notebook = open_notebook(write_notebook("panel.ipynb", *PANEL))
    notebook.run_all()
    panel = notebook.page.locator("[data-labkit='predict']")
    content = io.BytesIO()
    Image.new("L", (40, 40), 200).save(content, "png")
    given = {"name": "mine.png", "mimeType": "image/png", "buffer": content.getvalue()}
    panel.locator("[data-labkit='choose']").set_input_files(given)
    expect(panel.locator("[data-labkit='news']")).to_contain_text("mine.png: ", timeout=60_000)
    expect(panel.get_by_role("rowheader")).to_have_count(5)
    expect(panel.get_by_role("img")).to_be_visible()
    assert notebook.barriers(panel, shots, "predict panel") == []
    assert notebook.cell_errors() == []
    assert notebook.console_errors == []


@pytest.mark.timeout(300)
def test_fastais_own_loop_is_steered_from_the_page(open_notebook, write_notebook, shots):
    pytest.importorskip("fastai", reason="left out: fastai is not installed")
    notebook = open_notebook(write_notebook("fastai.ipynb", *FASTAI))
    notebook.run_all(seconds=240)
    notebook.execute(QUESTIONS)
    console = Console(notebook, "run")
    console.wait_open()
    console.press("run", "Enter")
    console.wait_status("running")
    console.wait_steps(3)
    console.press("lr", "ArrowRight", times=4)
    shown = float(console.hook("lr-text").input_value())
    console.wait(f"settings.lr == {shown}")
    console.wait_steps(2)
    console.press("pause", "Enter")
    console.wait_status("paused")
    assert console.ask("status") == "paused"
    assert console.ask("step_number") >= 5
    assert notebook.barriers(console.root, shots, "fastai") == []
    assert notebook.cell_errors() == []
    assert notebook.console_errors == []
