"""The ward in a real browser: by keyboard alone, every control has its name, text is never markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from labkit.console import assets
from labkit.course.lesson_14 import card as clinic_card
from labkit.course.lesson_14.clinic import Clinic

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ABOUT = {"headline": "Patient 3.", "points": ["A <b>net</b>."], "hints": [], "tone": "plain"}
SHEET = {
    "question": "Who <i>moved</i>?",
    "remark": "Look.",
    "image": "",
    "alt": "",
    "columns": ["stage", "trainable"],
    "rows": [["stem", "no"], ["head", "yes"]],
}
NOTE = {
    "headline": "Not yet: the images come on the wrong scale?",
    "points": ["Both splits run from 0 to 1."],
    "hints": ["`audit` tells them apart.", "It drifted.", "It is <b>x</b>."],
    "tone": "not yet",
}

PAGE = """<!doctype html><html lang="en"><head><title>A ward</title>
<style>body {{ background: {paper}; }} {style}</style></head>
<body data-jp-theme-light="{light}"><main><h1 style="color: {ink}">A ward</h1>
<div id="card"></div></main><script>{script}
const state = {state}, listeners = [];
window.sent = [];
const nothing = {{ problem: "", job: null, book: [], score: "" }};
window.say = (message) => listeners.forEach((f) => f({{ client: sent[0].client, ...nothing, ...message }}));
const model = {{
  get: (name) => state[name],
  send: (message) => sent.push(message),
  on: (_, listener) => listeners.push(listener),
  off() {{}},
}};
render({{ model, el: document.getElementById("card") }});
</script></body></html>"""


@pytest.fixture(scope="module")
def open_page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Opens the card on a light or a dark page; the kernel's side is played by `say`."""
    folder = tmp_path_factory.mktemp("ward")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_PROGRESS", str(folder / "progress.json"))
        state = {"ward": Clinic(seed=0).card().ward}
    script = assets.script_beside(clinic_card.__file__, "card.js").replace(
        "export default { render };", ""
    )

    def opened(dark: bool = False) -> Page:
        paper, ink = ("#111111", "#ffffff") if dark else ("#ffffff", "#000000")
        html = PAGE.format(
            style=assets.style_beside(clinic_card.__file__, "card.css"),
            script=script,
            state=json.dumps(state),
            light=str(not dark).lower(),
            paper=paper,
            ink=ink,
        )
        (folder / "card.html").write_text(html, "utf-8")
        page = browser.new_page()
        page.goto((folder / "card.html").as_uri())
        return page

    return opened


@pytest.fixture
def page(open_page: Any) -> Iterator[Page]:
    page = open_page()
    page.evaluate("say({})")
    yield page
    page.close()


def hook(page: Page, name: str) -> Any:
    return page.locator(f"[data-labkit={name}]")


def tell(page: Page, kind: str, name: str, id: int = 0, **what: Any) -> None:
    job = {"id": id, "patient": 3, "kind": kind, "name": name, "over": True, "trouble": ""}
    rest = {"about": ABOUT, "sheet": None, "note": None}
    page.evaluate("(message) => say(message)", {"job": {**job, **rest, **what}})


def test_a_patient_is_seen_examined_and_diagnosed_by_keyboard_alone(page: Page) -> None:
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("sent.at(-1)").items() >= {"kind": "examine", "patient": 3}.items()
    tell(page, "examine", "curves", sheet=SHEET)
    for _ in range(7):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the second examination
    assert page.evaluate("sent.at(-1).name") == "audit"
    tell(page, "examine", "audit", id=1, sheet=SHEET)
    assert hook(page, "news").inner_text() == SHEET["question"]
    for _ in range(6):  # five examinations more, the table; then the first disease
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    sent = page.evaluate("sent.at(-1)")
    assert (sent["kind"], sent["patient"], sent["name"]) == ("diagnose", 3, "head-left-out")
    tell(page, "diagnose", "head-left-out", id=2, note=NOTE)
    assert NOTE["headline"] in hook(page, "note").inner_text()
    assert NOTE["hints"][1] not in hook(page, "note").inner_text()  # still folded


def test_a_patient_that_is_being_trained_is_asked_for_until_it_is_there(page: Page) -> None:
    hook(page, "patient-3").click()
    hook(page, "patient-4").press("Enter")  # not while another is seen to
    assert page.evaluate("sent.at(-1).patient") == 3
    tell(page, "examine", "curves", over=False, about=None)
    page.wait_for_function("sent.at(-1).kind === 'poll'")
    tell(page, "examine", "curves", sheet=SHEET)
    assert page.evaluate("sent.at(-1).have") == -1
    quiet = page.evaluate("sent.length")
    page.wait_for_timeout(700)
    assert page.evaluate("sent.length") == quiet  # nothing goes on, nothing is asked
    hook(page, "patient-4").click()
    assert page.evaluate("[sent.at(-1).patient, sent.at(-1).have]") == [4, 0]
    assert hook(page, "sheet").inner_text() == ""


def test_the_book_is_shown_on_the_patients_and_a_refusal_in_words(page: Page) -> None:
    book = [{"patient": 1, "right": True}, {"patient": 2, "right": False}]
    page.evaluate(
        "(message) => say(message)", {"book": book, "score": "1 of 2.", "problem": "Wait."}
    )
    assert hook(page, "patient-1").inner_text() == "1 ✓"
    assert page.get_by_role("button", name="Patient 2, first word wrong").is_visible()
    assert hook(page, "score").inner_text() == "1 of 2."
    assert hook(page, "news").inner_text() == "Wait."


def test_without_a_choice_nothing_is_committed(page: Page) -> None:
    hook(page, "patient-3").click()
    tell(page, "examine", "curves", sheet=SHEET)
    before = page.evaluate("sent.length")
    hook(page, "commit").click()
    assert "Choose one" in hook(page, "note").inner_text()
    assert page.evaluate("sent.length") == before


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_and_text_is_never_markup(open_page: Any, dark: bool) -> None:
    page = open_page(dark)
    page.evaluate("say({})")
    hook(page, "patient-3").click()
    tell(page, "examine", "curves", sheet={**SHEET, "image": PIXEL, "alt": "Curves."})
    tell(page, "examine", "audit", id=1, sheet=SHEET)
    tell(page, "diagnose", "leakage", id=2, note=NOTE)
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    assert page.locator(".labkit-clinic").get_attribute("data-theme") == (
        "dark" if dark else "light"
    )
    assert page.get_by_role("group", name="What is wrong with patient 3?").is_visible()
    assert page.locator("#card b, #card i").count() == 0
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == []
    page.close()
