"""The bench: the same work done by labkit, by what people use today, and by bare loops that mark the floor.

Every measurement is one peer doing one work in a fresh process of its own, so that peak memory is the peer's alone
and nothing is warm from the one before. This room may use all rooms below it; only the command line uses it. Times
are in seconds of the clock on the wall, memory in MB (10**6 bytes). Names are loaded when they are used: what the
process of a peer imports counts into its memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "PEERS": "peers",
    "Peer": "peers",
    "find_peers": "peers",
    "WORKS": "work",
    "Outcome": "work",
    "Work": "work",
    "find_works": "work",
    "measure": "driver",
    "RECORDS": "record",
    "Record": "record",
    "Row": "record",
    "read": "record",
    "write": "record",
    "read_scaling": "scaling",
    "draw": "figure",
    "readme_section": "report",
    "table": "report",
    "verdicts": "report",
    "with_section": "report",
}

__all__ = sorted(_FILES)


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"labkit.bench.{_FILES[name]}"), name)
    raise AttributeError(f"module 'labkit.bench' has no attribute {name!r}")
