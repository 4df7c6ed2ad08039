"""The predict panel and the report in a real browser: by keyboard, by dropping, no text is markup, axe is quiet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

import labkit
from labkit.console import assets
from labkit.learn import predict_card

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TASK = {
    "network": "resnet10, trained on <b>mine</b>",
    "classes": ["<i>ant</i>", "bee"],
    "size": 64,
    "endings": [".jpg", ".png"],
    "most_bytes": 1000,
}
SEEN = {
    "name": "<b>bee</b>.png",
    "rows": [["<i>ant</i>", "93.0%", 0.93], ["bee", "7.0%", 0.07]],
    "image": PIXEL,
    "alt": "Grad-CAM.",
    "remarks": ["The file is <u>turned</u>."],
}
PAGE = """<!doctype html><html lang="en"><head><title>A panel</title>
<style>body {{ background: {paper}; }} {style}</style></head>
<body data-jp-theme-light="{light}"><main><h1 style="color: {ink}">A panel</h1>
<div id="card"></div></main><script>{script}
const state = {{ task: {task} }}, listeners = [];
window.sent = [];
const reply = () => ({{ client: sent[0].client, n: sent.length, problem: "", seen: null }});
window.say = (message) => listeners.forEach((f) => f({{ ...reply(), ...message }}));
const model = {{
  get: (name) => state[name],
  send: (message, _, buffers) => sent.push({{ ...message, bytes: buffers.map((b) => Array.from(new Uint8Array(b))) }}),
  on: (_, listener) => listeners.push(listener),
  off() {{}},
}};
render({{ model, el: document.getElementById("card") }});
</script></body></html>"""
DROP = """([name, bytes]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array(bytes)], name));
  const event = (kind) => new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true });
  const place = document.querySelector("[data-labkit=drop]");
  const kept = place.dispatchEvent(event("dragover"));
  const over = place.dataset.over;
  place.dispatchEvent(event("drop"));
  return [kept, over, place.dataset.over];
}"""


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Any:
    """Opens the panel on a light or a dark page; the kernel's side is played by `say`."""
    script = assets.script_beside(predict_card.__file__, "predict_card.js").replace(
        "export default { render };", ""
    )

    def opened(dark: bool = False) -> Page:
        paper, ink = ("#111111", "#ffffff") if dark else ("#ffffff", "#000000")
        html = PAGE.format(
            style=assets.style_beside(predict_card.__file__, "predict_card.css"),
            script=script,
            task=json.dumps(TASK),
            light=str(not dark).lower(),
            paper=paper,
            ink=ink,
        )
        (tmp_path / "card.html").write_text(html, "utf-8")
        page = browser.new_page()
        page.goto((tmp_path / "card.html").as_uri())
        return page

    return opened


def hook(page: Page, name: str) -> Any:
    return page.locator(f"[data-labkit={name}]")


def choose(page: Page, name: str = "bee.png", content: bytes = b"\x01\x02\xff") -> None:
    file = {"name": name, "mimeType": "image/png", "buffer": content}
    hook(page, "choose").set_input_files(file)


def test_a_file_is_chosen_by_keyboard_and_travels_as_it_is(open_page: Any) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.labkit") == "choose"
    assert page.get_by_label("Choose a picture, or drop one here").count() == 1
    with page.expect_file_chooser() as chooser:
        page.wait_for_timeout(1000)  # a browser that has just begun is not ready at once
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "bee.png", "mimeType": "image/png", "buffer": b"\x01\x02\xff"})
    page.wait_for_function("sent.length === 1")
    assert page.evaluate("sent[0]") | {"client": ""} == {
        "kind": "look", "client": "", "n": 1, "name": "bee.png", "bytes": [[1, 2, 255]],
    }  # fmt: skip
    assert hook(page, "news").inner_text() == "Looking at bee.png …"
    page.evaluate("(seen) => say({ seen })", SEEN)
    assert hook(page, "news").inner_text() == "<b>bee</b>.png: <i>ant</i> at 93.0%"
    assert page.get_by_role("row").count() == 3
    assert page.get_by_role("img", name="Grad-CAM.").is_visible()
    page.close()


def test_a_file_can_be_dropped_and_the_page_stays(open_page: Any) -> None:
    page = open_page()
    assert page.evaluate(DROP, ["ant.jpg", [7, 8]]) == [False, "true", "false"]
    page.wait_for_function("sent.length === 1")
    assert page.evaluate("[sent[0].name, sent[0].bytes]") == ["ant.jpg", [[7, 8]]]
    page.close()


def test_an_answer_that_comes_too_late_is_not_shown_and_a_refusal_is(open_page: Any) -> None:
    page = open_page()
    choose(page)
    page.wait_for_function("sent.length === 1")
    choose(page, "two.png")
    page.wait_for_function("sent.length === 2")
    page.evaluate("(seen) => say({ n: 1, seen })", SEEN)
    assert hook(page, "seen").inner_text() == ""
    page.evaluate("say({ problem: 'two.png cannot be used: empty file.' })")
    assert hook(page, "news").inner_text() == "two.png cannot be used: empty file."
    choose(page, "large.png", bytes(1001))
    assert "too large" in hook(page, "news").inner_text()
    assert page.evaluate("sent.length") == 2
    page.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_and_text_is_never_markup(open_page: Any, dark: bool) -> None:
    page = open_page(dark)
    choose(page)
    page.wait_for_function("sent.length === 1")
    page.evaluate("(seen) => say({ seen })", SEEN)
    assert hook(page, "predict").get_attribute("data-theme") == ("dark" if dark else "light")
    assert page.locator("#card :is(b, i, u)").count() == 0
    assert violations(page) == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_a_report_and_it_fits_a_narrow_page(
    browser: Any, report: Path, scheme: str
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 800, "height": 900})
    page.goto(report.as_uri())
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("img").evaluate_all("all => all.every((one) => one.naturalWidth > 100)")
    page.close()


def test_a_report_prints_on_pages(browser: Any, report: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")
    page.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = labkit.load_data("digits").subset(per_class=5)
    plan = labkit.feature_extraction(epochs=1, batch_size=10)
    run = labkit.Run(labkit.load_backbone("resnet10-glyphs"), data, plan, budget=100).fit()
    path = tmp_path_factory.mktemp("report") / "report.html"
    return labkit.report(run, path, test=run.evaluate("test")).path


def violations(page: Page) -> list[Any]:
    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found]
