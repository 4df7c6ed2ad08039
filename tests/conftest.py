"""What every layer of tests shares: the checkout, the real photographs where they lie, a network that says no.

Processes that a test starts inherit all of it through the environment.
"""

from __future__ import annotations

import os
import runpy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NO_NETWORK = ROOT / "tests" / "offline" / "no_network"
PHOTOS = "hymenoptera_data"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def photos() -> Path:
    """`$LABKIT_DATA` with the real photographs of ants and bees; without them the test is skipped."""
    folder = os.environ.get("LABKIT_DATA")
    if not folder or not (Path(folder) / PHOTOS).is_dir():
        pytest.skip(f"left out: no real photographs ($LABKIT_DATA/{PHOTOS} is not there)")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def threads() -> None:
    """Torch keeps to the cores that this process may use, as it does in the lab."""
    from labkit import runtime

    runtime.limit_threads()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own, so that they neither see nor change what this machine's user fetched."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("LABKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium, for pages of any kind. Where none can be had the test is left out; in CI it fails."""
    from lab_driver import NO_BROWSER, find_chromium, launch
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        executable = find_chromium(playwright)
        if executable is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(NO_BROWSER)
        browser = launch(playwright, executable)
        yield browser
        browser.close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, and every Python it starts, can reach this machine and nothing else; trying is an error."""
    path = os.pathsep.join(filter(None, [str(NO_NETWORK), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    guard = runpy.run_path(str(NO_NETWORK / "sitecustomize.py"))
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(
            socket.socket, name, guard["guard_connect"](getattr(socket.socket, name))
        )
    monkeypatch.setattr(socket, "getaddrinfo", guard["guard_lookup"](socket.getaddrinfo))
    monkeypatch.setenv("LABKIT_OFFLINE", "1")
