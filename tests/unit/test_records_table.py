"""The one recorder: what it reads it writes again byte for byte, and what was interrupted goes on where it was."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from labkit.bench import record as bench
from labkit.course import evidence
from labkit.records import atlas, exam, table
from labkit.records.atlas.record import RECORDS, RecordedRun
from labkit.records.evidence.record import EvidenceRow, Trial

FOLDERS = sorted({chapter.folder for chapter in evidence.chapters} | {RECORDS, exam.RECORDS})
CSVS = [path for folder in FOLDERS for path in sorted(folder.glob("*.csv"))]
PROVENANCES = [path for folder in FOLDERS for path in sorted(folder.glob("*.json"))]


def kind_of(path: Path) -> Any:
    if path.parent in (RECORDS, exam.RECORDS):
        return RecordedRun if path.parent == RECORDS else exam.Answer
    return Trial if path.name.endswith(".rates.csv") else EvidenceRow


@pytest.mark.parametrize("path", CSVS, ids=lambda path: path.name)
def test_a_csv_on_record_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    kind, old = kind_of(path), path.read_text("utf-8")
    newer = [f for f in fields(kind) if f.name not in old.split("\n", 1)[0].split(",")]
    assert all(f.default is not MISSING for f in newer)
    lacking = "".join(f",{'' if f.default in ('', ()) else f.default}" for f in newer)
    names = "".join(f",{f.name}" for f in newer)
    head, *lines = old.splitlines()
    whole = "".join(f"{line}\n" for line in (head + names, *(line + lacking for line in lines)))
    written = table.write(tmp_path / path.name, table.read(path, kind))
    assert written.read_bytes() == whole.encode()


@pytest.mark.parametrize("path", PROVENANCES, ids=lambda path: path.name)
def test_a_provenance_on_record_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    written = table.write_provenance(tmp_path / path.name, table.read_provenance(path))
    assert written.read_bytes() == path.read_bytes()


def test_the_record_of_the_bench_is_written_as_it_was_read(tmp_path: Path) -> None:
    path = bench.RECORDS / "bench.json"
    assert bench.write(bench.read(path), tmp_path / "b.json").read_bytes() == path.read_bytes()


def test_the_atlas_is_read_without_torch_and_pandas() -> None:
    code = (
        "import sys; from labkit.records import atlas; from labkit.records.atlas.record import load\n"
        "assert load(atlas.SHEETS[0]).mean.size; print({'torch', 'pandas'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "set()", answer.stderr


def test_every_record_that_ships_is_covered(root: Path) -> None:
    lying = set(root.glob("labkit/**/recorded/*.*")) - {*CSVS, *PROVENANCES}
    assert not {path for path in lying if path.suffix in (".csv", ".json")}
    assert len(CSVS) >= len(evidence.experiments) + len(atlas.SHEETS) + 1


@dataclass(frozen=True)
class Square:
    """A run with an outcome that can be worked out."""

    number: int
    square: int

    @property
    def id(self) -> int:
        return self.number


def made(number: int) -> Square:
    return Square(number, number**2)


def test_a_killed_build_keeps_what_was_done_and_goes_on_there(tmp_path: Path) -> None:
    path, order = tmp_path / "squares.csv", range(4)
    for number, row in table.fill(path, [], order, made, order):
        assert table.read(path, Square)[-1] == row == made(number)  # on disk before it is told
        if number == 1:
            break
    rest = [2, 3]
    done = [one for one, _ in table.fill(path, table.read(path, Square), rest, made, order)]
    assert done == rest
    assert table.read(path, Square) == [made(number) for number in order]


def test_a_stale_row_is_replaced_and_one_that_nothing_asks_for_dropped(tmp_path: Path) -> None:
    known = [Square(7, 49), Square(2, 0), Square(0, 0)]
    path = tmp_path / "squares.csv"
    assert list(table.fill(path, known, [2], made, range(4))) == [(2, made(2))]
    assert table.read(path, Square) == [made(0), made(2)]


def test_a_write_that_fails_leaves_the_record_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table.write(tmp_path / "squares.csv", [made(1)])
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labkit.runtime._pour", full)
    with pytest.raises(OSError, match="No space"):
        list(table.fill(path, [made(1)], [2], made, range(4)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_rechecked_runs_are_drawn_without_doing_any_twice() -> None:
    told: list[str] = []

    def redo(number: int) -> table.Recheck:
        return table.Recheck(str(number), 4, number, number < 5, "done")

    done = table.recheck(range(9), 20, 0, redo, told.append)
    assert sorted(one.now for one in done) == [*range(9)]
    assert [one.now for one in done if one.same] == [4]
    assert told == [f"{one.run}: done" for one in done]
