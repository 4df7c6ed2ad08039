"""A stranger's visit and the bounds it prints, on a checkout of three lines that stands in for ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import bounds
from tests.fresh import clone, open_lab, stranger, visit

MAKEFILE = """
lab:
	@echo installing
	@echo The lab is at http://127.0.0.1:8888/lab/tree/first.ipynb?token=secret
	@sleep 60
test:
	@test ! -e made-before
	@test "$$HOME" != "{home}" -a -z "$$LABKIT_DATA" -a -z "$$XDG_CACHE_HOME"
	@mkdir -p build
	@echo '{held}' > build/bounds.jsonl
"""


def checkout(folder: Path, held: str) -> Path:
    """A repository with those two commands, and a file that git ignores."""
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE.format(home=Path.home(), held=held))
    (folder / ".gitignore").write_text("made-before\n")
    (folder / "made-before").touch()
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "one"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def line(measured: float) -> str:
    return f'{{"name": "memory", "measured": {measured}, "bound": 100, "unit": "MB"}}'


@pytest.fixture(autouse=True)
def somebodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DATA", "/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")


def test_a_visit_runs_both_commands_in_a_clone_without_any_cache(tmp_path, capsys) -> None:
    assert visit(checkout(tmp_path / "ours", line(80)), tmp_path / "theirs") == 0
    told = capsys.readouterr().out
    assert "secret" in told
    assert "80         100    20%  memory (MB)" in told
    assert "Everything passed" in told


@pytest.mark.parametrize(
    ("held", "problem"), [(line(90), "too little room: memory"), ("", "no test has kept a bound")]
)
def test_a_visit_fails_where_a_bound_has_too_little_room_or_none_was_held(
    tmp_path, capsys, held, problem
) -> None:
    assert visit(checkout(tmp_path / "ours", held), tmp_path / "theirs") == 1
    assert problem in capsys.readouterr().out


def test_a_lab_that_never_opens_is_ended_and_said(tmp_path) -> None:
    source = checkout(tmp_path / "ours", line(1))
    text = (source / "Makefile").read_text().replace("The lab is at http", "no address")
    (source / "Makefile").write_text(text)
    assert not open_lab(
        source, stranger({"HOME": "/home/me", "PATH": "/usr/bin:/bin"}, tmp_path), 1
    )


def test_a_clone_is_of_the_commit_that_is_checked_out(tmp_path) -> None:
    source = checkout(tmp_path / "ours", line(1))
    (source / "Makefile").write_text("changed, not committed")
    assert "installing" in (clone(source, tmp_path) / "Makefile").read_text()


def test_photographs_beside_the_checkout_lie_beside_the_clone(tmp_path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    ours = checkout(tmp_path / "ours", "")
    clone(ours, theirs)
    assert not (theirs / "shared").exists()
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "ant.jpg").touch()
    (tmp_path / "again").mkdir()
    clone(ours, tmp_path / "again")
    assert (tmp_path / "again" / "shared" / "data" / "ant.jpg").exists()


def test_a_stranger_keeps_where_packages_come_from_and_nothing_else(tmp_path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").touch()
    mine = {"HOME": str(tmp_path), "PATH": "/bin", "LABKIT_CACHE": "x", "UV_CACHE_DIR": "x"}
    theirs = stranger(mine, tmp_path / "empty")
    assert set(theirs) == {"HOME", "TMPDIR", "PATH", "PIP_CONFIG_FILE"}
    assert theirs["HOME"] == str(tmp_path / "empty")


def test_a_bound_is_held_and_kept_beside_what_was_measured(tmp_path) -> None:
    file = tmp_path / "build" / "bounds.jsonl"
    bounds.held("a", 1.0, 2.0, "s", file)
    bounds.held("a", 1.5, 2.0, "s", file)
    bounds.held("b", 10, 11, file=file)
    with pytest.raises(AssertionError, match=r"c: 3 s is above 2 s"):
        bounds.held("c", 3, 2, "s", file)
    found = bounds.read(file)
    assert [(one.name, one.measured, one.is_roomy) for one in found] == [
        ("c", 3, False),
        ("b", 10, False),
        ("a", 1.5, True),
    ]
    assert bounds.table(found).count("too little room") == 2
