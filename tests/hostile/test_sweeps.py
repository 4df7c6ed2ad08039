"""What a sweep meets in the world: workers that die, disks that fill, files that someone damaged, networks that cannot
travel. None of it loses a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit import sweeps
from labkit.errors import SweepError
from labkit.runtime import Precision
from labkit.sweeps import Sweep, jobs_of
from labkit.sweeps.parts import set_up_worker, worker_setup
from labkit.sweeps.rows_on_disk import RowsOnDisk
from labkit.tuning import Run
from tests.small import Clouds, Here, Small


def sweep(folder: Path, net: Any = None, **axes: Any) -> Sweep:
    plan = labkit.partial("head", lr=1e-2, epochs=1)
    base = Run(net or Small(), Clouds(), plan, precision=Precision())
    return sweeps.sweep(base, **axes, out=folder, workers=1)


def test_a_killed_worker_is_replaced_and_its_run_is_done_again(tmp_path: Path) -> None:
    made = sweep(tmp_path, Small(slow=0.15), seed=range(6))
    first = next(iter(made))
    (victim,) = made.executor.pids()
    os.kill(victim, getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows either ends it at once
    made.run(progress=False)
    assert [row.status for row in made.rows] == ["done"] * 6
    assert [row.seed for row in made.rows] == list(range(6))
    assert len({row.where for row in made.rows}) == 2
    assert first.where.endswith(f":{victim}")


def test_a_run_that_kills_its_worker_every_time_is_a_failed_row_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.sweeps.processes.TRIES", 2)
    made = sweep(tmp_path, Small(deadly=1), seed=[1, 2]).run(progress=False)
    assert [row.status for row in made.rows] == ["failed", "done"]
    assert "exit code 7" in made.rows[0].reason
    assert "2 times" in made.rows[0].reason
    assert list(made.summary().failed) == [1]


def test_a_network_that_no_worker_can_take_is_said_at_once(tmp_path: Path) -> None:
    class Shy(Small):
        def __reduce__(self) -> Any:
            return _refuse, ()

    with pytest.raises(SweepError, match=r"cannot take the network or the data.*not here"):
        sweep(tmp_path, Shy(), seed=range(3)).run(progress=False)


def _refuse() -> None:
    raise ImportError("not here")


# The system itself refuses to let a file grow beyond 2,000 bytes, as a full disk would.
FULL = """
import resource, sys, warnings
from pathlib import Path
from labkit.sweeps.jobs import SweepRow
from labkit.sweeps.rows_on_disk import RowsOnDisk
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
disk = RowsOnDisk(Path(sys.argv[1]))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    disk.open({})
    for seed in range(20):
        disk.append([SweepRow(f"key-{seed}", {}, seed, "done", correct=1, count=2)])
before = len(RowsOnDisk(disk.folder).read())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
disk.append([SweepRow("key-20", {}, 20, "done", correct=1, count=2)])
disk.close()
print([str(one.message)[:60] for one in told], before, len(RowsOnDisk(disk.folder).read()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="left out: Windows has no such limit")
def test_a_full_disk_costs_one_warning_and_whole_lines_stay_whole(
    tmp_path: Path, root: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FULL, str(tmp_path)]
    said = subprocess.check_output(command, text=True, cwd=root)
    told, before, after = said.rsplit(maxsplit=2)
    assert told.count("cannot be kept") == 1
    assert 0 < int(before) < 20
    assert int(after) == 21, "what found no room is written once there is room again"


def test_a_damaged_line_is_named_and_only_its_run_is_done_again(tmp_path: Path) -> None:
    made = here(tmp_path, seed=range(4)).run(progress=False)
    path = tmp_path / "rows.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"count":120', b'"count":130')
    lines[2] = b"\x00\xff{not json\n"
    path.write_bytes(b"".join(lines) + lines[0][: len(lines[0]) // 2])
    again = here(tmp_path, seed=range(4))
    with pytest.warns(RuntimeWarning, match="damaged line 2, 3"):
        again.run(progress=False)
    assert [row.outcome for row in again.rows] == [row.outcome for row in made.rows]
    assert [job.key for job in again.executor.did] == [row.key for row in list(made)[1:3]]


def here(folder: Path, **axes: Any) -> Sweep:
    """A sweep in this process."""
    plan = labkit.partial("head", lr=1e-2, epochs=1)
    base = Run(Small(), Clouds(), plan, precision=Precision())
    set_up_worker(worker_setup(base))
    return Sweep(jobs_of(base, axes), Here(), RowsOnDisk(folder), base.stages)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"null\n", b"[]\n", b'{"sum":1}\n', b"\x00" * 5000, b"{" * 100_000 + b"\n"],
)
def test_any_rows_file_is_read_or_refused_line_by_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    disk = RowsOnDisk(tmp_path)
    with pytest.warns(RuntimeWarning, match="damaged") if b"\n" in content else nullcontext():
        assert disk.open({}) == []
    disk.close()


def test_a_second_driver_is_turned_away_until_the_first_is_dead(tmp_path: Path, root: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from labkit.sweeps.rows_on_disk import RowsOnDisk\n"
        "held = RowsOnDisk(Path(sys.argv[1])); held.open({}); print(flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as first:
        first.stdout.readline()
        with pytest.raises(SweepError, match=f"already being driven by process {first.pid}"):
            here(tmp_path, seed=range(2)).start()
        first.kill()
    assert (tmp_path / "lock").exists(), "the dead driver could not take it away"
    assert len(here(tmp_path, seed=range(2)).run(progress=False).rows) == 2


def test_a_client_that_is_none_is_refused() -> None:
    pytest.importorskip("distributed", reason="left out: dask.distributed is not installed")
    base = Run(Small(), Clouds(), labkit.full(epochs=1), precision=Precision())
    assert jobs_of(base, {})
    with pytest.raises(SweepError, match="not a dask client"):
        sweeps.sweep(base, client="tcp://10.0.0.1:8786")
