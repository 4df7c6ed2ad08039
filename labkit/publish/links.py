"""Links of the reading edition: whether each leads somewhere. Only what lies in the folder is looked at: no network."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = ("href", "src", "data-recording", "data-notebook")


@dataclass(frozen=True)
class Broken:
    """A link that leads nowhere: the page it stands on, the link as it is written, what is missing."""

    page: str
    link: str
    missing: str

    def __str__(self) -> str:
        return f"{self.page}: {self.link} ({self.missing} is missing)"


@dataclass(frozen=True)
class Checked:
    """How many links within the folder there are, and which of them are broken."""

    count: int
    broken: tuple[Broken, ...]


class _Page(HTMLParser):
    """The places of a page that can be linked to, and the links it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places = {"", "top"}
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in LINKS and value:
                self.links.append(value)
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.places.add(value)


def check(folder: Path) -> Checked:
    """Follow every relative link, address of an image or script, and anchor of the pages in `folder`.

    Folders whose names begin with an underscore hold what pages are made with; a theme keeps templates there.
    """
    paths = [path for path in sorted(folder.rglob("*.html")) if not _hidden(path, folder)]
    pages = {path: _Page(path.read_text("utf-8")) for path in paths}
    count, broken = 0, []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = _target(folder, path, unquote(parts.path))
            place = unquote(parts.fragment)
            name = str(path.relative_to(folder))
            if not target.is_file():
                broken.append(Broken(name, link, unquote(parts.path)))
            elif target in pages and place not in pages[target].places:
                broken.append(Broken(name, link, f"#{place}"))
    return Checked(count, tuple(broken))


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith("_") for part in path.relative_to(folder).parts)


def slug(heading: str) -> str:
    """The anchor that JupyterLab gives to a heading, which is what lessons link to; the site gives it, too."""
    return heading.replace(" ", "-")


def _target(folder: Path, page: Path, path: str) -> Path:
    """The file that a link of a page means."""
    if not path:
        return page
    start = folder if path.startswith("/") else page.parent
    target = (start / path.lstrip("/")).resolve()
    return target / "index.html" if target.is_dir() else target
