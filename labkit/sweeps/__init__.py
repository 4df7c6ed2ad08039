"""Sweeps: many runs that differ in a few settings and the seed, in processes here or on a cluster.

A sweep is data too: a tuple of jobs, each with everything that decides its outcome. One function does a job, whoever
asks for it, so the rows are the same from one process, from ten, or from a cluster. Finished rows are on disk at
once; the same sweep asked for again goes on where it was cut off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labkit.errors import FileError, PlanError, shown
from labkit.sweeps.driver import Sweep, default_folder
from labkit.sweeps.jobs import Job, SweepRow, jobs_of
from labkit.sweeps.parts import worker_setup
from labkit.sweeps.processes import Processes, lanes_for
from labkit.sweeps.rows_on_disk import RowsOnDisk
from labkit.sweeps.work import work
from labkit.tuning.run import Run

__all__ = ["Job", "Sweep", "SweepRow", "sweep", "work"]


def sweep(
    base: Run,
    *,
    client: Any = None,
    out: Path | str | None = None,
    workers: int | None = None,
    test: bool = False,
    **axes: Any,
) -> Sweep:
    """Every combination of the settings in `axes`, as a `Sweep` that is ready to start.

    Args:
        base: a run that gives network, data, plan and precision. The sweep never trains it, nor does it see the
            commands that it was given.
        client: a `dask.distributed` client; without one the jobs run in processes on this machine.
        out: the folder for the rows; by default one in labkit's cache, named after the jobs.
        workers: processes on this machine; by default one a core, or one where there is a GPU.
        test: evaluate on the test split as well, once, at the end of each run.
        axes: lists of values, or one value, for any setting of `labkit.settings`, such as lr or trainable_from; for
            `seed`; and for `per_class`, the training examples of every class, drawn by the seed.

    Raises:
        PlanError: a setting that cannot be swept, or combinations that cannot be carried out: all are named, and
            nothing is started.
    """
    if not isinstance(base, Run):
        raise PlanError(
            f"base={type(base).__name__} is not a Run. Build one, as in labkit.sweep(labkit.Run(net, data, plan), "
            "lr=[1e-4, 1e-3]); the sweep takes its network, data and plan, and does not train it."
        )
    if not isinstance(test, bool):
        raise PlanError(
            f"test={shown(test)} must be True or False: whether to count on the test split as well."
        )
    if out is not None:
        FileError.refuse_no_path(out)
    jobs = jobs_of(base, axes, test)
    parts = worker_setup(base)
    if client is None:
        executor: Any = Processes(parts, lanes_for(workers, len(jobs)))
    else:
        if workers is not None:
            raise PlanError(
                "workers= is for this machine; a cluster decides for itself. Leave it out."
            )
        from labkit.sweeps.cluster import Cluster

        executor = Cluster(client, parts)
    return Sweep(
        jobs, executor, RowsOnDisk(Path(out) if out else default_folder(jobs)), base.stages
    )
