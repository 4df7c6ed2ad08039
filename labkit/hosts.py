"""Where labkit stands: a checkout, Colab, Binder or an installed wheel; and how to install something there.

The ground floor: every room may import it and it imports none of ours. All advice on installing comes from here,
because the right command differs from place to place, and because the name `labkit` on the Python index belongs to
somebody else: a command with that name would install a stranger's code.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

Host = Literal["checkout", "colab", "binder", "wheel"]

DISTRIBUTION = "labkit-finetuning"  # what is installed; what is imported is `labkit`


def host() -> Host:
    """Where this process runs. Colab and Binder are told by what they put into the environment of every process."""
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "colab"
    if "BINDER_SERVICE_HOST" in os.environ or "BINDER_LAUNCH_HOST" in os.environ:
        return "binder"
    return "checkout" if checkout() else "wheel"


def checkout(package: Path = Path(__file__).parent) -> Path | None:
    """The folder of the checkout that labkit is imported from, or None where it was installed without one."""
    folder = package.resolve().parent
    try:
        said = (folder / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    return folder if f'name = "{DISTRIBUTION}"' in said else None


def how_to_install(extra: str = "") -> str:
    """The command that installs labkit here, with one of its extras: "lessons", "lab", "export", "scale", "book" ..."""
    extras = f"[{extra}]" if extra else ""
    folder = checkout()
    if folder:
        return f'{_pip()} install --editable "{folder}{extras}"'
    came_from = _address()
    source = f" @ {came_from}" if came_from else ""
    return f'{_pip()} install "{DISTRIBUTION}{extras}{source}"'


def how_to_install_package(requirement: str) -> str:
    """The command that installs another package here, such as "jupyterlab-widgets==3.*"."""
    return f'{_pip()} install "{requirement}"'


def how_to_start_afresh() -> str:
    """What to do where the installation itself is broken: a sentence."""
    if host() == "colab":
        return "Choose Runtime > Disconnect and delete runtime, then run the first cell again."
    if host() == "binder":
        return "Close this page and open the link to Binder again: it starts a new machine."
    if checkout():
        return "Install the lab again: `make clean`, then `make lab`; without make, as the README says."
    return f"Install labkit again, into a new environment: {how_to_install()}"


def version_of(package: str) -> str:
    """The version of an installed package; of labkit itself "0.0.0" where it runs from a checkout that never was.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    if package != "labkit":
        return version(package)
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0.0.0"


def _pip() -> str:
    """pip as it is called here. In a notebook `%pip` finds the kernel's Python; a shell may have another one."""
    if "ipykernel" in sys.modules or host() == "colab":
        return "%pip"
    return f'"{sys.executable}" -m pip' if " " in sys.executable else f"{sys.executable} -m pip"


def _address() -> str | None:
    """Where the installed labkit came from when that was no index: pip keeps it beside the package (PEP 610)."""
    try:
        origin: dict[str, Any] = json.loads(
            distribution(DISTRIBUTION).read_text("direct_url.json") or "{}"
        )
    except (PackageNotFoundError, ValueError):
        return None
    address = origin.get("url")
    if not isinstance(address, str) or (address.startswith("file:") and not _still_there(address)):
        return None
    return f"{origin['vcs_info']['vcs']}+{address}" if "vcs_info" in origin else address


def _still_there(address: str) -> bool:
    return Path(url2pathname(urlsplit(address).path)).exists()
