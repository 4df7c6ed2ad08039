"""The reading edition: the course as a static site, with what every lesson has shown and consoles that replay.

A page is an executed solution. Its console, which would need a kernel, is a recording of the lesson's own run
(`rehearsal.py`). Nothing is executed while the site is built, nothing is fetched, and every link within it is followed.
The site is made by the engine and the theme of Jupyter Book, that is Sphinx with MyST-NB. `jupyter-book` itself is not
asked for, because it would downgrade what JupyterLab has brought.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from html import escape
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import nbformat
from nbformat import NotebookNode

from labkit.errors import LabkitError
from labkit.hosts import how_to_install
from labkit.publish import links, rehearsal
from labkit.runtime import write_atomic

TITLE = "Fine-tuning you can touch"
WIDGET = "application/vnd.jupyter.widget-view+json"  # nothing to look at without its kernel
CELL_SECONDS = 200  # that a cell of a lesson may take
_BADGES = re.compile(r"^\[!\[Open in Colab\].*\n*", re.M)
_PNG = re.compile(r'<img src="data:image/png;base64,([^"]+)"')
_LESSON = re.compile(r"""(?<= href=['"])(\d\d_\w+)\.ipynb(?=['"])""")  # its page lies there
Tell = Callable[[str], object]

_CONF = """\
project = html_title = {title!r}
language = "en"
extensions = ["myst_nb"]
exclude_patterns = ["extra"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "One solution"
nb_code_prompt_hide = "Fold it away"
myst_heading_anchors = 3
myst_heading_slug_func = "labkit.publish.links.slug"
html_theme = "sphinx_book_theme"
html_theme_options = {{
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navigation_with_keys": False,
    "footer_content_items": [],
}}
html_context = {{"default_mode": "auto"}}
html_static_path = ["_static"]
html_extra_path = ["extra"]
html_css_files = ["labkit-book.css"]
html_js_files = [("labkit-replay.js", {{"defer": "defer"}})]
html_show_copyright = html_show_sourcelink = html_copy_source = False
"""

_INDEX = """\
# {title}

This is the reading edition of the course. Every lesson stands here as it ran: its figures, its numbers, its answers.

Two things are better in the notebooks. There you commit to a guess before you see a result, and you steer the training
yourself. Here each console is a recording of a real run: it plays, but it cannot be steered. Above it is a link to the
lesson's notebook. Solutions are folded away, so that you may think first.

```{{toctree}}
:caption: Lessons
:maxdepth: 1

{lessons}
```

```{{toctree}}
:caption: Words
:maxdepth: 1

glossary
```
"""


class BookError(LabkitError):
    """A reading edition that cannot be made, or that is not whole."""


@dataclass(frozen=True)
class Book:
    """What was built: the folder, its pages in order, those with a recorded console, links followed, bytes, seconds."""

    folder: Path
    pages: tuple[str, ...]
    replays: tuple[str, ...]
    links: int
    size: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{len(self.pages)} pages, {len(self.replays)} recorded consoles, {self.size / 1e6:.1f} MB, built in "
            f"{self.seconds:.0f} s. All {self.links} links within it lead somewhere.\n"
            f"Open {self.folder / 'index.html'}"
        )


@dataclass(frozen=True)
class Page:
    """A page in the making: its name, its executed notebook, and its console as it was recorded."""

    name: str
    notebook: NotebookNode
    replay: rehearsal.Rehearsal | None


def build(
    root: Path, out: Path, executed: Path, again: bool = False, tell: Tell = lambda _: None
) -> Book:
    """Build the reading edition of a checkout.

    Args:
        root: the checkout.
        out: the folder of the site; it is emptied first, if it holds an earlier edition.
        executed: where executed solutions and recordings are kept; what is there and up to date is used.
        again: execute and record everything anew.
        tell: is told what is being done.

    Raises:
        BookError: Sphinx is not installed, a lesson fails, `out` holds something else, or a link is broken.
    """
    began = time.monotonic()
    _need_sphinx()
    _make_room(out)
    solutions = sorted((root / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))
    lessons = [_lesson(path, executed, again, tell) for path in solutions]
    with TemporaryDirectory() as folder:
        assemble(Path(folder), lessons, root / "notebooks")
        tell("building the site")
        _run_sphinx(Path(folder), out)
    checked = links.check(out)
    if checked.broken:
        named = "\n".join(f"  {each}" for each in checked.broken)
        raise BookError(f"{len(checked.broken)} links of the book lead nowhere:\n{named}")
    replays = tuple(lesson.name for lesson in lessons if lesson.replay)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    pages = (*(lesson.name for lesson in lessons), "glossary")
    return Book(out, pages, replays, checked.count, size, time.monotonic() - began)


# ---------------------------------------------------------------- what the lessons have shown


def _lesson(solution: Path, folder: Path, again: bool, tell: Tell) -> Page:
    notebook = _executed(solution, folder, again, tell)
    return Page(solution.stem, notebook, _replay(solution.stem, notebook, folder, again, tell))


def _executed(solution: Path, folder: Path, again: bool, tell: Tell) -> NotebookNode:
    """The solution with its outputs: as kept, if its code is still the same, else executed now."""
    wanted, kept = nbformat.read(solution, 4), folder / solution.name
    if kept.exists() and not again:
        pairs = list(zip_longest(_code(wanted), _code(nbformat.read(kept, 4))))
        if all(cell and old and cell.source == old.source for cell, old in pairs):
            for cell, old in pairs:
                cell.outputs = old.outputs
            return wanted
    tell(f"executing {solution.name}")
    _execute(wanted, solution)
    write_atomic(kept, nbformat.writes(wanted).encode())
    return wanted


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _execute(notebook: NotebookNode, solution: Path) -> None:
    """Run every cell in place."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(solution.parent)}},
    )
    with _surroundings():
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError) as trouble:
            raise BookError(f"{solution.name} does not run through: {trouble}") from trouble
    notebook.metadata.pop(
        "widgets", None
    )  # nbclient follows an Output widget only while it keeps them
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGET, None)


@contextmanager
def _surroundings() -> Iterator[None]:
    """No network, and a progress of its own: the book leaves no trace in that of whoever makes it."""
    before = dict(os.environ)
    with TemporaryDirectory() as home:
        progress = str(Path(home) / "progress.json")
        os.environ |= {"LABKIT_OFFLINE": "1", "LABKIT_PROGRESS": progress}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _replay(
    name: str, notebook: NotebookNode, folder: Path, again: bool, tell: Tell
) -> rehearsal.Rehearsal | None:
    """The recorded console of a lesson: as kept, if lesson and act are still the same, else recorded now.

    Not every console can be recorded: a run that fastai drives goes no way back. Its page says what the run is.
    """
    code = [cell.source for cell in _code(notebook)]
    console = next((i for i, source in enumerate(code) if rehearsal.shows_console(source)), None)
    if console is None:
        return None
    try:
        return _recorded(name, code, console, folder, again, tell)
    except LabkitError as trouble:
        tell(f"no recording of the console of {name}: {trouble}")
        return None


def _recorded(
    name: str, code: list[str], console: int, folder: Path, again: bool, tell: Tell
) -> rehearsal.Rehearsal:
    lines, act = rehearsal.script(code, console), rehearsal.act_of(name)
    of = hashlib.blake2b((lines + rehearsal.told(act)).encode(), digest_size=8).hexdigest()
    kept = folder / f"{name}.replay.json"
    if kept.exists() and not again:
        known = json.loads(kept.read_text("utf-8"))
        if known.pop("of", None) == of:
            return rehearsal.Rehearsal(**known)
    tell(f"recording the console of {name}")
    with _surroundings():
        replay = rehearsal.rehearse(lines, code[console], act)
    write_atomic(kept, json.dumps({"of": of, **asdict(replay)}).encode())
    return replay


# ---------------------------------------------------------------- from notebooks to pages


def assemble(folder: Path, lessons: list[Page], notebooks: Path) -> None:
    """Write what Sphinx makes the site from: settings, first page, pages, recordings, the learner's notebooks."""
    from labkit.console import replay

    static, extra = folder / "_static", folder / "extra" / "notebooks"
    for place in (static / "replays", static / "figures", extra):
        place.mkdir(parents=True)
    names = "\n".join(lesson.name for lesson in lessons)
    (folder / "conf.py").write_text(_CONF.format(title=TITLE), "utf-8")
    (folder / "index.md").write_text(_INDEX.format(title=TITLE, lessons=names), "utf-8")
    (static / "labkit-replay.js").write_text(replay.script(), "utf-8")
    (static / "labkit-book.css").write_text(replay.style() + _looks(), "utf-8")
    shutil.copy(notebooks / "glossary.ipynb", folder)
    for lesson in lessons:
        made = page(lesson, static)
        nbformat.write(made, folder / f"{lesson.name}.ipynb")
        if lesson.replay:
            _write_recording(static.parent / _recording_of(lesson), lesson)
    for path in notebooks.glob("*.ipynb"):
        shutil.copy(path, extra)


def page(lesson: Page, static: Path) -> NotebookNode:
    """An executed solution as a page: no badges, no bootstrap, the console a recording, figures in files."""
    made = deepcopy(lesson.notebook)
    for cell in made.cells:
        if cell.cell_type == "markdown":
            text = _BADGES.sub("", cell.source)
            cell.source = text.replace("](../glossary.ipynb", "](glossary.ipynb")
            continue
        tags = cell.metadata.get("tags", [])
        also = [_TAGS[tag] for tag in tags if tag in _TAGS]
        cell.metadata["tags"] = [*tags, *also]
        if lesson.replay and rehearsal.shows_console(cell.source):
            cell.outputs = [_html_output(_stage(lesson))]
        for output in cell.outputs:
            _without_our_folders(output)
            if "text/html" in output.get("data", {}):
                html = _LESSON.sub(r"\1.html", output.data["text/html"])
                html = html.replace("<th></th>", "<td></td>")  # a corner heads nothing
                output.data = {"text/html": _PNG.sub(lambda m: _in_file(m, static), html)}
    return made


def _without_our_folders(output: NotebookNode) -> None:
    """Say in an output the folders as any reader has them: those of whoever builds the book are nobody's business."""
    places = {
        str(Path(__file__).parents[2]): "labkit",
        str(Path.home()): "~",
        str(Path(gettempdir())): "tmp",
    }
    found = re.compile("|".join(map(re.escape, sorted(places, key=len, reverse=True))))

    def said(text: str) -> str:
        return found.sub(lambda match: places[match[0]], text)

    if output.output_type == "stream":
        output.text = said(output.text)
    for kind in ("text/html", "text/plain"):
        if kind in output.get("data", {}):
            output.data[kind] = said(output.data[kind])


_TAGS = {"bootstrap": "remove-cell", "solution": "hide-input"}


def _html_output(html: str) -> NotebookNode:
    return nbformat.v4.new_output("display_data", {"text/html": html})


def _stage(lesson: Page) -> str:
    """Where the recording plays; figure and table stay there without scripts."""
    assert lesson.replay is not None
    notebook = f"notebooks/{lesson.name}.ipynb"
    places = f'data-recording="{escape(_recording_of(lesson))}" data-notebook="{escape(notebook)}"'
    return f'<div class="labkit-replay" {places}>{lesson.replay.still}</div>'


def _recording_of(lesson: Page) -> str:
    return f"_static/replays/{lesson.name}.js"


def _write_recording(path: Path, lesson: Page) -> None:
    """As a script, because a page that is opened from a file may not fetch JSON."""
    assert lesson.replay is not None
    content = json.dumps(lesson.replay.recording, separators=(",", ":"))
    name = json.dumps(_recording_of(lesson))
    path.write_text(f"(window.labkitRecordings ??= {{}})[{name}] = {content};\n", "utf-8")


def _in_file(match: re.Match[str], static: Path) -> str:
    """An image in a file of its own, named by its content; pages stay small and load it when it is scrolled to."""
    data = base64.b64decode(match[1])
    name = f"{hashlib.blake2b(data, digest_size=8).hexdigest()}.png"
    (static / "figures" / name).write_bytes(data)
    return f'<img loading="lazy" src="_static/figures/{name}"'


def _looks() -> str:
    return (Path(__file__).parent / "book.css").read_text("utf-8")


# ---------------------------------------------------------------- from pages to a site


def _need_sphinx() -> None:
    if not all(find_spec(name) for name in ("myst_nb", "sphinx_book_theme", "nbclient")):
        raise BookError(
            "The reading edition is made with Sphinx, which is not installed. `make book` installs it, or: "
            f"{how_to_install('book')}"
        )


def _make_room(out: Path) -> None:
    """Remove an earlier edition, and nothing else."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / ".buildinfo").exists()):
        raise BookError(
            f"{out} holds something other than an earlier edition. Name another folder with --out."
        )
    shutil.rmtree(out)


def _run_sphinx(source: Path, out: Path) -> None:
    with TemporaryDirectory() as doctrees:
        command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
        done = subprocess.run(
            [*command, "-d", doctrees, str(source), str(out)], capture_output=True, text=True
        )
    if done.returncode:
        raise BookError(f"Sphinx could not make the site:\n{done.stderr.strip()}")
