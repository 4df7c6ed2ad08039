"""The process in which one peer does one work: `python -m labkit.bench.child`, an order on stdin, the answer in a file.

Peers print what they like, so the answer does not go to stdout. A rehearsal on images of noise comes first, for
every peer alike: imports, thread pools, kernels made for these shapes, and what the floor measures once per machine
are then out of the way. Asked for the cold figure, it rehearses nothing and counts the imports.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REHEARSAL_EPOCHS = 2


def main() -> None:
    """Do what the order on stdin says and write what came of it."""
    order = json.load(sys.stdin)
    answer = globals()[f"_{order['kind']}"](**order["what"])
    Path(order["answer"]).write_text(json.dumps(answer | peak_memory()))


def _peer(peer: str, work: dict[str, Any]) -> dict[str, Any]:
    """One peer, one work."""
    from labkit.bench.peers import find_peers
    from labkit.bench.work import Work

    chosen, job = find_peers([peer])[0], Work(**work)
    _use_threads(job.threads)
    _hide_namesakes()
    train = chosen.load()
    rehearsed = _seconds(lambda: train(_rehearsal(job)))
    before = _processor_seconds()
    outcome = asdict(train(job))
    return outcome | {"rehearsal": rehearsed, "cpu_seconds": _processor_seconds() - before}


def _cold(peer: str, work: dict[str, Any]) -> dict[str, Any]:
    """The same as on a machine's first day: imports counted, nothing rehearsed."""
    began = time.perf_counter()
    from labkit.bench.peers import find_peers
    from labkit.bench.work import Work

    chosen, job = find_peers([peer])[0], Work(**work)
    _use_threads(job.threads)
    _hide_namesakes()
    train = chosen.load()
    loaded = time.perf_counter() - began
    return {"loaded": loaded, **asdict(train(job))}


def _rehearsal(work: Any) -> Any:
    return replace(work, folder=work.rehearsal, epochs=min(work.epochs, REHEARSAL_EPOCHS))


def _hide_namesakes() -> None:
    """In a checkout, its folder `datasets` would be taken for the package of that name, which Trainer looks for."""
    found = find_spec("datasets")
    if found is not None and found.origin is None:
        sys.modules["datasets"] = None  # type: ignore[assignment]


def _scaling(**size: Any) -> dict[str, Any]:
    """One row of the scaling table."""
    from labkit.bench.scaling import Size, train

    job = Size(**size)
    _use_threads(job.threads)
    return asdict(train(job))


def _photographs(folder: str, out: str, count: int, valid: int) -> dict[str, Any]:
    from labkit.bench.scaling import keep_photographs

    return keep_photographs(Path(folder), Path(out), count, valid)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _seconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def _processor_seconds() -> float:
    """Of this process and its ended workers: against the clock, it tells whether the machine had other work."""
    return sum(os.times()[:4])


def peak_memory() -> dict[str, float | None]:
    """The most memory this process has held, and the most that one of its ended workers held, in MB.

    A worker shares pages with this process, so the two must not simply be added.
    """
    return {"peak_mb": _own_peak(), "worker_peak_mb": _usage("RUSAGE_CHILDREN")}


def _own_peak() -> float | None:
    """Linux counts into the usage of a process what its parent held when it was started; its own peak is here."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024 / 1e6
    return _usage("RUSAGE_SELF")


def _usage(who: str) -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(getattr(resource, who)).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
