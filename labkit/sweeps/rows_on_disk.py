"""The rows on disk: one line a row, on disk before anyone sees it, and one driver at a time.

A line is JSON with a checksum of itself. Half a last line is what a killed driver leaves: it is cut off, and its job
is done again. A full disk costs the rows on disk, never the sweep: they wait in memory and are written when there is
room again.
"""

from __future__ import annotations

import json
import os
import socket
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from labkit.errors import UNREADABLE, SweepError
from labkit.runtime import lock, write_atomic
from labkit.sweeps.jobs import SweepRow

KNOWN = tuple(field.name for field in fields(SweepRow))


class RowsOnDisk:
    """The folder of a sweep: `rows.jsonl`, `sweep.json` for people, and a lock while a driver is at it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "rows.jsonl"
        self._file: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._size = 0  # bytes of whole lines
        self._waiting: list[SweepRow] = []  # rows that found no room
        self._warned = False

    def open(self, about: dict[str, Any]) -> list[SweepRow]:
        """Take the folder and return the rows in it; raises SweepError while another driver has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        except OSError as trouble:
            self._warn(trouble)
            return []
        rows = self.read()
        try:
            self._file = self.path.open("ab", buffering=0)
            self._file.truncate(self._size)  # half a line, if there was one
            write_atomic(self.folder / "sweep.json", json.dumps(about, indent=1).encode())
            _sync_folder(self.folder)
        except OSError as trouble:
            self._warn(trouble)
        return rows

    def append(self, rows: Sequence[SweepRow]) -> None:
        """Put rows on disk with one sync, and be sure of it; where the disk is full, keep them in memory."""
        self._waiting.extend(rows)
        try:
            self._write(b"".join(map(line_of, self._waiting)))
            self._waiting.clear()
        except OSError as trouble:
            self._warn(trouble)

    def close(self) -> None:
        """Let go of the folder."""
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None

    # ------------------------------------------------------------ writing

    def _write(self, lines: bytes) -> None:
        if self._file is None:
            raise OSError(f"{self.path} cannot be written to")
        try:
            left = memoryview(lines)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
            self._size += len(lines)
        except OSError:
            with suppress(OSError):  # what did get written is half a line
                self._file.truncate(self._size)
            raise

    def _warn(self, trouble: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"The rows of this sweep cannot be kept in {self.folder} ({trouble}). The sweep goes on and keeps them "
                "in memory; if it is cut off, they are lost. Free some space, or give labkit.sweep another out=.",
                RuntimeWarning,
                stacklevel=2,
            )

    # ------------------------------------------------------------ reading

    def read(self) -> list[SweepRow]:
        """The whole rows of the file in their order, the last of each key; damaged lines are named in a warning."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        self._size = content.rfind(b"\n") + 1
        lines = content[: self._size].splitlines()
        read = {number: row_of(line) for number, line in enumerate(lines, 1)}
        damaged = [number for number, row in read.items() if row is None]
        if damaged:
            warnings.warn(
                f"{self.path}: damaged line {_some(damaged)}. Those runs are done again.",
                RuntimeWarning,
                stacklevel=2,
            )
        return list({row.key: row for row in read.values() if row}.values())

    # ------------------------------------------------------------ one driver at a time

    def _take_lock(self) -> None:
        """The system lets go of the lock when its holder dies, so a lock that is held has a living holder."""
        self._lock = (self.folder / "lock").open("a+b")
        if lock(self._lock) is False:  # where a file system has no locks there is nothing to hold
            self._lock.seek(0)
            holder = self._lock.read().decode(errors="replace").strip() or "another process"
            self._lock.close()
            self._lock = None
            raise SweepError(
                f"This sweep is already being driven by {holder}, in {self.folder}. Wait for it, stop it there with "
                "sweep.stop(), or give this one another folder with out=."
            )
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        self._lock.flush()


def line_of(row: SweepRow) -> bytes:
    """A row as a line of JSON with a checksum."""
    content = row.to_dict()
    return json.dumps({**content, "sum": _sum(content)}, separators=(",", ":")).encode() + b"\n"


def row_of(line: bytes) -> SweepRow | None:
    """The row of a line, or None where it is damaged."""
    try:
        content = json.loads(line)
        if content.pop("sum") != _sum(content):
            return None
        return SweepRow(**{name: value for name, value in content.items() if name in KNOWN})
    except UNREADABLE:
        return None


def _sum(content: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"


def _sync_folder(folder: Path) -> None:
    """A new file is only safe when its folder is: elsewhere than on Windows, where there is no such thing."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
