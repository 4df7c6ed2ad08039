"""`labkit lab`: JupyterLab on a lesson, as a child of this process."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.output import (
    FIRST_LESSON,
    AsJson,
    tell,
)
from labkit.errors import LabkitError

START_PATIENCE = 120.0  # seconds for JupyterLab to answer


def lab(
    notebook: Annotated[Path, typer.Argument(help="The notebook to open.")] = FIRST_LESSON,
    port: Annotated[int, typer.Option(help="The first port to try.")] = 8888,
    ip: Annotated[
        str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open a browser, where there is a display.")] = True,
    as_json: AsJson = False,
) -> None:
    """Open JupyterLab on a lesson; without a display, print the address. Ctrl-C ends it.

    A lesson is opened as a copy of your own, in the folder work, so that nothing in the checkout changes.
    """
    if not notebook.is_file():
        raise LabkitError(
            f"{notebook} is not here. Run this in the checkout of labkit, or name a notebook."
        )
    token, port = secrets.token_hex(16), _free_port(ip, port)
    path, root = _to_open(notebook)
    page = f"/lab/tree/{path.relative_to(root).as_posix()}"
    address = f"http://{_reachable(ip)}:{port}{page}?token={token}"
    server = _start_jupyter(root, ip, port, token)
    try:
        _wait_until_up(server, ip, port)
        opened = browser and _has_display() and webbrowser.open(address)
        words = f"The lab is at {address}\nCtrl-C ends it."
        tell(
            {"address": address, "root": str(root), "pid": server.pid, "opened": opened},
            words,
            as_json,
        )
        raise typer.Exit(server.wait())
    except KeyboardInterrupt:
        typer.echo("The lab is closed.", err=True)
    finally:
        server.terminate()
        server.wait()


def reset(
    lesson: Annotated[str, typer.Argument(help="The number of the lesson, such as 03.")],
    as_json: AsJson = False,
) -> None:
    """Begin a lesson anew: a fresh copy of it in the folder work. Your earlier one is put aside, not lost."""
    from labkit.learn import workspace

    copy, aside = workspace.reset(Path.cwd(), lesson)
    words = f"{_short(copy)} is as it was at first."
    if aside:
        words += f" Your earlier copy is {_short(aside)}."
    tell({"lesson": copy, "earlier": aside}, words, as_json)


def _to_open(notebook: Path) -> tuple[Path, Path]:
    """The notebook to open, and the folder that JupyterLab shows: of a lesson the learner's copy, among the others."""
    from labkit.learn import workspace

    path, here = notebook.resolve(), Path.cwd()
    copy = workspace.copy_of(path, here)
    if copy is None:
        return path, here if path.is_relative_to(here) else path.parent
    found = workspace.prepare(here)
    for name in found.outdated:
        typer.echo(
            f"{name} has changed since you began to work on it, and your copy stays as it is. "
            f"To begin it anew, and keep yours aside: labkit reset {name[:2]}",
            err=True,
        )
    return copy.resolve(), found.folder.resolve()


def _short(path: Path) -> str:
    return path.relative_to(Path.cwd()).as_posix()


def _start_jupyter(root: Path, ip: str, port: int, token: str) -> subprocess.Popen[bytes]:
    """JupyterLab as a child process. The token travels in the environment, where other users cannot read it."""
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ip={ip}", f"--port={port}"]
    command += [
        f"--ServerApp.root_dir={root}",
        "--ServerApp.port_retries=0",
        "--ServerApp.answer_yes=True",
    ]
    command += ["--log-level=WARN", "--LabApp.log_level=WARN", "--LabApp.news_url=", "--allow-root"]
    signal.signal(signal.SIGTERM, _interrupt)
    return subprocess.Popen(command, env={**os.environ, "JUPYTER_TOKEN": token})


def _interrupt(*_: object) -> None:
    """A polite kill ends the lab as Ctrl-C does, so that no server stays behind."""
    raise KeyboardInterrupt


def _wait_until_up(server: subprocess.Popen[bytes], ip: str, port: int) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LabkitError(
                "JupyterLab did not start; its own message is above. `labkit doctor` may know why."
            )
        try:
            socket.create_connection((_reachable(ip), port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise LabkitError(
        f"JupyterLab did not answer on port {port} within {START_PATIENCE:.0f} seconds."
    )


def _free_port(ip: str, first: int) -> int:
    for port in range(first, first + 50):
        with socket.socket() as probe:
            try:
                probe.bind((ip, port))
                return port
            except OSError:
                continue
    raise LabkitError(
        f"no free port from {first} to {first + 49} on {ip}; name another with --port."
    )


def _reachable(ip: str) -> str:
    return "127.0.0.1" if ip in ("0.0.0.0", "") else ip


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
