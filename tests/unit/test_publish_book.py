"""The reading edition: its order, its pages, its recorded consoles, and that it is refused when it is not whole."""

from __future__ import annotations

import base64
import json
import re
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labkit.publish import book
from labkit.publish.rehearsal import Rehearsal

MARKUP = "<img src=x onerror=alert(1)></script>"
PNG = base64.b64encode(b"a picture").decode()
FIGURE = (
    f'<img src="data:image/png;base64,{PNG}" alt="Two curves."><details>a table<th></th></details>'
)
LINK = "<a href='02_lesson.ipynb'>02 A lesson</a>"
BADGES = "[![Open in Colab](https://a/b.svg)](https://a/c) [![Open in Binder](d)](e)"


def executed(number: int = 1) -> NotebookNode:
    """A solution as it ran, with all that a page does something about."""
    shown = {"text/html": LINK + FIGURE, "image/png": PNG, "text/plain": "Two curves."}
    cells = [
        new_markdown_cell(f"# {number:02} · A lesson\n\n{BADGES}\n\n- **Time:** short"),
        new_code_cell("import labkit", metadata={"tags": ["bootstrap"]}),
        new_markdown_cell("A [step](../glossary.ipynb#one-step) and [a site](https://a.b)."),
        new_code_cell("figures.plot_history(run)", outputs=[new_output("display_data", shown)]),
        new_code_cell("answer = 42", metadata={"tags": ["solution"]}),
        new_code_cell(
            "playground = 1\nlabkit.console(playground)",
            outputs=[new_output("display_data", {"text/html": "<p>not trained</p>"})],
        ),
    ]
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


RECORDING = {"seconds": 1.0, "trained": 0.5, "pictures": {}, "frames": [{"t": 0, "name": MARKUP}]}


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    words = new_markdown_cell("# Glossary"), new_markdown_cell("## one step\n\nA change.")
    nbformat.write(new_notebook(cells=list(words)), folder / "glossary.ipynb")
    for number in (1, 2):
        nbformat.write(new_notebook(), folder / f"{number:02}_lesson.ipynb")
    return folder


@pytest.fixture
def lessons() -> list[book.Page]:
    replay = Rehearsal(RECORDING, FIGURE)
    return [
        book.Page("01_lesson", executed(1), replay),
        book.Page("02_lesson", executed(2), None),
    ]


@pytest.fixture
def source(tmp_path: Path, notebooks: Path, lessons: list[book.Page]) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    book.assemble(folder, lessons, notebooks)
    return folder


def cells(source: Path, name: str) -> list[NotebookNode]:
    return nbformat.read(source / f"{name}.ipynb", 4).cells


def test_the_lessons_come_in_order_and_the_glossary_last(source: Path) -> None:
    index = (source / "index.md").read_text()
    listed = re.findall(r"^(?:\d\d_\w+|glossary)$", index, re.M)
    assert listed == ["01_lesson", "02_lesson", "glossary"]
    assert (source / "glossary.ipynb").exists()


def test_badges_and_bootstrap_are_not_shown_and_solutions_are_folded(source: Path) -> None:
    title, bootstrap, *_, solution, _ = cells(source, "01_lesson")
    assert title.source == "# 01 · A lesson\n\n- **Time:** short"
    assert "remove-cell" in bootstrap.metadata.tags
    assert "hide-input" in solution.metadata.tags


def test_links_to_the_glossary_stay_within_the_book(source: Path) -> None:
    assert (
        "[step](glossary.ipynb#one-step) and [a site](https://a.b)"
        in cells(source, "01_lesson")[2].source
    )


def test_a_lesson_that_an_output_links_to_is_its_page(source: Path) -> None:
    html = cells(source, "01_lesson")[3].outputs[0].data["text/html"]
    assert "<a href='02_lesson.html'>" in html


def test_a_figure_becomes_a_file_and_keeps_its_words_and_its_table(source: Path) -> None:
    html = cells(source, "01_lesson")[3].outputs[0].data["text/html"]
    name = re.search(r'src="(_static/figures/\w+\.png)" alt="Two curves."', html)
    assert name
    assert (source / name[1]).read_bytes() == b"a picture"
    assert html.endswith("<details>a table<td></td></details>")  # an empty corner heads nothing


def test_a_console_is_replaced_by_its_recording_over_the_still_picture(source: Path) -> None:
    html = cells(source, "01_lesson")[5].outputs[0].data["text/html"]
    assert 'data-recording="_static/replays/01_lesson.js"' in html
    assert 'data-notebook="notebooks/01_lesson.ipynb"' in html
    assert 'alt="Two curves."' in html
    assert (source / "extra" / "notebooks" / "01_lesson.ipynb").exists()
    left = cells(source, "02_lesson")[5].outputs[0].data["text/html"]
    assert left == "<p>not trained</p>"  # nothing was recorded


def test_a_recording_is_data_whatever_it_says(source: Path) -> None:
    text = (source / "_static" / "replays" / "01_lesson.js").read_text()
    name, content = re.fullmatch(
        r"\(window\.labkitRecordings \?\?= \{\}\)\[(.+?)\] = (.+);\n", text
    ).groups()
    assert json.loads(name) == "_static/replays/01_lesson.js"
    assert json.loads(content) == RECORDING


def test_an_executed_notebook_is_used_until_the_code_of_its_solution_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []
    monkeypatch.setattr(book, "_execute", lambda notebook, path: ran.append(path.name))
    solution, kept = tmp_path / "01_lesson.ipynb", tmp_path / "executed"
    kept.mkdir()
    nbformat.write(executed(), solution)
    nbformat.write(executed(), kept / solution.name)
    told: list[str] = []
    found = book._executed(solution, kept, False, told.append)
    assert (ran, told) == ([], [])
    assert found.cells[3].outputs
    reworded = executed()
    reworded.cells[2].source = "Said in other words."
    nbformat.write(reworded, solution)
    found = book._executed(solution, kept, False, told.append)
    assert (ran, found.cells[2].source) == ([], "Said in other words.")
    assert found.cells[3].outputs
    changed = executed()
    changed.cells[3].source += "  # another"
    nbformat.write(changed, solution)
    book._executed(solution, kept, False, told.append)
    book._executed(solution, kept, False, told.append)
    assert ran == ["01_lesson.ipynb"]
    assert told == ["executing 01_lesson.ipynb"]


def test_a_lesson_that_draws_into_a_widget_runs_and_leaves_no_widget_behind(tmp_path: Path) -> None:
    code = """
import ipywidgets
hidden = ipywidgets.Output()
with hidden:
    print("inside")
display(hidden)
print("outside")
"""
    notebook = new_notebook(cells=[new_code_cell(code)])
    book._execute(notebook, tmp_path / "01_lesson.ipynb")
    assert notebook.cells[0].outputs[-1].text == "outside\n"
    assert book.WIDGET not in nbformat.writes(notebook)
    assert "widgets" not in notebook.metadata


def test_only_an_earlier_edition_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    book._make_room(out)  # an empty folder is in nobody's way
    out.mkdir(exist_ok=True)
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(book.BookError, match="something other"):
        book._make_room(out)
    assert (out / "thesis.tex").exists()
    (out / ".buildinfo").touch()
    book._make_room(out)
    assert not out.exists()


def test_without_sphinx_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "find_spec", lambda name: None)
    with pytest.raises(book.BookError, match="make book"):
        book._need_sphinx()


@pytest.fixture
def checkout(notebooks: Path, lessons: list[book.Page], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose two lessons have run and were recorded."""
    (notebooks / "solutions").mkdir()
    for lesson in lessons:
        nbformat.write(lesson.notebook, notebooks / "solutions" / f"{lesson.name}.ipynb")
        nbformat.write(lesson.notebook, notebooks / f"{lesson.name}.ipynb")
    known = {lesson.name: lesson.replay for lesson in lessons}
    monkeypatch.setattr(book, "_replay", lambda name, *_: known[name])
    return notebooks.parent


def test_a_book_is_built_from_what_ran(checkout: Path) -> None:
    pytest.importorskip("myst_nb", reason="no Sphinx: pip install '.[book]'")
    out = checkout / "book"
    built = book.build(checkout, out, checkout / "notebooks" / "solutions")
    assert built.pages == ("01_lesson", "02_lesson", "glossary")
    assert built.replays == ("01_lesson",)
    page = (out / "01_lesson.html").read_text()
    assert 'class="labkit-replay"' in page
    assert "import labkit" not in page  # the bootstrap cell
    assert 'href="glossary.html#one-step"' in page
    assert "labkit-replay.js" in page
    assert page.index("01 · A lesson") < page.index("02 · A lesson")  # the list of contents
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', page)


def test_a_broken_link_fails_the_book_and_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(_: Path, out: Path) -> None:
        out.mkdir()
        (out / "index.html").write_text('<a href="01_lesson.html#gone">x</a>')

    monkeypatch.setattr(book, "_need_sphinx", lambda: None)
    monkeypatch.setattr(book, "_run_sphinx", spoiled)
    with pytest.raises(book.BookError, match=r"index\.html: 01_lesson\.html#gone"):
        book.build(checkout, checkout / "book", checkout / "notebooks" / "solutions")


def test_a_page_names_no_folder_of_whoever_built_it(
    lessons: list[book.Page], tmp_path: Path
) -> None:
    checkout, home = Path(book.__file__).parents[2], Path.home()
    told = f"kept in {home}/.cache/labkit and {checkout}/.venv, {tempfile.gettempdir()}/x"
    shown = {"text/html": f"<p>{told}</p>", "text/plain": told}
    outputs = [new_output("stream", text=told), new_output("display_data", shown)]
    notebook = new_notebook(cells=[new_code_cell("labkit", outputs=outputs)])
    (cell,) = book.page(book.Page("01_lesson", notebook, None), tmp_path).cells
    said = json.dumps(cell.outputs)
    for place in (checkout, home, tempfile.gettempdir()):
        assert str(place) not in said
    assert "kept in ~/.cache/labkit and labkit/.venv" in cell.outputs[0].text
