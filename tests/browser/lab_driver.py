"""A real JupyterLab and a real Chromium, held by the hand: what the browser layer and bench drive.

Nothing here knows labkit. A `Server` is this interpreter's JupyterLab in folders of its own; a
`Notebook` is one notebook open in a page of it. Every wait is for a state that can be seen, with a
deadline; nothing sleeps and hopes.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
from axe_playwright_python.sync_playwright import Axe
from nbformat.sign import NotebookNotary
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright, TimeoutError

SECOND = 1000  # Playwright counts in milliseconds
THEMES = ("JupyterLab Light", "JupyterLab Dark")
WIDTHS = (1280, 800)  # pixels

# A closed network answers no one: without these, Chromium keeps asking and a page waits for it.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Habits of JupyterLab that would make a test depend on the network or on what is scrolled to.
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}


# ---------------------------------------------------------------- the server


@dataclass
class Server:
    """A running JupyterLab: its address, the folder it serves and the file it logs to."""

    url: str
    root: Path
    log: Path

    def trust(self, path: str) -> None:
        """Sign a notebook (from the server's root), so that it opens as one's own and not as a stranger's.

        Before it is opened: where a page is told so afterwards, it shows for a while what a stranger's would.
        """
        notary = NotebookNotary(data_dir=str(self.log.parent / "data"))
        notary.sign(nbformat.read(self.root / path, as_version=4))


@contextmanager
def serve(home: Path, root: Path, env: dict[str, str] | None = None) -> Iterator[Server]:
    """Start this interpreter's JupyterLab on `root`, its state under `home`; stop it at the end.

    Raises RuntimeError with the end of the log when it does not answer within 60 s.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    server = Server(f"http://127.0.0.1:{port}", root, home / "jupyterlab.log")
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            _command(port, root),
            env=_environment(home) | (env or {}),
            cwd=root,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_it_answers(server, process)
            yield server
        finally:
            process.terminate()  # JupyterLab shuts its kernels down on the way out
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(port: int, root: Path) -> list[str]:
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", *as_root),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={root}"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.news_url="),
    ]


def _environment(home: Path) -> dict[str, str]:
    """The environment of a server that shares no state with the one the developer uses."""
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "JUPYTER_PATH": "path",  # comes before the environment's own: the kernel is surely ours
    }
    for folder in folders.values():
        (home / folder).mkdir(exist_ok=True)
    for plugin, values in SETTINGS.items():
        _write_json(home / "settings" / f"{plugin}.jupyterlab-settings", values)
    _write_json(
        home / "path/kernels/python3/kernel.json",
        {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Python 3",
            "language": "python",
        },
    )
    return os.environ | {name: str(home / folder) for name, folder in folders.items()}


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/api", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{server.log.read_text()[-3000:]}")


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """Write a notebook of code cells for this server's kernel."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(dedent(cell).strip()) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, path)


# ---------------------------------------------------------------- the browser

NO_BROWSER = "no browser: run `playwright install chromium`, or install the system's chromium"


def find_chromium(playwright: Playwright) -> str | None:
    """The browser to drive: Playwright's own if it was installed, else the system's, else None."""
    own = playwright.chromium.executable_path
    names = ("chromium", "chromium-browser", "google-chrome")
    return own if os.path.exists(own) else next(filter(None, map(shutil.which, names)), None)


def launch(playwright: Playwright, executable: str) -> Browser:
    return playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))


# ---------------------------------------------------------------- a notebook in a page

_PANEL = "window.jupyterapp.shell.currentWidget"
_KERNEL = f"{_PANEL}.sessionContext.session.kernel"
_READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return !!panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === "idle";
}"""
_STATE = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  const kernel = panel?.sessionContext?.session?.kernel;
  return JSON.stringify({
    application: !!window.jupyterapp, notebook: panel?.context?.path, loaded: panel?.context?.isReady,
    kernel: kernel?.status, connection: kernel?.connectionStatus,
    dialog: document.querySelector(".jp-Dialog")?.innerText,
  });
}"""
# Not the kernel's status: while a widget talks to a subshell, that flickers.
_IDLE = f"() => {_PANEL}.content.widgets.every(cell => cell.model.executionState !== 'running')"
_EVALUATE = f"""async ([code, expression]) => {{
  const future = {_KERNEL}.requestExecute({{
    code, silent: true, store_history: false, user_expressions: {{ value: expression }},
  }});
  return (await future.done).content;
}}"""


# pandas draws the corner above its row names as an empty header cell.
NOT_OURS = "table.dataframe thead th:first-child"


class KernelError(Exception):
    """Code that a test sent to the kernel raised."""


@dataclass
class Notebook:
    """One notebook, open in one page, on its own kernel."""

    page: Page
    server: Server
    path: str
    console_errors: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, page: Page, server: Server, path: str) -> Notebook:
        """Open `path` (from the server's root) in an empty workspace, and wait for its kernel."""
        notebook = cls(page, server, path)
        page.on("console", notebook._heard)
        page.on("pageerror", lambda error: notebook.console_errors.append(str(error)))
        page.goto(f"{server.url}/lab/tree/{path}?reset", wait_until="domcontentloaded")
        try:
            notebook.wait_ready()
        except (
            TimeoutError
        ):  # seen once in some hundred times on a busy machine; anyone would reload
            notebook.reload()
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")  # the file browser
        return notebook

    def wait_ready(self, seconds: float = 90) -> None:
        """Wait until the notebook is in front and its kernel idle."""
        try:
            self.page.wait_for_function(_READY, timeout=seconds * SECOND)
        except TimeoutError:
            print(f"Not ready after {seconds} s: {self.state()}")
            raise

    def state(self) -> str:
        """What the page shows and where its kernel stands, for whoever has to find out why nothing goes on."""
        seen = self.page.evaluate(_STATE)
        return f"{seen}\nerrors: {self.console_errors[-5:]}\n{self.server.log.read_text()[-3000:]}"

    def wait_idle(self, seconds: float = 60) -> None:
        """Wait until no cell runs."""
        self.page.wait_for_function(_IDLE, timeout=seconds * SECOND)

    def run_all(self, seconds: float = 120) -> None:
        """Run every cell, as the menu does, and wait for the last."""
        self.page.evaluate(
            """() => {
              window.ranAll = false;
              window.jupyterapp.commands.execute("notebook:run-all-cells")
                .finally(() => { window.ranAll = true; });
            }"""
        )
        self.page.wait_for_function("() => window.ranAll", timeout=seconds * SECOND)
        self.wait_idle(seconds)

    def start_cell(self, index: int) -> None:
        """Run one cell and do not wait for it."""
        self.page.evaluate(
            f"""index => {{
              const {{ content, context }} = {_PANEL};
              content.activeCellIndex = index;
              content.deselectAll();
              window.jupyterapp.commands.execute("notebook:run-cell");
            }}""",
            index,
        )

    def is_busy(self) -> bool:
        """Whether a cell runs."""
        return not self.page.evaluate(_IDLE)

    def execute(self, code: str) -> None:
        """Run statements in the notebook's kernel, outside its cells."""
        self.evaluate("None", code)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Inside: the kernel's main shell is blocked, as by a cell that runs and runs."""
        gate = self.server.root / f"{self.path}.gate"
        wait = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)"
        self.page.evaluate(
            f"""code => {{
              const future = {_KERNEL}.requestExecute({{ code, silent: true }});
              future.done.finally(() => {{ window.blocked = false; }});
              window.blocked = true;
            }}""",
            wait,
        )
        try:
            yield
        finally:
            gate.touch()
            self.page.wait_for_function("() => !window.blocked", timeout=30 * SECOND)
            gate.unlink()

    def evaluate(self, expression: str, code: str = "") -> Any:
        """The value of a Python expression in the notebook's kernel, by way of JSON."""
        asked = f"__import__('json').dumps({expression})"
        reply = self.page.evaluate(_EVALUATE, [code, asked])
        value = reply.get("user_expressions", {}).get("value", reply)
        if value["status"] != "ok":
            raise KernelError(f"{expression}: {value.get('ename')}: {value.get('evalue')}")
        return json.loads(ast.literal_eval(value["data"]["text/plain"]))

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """Ask the kernel again and again until the expression is true; its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not true within {seconds} s: {expression}")
            self.page.wait_for_timeout(50)
        return value

    def cell_errors(self) -> list[str]:
        """Every error that a cell's output holds, as `Name: message`."""
        errors: list[str] = self.page.evaluate(
            f"""() => {_PANEL}.content.widgets
              .flatMap(cell => cell.model.outputs?.toJSON() ?? [])
              .filter(output => output.output_type === "error")
              .map(output => `${{output.ename}}: ${{output.evalue}}`)"""
        )
        return errors

    def save(self) -> None:
        self.page.evaluate(f"() => {_PANEL}.context.save()")

    def reload(self) -> None:
        """Reload the page as a learner does; the kernel lives on."""
        self.page.reload(wait_until="domcontentloaded")
        self.wait_ready()

    def come_back(self) -> None:
        """Open the notebook again in a page that went elsewhere; the kernel lives on."""
        self.page.goto(f"{self.server.url}/lab/tree/{self.path}", wait_until="domcontentloaded")
        self.wait_ready()

    def shut_down(self) -> None:
        """End the notebook's kernel, so that nothing trains on behind the next test."""
        self.page.evaluate(f"() => {_PANEL}.sessionContext.shutdown()")

    def set_theme(self, name: str) -> None:
        """Switch JupyterLab's theme, e.g. "JupyterLab Dark", and wait until it is drawn."""
        self.page.evaluate(
            """theme => window.jupyterapp.commands.execute("apputils:change-theme", { theme })""",
            name,
        )
        light = "false" if "Dark" in name else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    def axe(self, scope: str = ".jp-OutputArea", without: str = NOT_OURS) -> list[str]:
        """What axe-core finds wrong inside `scope`, one entry a rule, by its own rules."""
        context = {"include": [[scope]], "exclude": [[without]]}
        found = Axe().run(self.page, context=context).response["violations"]
        return [
            f"{rule['id']} ({rule['impact']}): {rule['help']}\n"
            + "\n".join(f"    {node['target']} {node['html'][:160]}" for node in rule["nodes"][:5])
            for rule in found
        ]

    def barriers(self, element: Locator, folder: Path, name: str) -> list[str]:
        """What axe-core finds wrong in any theme and width; of an element an image in each is saved."""
        found = []
        for theme in THEMES:
            self.set_theme(theme)
            for width in WIDTHS:
                self.show_whole(element, width)
                self.screenshot(folder, f"{name} {theme} {width}", of=element)
                found += [f"{theme}, {width} pixels: {barrier}" for barrier in self.axe()]
        return found

    def show_whole(self, element: Locator, width: int) -> None:
        """Make the window `width` wide and so high that all of an element is in sight."""
        self.page.set_viewport_size({"width": width, "height": 900})
        element.scroll_into_view_if_needed()
        box = element.bounding_box() or {"height": 0}
        self.page.set_viewport_size({"width": width, "height": round(box["height"]) + 300})
        element.scroll_into_view_if_needed()

    def screenshot(self, folder: Path, name: str, of: Locator | None = None) -> Path:
        """Save an image of the page, or of one element of it."""
        target = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png"
        (of or self.page).screenshot(path=target)
        return target

    def _heard(self, message: ConsoleMessage) -> None:
        elsewhere = not message.location.get("url", self.server.url).startswith(self.server.url)
        if message.type == "error" and not (
            elsewhere and "Failed to load resource" in message.text
        ):
            self.console_errors.append(message.text)  # a badge needs the network, a lesson does not
