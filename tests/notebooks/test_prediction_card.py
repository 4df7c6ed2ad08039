"""The card in a real browser: keyboard alone, every control named, text never markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from labkit.console import assets
from labkit.learn import predictions

CHOICES = ["less", "<b>as much</b>", "more"]

PAGE = """<!doctype html><html lang="en"><head><title>A card</title><style>{style}</style></head>
<body><main><h1>A card</h1><div id="card"></div></main><script>{script}
const state = {state}, listeners = [];
window.sent = [];
const model = {{
  get: (name) => state[name],
  send: (message) => {{ sent.push(message); Object.assign(state, message); listeners.forEach((f) => f()); }},
  on: (_, listener) => listeners.push(listener),
  off() {{}},
}};
render({{ model, el: document.getElementById("card") }});
</script></body></html>"""


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    state = {
        "id": "x",
        "question": "How <i>much</i>?",
        "choices": CHOICES,
        "guess": "",
        "confidence": 0,
    }
    script = assets.script_beside(predictions.__file__, "prediction.js").replace(
        "export default { render };", ""
    )
    html = PAGE.format(
        style=assets.style_beside(predictions.__file__, "prediction.css"),
        script=script,
        state=json.dumps(state),
    )
    (tmp_path / "card.html").write_text(html, "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "card.html").as_uri())
    yield page
    page.close()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_guess_is_made_by_keyboard_alone(page: Page) -> None:
    press(page, "Tab", "Space", "ArrowDown", "Tab", "ArrowRight", "ArrowRight", "Tab", "Enter")
    assert page.evaluate("sent") == [{"kind": "commit", "guess": CHOICES[1], "confidence": 68}]
    assert "Kept: <b>as much</b> (68 % sure)" in page.get_by_role("status").inner_text()
    assert page.evaluate("document.activeElement.className") == "labkit-status"
    press(page, "Enter", "Space")
    assert len(page.evaluate("sent")) == 1


def test_without_an_answer_the_card_asks_for_one(page: Page) -> None:
    page.get_by_role("button").click()
    assert "Choose one" in page.get_by_role("status").inner_text()
    assert page.evaluate("sent") == []


def test_every_control_has_its_name_and_axe_finds_nothing(page: Page) -> None:
    assert page.get_by_role("group", name="How <i>much</i>?").is_visible()
    assert page.get_by_role("slider", name="How sure are you?").is_visible()
    assert all(page.get_by_role("radio", name=choice).is_visible() for choice in CHOICES)
    assert Axe().run(page).response["violations"] == []


def test_text_is_never_markup(page: Page) -> None:
    assert page.locator("#card b, #card i").count() == 0
