"""The frozen-prefix cache: what frozen stages make of a sample is computed once and kept.

A frozen stage here has fixed parameters *and* fixed BatchNorm statistics (`freezing`), so what it makes of a sample
is a constant, and computing it again in every epoch is waste. Entries are known by their content (weights below the
boundary, samples, view, precision), so that runs and branches share them and none is ever stale. The cache is bounded
in memory, goes to disk beyond that, and where neither has room a run simply computes: slower, never wrong.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from labkit import runtime
from labkit.tuning import scratch
from labkit.tuning.resting import mapped

Values = tuple[Tensor, ...]  # what passes from one stage to the next, one row a sample
Place = Literal["memory", "disk"]

MEMORY_SHARE, MEMORY_MOST = 32, 48 * 2**20  # a small share of what there is, and no more than this
HALVED = 512 * 2**20  # bytes from which an entry is kept in 16 bits
DISK_MOST, DISK_SHARE = 4 * 2**30, 4  # no more than this, nor than a quarter of what is free


@dataclass(frozen=True)
class Key:
    """What decides the values of an entry: frozen weights, samples, how they were changed, arithmetic."""

    prefix: str
    split: str
    view: str
    precision: str

    @property
    def family(self) -> tuple[str, str, str]:
        """The same frozen stages over the same samples, whatever the view."""
        return self.prefix, self.split, self.precision


class CacheEntry:
    """The values of one key: a row for each of `count` samples, filled as they are needed.

    Values are kept as they come. Only where a whole entry is larger than `limit` bytes, 32-bit ones are kept in
    16 bits, if what that loses is negligible; `error` is the largest loss seen, as a share of the largest value.
    """

    def __init__(self, count: int, first: Values, limit: int) -> None:
        self.known = torch.zeros(count, dtype=torch.bool, device="cpu")
        self.complete = False
        self.used = 0  # by the cache's clock
        self.seconds, self.computed = 0.0, 0  # what the rows computed so far have cost
        self.error = 0.0
        self.place: Place = "memory"
        whole = sum(value[0].numel() * value.element_size() for value in first) * count
        halve = whole > limit and all(_can_halve(value) for value in first)
        self._dtypes = tuple(value.dtype for value in first)
        self._kept_as = tuple(torch.float16 if halve else value.dtype for value in first)
        self._shapes = tuple((count, *_stored(value).shape[1:]) for value in first)
        self._channels_last = tuple(_is_channels_last(value) for value in first)
        self.bytes = sum(
            torch.Size(shape).numel() * dtype.itemsize
            for shape, dtype in zip(self._shapes, self._kept_as, strict=True)
        )
        self._parts: Values = ()
        self._sums = torch.zeros(
            0, dtype=torch.int64, device="cpu"
        )  # of rows on disk: a damaged one is noticed
        self._lock = threading.RLock()  # runs share entries, and one may move while another reads

    def open(self, place: Place, folder: Path) -> CacheEntry:
        """Take the room. Raises OSError or MemoryError where there is none."""
        self._parts, self.place = self._room(place, folder), place
        rows = len(self.known) if place == "disk" else 0
        self._sums = torch.zeros(rows, dtype=torch.int64, device="cpu")
        return self

    def to_disk(self, folder: Path) -> None:
        """Leave the memory, with all rows. Raises OSError where there is no room, and then nothing has changed."""
        with self._lock:
            parts = self._room("disk", folder)
            for new, old in zip(parts, self._parts, strict=True):
                new.copy_(old)
            self._parts, self._sums, self.place = parts, _checksums(parts), "disk"

    def _room(self, place: Place, folder: Path) -> Values:
        room = zip(self._shapes, self._kept_as, strict=True)
        try:
            if place == "memory":
                return tuple(torch.empty(shape, dtype=dtype, device="cpu") for shape, dtype in room)
            return tuple(_mapped(shape, dtype, folder) for shape, dtype in room)
        except RuntimeError as error:  # torch's word for having no memory
            raise MemoryError(str(error)) from None

    def missing(self, rows: Tensor) -> Tensor:
        """Those of `rows` (n,) that nobody has computed yet."""
        return rows[:0] if self.complete else rows[~self.known[rows]]

    def get(self, rows: Tensor) -> Values | None:
        """The values of known rows (n,), or None where the disk gave back something else than was written."""
        with self._lock:
            found = tuple(part.index_select(0, rows) for part in self._parts)
            if self.place == "disk" and not torch.equal(_checksums(found), self._sums[rows]):
                self.known[rows], self.complete = False, False
                return None
        plain = (part.to(dtype) for part, dtype in zip(found, self._dtypes, strict=True))
        return tuple(
            part.movedim(-1, 1) if channels_last else part
            for part, channels_last in zip(plain, self._channels_last, strict=True)
        )

    def rounded(self, values: Values) -> Values:
        """Values as `get` will give them: a row computed and a row remembered are the same to the bit."""
        kept = zip(values, self._kept_as, self._dtypes, strict=True)
        return tuple(v if k is d else v.to(k).to(d) for v, k, d in kept)

    def put(self, rows: Tensor, values: Values, seconds: float) -> None:
        """Keep the values of `rows` (n,), which took `seconds` to compute."""
        with self._lock:
            for part, value, kept_as in zip(self._parts, values, self._kept_as, strict=True):
                if kept_as is not value.dtype:
                    self.error = max(self.error, _loss_of(value, kept_as))
                part[rows] = _stored(value).to(kept_as)
            if self.place == "disk":
                self._sums[rows] = _checksums(tuple(part[rows] for part in self._parts))
            self.known[rows] = True
            self.seconds, self.computed = self.seconds + seconds, self.computed + len(rows)
            self.complete = bool(self.known.all())

    @property
    def seconds_a_row(self) -> float:
        """What it costs to compute one sample."""
        return self.seconds / self.computed if self.computed else 0.0


class PrefixCache:
    """All entries of a process, within a budget of memory and one of disk, both in bytes."""

    def __init__(
        self, memory: int | None = None, disk: int | None = None, folder: Path | None = None
    ) -> None:
        self._memory, self._disk, self._folder = memory, disk, folder
        self._limit = HALVED if memory is None else memory
        self._entries: dict[Key, CacheEntry] = {}
        self._clock = 0
        self._lock = threading.RLock()
        self.refused = 0  # entries that found no room

    @property
    def memory(self) -> int:
        """Bytes that may stay in memory."""
        if self._memory is None:
            there = runtime.memory_limit() or 4 * 2**30
            self._memory = min(MEMORY_MOST, there // MEMORY_SHARE)
        return self._memory

    @property
    def disk(self) -> int:
        """Bytes that may lie on disk."""
        if self._disk is None:
            self._disk = min(DISK_MOST, _free(self.folder) // DISK_SHARE)
        return self._disk

    @property
    def folder(self) -> Path:
        """Where entries lie that memory has no room for; each file is gone when its entry is."""
        return self._folder or Path(tempfile.gettempdir())

    def _files(self) -> Path:
        """The folder for their files. Raises OSError where none can be made."""
        return self._folder or scratch.folder()

    def find(self, key: Key) -> CacheEntry | None:
        """The entry of a key, marked as just used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._clock += 1
                entry.used = self._clock
            return entry

    def add(self, key: Key, count: int, first: Values) -> CacheEntry | None:
        """A new entry for `count` samples whose values look like `first`, or None where there is no room for it."""
        with self._lock:
            if (known := self.find(key)) is not None:
                return known
            entry = CacheEntry(count, first, self._limit)
            if not self._make_room(entry, key):
                self.refused += 1
                return None
            self._entries[key] = entry
            return self.find(key)

    def _make_room(self, entry: CacheEntry, key: Key) -> bool:
        """Make room for an entry, never at the cost of the same split: augmented copies would evict one another."""
        try:
            if entry.bytes <= self.memory and self._free_up("memory", entry.bytes, key):
                entry.open("memory", self.folder)
                return True
            if entry.bytes <= self.disk and self._free_up("disk", entry.bytes, key):
                entry.open("disk", self._files())
                return True
        except (OSError, MemoryError) as trouble:
            self._give_up(trouble)
        return False

    def _free_up(self, place: Place, need: int, key: Key) -> bool:
        """Send away the least useful entries of a place, or none at all if that would not make room enough."""
        budget = self.memory if place == "memory" else self.disk
        over = self.held(place) + need - budget
        leaving, freed = [], 0
        for other, entry in sorted(self._entries.items(), key=lambda item: _usefulness(item[1])):
            if freed >= over:
                break
            if entry.place == place and other.family != key.family:
                leaving.append(other)
                freed += entry.bytes
        if freed < over:
            return False
        for other in leaving:
            self._send_away(other)
        return True

    def _send_away(self, key: Key) -> None:
        """From memory to disk where there is room, else out."""
        entry = self._entries[key]
        try:
            if entry.place == "memory" and self._free_up("disk", entry.bytes, key):
                entry.to_disk(self._files())
                return
        except OSError as trouble:
            self._give_up(trouble)
        del self._entries[key]

    def _give_up(self, trouble: Exception) -> None:
        """A full disk: no more entries there. The runs go on and compute what is not kept."""
        self._disk = self.held("disk")
        warnings.warn(
            f"{self.folder} cannot keep what frozen stages computed ({trouble}). Training goes on without; it is "
            "slower, not wrong. Free some space, or name another folder in TMPDIR.",
            RuntimeWarning,
            stacklevel=2,
        )

    def held(self, place: Place) -> int:
        """Bytes held in a place."""
        with self._lock:
            return sum(entry.bytes for entry in self._entries.values() if entry.place == place)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        held = [f"{self.held(place) / 1e6:.0f} MB in {place}" for place in ("memory", "disk")]
        return f"PrefixCache({len(self)} entries, {', '.join(held)})"


shared = PrefixCache()  # the one that runs use; it holds nothing before a run trains


def _usefulness(entry: CacheEntry) -> tuple[int, float]:
    """What was used lately is worth more; of equals, what costs more to compute again for its size."""
    return entry.used, entry.seconds_a_row * len(entry.known) / max(1, entry.bytes)


# ---------------------------------------------------------------- rows


def _is_channels_last(value: Tensor) -> bool:
    return (
        value.ndim == 4
        and not value.is_contiguous()
        and value.is_contiguous(memory_format=torch.channels_last)
    )


def _stored(value: Tensor) -> Tensor:
    """The value as it lies in memory: a row of an entry is one piece."""
    value = value.detach().cpu()
    return value.movedim(1, -1) if _is_channels_last(value) else value


def _can_halve(value: Tensor) -> bool:
    return value.dtype is torch.float32 and _loss_of(value, torch.float16) <= 1e-3


def _loss_of(value: Tensor, dtype: torch.dtype) -> float:
    """The largest error of keeping a value in another type, as a share of the largest value; inf if it overflows."""
    largest = float(value.abs().max()) or 1.0
    lost = float((value - value.to(dtype).to(value.dtype)).abs().max())
    return lost / largest if lost == lost else float("inf")


def _checksums(parts: Sequence[Tensor]) -> Tensor:
    """One number a row, (n,) int64, that changes with any of its bits."""
    total = torch.zeros(len(parts[0]), dtype=torch.int64, device="cpu")
    for part in parts:
        flat = part.contiguous().view(len(part), -1)
        size = flat.element_size()
        view = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
        total = total * 31 + flat.view(view).sum(1, dtype=torch.int64)
    return total


def _mapped(shape: Sequence[int], dtype: torch.dtype, folder: Path) -> Tensor:
    """A tensor that lies in a file. Raises OSError where the disk has no room."""
    count = torch.Size(shape).numel()
    raw = mapped(max(1, count * dtype.itemsize), folder)
    return raw.view(dtype)[:count].view(*shape)


def _free(folder: Path) -> int:
    import shutil

    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
