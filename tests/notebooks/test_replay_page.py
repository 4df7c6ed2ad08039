"""A recorded console in a real browser: it replays without a kernel, by keyboard, on light and dark pages."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from torch import nn

import labkit
from labkit import runtime
from labkit.console import replay
from labkit.tuning import Run

MARKUP = "<img src=x onerror=window.hurt=1>"
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>A lesson</title>
<style>body {{ background: {paper}; }} {style}</style></head>
<body><main><h1 style="color: {ink}">A lesson</h1><h2 style="color: {ink}">Your turn</h2>
<div class="labkit-replay" data-recording="run.js" data-notebook="lesson.ipynb"><p>a still picture</p></div>
</main><script>{script}</script></body></html>"""


def tiny(classes: int) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    return nn.Sequential(OrderedDict(stem=stem, head=head))


@pytest.fixture(scope="module")
def recorder() -> replay.Recorder:
    """Two commands and a way back to where the second was given and the second phase began.

    The classes have names that would hurt if they were markup.
    """
    data = labkit.load_data("digits", size=16).subset(per_class=4)
    hostile = replace(data, classes=tuple(f"{MARKUP}{name}" for name in data.classes))
    net = labkit.Backbone.from_module(tiny, ("stem", "head"), "tiny")
    plan = labkit.gradual(("head", "stem"), lr=1e-3, epochs=3, batch_size=10)  # 4 steps an epoch
    made = replay.Recorder(Run(net, hostile, plan, name=MARKUP, precision=runtime.Precision()))
    made.train(8)
    made.set(lr=1e-2)
    made.train(4)
    made.set(weight_decay=0.1)
    made.train(4)
    made.rewind(12)
    made.train(8)
    return made


@pytest.fixture(scope="module")
def open_page(
    browser: Browser, recorder: replay.Recorder, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder: Path = tmp_path_factory.mktemp("page")
    content = json.dumps(recorder.recording())
    (folder / "run.js").write_text(f'(window.labkitRecordings ??= {{}})["run.js"] = {content};')

    def opened(theme: str = "light") -> Page:
        paper, ink = ("#111111", "#ffffff") if theme == "dark" else ("#ffffff", "#000000")
        looks = {"theme": theme, "paper": paper, "ink": ink, "style": replay.style()}
        (folder / "page.html").write_text(PAGE.format(**looks, script=replay.script()), "utf-8")
        page = browser.new_page()
        page.goto((folder / "page.html").as_uri())
        expect(hook(page, "status")).to_be_visible()
        return page

    return opened


@pytest.fixture
def page(open_page: Any) -> Iterator[Page]:
    page = open_page()
    yield page
    page.close()


def hook(page: Page, name: str) -> Any:
    return page.locator(f"[data-labkit='{name}']").last


def seconds(page: Page) -> float:
    return float(hook(page, "replay").get_attribute("data-seconds"))


def clock_heard(page: Page) -> Callable[[], list[float]]:
    """From now on the page keeps whatever the bar's clock says; ask for it later."""
    hook(page, "replay").evaluate(
        """bar => {
          window.heard = [];
          new MutationObserver(() => window.heard.push(Number(bar.dataset.seconds)))
            .observe(bar, { attributes: true, attributeFilter: ["data-seconds"] });
        }"""
    )
    return lambda: page.evaluate("window.heard")


def rows(page: Page) -> list[list[str]]:
    """The table of epochs: epoch, step and validation loss of each."""
    hook(page, "table-toggle").press("Enter")
    lines = hook(page, "table").locator("tbody tr")
    expect(lines).not_to_have_count(0)
    return [[line.locator("td").nth(i).inner_text() for i in (1, 2, 5)] for line in lines.all()]


def test_at_first_it_stands_still_at_the_end_and_shows_what_the_run_came_to(
    page: Page, recorder: replay.Recorder
) -> None:
    run = recorder.run
    expect(hook(page, "progress")).to_contain_text(f"step {run.step_number} of")
    expect(hook(page, "strip-item")).to_be_visible()
    assert hook(page, "strip-item").locator("img").get_attribute("src").startswith("data:image/")
    table = run.history.query("split == 'valid'")
    told = [
        [str(int(e)), str(s), f"{loss:.3f}"]
        for e, s, loss in zip(table.epoch, table.step, table.loss, strict=True)
    ]
    assert rows(page) == told
    before = seconds(page)
    page.wait_for_timeout(400)
    assert seconds(page) == before  # nothing plays by itself
    assert hook(page, "replay-play").inner_text() == "▶ Play from the start"


def test_a_rewind_takes_the_same_marks_back_as_commands(
    page: Page, recorder: replay.Recorder
) -> None:
    """What was said at the very step no longer happened; that a phase began there did."""
    hook(page, "table-toggle").press("Enter")
    told = hook(page, "table").locator("li")
    told.first.wait_for()
    marks = [line.rsplit(", step ", 1)[1] for line in told.all_inner_texts()]
    assert marks == ["8: lr 0.01", "12: phase 2: stem, lr 0.001"]
    assert [command.step for command in recorder.run.log] == [8]


def test_it_plays_from_the_start_and_pauses_by_keyboard(page: Page) -> None:
    whole = seconds(page)
    hook(page, "replay-speed").select_option("0.25")  # so slow that a busy machine cannot miss it
    heard = clock_heard(page)
    hook(page, "replay-play").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "Number(document.querySelector('[data-labkit=replay]').dataset.seconds) > 0.4"
    )
    page.keyboard.press("Enter")
    held = seconds(page)
    assert heard()[0] == 0.0
    assert 0.4 < held < whole
    assert hook(page, "replay-play").inner_text() == "▶ Play"
    expect(hook(page, "progress")).not_to_contain_text("step 0 of")
    assert int(hook(page, "progress").inner_text().split()[1]) < 20
    page.wait_for_timeout(300)
    assert seconds(page) == held


def test_played_to_its_end_it_shows_the_same_as_at_first(page: Page) -> None:
    first = rows(page)
    hook(page, "replay-speed").select_option("4")
    hook(page, "replay-play").press("Enter")
    expect(hook(page, "replay-play")).to_have_text("▶ Play from the start", timeout=20_000)
    page.wait_for_timeout(400)
    assert rows(page) == first


def test_the_slider_goes_to_any_time_and_back(page: Page) -> None:
    slider = hook(page, "replay-time")
    slider.focus()
    page.keyboard.press("Home")
    expect(hook(page, "progress")).to_contain_text("step 0 of")
    expect(page.locator("[data-labkit=console]")).to_have_count(1)
    # What came later is gone.
    expect(hook(page, "chart-loss")).to_have_attribute("data-points", "0")
    assert slider.get_attribute("aria-valuetext").startswith("0.0 of ")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert seconds(page) == pytest.approx(3.0)
    expect(hook(page, "lr-text")).to_have_value("0.01")  # the command came after 2.1 seconds
    assert "step 8" in slider.get_attribute("aria-valuetext")


def test_nothing_in_it_pretends_to_steer(page: Page) -> None:
    left = page.locator("[data-labkit=console]").evaluate(
        """root => [...root.querySelectorAll("input, select, button")]
          .filter(control => !control.disabled).map(control => control.dataset.labkit)"""
    )
    assert left == ["table-toggle"]
    note = hook(page, "replay-note")
    assert "This is a recording" in note.inner_text()
    assert note.locator("a").get_attribute("href") == "lesson.ipynb"


def test_hostile_names_stay_text(page: Page) -> None:
    hook(page, "replay-speed").select_option("4")
    hook(page, "replay-play").press("Enter")
    page.wait_for_timeout(800)
    assert MARKUP in hook(page, "strip").inner_text()
    assert page.evaluate("window.hurt") is None
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Any, theme: str) -> None:
    page = open_page(theme)
    rows(page)
    expect(page.locator("[data-labkit=console]")).to_have_attribute("data-theme", theme)
    expect(hook(page, "replay")).to_have_attribute("data-theme", theme)
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found] == []
    page.close()


def test_it_follows_the_site_when_that_turns_dark(page: Page) -> None:
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    expect(page.locator("[data-labkit=console]")).to_have_attribute("data-theme", "dark")
