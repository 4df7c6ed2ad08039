"""A sweep gives the same rows whoever does the jobs and however often it is cut off: none lost, none doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import labkit
from labkit import sweeps
from labkit.runtime import Precision
from labkit.sweeps import SweepRow, jobs_of, work
from labkit.sweeps.parts import set_up_worker, worker_setup
from labkit.sweeps.rows_on_disk import row_of
from labkit.tuning import Run
from tests.small import Clouds, Small
from tests.waiting import wait_until

AXES: dict[str, Any] = {
    "lr": [1e-3, 1e-2],
    "trainable_from": ["head", "body"],
    "per_class": [5],
    "seed": range(3),
}

# A script as a learner would write it: no `if __name__ == "__main__"` anywhere.
DRIVER = """
import sys
from labkit import sweeps, tuning
from tests.invariants.test_sweeps import AXES, base
made = sweeps.sweep(base(slow=0.6), **AXES, out=sys.argv[1], workers=1)
for row in made:
    print(row.where.split(":")[1], flush=True)
"""


def base(slow: float = 0.0) -> Run:
    plan = labkit.partial("head", lr=1e-2, epochs=2)
    return Run(Small(slow), Clouds(), plan, precision=Precision())


@pytest.fixture(scope="module")
def by_hand() -> set[Any]:
    """What the jobs come to in this process, one after another, with one thread as in a worker."""
    set_up_worker(worker_setup(base()))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {work(job).outcome for job in jobs_of(base(), AXES)}
    finally:
        torch.set_num_threads(before)


def outcomes(rows: tuple[SweepRow, ...]) -> set[Any]:
    assert len({row.key for row in rows}) == len(rows)
    return {row.outcome for row in rows}


def keys_on_disk(folder: Path) -> list[str]:
    lines = (folder / "rows.jsonl").read_bytes().splitlines()
    return [row.key for row in map(row_of, lines) if row]


@pytest.mark.slow
def test_processes_give_the_rows_that_this_process_gives(by_hand: set[Any], tmp_path: Path) -> None:
    made = sweeps.sweep(base(), **AXES, out=tmp_path, workers=2).run(progress=False)
    assert made.state == "done"
    assert outcomes(made.rows) == by_hand
    workers = {row.where for row in made.rows}
    assert len(workers) == 2
    assert not any(where.endswith(f":{os.getpid()}") for where in workers)
    assert sorted(keys_on_disk(tmp_path)) == sorted(row.key for row in made.rows)


@pytest.mark.slow
def test_a_killed_driver_resumes_with_no_row_lost_and_none_doubled(
    by_hand: set[Any], tmp_path: Path, root: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=-1, text=True, env=environment, cwd=root) as driver:
        seen = [next(driver.stdout) for _ in range(3)]
        driver.kill()
    early = keys_on_disk(tmp_path)
    assert len(seen) <= len(early) < 12
    assert gone(int(seen[0])), "the worker of a dead driver must go home"
    made = sweeps.sweep(base(), **AXES, out=tmp_path, workers=1).run(progress=False)
    assert outcomes(made.rows) == by_hand
    assert keys_on_disk(tmp_path)[: len(early)] == early
    assert len(keys_on_disk(tmp_path)) == len(set(keys_on_disk(tmp_path))) == 12


def gone(process: int) -> bool:
    """Whether a process has ended within thirty seconds; one that nobody has buried yet counts as ended."""
    stat = Path(f"/proc/{process}/stat")

    def is_gone() -> bool:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_until(is_gone, 30, f"the end of process {process}")
    return True


@pytest.mark.slow
def test_a_stopped_sweep_keeps_what_is_done_and_leaves_no_process(tmp_path: Path) -> None:
    made = sweeps.sweep(base(slow=0.1), **AXES, out=tmp_path, workers=1)
    next(iter(made))
    made.stop()
    assert made.state == "stopped"
    assert 0 < len(made.rows) < 12
    assert made.executor.pids() == []
    assert keys_on_disk(tmp_path) == [row.key for row in made]


# ---------------------------------------------------------------- a cluster


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real scheduler with two worker processes."""
    distributed = pytest.importorskip(
        "distributed", reason="left out: dask.distributed is not installed"
    )
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path_factory.mktemp("dask")),
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


@pytest.mark.slow
def test_a_cluster_gives_the_rows_that_this_process_gives(
    client: Any, by_hand: set[Any], tmp_path: Path
) -> None:
    made = sweeps.sweep(base(), **AXES, client=client, out=tmp_path).run(progress=False)
    assert outcomes(made.rows) == by_hand
    assert len({row.where for row in made.rows}) == 2


@pytest.mark.slow
def test_the_runs_of_a_killed_cluster_worker_are_done_again(
    client: Any, by_hand: set[Any], tmp_path: Path
) -> None:
    workers = set(client.run(os.getpid).values())
    made = sweeps.sweep(base(slow=0.3), **AXES, client=client, out=tmp_path)
    victim = int(next(iter(made)).where.split(":")[1])
    assert victim in workers
    os.kill(victim, getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows either ends it at once
    made.run(progress=False)
    assert outcomes(made.rows) == by_hand
    assert sorted(keys_on_disk(tmp_path)) == sorted({row.key for row in made.rows})
    assert len(made.rows) == 12
