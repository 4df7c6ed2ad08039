"""A lesson's first cell, which finds labkit where nobody installed it and loads what is needed; and its badges.

Both are made from one setting, `[tool.labkit] repository` in `pyproject.toml`. Nothing here reaches the network or
knows more of a host than its addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from labkit.errors import LabkitError
from labkit.hosts import DISTRIBUTION

_COLAB = "https://colab.research.google.com"
_BINDER = "https://mybinder.org"
LINE = 100  # characters of a line of code
_OWNER_AND_NAME = re.compile(r"[\w.-]+/[\w.-]+")

# `--no-deps` is the promise: pip may add labkit and may touch nothing else. Colab has all that labkit needs.
_BOOTSTRAP = """\
# On Colab this installs labkit and upgrades nothing. Then what the lesson needs is loaded while you read.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("labkit") is None:
    %pip install --quiet --no-deps "{distribution} @ {archive}"

from labkit import learn

{warm_up}\
"""


def bootstrap_cell(repository: str, modules: Iterable[str] = ()) -> str:
    """The source of a lesson's first code cell.

    Args:
        repository: "owner/name", as published.
        modules: what the lesson imports beyond what all lessons do.

    Raises:
        LabkitError: when it is not of that form, because a cell would install something else.
    """
    return _BOOTSTRAP.format(
        distribution=DISTRIBUTION,
        archive=f"https://github.com/{_checked(repository)}/archive/HEAD.zip",
        warm_up=_call("learn.warm_up", [f'"{name}"' for name in modules]),
    )


def _call(function: str, arguments: list[str]) -> str:
    """A call in the course's format: on one line, or with a line an argument."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= LINE:
        return line
    return "\n".join([f"{function}(", *(f"    {argument}," for argument in arguments), ")"])


def badges(repository: str, notebook: str) -> str:
    """Markdown that opens `notebook`, a path in the repository with forward slashes, on Colab and on Binder."""
    place = _checked(repository)
    path = PurePosixPath(notebook)
    colab = f"{_COLAB}/github/{place}/blob/HEAD/{path}"
    binder = f"{_BINDER}/v2/gh/{place}/HEAD?urlpath=lab/tree/{path}"
    return (
        f"[![Open in Colab]({_COLAB}/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Binder]({_BINDER}/badge_logo.svg)]({binder})"
    )


def with_badges(readme: str, repository: str, notebook: str) -> str:
    """A README's text with its line of badges made from the setting again."""
    return re.sub(
        r"^\[!\[Open in Colab\].*$", badges(repository, notebook), readme, count=1, flags=re.M
    )


def _checked(repository: str) -> str:
    if not _OWNER_AND_NAME.fullmatch(repository):
        raise LabkitError(
            f"repository = {repository!r} is not of the form 'owner/name'. "
            "Set it under [tool.labkit] in pyproject.toml and run `make notebooks`."
        )
    return repository
