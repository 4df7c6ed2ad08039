"""One JupyterLab and one Chromium for the layer; a fresh page and kernel for each test.

Where no browser can be had (`browser` in tests/conftest.py) the layer is left out and says so; in CI it fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("jupyterlab", reason="no JupyterLab: pip install '.[lab,test]'")
pytest.importorskip("axe_playwright_python", reason="no axe: pip install '.[test]'")

import lab_driver
from lab_driver import SECOND, Notebook, Server, serve
from playwright.sync_api import Browser, Page, expect

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

OpenNotebook = Callable[[str], Notebook]
WriteNotebook = Callable[..., str]


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on a copy of the notebooks; asks for the browser first, which is the cheaper."""
    home = tmp_path_factory.mktemp("jupyterlab")
    root = shutil.copytree(NOTEBOOKS, home / "notebooks")
    with serve(home, root, {"LABKIT_OFFLINE": "1"}) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    expect.set_options(timeout=60 * SECOND)  # a deadline, for the busiest machine
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def open_notebook(
    page: Page, server: Server, shots: Path, request: pytest.FixtureRequest
) -> Iterator[OpenNotebook]:
    """Open a notebook on a kernel of its own, which ends with the test; a failure leaves an image."""
    failures = request.session.testsfailed
    opened: list[Notebook] = []

    def open_it(path: str) -> Notebook:
        opened.append(Notebook.open(page, server, path))
        return opened[-1]

    yield open_it
    if request.session.testsfailed > failures:
        page.screenshot(path=shots / f"failed-{request.node.name}.png")
    for notebook in opened:
        notebook.shut_down()


@pytest.fixture
def write_notebook(server: Server) -> WriteNotebook:
    """Write a scratch notebook of code cells where the server finds it; its path there."""

    def write(name: str, *cells: str) -> str:
        lab_driver.write_notebook(server.root / name, cells)
        return name

    return write


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where images of the pages go; `LABKIT_SHOTS` keeps them."""
    wanted = os.environ.get("LABKIT_SHOTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
