"""Every option that names something to write is judged before the work whose result it would hold."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import typer

from labkit import bench, cli
from tests.unit.test_cli import walk

# Each command with arguments that make it work for long, and the options that name what it writes.
WRITERS = {
    "bench": (["--quick"], ["--out", "--figure"]),
    "bench --show": ([], ["--figure"]),
    "bench scaling": ([], ["--out"]),
    "bench profile": (["--quick"], ["--out"]),
    "atlas show": (["digits/resnet10-glyphs"], ["--figure"]),
    "atlas build": ([], ["--out"]),
    "sweep": ([], ["--out"]),
    "pretrain glyphs": ([], ["--out"]),
    "pretrain photos": (["--data", "."], ["--out"]),
    "book": ([], ["--out", "--executed"]),
}
CASES = [(command, option) for command, (_, options) in WRITERS.items() for option in options]
FILES = [case for case in CASES if case[1] == "--figure" or case[0].startswith("bench")]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    spoken = capsys.readouterr()
    return int(end.value.code or 0), spoken.out, spoken.err


def refused(capsys: pytest.CaptureFixture[str], command: str, option: str, path: Path | str) -> str:
    """What a command says of a path that it was told to write to, when nothing else was done or left."""
    before = sorted(Path.cwd().rglob("*"))
    code, out, error = said(capsys, *command.split(), *WRITERS[command][0], option, str(path))
    assert (code, out) == (2, "")
    assert error.startswith("labkit: ")
    assert error.count("\n") == 1, error  # no work was begun that told of its progress
    assert sorted(Path.cwd().rglob("*")) == before
    return error


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_option_that_names_something_to_write_is_among_these() -> None:
    known = {(command.removesuffix(" --show"), option) for command, option in CASES}
    found = {
        (path, option)
        for path, command in walk(typer.main.get_command(cli.app))
        for parameter in command.params  # type: ignore[attr-defined]
        for option in parameter.opts
        if option in ("--out", "--figure", "--executed", "--output", "--file", "--folder")
    }
    assert found == known


@pytest.mark.parametrize(("command", "option"), CASES)
def test_a_path_through_a_file_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], here: Path, command: str, option: str
) -> None:
    (here / "note.txt").write_text("mine")
    assert "note.txt" in refused(capsys, command, option, here / "note.txt" / "deeper" / "x")
    assert (here / "note.txt").read_text() == "mine"


@pytest.mark.parametrize(("command", "option"), FILES)
def test_a_folder_in_place_of_a_file_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], here: Path, command: str, option: str
) -> None:
    (here / "folder").mkdir()
    assert "is a folder" in refused(capsys, command, option, here / "folder")


@pytest.mark.parametrize(("command", "option"), sorted({*CASES} - {*FILES}))
def test_a_file_in_place_of_a_folder_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], here: Path, command: str, option: str
) -> None:
    (here / "note.txt").write_text("mine")
    assert "is a file" in refused(capsys, command, option, here / "note.txt")


@pytest.mark.parametrize(("command", "option"), CASES)
def test_a_name_that_is_too_long_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    assert "cannot be written" in refused(capsys, command, option, "x" * 300)


@pytest.mark.skipif(sys.platform != "linux", reason="left out: /proc is Linux's")
@pytest.mark.parametrize(("command", "option"), CASES)
def test_a_place_where_nothing_can_be_written_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    # /proc takes no files, whoever asks; the mode of a folder does not keep root out
    assert "cannot be written" in refused(capsys, command, option, "/proc/labkit/x")


def test_a_figure_goes_into_a_folder_that_is_made_for_it(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    path = here / "new" / "deep" / "atlas.png"
    code, _, _ = said(capsys, "atlas", "show", "digits/resnet10-glyphs", "--figure", str(path))
    assert code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert os.listdir(path.parent) == ["atlas.png"]  # nothing half-written beside it


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="left out: root may write anywhere"
)
def test_a_record_that_may_only_be_read_can_be_shown(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    path = here / "kept" / "bench.json"
    bench.write(bench.read(bench.RECORDS / "bench.json"), path)
    path.parent.chmod(0o500)
    assert said(capsys, "bench", "--show", "--out", str(path))[0] == 0


def test_where_no_readme_is_there_none_is_written_and_it_says_so(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.bench, "CHECKOUT", here / "site-packages")
    code, _, told = said(capsys, "bench", "--readme")
    assert code != 0
    assert "no README here" in told
    assert "Traceback" not in told
