"""What is left and why: where the time of an epoch goes, by operation, after everything avoidable is avoided."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import labkit
from labkit import runtime
from labkit.bench.inputs import Inputs
from labkit.bench.record import machine, versions
from labkit.bench.work import Clock, Work, find_works
from labkit.tuning import EpochDone, Run

DEPTHS = ("head", "full")
TOP = 10
WARM_EPOCHS = 2  # before the one that is looked at: the first fills the caches


@dataclass(frozen=True)
class OperationTime:
    """One operation in one epoch: its own seconds, without what it calls; how often; its share of the epoch."""

    name: str
    seconds: float
    calls: int
    share: float


def profile(names: Sequence[str] = DEPTHS, quick: bool = False, top: int = TOP) -> dict[str, Any]:
    """Profile one warm epoch of each work: torch's operations and the Python around them.

    `unprofiled_seconds` is the epoch before, without the profiler, which itself costs time.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="labkit-profile-") as folder:
        inputs = Inputs(Path(folder), quick)
        for work in find_works(names, quick):
            found.append(_profile(inputs.place(replace(work, epochs=WARM_EPOCHS + 1), 0), top))
    about = {"machine": machine(), "versions": versions()}
    return {"made_with": "labkit bench profile", **about, "epochs": found}


def _profile(work: Work, top: int) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile as torch_profile

    run = _run(work)
    first, *_, plain = (_epoch(run) for _ in range(WARM_EPOCHS))
    with torch_profile(activities=[ProfilerActivity.CPU]) as watched:
        seconds = _epoch(run)
    spent = [
        (event.key, event.self_cpu_time_total / 1e6, event.count)
        for event in watched.key_averages()
    ]
    costs = [OperationTime(name, own, calls, own / seconds) for name, own, calls in spent]
    # What no operation of torch accounts for is Python: the loop, the events, the bookkeeping.
    python = max(0.0, seconds - sum(cost.seconds for cost in costs))
    costs.append(OperationTime("Python between the operations", python, 1, python / seconds))
    costs.sort(key=lambda cost: cost.seconds, reverse=True)
    return {
        "work": work.name,
        "title": work.title,
        "steps": len(run.data.train) // work.batch_size + 1,
        "precision": str(run.precision),
        "first_epoch_seconds": first,
        "unprofiled_seconds": plain,
        "profiled_seconds": seconds,
        "costs": [asdict(cost) for cost in costs[:top]],
    }


def _run(work: Work) -> Run:
    from labkit.bench.peers.labkit import plan_of

    runtime.limit_threads()
    data = labkit.load_data(work.folder, size=work.size)
    net = labkit.load_backbone(work.backbone, weights=work.weights)
    return Run(net, data, plan_of(work), seed=work.seed)


def _epoch(run: Run) -> float:
    """Train to the end of the next epoch, its validation included; the seconds it took."""
    clock = Clock()
    for event in run.events():
        if isinstance(event, EpochDone) and event.epoch:
            break
    return clock.lap()


def profile_table(found: dict[str, Any]) -> str:
    """The costliest operations of each profiled epoch, in words."""
    blocks = []
    for epoch in found["epochs"]:
        head = (
            f"{epoch['title']}: one warm epoch of {epoch['steps']} steps and a validation, {epoch['precision']}\n"
            f"  {epoch['unprofiled_seconds']:.4f} s; under the profiler {epoch['profiled_seconds']:.4f} s; "
            f"the first epoch took {epoch['first_epoch_seconds']:.3f} s"
        )
        rows = [
            f"  {cost['share']:>6.1%}  {cost['seconds']:>9.5f} s  {cost['calls']:>6} calls  {cost['name']}"
            for cost in epoch["costs"]
        ]
        blocks.append("\n".join([head, *rows]))
    return "\n\n".join(blocks)
