from labkit.bench.driver import measure
from labkit.bench.figure import draw
from labkit.bench.peers import PEERS, Peer, find_peers
from labkit.bench.record import RECORDS, BenchRow, Record, read, write
from labkit.bench.report import readme_section, table, verdicts, with_section
from labkit.bench.scaling import read_scaling
from labkit.bench.work import WORKS, Outcome, Work, find_works

__all__ = [
    "PEERS",
    "RECORDS",
    "WORKS",
    "BenchRow",
    "Outcome",
    "Peer",
    "Record",
    "Work",
    "draw",
    "find_peers",
    "find_works",
    "measure",
    "read",
    "read_scaling",
    "readme_section",
    "table",
    "verdicts",
    "with_section",
    "write",
]
