"""The `labkit` command: quick, honest about mistakes, readable by people and by programs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import nbformat
import pytest
import typer
from PIL import Image

from labkit import cli
from labkit.cli import lab
from tests.bounds import held

COMMANDS = {
    "lab", "reset", "doctor", "progress", "build-lessons", "book",
    "data", "data fetch", "data report",
    "sweep",
    "pretrain", "pretrain photos", "pretrain glyphs",
    "bench", "bench scaling", "bench profile",
    "atlas", "atlas build", "atlas show", "atlas check",
    "evidence", "evidence show", "evidence tune", "evidence build", "evidence check",
    "evidence coach",
}  # fmt: skip
HELP_BUDGET = 1.0  # seconds of the processor


def walk(command, path: str = "") -> Iterator[tuple[str, object]]:
    """Every command with its path, groups included."""
    for name, child in getattr(command, "commands", {}).items():
        full = f"{path} {name}".strip()
        yield full, child
        yield from walk(child, full)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, what went to stdout, what went to stderr."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_there_is_every_command_and_no_stub():
    assert dict(walk(typer.main.get_command(cli.app))).keys() == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(capsys, command):
    code, said, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert "Usage:" in said


def test_every_command_that_reports_can_report_json():
    for path, command in walk(typer.main.get_command(cli.app)):
        if path != "pretrain":  # only leads to two others
            assert any("--json" in option.opts for option in command.params), path


def test_help_is_quick_and_loads_no_torch():
    code = (
        "import sys, time; start = time.process_time(); from labkit import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: print(time.process_time() - start, 'torch' in sys.modules)"
    )
    told = [
        subprocess.check_output([sys.executable, "-c", code], text=True).split()[-2:]
        for _ in range(3)
    ]
    held("labkit --help", min(float(seconds) for seconds, _ in told), HELP_BUDGET, "s")
    assert {torch for _, torch in told} == {"False"}


def in_code_page(page: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """What the command says where its output is written in a code page, as by a redirect on Windows."""
    env = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": page, **more}
    return subprocess.run(
        [sys.executable, "-m", "labkit", *arguments], env=env, capture_output=True
    )


@pytest.mark.parametrize("page", ["cp1252", "latin-1", "cp437", "koi8-r"])
@pytest.mark.slow
def test_a_code_page_without_our_signs_gets_plain_ones(page, kept):
    done = in_code_page(page, "progress")
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode(page)
    assert "+ 00" in said
    assert "o 01" in said


@pytest.mark.parametrize("page", ["ascii", "ascii:surrogateescape", "cp932"])
@pytest.mark.slow
def test_no_code_page_ends_a_command(page, kept):
    done = in_code_page(page, "progress")
    assert done.returncode == 0, done.stderr
    assert b"Start here" in done.stdout


@pytest.mark.slow
def test_names_that_a_code_page_cannot_write_do_not_end_a_command(tmp_path):
    for shade, name in enumerate(("ants", "bees")):
        (tmp_path / name).mkdir()
        for number in range(4):
            colour = (40 * number, 90 * shade, 9)
            Image.new("RGB", (20, 20), colour).save(tmp_path / name / f"{number}.png")
    (tmp_path / "ants" / "蜜蜂.txt").write_text("not an image")
    done = in_code_page("cp1252", "data", "report", str(tmp_path), "--size", "16")
    assert done.returncode == 0, done.stderr
    assert b"??.txt" in done.stdout
    wrong = in_code_page("cp1252:strict", "data", "report", str(tmp_path / "蜜蜂"))
    assert wrong.returncode == 2
    assert any(
        line.startswith(b"labkit: ") for line in wrong.stderr.splitlines()
    )  # torch may warn first
    assert b"Traceback" not in wrong.stderr


def test_utf8_is_written_as_it_is(kept):
    assert "○" in in_code_page("utf-8", "progress").stdout.decode("utf-8")


def test_python_runs_labkit_as_a_module():
    done = subprocess.run([sys.executable, "-m", "labkit", "--help"], capture_output=True)
    assert done.returncode == 0
    assert b"Usage:" in done.stdout


def test_doctor_answers_as_data(capsys):
    code, said, _ = run(capsys, "doctor", "--json")
    facts = json.loads(said)
    assert (code == 0) is facts["ok"]
    assert {"name", "status", "detail", "advice"} == set(facts["checks"][0])


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A progress file in which lesson 00 is done but for an exercise."""
    file = tmp_path / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(file))
    guess = {"question": "?", "choices": ["a", "b"], "guess": "a", "confidence": 80, "outcome": "a"}
    entries = {"predictions": {"00-three-labels": guess}}
    entries["exercises"] = {"00-two-rates": {"solved": True, "hints": 1}}
    file.write_text(json.dumps({"version": 1, **entries}), encoding="utf-8")
    return file


def test_progress_is_told_in_words(capsys, kept):
    code, said, _ = run(capsys, "progress")
    assert code == 0
    assert "0 of 17 lessons done" in said
    assert "Go on with 00 Start here (1 exercise and 4 questions to go)" in said
    assert f"This is kept in {kept}, a file on this machine, and sent nowhere." in said
    assert "progress.forget()" in said
    assert "So far 1 of 1 right" in said


def test_progress_is_told_as_data(capsys, kept):
    code, said, _ = run(capsys, "progress", "--json")
    facts = json.loads(said)
    assert (code, facts["file"], facts["done"], facts["next"]) == (0, str(kept), 0, "00")
    assert facts["score"]["right"] == facts["score"]["count"] == 1
    first = facts["lessons"][0]
    assert first["predictions"] == {"of": 1, "made": 1, "met": 1, "right": 1}
    assert first["exercises"] == {"of": 2, "solved": 1, "hints": 1}
    assert len(facts["lessons"]) == 17


PRINTING = (
    "progress",
    "data",
    "data fetch digits",
    "evidence",
    "evidence show types",
    "evidence show nothing-like-it",
    "evidence check --runs 0",
    "evidence coach --show",
    "atlas",
    "atlas show digits/resnet10-glyphs",
    "bench --show",
)
SLOW = ("torch", "torchvision", "pandas", "sklearn", "matplotlib", "scipy", "fastai")


@pytest.mark.parametrize("command", [*PRINTING, *(f"{one} --help" for one in sorted(COMMANDS))])
@pytest.mark.slow
def test_a_command_that_only_prints_loads_nothing_that_takes_seconds(kept, command):
    code = (
        "import sys; from labkit import cli\n"
        f"try: cli.main({command.split()!r})\n"
        f"finally: print([name for name in {SLOW!r} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], stdout=-1, encoding="utf-8").stdout
    assert said.splitlines()[-1] == "[]"


def test_a_damaged_progress_file_is_set_aside_and_the_map_begins_anew(capsys, kept):
    kept.write_text("{", encoding="utf-8")
    with pytest.warns(UserWarning, match="unreadable-1"):
        code, said, _ = run(capsys, "progress")
    assert code == 0
    assert "Go on with 00 Start here (1 prediction, 2 exercises and 4 questions to go)" in said


def test_data_lists_what_there_is(capsys):
    _, said, _ = run(capsys, "data", "--json")
    rows = {row["name"]: row for row in json.loads(said)}
    assert rows["digits"]["at_hand"] is True
    assert {"ants-bees", "cifar10", "flowers102", "pets"} <= rows.keys()
    _, words, _ = run(capsys, "data")
    assert all(name in words for name in rows)


def test_data_names_the_files_that_are_not_as_they_should_be(capsys, tmp_path):
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        for number in range(6):
            colour = (40 * number, 90, 200 if folder == "cats" else 20)
            Image.new("RGB", (40, 40), colour).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "cats" / "broken.jpg").write_bytes(b"")
    code, said, _ = run(capsys, "data", "report", str(tmp_path), "--json")
    facts = json.loads(said)
    assert code == 0
    assert facts["classes"] == ["cats", "dogs"]
    assert sum(facts["pictures"].values()) == 12
    assert [finding["file"] for finding in facts["findings"]] == ["cats/broken.jpg"]


def test_nothing_to_fetch_is_said(capsys):
    assert run(capsys, "data", "fetch", "digits")[:2] == (0, "digits needs no fetching.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "report", "digit"],
        ["data", "fetch", "nothing-like-it"],
        ["pretrain", "photos", "--data", "nowhere"],
        ["evidence", "show", "nothing-like-it"],
        ["lab", "nowhere.ipynb"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_message_and_exit_code_2(capsys, arguments):
    code, said, error = run(capsys, *arguments)
    assert (code, said) == (2, "")
    assert error.startswith("labkit: ")
    assert "Traceback" not in error


def test_the_notebooks_of_this_checkout_are_up_to_date(capsys):
    code, said, _ = run(capsys, "build-lessons", "--check", "--json")
    assert (code, json.loads(said)["changed"]) == (0, [])


# ---------------------------------------------------------------- the lab itself


@contextmanager
def opened(folder, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`labkit lab` on a machine without a display, and the address that it says."""
    pytest.importorskip("jupyterlab", reason="left out: JupyterLab is not installed")
    command = [sys.executable, "-c", "from labkit.cli import main; main()", "lab", *arguments]
    hidden = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    home = {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data")}
    with subprocess.Popen(command, cwd=folder, stdout=-1, text=True, env=hidden | home) as process:
        try:
            line = next(line for line in process.stdout if "http://" in line)
            yield process, "http://" + line.split("http://")[1].strip().rstrip('",')
        finally:
            process.terminate()


@pytest.mark.slow
def test_without_a_display_the_lab_prints_an_address_that_answers(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "lesson.ipynb")
    with opened(tmp_path, "lesson.ipynb", "--port", "18888") as (process, address):
        page = urllib.request.urlopen(address, timeout=60)
        assert page.status == 200
        assert "/lab/tree/lesson.ipynb" in page.url
        contents = address.replace("/lab/tree/", "/api/contents/")
        assert json.load(urllib.request.urlopen(contents, timeout=60))["name"] == "lesson.ipynb"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(contents.split("?")[0], timeout=60)
        process.terminate()
        assert process.wait(60) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(address).port)) != 0


def test_a_port_in_use_is_passed_over(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "lesson.ipynb")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert lab._free_port("127.0.0.1", port) > port
