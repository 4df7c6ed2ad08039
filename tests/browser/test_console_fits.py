"""The console on a narrow page: what bends the curve is in sight together with the curve."""

from __future__ import annotations

import pytest
from console_page import QUESTIONS, Console

DIGITS = (
    """
    import labkit
    data, net = labkit.load_data("digits"), labkit.load_backbone("resnet10-glyphs")
    run = labkit.Run(net, data, labkit.partial("layer4", lr=1e-3, epochs=20), seed=0)
    for _ in range(30):
        run.step()
    """,
    "labkit.console(run)",
)
ROOM = 560  # pixels of height that JupyterLab leaves a notebook on a small laptop's screen of 800 x 720


@pytest.mark.timeout(300)
def test_curve_and_sliders_are_in_sight_together_on_a_page_of_800_pixels(
    open_notebook, write_notebook, shots
):
    notebook = open_notebook(write_notebook("narrow.ipynb", *DIGITS))
    notebook.page.set_viewport_size({"width": 800, "height": 720})
    notebook.run_all()
    notebook.execute(QUESTIONS)
    Console(notebook, "run").wait_open()
    box = {
        hook: notebook.page.locator(f"[data-labkit='{hook}']").first.bounding_box()
        for hook in ("lr", "depth")
    } | {"curve": notebook.page.locator(".lk-chart canvas").first.bounding_box()}
    notebook.page.locator(".labkit").screenshot(path=shots / "console at 800 pixels.png")
    print(box)
    top = min(each["y"] for each in box.values())
    bottom = max(each["y"] + each["height"] for each in box.values())
    assert bottom - top < ROOM
    assert notebook.axe() == []
    assert notebook.console_errors == []
