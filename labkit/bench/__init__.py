"""The bench: the same work done by labkit, by what people use today, and by bare loops that mark the floor.

Every measurement is one peer doing one work in a fresh process of its own, so that peak memory is the peer's alone
and nothing is warm from the one before. This room may use all rooms below it; only the command line uses it. Times
are in seconds of the clock on the wall, memory in MB (10**6 bytes).
"""

from labkit.bench.driver import measure
from labkit.bench.figure import figure
from labkit.bench.peers import PEERS, Peer, peers
from labkit.bench.record import RECORDS, Record, Row, read, write
from labkit.bench.report import readme_section, table, verdicts, with_section
from labkit.bench.work import WORKS, Outcome, Work, works

__all__ = [
    "PEERS",
    "RECORDS",
    "WORKS",
    "Outcome",
    "Peer",
    "Record",
    "Row",
    "Work",
    "figure",
    "measure",
    "peers",
    "read",
    "readme_section",
    "table",
    "verdicts",
    "with_section",
    "works",
    "write",
]
