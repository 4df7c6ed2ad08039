"""Making the atlas: a sweep a sheet, resumed where it was cut off, and a check that does some of its runs again.

The sweep keeps every row as it comes, in labkit's cache; a sheet is written when all of its runs are there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import runtime
from labkit.errors import AtlasError
from labkit.models.checksum import checksum
from labkit.records import table
from labkit.records.atlas import record
from labkit.records.atlas.asking import curve_of, expect
from labkit.records.atlas.record import RECORDS, RecordedRun
from labkit.records.atlas.sheets import SHEETS, Sheet, find
from labkit.records.table import Recheck, Tell

if TYPE_CHECKING:
    from labkit.sweeps import SweepRow
    from labkit.tuning import Run

VERSION = 1  # raise it when the same recipe would end otherwise than before
WORKERS = 2
EVERY = 10  # runs between two lines of progress


def build(
    name: str | Sheet | None = None,
    out: Path | None = None,
    workers: int | None = None,
    tell: Tell | None = None,
    again: bool = False,
) -> list[Path]:
    """Make the runs of a sheet, or of all, that are not on record by today's recipe; returns the CSVs.

    Cut off, the same call goes on where it was. `out` is a folder to write to instead of the package's own, `tell`
    gets a line now and then; with `again`, what is on record does not count.
    """
    folder = out or RECORDS
    sheets = [find(name)] if name is not None else list(SHEETS)
    return [_built(sheet, folder, workers or WORKERS, tell or _quiet, again) for sheet in sheets]


def _quiet(_: str) -> None: ...


def _built(sheet: Sheet, folder: Path, workers: int, tell: Tell, again: bool) -> Path:
    path = folder / f"{sheet.file}.csv"
    if not again and not problems(sheet, folder):
        tell(f"{sheet.name}: complete and up to date")
        return path
    entries, clock = _swept(sheet, workers, tell)
    table.write(path, entries)
    table.write_provenance(path.with_suffix(".json"), _provenance(sheet, entries, clock))
    record.load.cache_clear()
    return path


def _swept(sheet: Sheet, workers: int, tell: Tell) -> tuple[list[RecordedRun], float]:
    """All runs of a sheet in order, and how long this call waited for them."""
    from labkit.sweeps import sweep

    began = time.perf_counter()
    base = _base(sheet)
    made = sweep(
        base,
        out=runtime.cache_dir() / "atlas" / f"{sheet.file}-{recipe(sheet)}",
        workers=workers,
        trainable_from=sheet.depths,
        per_class=sheet.per_class,
        lr=sheet.rates,
        seed=sheet.seeds,
    )
    rows = []
    for row in made:
        rows.append(row)
        if len(rows) % EVERY == 0 or len(rows) == len(made):
            tell(f"{sheet.name}: {len(rows)} of {len(made)} runs")
    failed = [row.reason for row in rows if row.status == "failed"]
    if failed:
        raise AtlasError(f"{sheet.name}: {len(failed)} runs failed. The first said: {failed[0]}")
    made_entries = (_entry(row, len(base.data.valid)) for row in rows)
    entries = {entry.id: entry for entry in made_entries}
    return [entries[one] for one in record.settings(sheet)], time.perf_counter() - began


def _entry(row: SweepRow, count: int) -> RecordedRun:
    axes: dict[str, Any] = dict(row.axes)
    where = str(axes["trainable_from"]), int(axes["per_class"]), float(axes["lr"])
    return RecordedRun(*where, row.seed, row.status, count, tuple(row.curve), row.seconds)


def _base(sheet: Sheet) -> Run:
    """The run that all of a sheet differ from in a few settings, in the arithmetic that every machine has."""
    import labkit

    net, data = labkit.load_backbone(sheet.net), labkit.load_data(sheet.data, size=sheet.size)
    plan = sheet.plan(sheet.depths[0], sheet.rates[0])
    return labkit.Run(net, data, plan, precision=runtime.Precision())


# ---------------------------------------------------------------- what is on record, and whether it still holds


def recipe(sheet: Sheet) -> str:
    """Twelve hexadecimal digits that change when the grid, the plan or the weights do."""
    return table.digest([VERSION, sheet.to_dict(), _plan(sheet), checksum(sheet.net)])


def problems(sheet: Sheet, folder: Path | None = None) -> list[str]:
    """What is wrong with the record of a sheet, in words; empty when it is complete and up to date."""
    folder = folder or RECORDS
    try:
        record.tabled(sheet, table.read(folder / f"{sheet.file}.csv", RecordedRun, AtlasError))
        provenance = table.read_provenance(folder / f"{sheet.file}.json", AtlasError)
    except AtlasError as error:
        return [str(error)]
    if provenance.get("recipe") != recipe(sheet):
        return [f"{sheet.name} was made by another recipe or with other weights; build it again"]
    return []


def _plan(sheet: Sheet) -> dict[str, Any]:
    return sheet.plan(sheet.depths[0], sheet.rates[0]).to_dict()


def _provenance(sheet: Sheet, entries: Sequence[RecordedRun], clock: float) -> dict[str, Any]:
    """What a reader needs to make the record again."""
    return {
        "sheet": sheet.name,
        "recipe": recipe(sheet),
        "make_again": f"labkit atlas build {sheet.name}",
        "grid": sheet.to_dict(),
        "plan": {
            **_plan(sheet),
            "note": "of the first run; the others differ in lr and trainable_from",
        },
        "weights": checksum(sheet.net),
        "precision": str(runtime.Precision()),
        "counted_on": "the validation split, before training and after each epoch",
        "runs": len(entries),
        "diverged": sum(entry.status == "diverged" for entry in entries),
        "run_seconds": round(sum(entry.seconds for entry in entries), 1),
        "clock_seconds_of_the_last_call": round(clock, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": table.machine(threads_a_run=1),
    }


# ---------------------------------------------------------------- doing some of it again


def check(
    name: str | Sheet | None = None,
    runs: int = 3,
    chance: int | None = None,
    out: Path | None = None,
) -> list[Recheck]:
    """Do a few recorded runs again, drawn by `chance`; on any machine each must land inside its band.

    Raises AtlasError where a record is missing or was made by another recipe.
    """
    sheets = [find(name)] if name is not None else list(SHEETS)
    wrong = [problem for sheet in sheets for problem in problems(sheet, out)]
    if wrong:
        raise AtlasError(" ".join(wrong))
    folder = out or RECORDS
    recorded = [
        (sheet, entry)
        for sheet in sheets
        for entry in table.read(folder / f"{sheet.file}.csv", RecordedRun, AtlasError)
        if entry.status == "done"
    ]
    return table.recheck(recorded, runs, chance, lambda one: _redo(*one, folder))


def _redo(sheet: Sheet, then: RecordedRun, folder: Path) -> Recheck:
    run = real_run(sheet, *then.id).fit()
    expected = expect(sheet, None, then.trainable_from, then.lr, then.per_class, out=folder)
    verdict, now = expected.judge(run), curve_of(run)
    name = f"{sheet.name}, {then.trainable_from}, {then.per_class} a class, lr {then.lr:g}, seed {then.seed}"
    how = "the same counts" if now == then.right else "other counts"
    return Recheck(name, then.right, now, verdict.inside, f"{how}. {verdict}")


def real_run(name: str | Sheet, trainable_from: str, per_class: int, lr: float, seed: int) -> Run:
    """A run as those on record, not yet started; a seed that is not on record makes it a new draw."""
    import labkit

    sheet = find(name)
    data = labkit.load_data(sheet.data, size=sheet.size).subset(per_class, seed)
    return labkit.Run(
        labkit.load_backbone(sheet.net),
        data,
        sheet.plan(trainable_from, lr),
        seed,
        name=f"{trainable_from}, lr {lr:g}, {per_class} a class",
        precision=runtime.Precision(),
    )
