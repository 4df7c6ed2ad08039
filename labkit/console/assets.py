"""The scripts and styles of pages, put together from the files that they are written in.

A widget needs its script as one text, and who opens the lab has neither node nor a bundler. So each part is a module of
its own, which an editor and a test can load as it is, and here parts are set one after the other, without the lines in
which they import from one another. Each imports only from those before it; a test holds that. Styles begin with the
theme, which holds the colours of all.

Texts, not paths: anywidget would take a path as well, but then holds every widget of that class for ever, as it has the
file tell the widget of changes.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PARTS = ("ui", "numbers", "story", "link", "chart", "controls", "panels", "view")
CONSOLE = tuple(HERE / "js" / f"{name}.js" for name in PARTS)
UI = CONSOLE[0]
THEME = HERE / "theme.css"
IMPORT = re.compile(r'^import \{[^}]*\} from "[^"]+";\n', re.M)
EXPORT = re.compile(r"^export (?!default)", re.M)


def joined(*parts: Path) -> str:
    """Scripts as one module. What the last one exports as its default stays."""
    return "".join(EXPORT.sub("", IMPORT.sub("", part.read_text("utf-8"))) for part in parts)


def console_script() -> str:
    """The console's script."""
    return joined(*CONSOLE)


def script_beside(file: str, name: str) -> str:
    """The script of a card: the file that lies beside a module, given its `__file__`, and what all scripts share."""
    return joined(UI, Path(file).with_name(name))


def style_beside(file: str, *names: str) -> str:
    """The style of a card: the theme, and the files that lie beside a module."""
    sheets = (THEME, *(Path(file).with_name(name) for name in names))
    return "\n".join(sheet.read_text("utf-8") for sheet in sheets)
