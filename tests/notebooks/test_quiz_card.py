"""The quiz in a real browser: keyboard alone, a reason at once, light and dark, text never markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from labkit.console import assets
from labkit.learn import quiz_card


def option(letter: str, right: bool = False) -> dict[str, Any]:
    verdict = "✓ Right." if right else "○ Not this one."
    return {
        "text": f"<b>{letter}</b> `lr`",
        "reason": f"<i>Since</i> {letter}.",
        "verdict": verdict,
    } | {"right": right}


QUESTIONS = [
    {"text": "How <i>much</i>?", "options": [option("x"), option("y"), option("z", True)]},
    {"text": "And `why`?", "options": [option("u", True), option("v"), option("w")]},
]
THEMES = {"light": ("#ffffff", "#000000"), "dark": ("#111111", "#ffffff")}

PAGE = """<!doctype html><html lang="en"><head><title>A quiz</title>
<style>body {{ background: {paper}; color: {ink}; --jp-ui-font-color1: {ink}; }} {style}</style></head>
<body><main><h1>A quiz</h1><div id="card"></div></main><script>{script}
const state = {state}, listeners = {{}};
window.sent = [];
window.tell = (first) => {{ state.first = first; listeners["change:first"](); }};
window.answer = (message) => listeners["msg:custom"](message);
const model = {{
  get: (name) => state[name],
  send: (message) => sent.push(message),
  on: (event, listener) => {{ listeners[event] = listener; }},
  off() {{}},
}};
render({{ model, el: document.getElementById("card") }});
window.announced = [];
new MutationObserver((changes) => changes.forEach((one) => announced.push(one.target.textContent)))
  .observe(document.querySelector("[role=status]"), {{ childList: true }});
</script></body></html>"""


@pytest.fixture(scope="module")
def open_page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Opens the card on a page of a theme, with what was chosen before."""
    folder = tmp_path_factory.mktemp("quiz")
    script = assets.script_beside(quiz_card.__file__, "quiz_card.js").replace(
        "export default { render };", ""
    )
    style = assets.style_beside(quiz_card.__file__, "quiz_card.css")

    def opened(theme: str = "light", first: tuple[int, int] = (-1, -1)) -> Page:
        paper, ink = THEMES[theme]
        state = {"lesson": "05", "questions": QUESTIONS, "first": first, "latest": first}
        html = PAGE.format(
            style=style, script=script, state=json.dumps(state), paper=paper, ink=ink
        )
        (folder / "card.html").write_text(html, "utf-8")
        page = browser.new_page()
        page.goto((folder / "card.html").as_uri())
        return page

    return opened


@pytest.fixture
def page(open_page: Any) -> Iterator[Page]:
    page = open_page()
    yield page
    page.close()


def reason(page: Page, question: int = 0) -> str:
    return page.get_by_role("status").nth(question).inner_text()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_an_option_is_chosen_by_keyboard_alone_and_its_reason_announced(page: Page) -> None:
    press(page, "Tab", "Tab", "Enter")
    assert reason(page) == "b) ○ Not this one. <i>Since</i> y."
    assert page.evaluate("announced") == [reason(page)]
    press(page, "Tab", "Space")
    assert reason(page) == "c) ✓ Right. <i>Since</i> z."
    assert page.evaluate("sent") == [
        {"kind": "choose", "question": 0, "option": 1},
        {"kind": "choose", "question": 0, "option": 2},
    ]
    press(page, "Tab", "Enter")  # the keyboard was left where it was, so the next question follows
    assert reason(page, 1).startswith("a) ✓ Right.")


def test_no_reason_is_on_the_page_before_its_option_is_chosen(page: Page) -> None:
    assert "Since" not in page.content().split("<script>")[0]
    page.get_by_role("button").first.click()
    assert page.locator("#card").inner_text().count("Since") == 1


def test_the_first_choice_is_marked_and_counted_whatever_follows(page: Page) -> None:
    for place in (1, 2):
        page.get_by_role("button").nth(place).click()
    first, later = (page.get_by_role("button").nth(place).inner_text() for place in (1, 2))
    assert first.endswith("○ Not this one. Your first choice.")
    assert later.endswith("✓ Right.")
    assert "First choices: 0 of 1 right." in page.locator("#card").inner_text()


def test_a_second_card_shows_the_first_choice_again(open_page: Any) -> None:
    page = open_page(first=(1, -1))
    assert reason(page).startswith("b) ○ Not this one.")
    assert page.get_by_role("button", name="Your first choice.").count() == 1
    page.get_by_role("button").nth(0).click()
    assert page.get_by_role("button").nth(1).inner_text().endswith("Your first choice.")
    page.close()


def test_why_a_choice_was_not_kept_is_said_and_heard(page: Page) -> None:
    page.evaluate("answer({ problem: 'The disk is <b>full</b>.' })")
    assert page.get_by_role("alert").inner_text() == "The disk is <b>full</b>."


def test_the_kernels_word_announces_nothing_twice(page: Page) -> None:
    page.get_by_role("button").nth(1).click()
    page.evaluate("tell([1, -1])")
    assert len(page.evaluate("announced")) == 1
    page.evaluate("tell([1, 0])")  # another view of the card has answered the second question
    assert reason(page, 1).startswith("a) ✓ Right.")


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_and_text_is_never_markup(open_page: Any, theme: str) -> None:
    page = open_page(theme)
    for place in (0, 2, 3):
        page.get_by_role("button").nth(place).click()
    page.get_by_role("button").nth(1).focus()
    assert page.get_by_role("group", name="1. How <i>much</i>?").is_visible()
    assert page.get_by_role("button", name="b) <b>y</b> lr").is_visible()
    assert page.locator("#card b, #card i").count() == 0
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == []
    page.close()
