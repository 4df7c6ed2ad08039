"""The card that answers from recorded runs, in a real JupyterLab: moved by keyboard, then run for real."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

CARD = (
    "from labkit import learn",
    'learn.atlas_card(data="digits", net="resnet10-glyphs")',
)

# The card answers within the key's own handler, so what was asked is told when the key event is over.
ANSWER = """slider => {
  const said = slider.closest("[data-labkit='atlas']").querySelector("[data-labkit='sentence']");
  const before = said.textContent, began = performance.now();
  slider.value = Number(slider.value) + 8;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  return [performance.now() - began, before, said.textContent];
}"""


def test_a_slider_is_answered_from_records_and_a_real_run_is_judged_by_them(
    open_notebook, write_notebook, shots
):
    notebook = open_notebook(write_notebook("atlas.ipynb", *CARD))
    notebook.run_all()
    card = notebook.page.locator("[data-labkit='atlas']")

    def hook(name: str) -> Locator:
        return card.locator(f"[data-labkit='{name}']")

    expect(hook("sentence")).to_contain_text("The atlas expects")

    took, before, after = hook("lr").evaluate(ANSWER)
    assert before != after
    assert took < 50, f"{took:.0f} ms"

    hook("lr").focus()
    notebook.page.keyboard.press("ArrowLeft")
    hook("depth").select_option("head")
    hook("labels").select_option("10")
    expect(hook("sentence")).to_contain_text(re.compile(r"expects \d+ to \d+ % after epoch 6"))

    hook("run").focus()
    notebook.page.keyboard.press("Enter")
    expect(hook("news")).to_contain_text(re.compile("inside|above|below"), timeout=90_000)

    assert notebook.barriers(card, shots, "atlas") == []
    assert notebook.cell_errors() == []
    assert notebook.console_errors == []
