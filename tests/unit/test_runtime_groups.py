"""Limits of processor and memory are found wherever a host sets them: at any level of the control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labkit import runtime

GB = 2**30
NO_LIMIT = "9223372036854771712"
MOUNTS = {
    "cgroup2": "35 25 0:30 {shown} {place} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate",
    "cpu": "36 25 0:31 {shown} {place} rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
    "memory": "37 25 0:32 {shown} {place} rw,nosuid - cgroup cgroup rw,memory",
}


def system(
    root: Path, groups: str, mounts: dict[str, tuple[str, str]], files: dict[str, str]
) -> Path:
    """A written-out system: what /proc/self says, and the files of the control groups."""
    lines = ["25 1 0:5 / / rw - ext4 /dev/sda1 rw", "garbage"][: 1 + (not mounts)]
    lines += [MOUNTS[who].format(shown=shown, place=at) for who, (shown, at) in mounts.items()]
    files = {"/proc/self/cgroup": groups, "/proc/self/mountinfo": "\n".join(lines), **files}
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def limits(root: Path) -> tuple[float | None, int | None]:
    return runtime._cgroup_cpus(root), runtime.memory_limit(root)


def test_a_nested_group_of_version_2_is_read_at_every_level(tmp_path: Path) -> None:
    """As a spawner of services makes it: the limit of memory on the slice, that of the processor on the service."""
    at = "/sys/fs/cgroup"
    root = system(
        tmp_path,
        "0::/jupyter.slice/user-7.service/kernel",
        {"cgroup2": ("/", at)},
        {
            f"{at}/jupyter.slice/memory.max": str(2 * GB),
            f"{at}/jupyter.slice/cpu.max": "400000 100000",
            f"{at}/jupyter.slice/user-7.service/memory.max": "max",
            f"{at}/jupyter.slice/user-7.service/cpu.max": "50000 100000",
            f"{at}/jupyter.slice/user-7.service/kernel/cpu.max": "max 100000",
            f"{at}/elsewhere/cpu.max": "1000 100000",
        },
    )
    assert limits(root) == (0.5, 2 * GB)


def test_a_nested_group_of_version_1_is_read_for_each_controller(tmp_path: Path) -> None:
    """As a scheduler of a cluster makes it: each controller has a tree and a group of its own."""
    at = "/sys/fs/cgroup"
    root = system(
        tmp_path,
        "4:memory:/slurm/job_3/step_0\n2:cpuacct,cpu:/slurm/job_3\n1:name=systemd:/x",
        {"cpu": ("/", f"{at}/cpu,cpuacct"), "memory": ("/", f"{at}/memory")},
        {
            f"{at}/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            f"{at}/cpu,cpuacct/cpu.cfs_period_us": "100000",
            f"{at}/cpu,cpuacct/slurm/job_3/cpu.cfs_quota_us": "150000",
            f"{at}/cpu,cpuacct/slurm/job_3/cpu.cfs_period_us": "100000",
            f"{at}/memory/memory.limit_in_bytes": NO_LIMIT,
            f"{at}/memory/slurm/job_3/memory.limit_in_bytes": str(3 * GB),
            f"{at}/memory/slurm/job_3/step_0/memory.limit_in_bytes": NO_LIMIT,
        },
    )
    assert limits(root) == (1.5, 3 * GB)


def test_where_both_versions_are_mounted_the_smaller_limit_wins(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        "4:memory:/a\n0::/b",
        {"memory": ("/", "/cg/memory"), "cgroup2": ("/", "/cg/unified")},
        {
            "/cg/memory/a/memory.limit_in_bytes": str(2 * GB),
            "/cg/unified/b/memory.max": str(1 * GB),
            "/cg/unified/b/cpu.max": "200000 100000",
        },
    )
    assert limits(root) == (2.0, 1 * GB)


@pytest.mark.parametrize("shown", ["/", "/docker/3f", "/docker"])
def test_a_container_that_is_shown_its_own_group_as_the_root_is_read(
    tmp_path: Path, shown: str
) -> None:
    inside = "/" if shown == "/" else "/docker/3f"
    deep = "/3f" if shown == "/docker" else ""
    root = system(
        tmp_path,
        f"0::{inside}",
        {"cgroup2": (shown, "/sys/fs/cgroup")},
        {
            f"/sys/fs/cgroup{deep}/cpu.max": "100000 100000",
            f"/sys/fs/cgroup{deep}/memory.max": str(GB),
        },
    )
    assert limits(root) == (1.0, GB)


@pytest.mark.parametrize("groups", ["", "nonsense", "0::/gone", "0::/../../outside"])
def test_a_system_that_says_little_sets_no_limit(tmp_path: Path, groups: str) -> None:
    root = system(tmp_path, groups, {}, {})
    assert runtime._cgroup_cpus(root) is None
    assert runtime._cgroup_cpus(tmp_path / "nothing here") is None
    assert runtime.memory_limit(tmp_path / "nothing here") == runtime.memory_limit(root)


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1.0, 1), (1.9, 1), (None, 2), (64.0, 2)])
def test_a_part_of_a_processor_is_one_thread(
    monkeypatch: pytest.MonkeyPatch, cpus: float | None, threads: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(runtime, "_cgroup_cpus", lambda: cpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert runtime.threads() == threads


# ---------------------------------------------------------------- the kernel's own

V1 = {"cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}}
V1 |= {"memory": {"memory.limit_in_bytes": str(2 * GB)}}
V2 = {"cpu.max": "50000 100000", "memory.max": str(2 * GB)}


def own_group(controller: str, wanted: dict[str, str], name: str) -> Path:
    """A group made below the one this process is in, with its limits, and a group without any inside it."""
    above = next(runtime._groups(controller, Path("/")), None)
    if above is None:
        pytest.skip(f"left out: no control groups here for {controller or 'version 2'}")
    try:
        (above / name / "inner").mkdir(parents=True)
        for file, text in wanted.items():
            (above / name / file).write_text(text)
    except OSError as refused:
        remove(above / name)
        pytest.skip(f"left out: a control group cannot be made here ({refused})")
    return above / name


def remove(group: Path) -> None:
    for folder in (group / "inner", group):
        with suppress(FileNotFoundError):
            folder.rmdir()


@pytest.fixture(params=[1, 2], ids=["version 1", "version 2"])
def narrow(request: pytest.FixtureRequest) -> Iterator[list[Path]]:
    """Groups made for this test, of half a processor and 2 GiB."""
    name, wanted = f"labkit-test-{os.getpid()}", V1 if request.param == 1 else {"": V2}
    made: list[Path] = []
    try:
        for controller, files in wanted.items():
            made.append(own_group(controller, files, name))
        yield made
    finally:
        for group in made:
            remove(group)


def test_a_process_in_a_group_of_half_a_processor_sees_its_limits(narrow: list[Path]) -> None:
    joined = "".join(
        f"open({str(group / 'inner' / 'cgroup.procs')!r}, 'w').write(str(os.getpid()));"
        for group in narrow
    )
    code = (
        f"import os; {joined} from labkit import runtime as r; print(r.threads(), r.memory_limit())"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.split() == ["1", str(2 * GB)]
