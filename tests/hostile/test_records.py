"""A card, a record, a price table or a progress file that is not what it should be is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit import insight, learn, models
from labkit.bench import record as bench
from labkit.course.lesson_14.clinic import Clinic
from labkit.data.cards import _parse as read_data_card
from labkit.errors import (
    AtlasError,
    BenchError,
    DataError,
    EvidenceError,
    LabkitError,
    PriceError,
    WeightsError,
)
from labkit.learn import progress, questions
from labkit.learn.questions import QuizError
from labkit.records import table
from labkit.records.atlas.record import RecordedRun
from labkit.records.evidence.record import EvidenceRow
from labkit.records.exam import Answer
from labkit.sweeps.rows_on_disk import row_of
from tests.nonsense import DEEP, HUGE

NESTED = "[" * DEEP + "]" * DEEP
TOO_LONG = "9" * 5000  # digits: Python reads no number that long

JSON = {
    "empty": b"",
    "no text": b"\xff\xfe\x00",
    "cut short": b'{"name": "a"',
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "no fields": b"{}",
    "nested too deep": NESTED.encode(),
    "a field nested too deep": f'{{"classes": {NESTED}, "rows": {NESTED}}}'.encode(),
    "a number too long": f'{{"classes": [], "parameters": {TOO_LONG}}}'.encode(),
    "an infinite number": b'{"classes": Infinity, "rows": NaN, "measures": -Infinity}',
    "wrong kinds": b'{"classes": 1, "measures": {"a": 1}, "rows": "x"}',
    "foreign fields": b'{"classes": [], "measures": [], "rows": [], "hello": 1}',
}
TOML = {
    "empty": b"",
    "no text": b"\xff\xfe\x00",
    "no TOML": b"{}",
    "nested too deep": f"a = {NESTED}".encode(),
    "a number too long": f"size = {TOO_LONG}".encode(),
    "an infinite number": b"size = inf\npictures = nan\nclasses = []",
    "wrong kinds": b'classes = 7\nmachine = "x"',
    "a list of wrong kinds": b"machine = [1, 2]\nclasses = [[1]]\nname = 3",
    "foreign fields": b'hello = 1\nclasses = ["a"]',
}
CSV = {
    "no text": b"\xff\xfe\x00",
    "a field without end": b'right,lr\n"' + b"x" * 200_000,
    "a zero byte": b"right,lr\n\x001,2\n",
    "other columns": b"a,b\n1,2\n",
    "a row cut short": b"trainable_from,per_class,lr,seed,status,count,right,seconds\nhead,3\n",
    "a last column cut off": b"kind,seed,material,told,besides,status,steps,cpu_seconds,curves\n"
    b"leakage,0,digits,sound,,ended,50,4.82\n",
    "a number too long": b"trainable_from,per_class,lr,seed,status,count,right,seconds\nhead,"
    + TOO_LONG.encode()
    + b",1,1,done,1,1,1\n",
}

Reader = Callable[[Path], Any]
READERS: dict[str, tuple[Reader, type[LabkitError], dict[str, bytes]]] = {
    "the card of weights": (models.ModelCard.read, WeightsError, JSON),
    "weights": (models.read_weights, WeightsError, JSON),
    "the card of data": (read_data_card, DataError, TOML),
    "prices": (insight.machines, PriceError, TOML),
    "a record of the bench": (bench.read, BenchError, JSON),
    "a record of the atlas": (
        lambda path: table.read(path, RecordedRun, AtlasError),
        AtlasError,
        CSV,
    ),
    "a record of evidence": (lambda path: table.read(path, EvidenceRow), EvidenceError, CSV),
    "a record of the exam": (lambda path: table.read(path, Answer), EvidenceError, CSV),
    "a quiz": (lambda path: questions.read(path.read_text("utf-8")), QuizError, TOML),
}
CASES = [(reader, name) for reader, (_, _, contents) in READERS.items() for name in contents]
NO_TEXT = [("a quiz", "no text")]  # the package's own files are text


@pytest.mark.parametrize(("reader", "name"), [case for case in CASES if case not in NO_TEXT])
def test_a_file_that_is_not_what_it_should_be_is_refused_in_words(
    reader: str, name: str, tmp_path: Path
) -> None:
    read, error, contents = READERS[reader]
    path = tmp_path / "given"
    path.write_bytes(contents[name])
    with pytest.raises(error) as refusal:
        read(path)
    assert 10 < len(str(refusal.value)) < 2000


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_in_the_place_of_a_file_is_refused_in_words(reader: str, tmp_path: Path) -> None:
    read, error, _ = READERS[reader]
    if reader == "a quiz":
        pytest.skip("left out: a quiz is text of the package")
    with pytest.raises(error):
        read(tmp_path)


@pytest.mark.parametrize("name", [name for name in JSON if name != "no fields"])
def test_a_provenance_beside_a_record_is_read_or_refused_in_words(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "provenance.json"
    path.write_bytes(JSON[name])
    try:
        assert isinstance(table.read_provenance(path), dict)
    except EvidenceError as refusal:
        told = str(refusal)
        assert "Build it again" in told


@pytest.mark.parametrize("value", [HUGE, -1, float("inf"), float("nan"), "1", True, None])
@pytest.mark.parametrize("field", ["price_per_hour", "watts"])
def test_a_price_or_watts_that_are_none_are_refused(field: str, value: Any) -> None:
    good = {"name": "a", "price_per_hour": 1, "currency": "EUR", "watts": 1}
    with pytest.raises(PriceError, match=field):
        insight.Machine(**{**good, field: value}, date="2026-01-01", source="a page")


@pytest.mark.parametrize("name", JSON)
def test_a_row_of_a_sweep_that_is_damaged_is_no_row(name: str) -> None:
    assert row_of(JSON[name]) is None


# ---------------------------------------------------------------- the learner's own progress


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(path))
    return path


@pytest.mark.parametrize("name", JSON)
def test_a_progress_file_that_cannot_be_read_is_set_aside(name: str, file: Path) -> None:
    file.write_bytes(JSON[name])
    with pytest.warns(UserWarning, match="unreadable-1"):
        assert progress.read("predictions") == {}
    assert file.with_name("progress.json.unreadable-1").read_bytes() == JSON[name]


def test_a_progress_file_that_is_a_folder_costs_the_memory_and_not_the_lesson(file: Path) -> None:
    file.mkdir()
    with pytest.warns(UserWarning, match="LABKIT_PROGRESS"):
        assert progress.read("predictions") == {}
    with pytest.warns(UserWarning, match="LABKIT_PROGRESS"):
        learn.predict("00-x", "Which?", ["a", "b"], guess="a")


ODD: tuple[Any, ...] = (None, True, -1, HUGE, "x", [], {}, [["a"]], {"a": None}, 0.5)
DRAWERS = {
    "predictions": ("00-x", {"guess": "a", "confidence": 70, "choices": ["a", "b"]}),
    "exercises": ("00-best-epoch", {"attempts": 1, "solved": False, "hints": 1}),
    "clinic": ("14-clinic", {"seed": 1, "told": {"1": "leakage"}, "solved": False}),
}


def everything_that_reads() -> None:
    """What a lesson asks of the progress file."""
    learn.predict("00-x", "Which?", ["a", "b"])
    learn.reveal("00-x", "a")
    str(learn.score())
    learn.hint("00-best-epoch")
    learn.check("00-best-epoch", None)
    learn.quiz("00")
    learn.course_map()._repr_html_()
    Clinic().score()


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("drawer", DRAWERS)
def test_an_entry_with_an_odd_value_stops_no_lesson(drawer: str, value: Any, file: Path) -> None:
    name, entry = DRAWERS[drawer]
    where = "exercises" if drawer == "clinic" else drawer
    for field in entry:
        for content in ({**entry, field: value}, {k: v for k, v in entry.items() if k != field}):
            file.write_text(json.dumps({"version": 1, where: {name: content}}))
            everything_that_reads()
