"""Progress is kept whole, in one file the learner can name, and never lost in silence."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.learn import progress


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(path))
    return path


def test_nothing_is_written_before_something_happened(file: Path) -> None:
    assert progress.read("exercises") == {}
    assert not file.exists()


def test_what_is_kept_can_be_read_by_another_kernel(file: Path) -> None:
    with progress.entry("exercises", "05-freeze") as kept:
        kept["solved"] = True
    assert json.loads(file.read_text())["exercises"] == {"05-freeze": {"solved": True}}
    assert progress.read("exercises")["05-freeze"] == {"solved": True}


def test_an_entry_that_fails_half_way_changes_nothing() -> None:
    with progress.entry("exercises", "a") as kept:
        kept["n"] = 1
    with suppress(RuntimeError), progress.entry("exercises", "a") as kept:
        kept["n"] = 2
        raise RuntimeError
    assert progress.read("exercises")["a"] == {"n": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b'{"version": 99}',
        b'{"version": 1, "predictions": [1]}',
        b'"hello"',
    ],
)
def test_an_unreadable_file_is_set_aside_and_said(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="unreadable-1"):
        assert progress.read("predictions") == {}
    assert (file.parent / "progress.json.unreadable-1").read_bytes() == content
    with progress.entry("predictions", "x") as kept:
        kept["guess"] = "ä"
    assert progress.read("predictions")["x"] == {"guess": "ä"}


def test_a_second_unreadable_file_does_not_replace_the_first(file: Path) -> None:
    file.parent.mkdir()
    for number in (1, 2):
        file.write_text(f"broken {number}")
        with pytest.warns(UserWarning, match=f"unreadable-{number}"):
            progress.read("predictions")
    assert (file.parent / "progress.json.unreadable-1").read_text() == "broken 1"


def test_a_disk_that_cannot_be_written_costs_a_warning_not_the_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "file" / "progress.json"))
    with (
        pytest.warns(UserWarning, match="LABKIT_PROGRESS"),
        progress.entry("exercises", "a") as kept,
    ):
        kept["solved"] = True


def test_forget_removes_the_file(file: Path) -> None:
    with progress.entry("exercises", "a"):
        pass
    progress.forget()
    progress.forget()
    assert not file.exists()
