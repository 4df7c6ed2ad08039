"""What steering costs: checkpoints, rewinding and an epoch of the shipped backbone, measured on this machine.

    python tests/bench/engine.py [--json]

Prints medians over repeats. Photographs are used where LABKIT_DATA has them, digits at 64 px otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import labkit
from labkit.errors import FetchError
from labkit.tuning import EpochDone, Run, run as engine

REPEATS = 5


def photographs() -> Any:
    try:
        return labkit.load_data("ants-bees", size=64)
    except FetchError:
        return labkit.load_data("digits", size=64).subset(per_class=24)


def seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(values: list[float]) -> float:
    return statistics.median(values)


def epoch_seconds(data: Any, net: Any) -> float:
    """A full fine-tuning epoch: training steps alone, without validation."""
    run = Run(net, data, labkit.full(epochs=REPEATS + 1)).fit()
    epochs = [event.seconds for _, event in run.journal.since(0) if isinstance(event, EpochDone)]
    return median(epochs[2:])


def rewind_seconds(data: Any, net: Any) -> list[float]:
    """Rewinding to steps all over a run, and training on for a while in between."""
    run = Run(net, data, labkit.full(epochs=6)).fit()
    steps = [round(run.step_number * share) for share in (0.9, 0.7, 0.55, 0.3, 0.1)]
    return [seconds(lambda step=step: run.rewind(step)) for step in steps]


def checkpoint_share(data: Any, net: Any) -> float:
    """How much longer full fine-tuning takes with checkpoints than without, in pairs of either order."""
    usual, never = engine.REWIND_SECONDS, float("inf")

    def fit(rewind_seconds: float) -> float:
        engine.REWIND_SECONDS = rewind_seconds
        return seconds(Run(net, data, labkit.full(epochs=4)).fit)

    ratios = []
    try:
        for pair in range(2 * REPEATS):
            first, second = (usual, never) if pair % 2 else (never, usual)
            took = {first: fit(first), second: fit(second)}
            ratios.append(took[usual] / took[never] - 1)
    finally:
        engine.REWIND_SECONDS = usual
    return median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of words"
    )
    arguments = parser.parse_args()
    data, net = photographs(), labkit.load_backbone("resnet10")
    rewinds = rewind_seconds(data, net)
    measured = {
        "data": f"{data.name}, {len(data.train)} images at {data.size} px",
        "precision": str(Run(net, data, labkit.full()).precision),
        "full epoch, seconds": epoch_seconds(data, net),
        "rewind, seconds, median": median(rewinds),
        "rewind, seconds, longest": max(rewinds),
        "checkpoints, share of a run": checkpoint_share(data, net),
    }
    if arguments.json:
        json.dump(measured, sys.stdout, indent=1)
    else:
        for name, value in measured.items():
            sys.stdout.write(
                f"{name}: {value:.3f}\n" if isinstance(value, float) else f"{name}: {value}\n"
            )


if __name__ == "__main__":
    main()
