"""What a stranger does: clone, `make lab`, `make test`, in an empty home and without any cache.

    make fresh                     the commit that is checked out here
    python -m tests.fresh --keep   and leave the clone and its home where they are

It prints how long each took and every bound that a test holds beside its measured peak, and fails where a command
fails or where less than 15 % of a bound is left. It takes as long as a first visit: half an hour and some gigabytes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tests import bounds

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS = Path("shared/data")  # beside a checkout, as the Makefile knows
INSTALLING = 3600  # seconds for `make lab` until it prints its address; most of them it downloads
TESTING = 3 * 3600  # and for `make test`
CLOSING = 30  # for a lab that was asked to end
ADDRESS = re.compile(r"https?://\S+/lab\S*")

# What this machine's user has set and a stranger has not: settings and caches of labkit, Python and its tools.
OWN = ("LABKIT_", "XDG_", "PYTHON", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "CONDA", "TORCH_", "HF_")
OWN += (
    "MPL",
    "OMP_",
    "MKL_",
    "PIP_CACHE",
    "UV_CACHE",
    "UV_PYTHON",
    "MAKE",
    "MFLAGS",
    "DISPLAY",
    "WAYLAND",
)


def stranger(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of somebody who has just come: an empty home, and none of this user's settings.

    Where packages come from is a matter of the machine, not of the user: pip's and uv's settings stay.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith(OWN)}
    config = Path(environment.get("XDG_CONFIG_HOME") or Path(environment["HOME"], ".config"))
    for name, file in (("PIP_CONFIG_FILE", "pip/pip.conf"), ("UV_CONFIG_FILE", "uv/uv.toml")):
        if (config / file).is_file():
            kept.setdefault(name, str(config / file))
    return kept | {"HOME": str(home), "TMPDIR": str(home / "tmp")}


def clone(source: Path, folder: Path) -> Path:
    """A clone of the commit that is checked out in `source`, as over a network: with nothing that git ignores.

    Photographs that lie beside the checkout lie beside the clone, too: with them lessons take the most memory.
    """
    target = folder / "labkit"
    if (source.resolve().parent / PHOTOGRAPHS).is_dir():
        (folder / PHOTOGRAPHS.parent).symlink_to(source.resolve().parent / PHOTOGRAPHS.parent)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=source, text=True).strip()
    address = source.resolve().as_uri()
    subprocess.run(["git", "clone", "--quiet", address, str(target)], check=True)
    subprocess.run(["git", "checkout", "--quiet", commit], cwd=target, check=True)
    return target


def open_lab(checkout: Path, environment: Mapping[str, str], seconds: float = INSTALLING) -> bool:
    """`make lab` until it prints its address, then Ctrl-C; whether it printed one."""
    lab = subprocess.Popen(
        ["make", "lab"],
        cwd=checkout,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_interrupts,
    )
    overdue = threading.Timer(seconds, _end, [lab])
    overdue.start()
    try:
        return _address_in(lab)
    finally:
        overdue.cancel()
        _end(lab)


def _heed_interrupts() -> None:
    """In the child: what is started in the background ignores Ctrl-C, and so would the lab, until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _address_in(lab: subprocess.Popen[str]) -> bool:
    assert lab.stdout is not None
    for line in lab.stdout:
        print(f"  {line}", end="", flush=True)
        if ADDRESS.search(line):
            return True
    return False


def _end(lab: subprocess.Popen[str]) -> None:
    """End the lab and all that it has started; by force where Ctrl-C does not."""
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(lab.pid, how)
            lab.wait(CLOSING)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def run_tests(checkout: Path, environment: Mapping[str, str]) -> bool:
    """`make test`, with what it says; whether everything passed."""
    try:
        done = subprocess.run(
            ["make", "test"], cwd=checkout, env=dict(environment), timeout=TESTING, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def visit(source: Path, folder: Path) -> int:
    """Do it all in an empty folder and say how it went; 1 where anything is not as it should be."""
    home = folder / "home"
    (home / "tmp").mkdir(parents=True)
    environment, checkout = stranger(os.environ, home), clone(source, folder)
    problems = []
    for name, do in (("make lab", open_lab), ("make test", run_tests)):
        print(f"== {name}, in {checkout}", flush=True)
        began = time.monotonic()
        fine = do(checkout, environment)
        print(f"== {name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
        problems += [] if fine else [f"{name} failed"]
    found = bounds.read(checkout / bounds.KEPT.relative_to(ROOT))
    problems += [] if found else ["no test has kept a bound"]
    problems += [f"too little room: {one.name}" for one in found if not one.is_roomy]
    print(bounds.table(found))
    print("\n".join(problems) or "Everything passed, and every bound has room.")
    return int(bool(problems))


def main(arguments: list[str]) -> int:
    """Visit this checkout in a temporary folder, which goes afterwards unless it is to be kept."""
    if "--keep" in arguments:
        return visit(ROOT, Path(tempfile.mkdtemp(prefix="labkit-fresh-")))
    with tempfile.TemporaryDirectory(prefix="labkit-fresh-", ignore_cleanup_errors=True) as folder:
        return visit(ROOT, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
