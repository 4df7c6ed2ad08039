"""The live console in a real JupyterLab: what the keyboard does there is what the run has in its log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from console_page import QUESTIONS, Console
from lab_driver import Notebook
from PIL import Image
from playwright.sync_api import expect

DIGITS = (
    """
    import labkit
    data = labkit.load_data("digits")
    net = labkit.load_backbone("resnet10-glyphs")
    """,
    """
    run = labkit.Run(net, data, labkit.partial("layer4", lr=1e-3, epochs=200), seed=0)
    labkit.console(run)
    """,
)

FAR = """
from IPython.display import HTML
HTML("<div style='height: 4000px'></div><p id='far'>far below</p>")
"""

MARKUP = "<img src=x onerror=window.struck=1>"


OpenConsole = Callable[..., Console]


@pytest.fixture
def open_console(open_notebook) -> Iterator[OpenConsole]:
    """Run a notebook and find its console; afterwards, the page must not have complained."""
    notebooks: list[Notebook] = []

    def open_it(path: str, run: str = "run") -> Console:
        notebooks.append(open_notebook(path))
        notebooks[-1].run_all(seconds=240)
        assert notebooks[-1].cell_errors() == []
        notebooks[-1].execute(QUESTIONS)
        console = Console(notebooks[-1], run)
        console.wait_open()
        return console

    yield open_it
    for notebook in notebooks:
        assert notebook.console_errors == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_run_of_lesson_05_is_steered_by_keyboard_alone(open_console, shots):
    console = open_console("05_partial_fine_tuning.ipynb", run="playground")
    console.notebook.screenshot(shots, "lesson 05")
    assert console.notebook.axe() == []
    steer(console)


def steer(console: Console) -> None:
    """What a learner does in one sitting, each step checked against the run's own word."""
    start(console)
    move_the_learning_rate(console)
    steer_while_a_cell_runs(console)
    freeze_a_stage(console)
    find_a_rate(console)
    pause(console)
    look_closer(console)
    rewind(console)
    branch(console)
    reload_the_page(console)


def start(console: Console) -> None:
    console.fill("epochs", "1000")  # longer than any test
    console.wait("settings.epochs == 1000")
    for strength in ("30", "0"):
        console.fill("hold", strength)
        console.wait(f"settings.hold == {strength}")
    console.press("run", "Enter")
    console.wait_status("running")
    console.wait_steps(5)


def move_the_learning_rate(console: Console) -> None:
    before = console.ask("settings.lr")
    console.press("lr", "ArrowRight", times=4)
    shown = float(console.hook("lr-text").input_value())
    assert shown > before
    console.wait(f"settings.lr == {shown}")
    console.wait_steps(2)
    pairs = console.notebook.evaluate(f"rates({console.run})")
    assert pairs
    assert all(given == used for given, used in pairs), "the very next step uses the new rate"
    assert console.ask("log[-1].args['lr']") == shown
    assert console.ask("status") == "running"


def steer_while_a_cell_runs(console: Console) -> None:
    """A key is acknowledged and the curves go on although the kernel's main shell is blocked."""
    with console.notebook.busy():
        frames, acknowledged = console.chart("loss", "frames"), console.acknowledged()
        console.press("lr", "ArrowLeft")
        expect(console.root).not_to_have_attribute("data-ack-ms", acknowledged)
        console.wait_frames(frames + 5)


def freeze_a_stage(console: Console) -> None:
    run, evaluate = console.run, console.notebook.evaluate
    console.press("depth", "ArrowRight")
    console.wait("settings.trainable_from == 'head'")
    expect(console.hook("depth-text")).to_contain_text("head, ")
    frozen, head = evaluate(f"[fingerprint({run}, 'layer4'), fingerprint({run}, 'head')]")
    console.wait_steps(5)
    assert evaluate(f"fingerprint({run}, 'layer4')") == frozen
    assert evaluate(f"fingerprint({run}, 'head')") != head


def look_closer(console: Console) -> None:
    """A figure of the learner's choice is drawn, and drawn again when the run has moved."""
    console.press("look", "ArrowDown")
    figure, now = console.hook("look-figure"), console.ask("step_number")
    expect(figure).to_have_attribute("data-step", str(now))
    expect(figure).to_be_visible()
    assert figure.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    assert len(figure.get_attribute("alt").split()) >= 5
    console.press("step", "Enter")
    expect(figure).to_have_attribute("data-step", str(now + 1))
    console.press("look", "ArrowUp")
    expect(figure).to_be_hidden()


def find_a_rate(console: Console) -> None:
    """One key tests the rates; another takes the suggestion over, and the run has trained on meanwhile."""
    before = console.ask("settings.lr")
    console.press("lr", "f")
    expect(console.hook("found")).to_be_visible(timeout=60_000)
    expect(console.hook("found").locator("svg")).to_have_attribute("aria-label", re.compile("rate"))
    assert console.ask("settings.lr") == before
    console.wait("status == 'running'")
    if console.hook("use-lr").is_visible():  # a run that has learned all it can has no rate to find
        console.press("use-lr", "Enter")
        console.wait(f"settings.lr != {before}")
    console.press("found-hide", "Enter")
    expect(console.hook("found")).to_be_hidden()
    console.wait_steps(2)


def pause(console: Console) -> None:
    console.press("pause", "Enter")
    console.wait_status("paused")
    assert console.ask("status") == "paused"
    for chart in ("loss", "accuracy"):
        assert console.colours(chart) > 3
        assert console.shows_ink(chart, "line"), "the grid is drawn in the theme's colour"
        assert console.chart(chart, "points") > 5
        assert console.chart(chart, "marks") >= 2


def rewind(console: Console) -> None:
    reached = console.ask("step_number")
    console.press("scrub", "ArrowLeft", times=3)
    expect(console.hook("rewind")).to_have_text(f"Rewind to {reached - 3}")
    console.press("rewind", "Enter")
    console.wait(f"step_number == {reached - 3}")
    expect(console.hook("progress")).to_contain_text(f"step {reached - 3} of")
    assert console.notebook.evaluate(f"rewinds({console.run})") == [[reached, reached - 3]]


def branch(console: Console) -> None:
    reached = console.ask("step_number")
    console.press("branch", "Enter")
    expect(console.hook("run-choice")).to_have_count(2)
    expect(console.hook("run-choice").nth(1)).to_be_checked()
    expect(console.hook("progress")).to_contain_text(f"step {reached} of")
    console.press("run-choice", "ArrowUp")  # back to the first
    expect(console.hook("run-choice").first).to_be_checked()


def reload_the_page(console: Console) -> None:
    """All is there again, with the epochs that passed while no page looked."""
    notebook = console.notebook
    names, rows, commands = console.names(), console.table(), console.commands()
    notebook.save()
    notebook.execute(f"{console.run}.resume()")
    notebook.reload()
    console.wait_open()
    notebook.execute(f"{console.run}.pause()")
    console.wait_status("paused")
    expect(console.hook("progress")).to_contain_text(f"step {console.ask('step_number')} of")
    expect(console.names_shown).to_have_text(names)
    every = console.ask("history.split.eq('valid').sum().item()")

    def told() -> tuple[int, bool, list[str]]:
        shown = console.table()
        mine = [row for row in shown if row.startswith(f"{console.ask('name')}\t")]
        return len(mine), set(rows) <= set(shown), console.commands()

    for _ in range(200):  # a long event log comes in many pieces
        if told() == (every, True, commands):
            break
        notebook.page.wait_for_timeout(100)
    assert told() == (every, True, commands)


def test_what_is_not_new_or_not_seen_is_not_drawn(open_console, write_notebook):
    """Drawing takes processor time from what trains: an answer without news, or one unseen, changes nothing."""
    console = open_console(write_notebook("thrift.ipynb", *DIGITS, FAR))
    start(console)
    watch_changes(console)
    out_of_sight(console)
    behind_another_tab(console)
    console.press("pause", "Enter")
    console.wait_status("paused")
    wait_unchanged(console, answers=5)
    drawn_in_pieces_or_at_once(console)


def watch_changes(console: Console) -> None:
    """From now on the page counts: changes below the console's root, and messages sent since the last of them."""
    console.root.evaluate(
        """root => {
          window.changes = window.sent = 0;
          new MutationObserver(() => { window.changes += 1; window.sent = 0; })
            .observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
          const send = WebSocket.prototype.send;
          WebSocket.prototype.send = function (data) { window.sent += 1; return send.call(this, data); };
        }"""
    )


def wait_unchanged(console: Console, answers: int) -> None:
    console.notebook.page.wait_for_function("count => window.sent > count", arg=answers)


def stands_still_while_it_trains(console: Console) -> None:
    page = console.notebook.page
    page.wait_for_timeout(300)  # a frame that was due when it went out of sight
    before = page.evaluate("() => window.changes")
    console.wait_steps(5)
    assert page.evaluate("() => window.changes") == before


def is_level(console: Console) -> None:
    reached = console.ask("step_number")
    console.notebook.page.wait_for_function(
        "([el, step]) => Number(/step (\\d+)/.exec(el.textContent)[1]) >= step",
        arg=[console.hook("progress").element_handle(), reached],
    )


def out_of_sight(console: Console) -> None:
    console.notebook.page.locator("#far").scroll_into_view_if_needed()
    stands_still_while_it_trains(console)
    console.root.scroll_into_view_if_needed()
    is_level(console)


def behind_another_tab(console: Console) -> None:
    hide = """hidden => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    console.notebook.page.evaluate(hide, True)
    stands_still_while_it_trains(console)
    console.notebook.page.evaluate(hide, False)
    is_level(console)


def drawn_in_pieces_or_at_once(console: Console) -> None:
    """The layer to which steps were added shows what one drawn anew shows."""
    frames, pieces = console.chart("loss", "frames"), console.pixels("loss")
    console.root.evaluate("root => { root.style.paddingRight = '17px'; }")
    console.wait_frames(frames + 1)
    console.root.evaluate("root => { root.style.paddingRight = ''; }")
    console.wait_frames(frames + 2)
    at_once = console.pixels("loss")
    assert pieces.shape == at_once.shape
    assert (pieces != at_once).any(axis=-1).mean() < 0.01


def test_nobody_is_shut_out(open_console, write_notebook, shots):
    """No barrier that axe knows of, in a wide and a narrow window, in light and dark."""
    console = open_console(write_notebook("barriers.ipynb", *DIGITS))
    start(console)
    console.press("lr", "ArrowRight", times=3)
    expect(console.hook("strip-item").first).to_be_visible()
    console.press("find-lr", "Enter")
    expect(console.hook("found")).to_be_visible(timeout=60_000)
    console.press("look", "ArrowDown", times=3)
    expect(console.hook("look-figure")).to_be_visible()
    console.table()
    assert console.notebook.barriers(console.root, shots, "console") == []


def test_names_are_text_never_markup(open_console, write_notebook, server):
    """Classes, files and runs named like an attack are shown as they are spelt."""
    write_images(server.root / "struck", (MARKUP, '"><script>window.struck=1'))
    console = open_console(
        write_notebook(
            "markup.ipynb",
            f"""
            import labkit
            data = labkit.load_data("struck", size=32)
            net = labkit.load_backbone("resnet10-glyphs")
            run = labkit.Run(net, data, labkit.full(epochs=5), name={MARKUP!r})
            data.report.table()
            """,
            "labkit.console(run)",
            "run.step()\nlabkit.compare([run])",
        )
    )
    expect(console.hook("strip")).to_contain_text(MARKUP)
    assert console.names() == [MARKUP]
    console.table()
    assert console.notebook.page.locator("img[src='x']").count() == 0
    assert console.notebook.page.evaluate("() => window.struck") is None


def write_images(folder: Path, classes: tuple[str, ...]) -> None:
    """A folder of small noisy images for each class, with names that are markup too."""
    noise = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"<b onclick=struck()>{number}.png")


# A data set that is published where nobody listens, and a line that needs it.
TO_DOWNLOAD = """
import base64, json, os, zlib
from dataclasses import replace
from labkit.data.cards import Archive, cards
os.environ.pop("LABKIT_OFFLINE", None)
cards()["album"] = replace(
    cards()["ants-bees"], name="album", folder="album",
    archives=(Archive("http://127.0.0.1:9/album.zip", 811_000_000),),
)
content = {"net": {"name": "resnet10-glyphs"}, "data": {"name": "album"}, "plan": labkit.full().to_dict(),
           "seed": 0, "name": "theirs", "log": []}
line = "labkit1." + base64.urlsafe_b64encode(zlib.compress(json.dumps(content).encode())).decode()
"""


def test_a_pasted_line_asks_before_it_downloads(open_console, write_notebook, shots):
    data, run = DIGITS
    console = open_console(write_notebook("asks.ipynb", data, TO_DOWNLOAD, run))
    line, page = console.notebook.evaluate("line"), console.notebook.page
    console.root.locator("summary", has_text="Share").press("Enter")
    console.fill("paste-line", line)
    expect(console.hook("paste-error")).to_contain_text(
        "the data set album (811 MB)", timeout=20_000
    )
    expect(console.hook("paste-open")).to_have_text("Download and open")
    assert console.hook("paste-line").get_attribute("aria-invalid") is None
    assert console.notebook.barriers(console.root, shots, "a line that asks") == []
    console.press("paste-line", "Enter")  # leads to the button, and downloads nothing
    expect(console.hook("paste-open")).to_be_focused()
    console.press("paste-line", "End")
    page.keyboard.type("x")  # another line asks anew
    expect(console.hook("paste-open")).to_have_text("Open")
    page.keyboard.press("Backspace")
    console.press("paste-open", "Enter")
    expect(console.hook("paste-open")).to_have_text("Download and open", timeout=20_000)
    page.keyboard.press("Enter")
    expect(console.hook("paste-error")).to_contain_text("cannot be fetched", timeout=20_000)
    expect(console.hook("paste-open")).to_have_text("Open")
    assert console.names() == ["partial from layer4"]
