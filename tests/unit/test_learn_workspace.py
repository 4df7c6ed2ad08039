"""Learning changes no file of the checkout, a copy that was worked on is never lost, and a lesson can begin anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit import cli
from labkit.errors import LabkitError
from labkit.learn import workspace

LESSONS = ("00_start_here.ipynb", "01_why_fine_tune.ipynb", "glossary.ipynb")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    source = tmp_path / "notebooks"
    (source / "solutions").mkdir(parents=True)
    for name in LESSONS:
        (source / name).write_text(f"{name} as it was written")
    (source / "solutions" / LESSONS[0]).write_text("solved")
    return tmp_path


def copies(checkout: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (checkout / "work").glob("*.ipynb")}


def test_every_lesson_is_copied_and_nothing_else(checkout: Path) -> None:
    found = workspace.prepare(checkout)
    assert found.folder == checkout / "work"
    assert copies(checkout) == {name: f"{name} as it was written" for name in LESSONS}
    assert found.outdated == ()


def test_what_was_worked_on_stays_and_is_named_where_its_lesson_has_changed(checkout: Path) -> None:
    workspace.prepare(checkout)
    (checkout / "work" / LESSONS[0]).write_text("mine")
    assert workspace.prepare(checkout).outdated == (), "the lesson is the one that was copied"
    for name in LESSONS:
        (checkout / "notebooks" / name).write_text(f"{name}, second edition")
    assert workspace.prepare(checkout).outdated == (LESSONS[0],)
    assert copies(checkout) == {LESSONS[0]: "mine"} | {
        name: f"{name}, second edition" for name in LESSONS[1:]
    }


@pytest.mark.parametrize("memory", [None, "", "[1]", "{not json"])
def test_where_it_is_not_known_what_was_copied_no_copy_is_overwritten(
    checkout: Path, memory: str | None
) -> None:
    workspace.prepare(checkout)
    kept = checkout / "work" / workspace.MEMORY
    kept.unlink() if memory is None else kept.write_text(memory)
    (checkout / "notebooks" / LESSONS[0]).write_text("second edition")
    assert workspace.prepare(checkout).outdated[0] == LESSONS[0]
    assert copies(checkout)[LESSONS[0]] == f"{LESSONS[0]} as it was written"


@pytest.mark.parametrize("asked", ["01", "1", "01_why_fine_tune", "01_why_fine_tune.ipynb"])
def test_a_lesson_begins_anew_and_the_earlier_copy_is_put_aside(checkout: Path, asked: str) -> None:
    workspace.prepare(checkout)
    copy = checkout / "work" / LESSONS[1]
    for mine in ("mine", "mine again"):
        copy.write_text(mine)
        made, aside = workspace.reset(checkout, asked)
        assert made == copy
        assert copy.read_text() == f"{LESSONS[1]} as it was written"
        assert aside is not None
        assert aside.read_text() == mine
    assert len(list((checkout / "work" / workspace.ASIDE).iterdir())) == 2
    assert workspace.reset(checkout, asked) == (copy, None), "nothing of the learner's is in it"


@pytest.mark.parametrize("asked", ["99", "", "../secret", "glossary"])
def test_what_is_no_lesson_is_refused_with_those_there_are(checkout: Path, asked: str) -> None:
    with pytest.raises(LabkitError, match="there are 00, 01"):
        workspace.reset(checkout, asked)


def test_the_command_says_where_the_earlier_copy_is(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    workspace.prepare(checkout)
    (checkout / "work" / LESSONS[0]).write_text("mine")
    with pytest.raises(SystemExit) as ended:
        cli.main(["reset", "00"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "work/00_start_here.ipynb is as it was at first" in said
    assert "Your earlier copy is work/earlier/00_start_here-" in said


def test_a_lesson_is_opened_as_a_copy_among_the_others_and_any_other_notebook_as_it_is(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    mine = checkout / "mine.ipynb"
    mine.write_text("{}")
    lesson = Path("notebooks") / LESSONS[1]
    assert cli.lab._to_open(lesson) == (checkout / "work" / LESSONS[1], checkout / "work")
    assert cli.lab._to_open(mine) == (mine, checkout)
    assert cli.lab._to_open(Path("notebooks/solutions") / LESSONS[0])[1] == checkout
