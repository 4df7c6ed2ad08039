"""Notebooks from their sources: `notebooks/src/NN_name.py` in percent format gives two notebooks.

The learner's `notebooks/NN_name.ipynb` has a stub where the solution would be, and the solution
folded away below it. The solution's `notebooks/solutions/NN_name.ipynb` has it in place. In a
source an exercise is two cells in a row, tagged `stub` and `solution`. In the prose,
`{evidence:key}` is filled with a recorded result, `{evidence:key against other}` with a recorded
difference, `{confirmed:key}` with the same from the runs that confirm a claim, `{verdict:number}` with
what both say of it, `{coach:name}` with a share of the coach's examination, and `{exercise:id}` with
the exercise's label.
The same sources and records always give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from labkit.errors import LabkitError
from labkit.learn import exercises
from labkit.publish import colab, glossary
from labkit.runtime import write_atomic

_KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_PLACEHOLDER = re.compile(r"\{(evidence|confirmed|verdict|coach|exercise):([^{}\n]+)\}")
_GLOSSARY = "glossary.ipynb"
_CLOSING = """\
When you are done, shut this lesson's kernel down: in the menu choose *Kernel*, then *Shut Down Kernel* (on Colab:
*Runtime*, then *Disconnect and delete runtime*). Closing the page leaves it running, and it holds about a gigabyte of
memory that the next lesson may need."""


class BuildError(LabkitError):
    """A source that cannot become a notebook."""


@dataclass(frozen=True)
class Built:
    """What a build did: the notebooks it made, and those that differed from what lay there."""

    notebooks: tuple[Path, ...]
    changed: tuple[Path, ...]

    @property
    def ok(self) -> bool:
        """Whether the notebooks were up to date already."""
        return not self.changed


def build(root: Path | None = None, check: bool = False) -> Built:
    """Build all notebooks of a checkout.

    Args:
        root: the folder with `pyproject.toml` and `notebooks/`; default the package's checkout.
        check: write nothing, only say which notebooks are out of date.

    Raises:
        BuildError: for a source that breaks a rule, with its name and the rule.
    """
    root = root or Path(__file__).resolve().parents[2]
    wanted = {path: nbformat.writes(notebook) + "\n" for path, notebook in _notebooks(root)}
    there = [path for folder in _folders(root) for path in folder.glob("*.ipynb")]
    old = [path for path in there if path not in wanted]
    changed = [
        path
        for path, text in wanted.items()
        if path not in there or path.read_text("utf-8") != text
    ]
    if not check:
        for path in changed:
            write_atomic(path, wanted[path].encode())
        for path in old:
            path.unlink()
    return Built(tuple(wanted), tuple(changed + old))


def sources(root: Path) -> list[Path]:
    """The lessons' sources in the order of their numbers."""
    return sorted((root / "notebooks" / "src").glob("[0-9][0-9]_*.py"))


def repository(root: Path) -> str:
    """The one setting that badges and bootstrap cells are made from: `[tool.labkit] repository`."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    return str(settings.get("tool", {}).get("labkit", {}).get("repository", ""))


def _folders(root: Path) -> tuple[Path, Path]:
    return root / "notebooks", root / "notebooks" / "solutions"


def _notebooks(root: Path) -> Iterator[tuple[Path, NotebookNode]]:
    learner, solution = _folders(root)
    words = root / "notebooks" / "src" / "glossary.md"
    terms = glossary.read(words.read_text("utf-8")) if words.exists() else ()
    for source in sources(root):
        cells = _prepared(source, repository(root), terms)
        yield learner / f"{source.stem}.ipynb", _finished(_for_learner(cells, source))
        yield solution / f"{source.stem}.ipynb", _finished(_one_floor_down(_for_solution(cells)))
    if terms:
        yield learner / _GLOSSARY, _finished(_glossary_cells(words.read_text("utf-8")))


# ---------------------------------------------------------------- from source to cells


def _prepared(source: Path, repository: str, terms: Iterable[glossary.Term]) -> list[NotebookNode]:
    """The cells of a source with badges, bootstrap, placeholders and glossary links put in."""
    cells = jupytext.read(source, fmt="py:percent").cells
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        raise BuildError(
            f"{source.name}: the first cell must be Markdown that begins with a title."
        )
    prose = [cell for cell in cells if cell.cell_type == "markdown"]
    for cell in prose:
        cell.source = _PLACEHOLDER.sub(_filler(source), cell.source)
    linked = glossary.link_first_uses([cell.source for cell in prose], tuple(terms), _GLOSSARY)
    for cell, text in zip(prose, linked, strict=True):
        cell.source = text
    title, _, rest = cells[0].source.partition("\n")
    badges = colab.badges(repository, f"notebooks/{source.stem}.ipynb")
    cells[0].source = f"{title}\n\n{badges}\n{rest}".rstrip()
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    bootstrap = nbformat.v4.new_code_cell(colab.bootstrap_cell(repository, _slow_imports(code)))
    bootstrap.metadata["tags"] = ["bootstrap"]
    # The reading edition has no kernel: "remove-cell" leaves the last cell out of it.
    closing = nbformat.v4.new_markdown_cell(_CLOSING, metadata={"tags": ["remove-cell"]})
    return [cells[0], bootstrap, *cells[1:], closing]


def _slow_imports(code: Iterable[str]) -> list[str]:
    """What a lesson's cells need that takes long to import, and not every lesson needs."""
    text = "\n".join(code)
    fastai = re.findall(r"^\s*from (fastai[\w.]*) import", text, flags=re.M)
    shifts = ["torchvision.transforms.v2"] if ".shift(" in text else []
    return sorted({*fastai, *shifts})


def _filler(source: Path) -> Callable[[re.Match[str]], str]:
    def fill(match: re.Match[str]) -> str:
        kind, key = match.groups()
        if kind == "exercise":
            return f"*{exercises.find(key).label}*"
        from labkit.course import evidence
        from labkit.records import exam

        try:
            if kind == "verdict":
                return evidence.stated(int(key))
            if kind == "coach":
                return exam.share(key).words()
            record = evidence.confirming if kind == "confirmed" else evidence
            return record.cite(*key.split(" against "))
        except (LabkitError, ValueError) as problem:
            raise BuildError(f"{source.name}: {{{kind}:{key}}}: {problem}") from problem

    return fill


def _for_learner(cells: list[NotebookNode], source: Path) -> Iterator[NotebookNode]:
    """Stubs stay; a solution becomes a folded text, below the cell that checks it."""
    folded: list[NotebookNode] = []
    for before, cell in zip([nbformat.v4.new_raw_cell(), *cells], cells, strict=False):
        if _has_tag(cell, "solution"):
            if not _has_tag(before, "stub"):
                raise BuildError(
                    f"{source.name}: a solution without a stub before it: {cell.source[:80]!r}"
                )
            text = _folded(cell.source)
            folded = [nbformat.v4.new_markdown_cell(text, metadata={"tags": ["folded"]})]
        else:
            yield cell
            yield from folded
            folded = []
    yield from folded


def _for_solution(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    return (cell for cell in cells if not _has_tag(cell, "stub"))


def _folded(code: str) -> str:
    return f"<details>\n<summary>One solution</summary>\n\n```python\n{code}\n```\n\n</details>"


def _one_floor_down(cells: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Solutions lie one folder deeper, so links to the glossary go up first."""
    for cell in cells:
        if cell.cell_type == "markdown":
            cell = NotebookNode(cell, source=re.sub(rf"\]\((?={_GLOSSARY})", "](../", cell.source))
        yield cell


def _glossary_cells(text: str) -> Iterator[NotebookNode]:
    for part in re.split(r"^(?=## )", text, flags=re.M):
        yield nbformat.v4.new_markdown_cell(re.sub(r"<!-- also:.*?-->\n*", "", part).strip())


def _has_tag(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


# ---------------------------------------------------------------- from cells to a notebook


def _finished(cells: Iterable[NotebookNode]) -> NotebookNode:
    """A notebook without outputs, whose bytes depend on its cells alone."""
    seen: dict[str, int] = {}
    notebook = nbformat.v4.new_notebook(metadata=_KERNEL)
    notebook.cells = [_plain(cell, seen) for cell in cells]
    nbformat.validate(notebook)
    return notebook


def _plain(cell: NotebookNode, seen: dict[str, int]) -> NotebookNode:
    tags = cell.metadata.get("tags")
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    return make(cell.source, metadata=metadata, id=_cell_id(cell, seen))


def _cell_id(cell: NotebookNode, seen: dict[str, int]) -> str:
    """Named by content, so that a new cell leaves the ids of all others as they are."""
    digest = hashlib.blake2b(f"{cell.cell_type}\n{cell.source}".encode(), digest_size=5).hexdigest()
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
