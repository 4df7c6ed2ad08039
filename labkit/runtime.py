"""What the machine is and what chance does: device, threads, memory, precision, seeds, numbers, folders.

The ground floor: every room may import it and it imports none of ours. torch is imported inside the functions that
need it, so that asking for a folder never costs half a second.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import operator
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import IO, TYPE_CHECKING, Any, Literal
from uuid import uuid4

if TYPE_CHECKING:
    import torch

MemoryFormat = Literal["contiguous", "channels_last"]
Dtype = Literal["fp32", "bf16"]


# ---------------------------------------------------------------- what this process may use


def threads() -> int:
    """How many CPU threads this process may use: the smallest of affinity, cgroup limit and OMP_NUM_THREADS.

    `os.cpu_count()` reports the host, which on Binder has dozens of cores of which one is ours. Schedulers such as
    Dask set OMP_NUM_THREADS for their workers, because two processes with all threads each wait for one another.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [allowed or 1, int(_cgroup_cpus() or allowed or 1)]
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min([*limits, int(asked)] if asked.isdecimal() else limits))


def _cgroup_cpus() -> float | None:
    """The CPU limit of the control group in cores, or None where there is none."""
    try:  # version 2: "max 100000" or "200000 100000"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:  # version 1: -1 means no limit
        root = Path("/sys/fs/cgroup/cpu")
        limit = int((root / "cpu.cfs_quota_us").read_text())
        return limit / int((root / "cpu.cfs_period_us").read_text()) if limit > 0 else None
    except (OSError, ValueError):
        return None


def memory_limit() -> int | None:
    """The memory this process may use in bytes (control group, else the machine), or None if unknown."""
    limits = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int((Path("/sys/fs/cgroup") / name).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    with suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=None)


@lru_cache(maxsize=1)
def device() -> torch.device:
    """The fastest device that proves itself by one real operation: CUDA, Apple's MPS, else the CPU."""
    import torch

    names = ["cuda"] if torch.cuda.is_available() else []
    names += ["mps"] if torch.backends.mps.is_available() else []
    for name in names:
        try:
            probe = torch.ones(8, 8, device=name)
            if float((probe @ probe).sum()) == 512.0:
                return torch.device(name)
        except RuntimeError:  # a driver that is present but does not work
            continue
    return torch.device("cpu")


def processor_name() -> str:
    """What the processor is called, for records and cards."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def limit_threads() -> int:
    """Tell torch how many threads it may use, once, and return the number."""
    import torch

    torch.set_num_threads(threads())
    return torch.get_num_threads()


@lru_cache(maxsize=1)
def settle() -> None:
    """Spare the garbage collector what is loaded for good, once: it then no longer looks through it again and again.

    With torch and its like loaded, a full pass took 0.3 s, at a moment of its own choice, and no slider was answered
    meanwhile. What every optimiser loads on first use is a third of it and is loaded before.
    """
    import atexit
    import gc

    import torch._dynamo  # noqa: F401

    gc.collect()  # what is garbage now would never be found again
    gc.freeze()
    atexit.register(gc.unfreeze)  # else Triton says at the end of Python that it was left behind


# ---------------------------------------------------------------- chance

_global_chance = RLock()  # torch's global generator is one per process, and engines are several


def generator(seed: int, *stream: str | int) -> torch.Generator:
    """An independent random generator for a seed and a named stream.

    The same seed and names give the same numbers everywhere; another name gives unrelated ones, so that drawing one
    number more for the augmentation never changes the order of the samples.
    """
    import torch

    return torch.Generator().manual_seed(_mix(seed, *stream))


@contextmanager
def seeded_globals(seed: int, *stream: str | int) -> Iterator[None]:
    """Inside: torch's global generator seeded (initialisers and dropout draw from it). After: as it was."""
    import torch

    sources = [torch.default_generator]
    sources += torch.cuda.default_generators if device().type == "cuda" else []
    with _global_chance:
        before = [source.get_state() for source in sources]
        for source in sources:
            source.manual_seed(_mix(seed, *stream))
        try:
            yield
        finally:
            for source, state in zip(sources, before, strict=True):
                source.set_state(state)


def _mix(seed: int, *stream: str | int) -> int:
    digest = hashlib.blake2b(repr((int(seed), *stream)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def wilson(correct: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a proportion, 95 % by default (Wilson, 1927); (0, 1) where nothing was counted."""
    if count == 0:
        return 0.0, 1.0
    share = correct / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = (
        z
        * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
        / (1 + z * z / count)
    )
    return max(0.0, centre - half), min(1.0, centre + half)


# ---------------------------------------------------------------- numbers that somebody gives


def whole_number(value: Any) -> int | None:
    """The value as a plain int, or None where it is no whole number.

    numpy's and torch's whole numbers are accepted, because counts often come out of an array. True and False are not:
    `epochs=True` is a mistake. The plain int is what goes into cards, shared lines and JSON.
    """
    value = _unwrapped(value)
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def real_number(value: Any) -> int | float | None:
    """The value as a plain int or float, or None where it is no real number.

    numpy's and torch's numbers are accepted, True and False are not. What no float can hold, such as 10**400, is an
    infinity of the same sign: every range check refuses it, and no arithmetic later overflows. NaN stays NaN.
    """
    value = _unwrapped(value)
    if isinstance(value, bool) or not issubclass(type(value), numbers.Real):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    whole = whole_number(value)
    return as_float if whole is None else whole


def _unwrapped(value: Any) -> Any:
    """Python's own number out of a numpy scalar, or out of an array or tensor without dimensions."""
    return value.item() if getattr(value, "shape", None) == () else value


# ---------------------------------------------------------------- precision


@dataclass(frozen=True)
class Precision:
    """How the numbers of a run are held: arithmetic in `dtype`, images laid out in `memory_format`."""

    dtype: Dtype = "fp32"
    memory_format: MemoryFormat = "contiguous"

    def __str__(self) -> str:
        return f"{self.dtype}, {self.memory_format}"


PRECISIONS = (
    Precision("fp32", "contiguous"),
    Precision("fp32", "channels_last"),
    Precision("bf16", "contiguous"),
    Precision("bf16", "channels_last"),
)


CLEARLY = 0.9  # of the time: a difference that is no accident
TURNS = 3  # for the clock, after one to warm up


def choose_precision(key: str, trial: Callable[[Precision], object]) -> Precision:
    """The precision in which `trial` runs fastest on this machine, measured once and remembered.

    bf16 is nearly twice as fast where the processor has instructions for it and far slower where it has not;
    channels_last helps or hurts by shape. So we measure: the candidates run in turns, once to warm up and three
    times for the clock, and one takes the place of a plainer one only if it is a tenth faster: on a busy machine less
    is chance.
    `key` names the work; the answer is kept in `cache_dir()` per machine, torch version and thread count.
    """
    memory = cache_dir() / "precision.json"
    full_key = f"{_machine()}|{key}"
    known = _read_json(memory)
    if known.get(full_key) in [[p.dtype, p.memory_format] for p in PRECISIONS]:
        return next(p for p in PRECISIONS if [p.dtype, p.memory_format] == known[full_key])
    seconds = _seconds(trial)
    best = PRECISIONS[0]
    for precision in PRECISIONS[1:]:
        if seconds[precision] < CLEARLY * seconds[best]:
            best = precision
    known[full_key] = [best.dtype, best.memory_format]
    with suppress(OSError):  # a read-only home costs a new measurement next time, nothing more
        write_atomic(memory, json.dumps(known, indent=1).encode())
    return best


def _seconds(trial: Callable[[Precision], object]) -> dict[Precision, float]:
    """The shortest time of each candidate. They take turns, so that a busy moment of the machine meets them all."""
    best = dict.fromkeys(PRECISIONS, math.inf)
    for turn in range(1 + TURNS):
        for precision in PRECISIONS:
            start = time.perf_counter()
            trial(precision)
            if turn:  # the first is to warm up
                best[precision] = min(best[precision], time.perf_counter() - start)
    return best


def _machine() -> str:
    import torch

    return f"{platform.machine()} {_processor()} torch {torch.__version__} {device()} {threads()} threads"


@lru_cache(maxsize=1)
def _processor() -> str:
    """What decides the speed of an instruction: the processor's features, in a short name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        line = next(line for line in text.splitlines() if line.startswith(("flags", "Features")))
        return hashlib.blake2b(line.encode(), digest_size=4).hexdigest()
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _read_json(path: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


# ---------------------------------------------------------------- folders and files


def cache_dir() -> Path:
    """Where downloads and measurements are kept; `LABKIT_CACHE` overrides it. Not created until written to."""
    import platformdirs

    override = os.environ.get("LABKIT_CACHE")
    return Path(override).expanduser() if override else Path(platformdirs.user_cache_dir("labkit"))


def data_dir() -> Path | None:
    """The folder of data sets that are already at hand (`LABKIT_DATA`), or None."""
    override = os.environ.get("LABKIT_DATA")
    return Path(override).expanduser() if override else None


def is_offline() -> bool:
    """Whether the learner said that there is no network (`LABKIT_OFFLINE=1`)."""
    return os.environ.get("LABKIT_OFFLINE", "") not in ("", "0")


def write_atomic(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> Path:
    """Write a file whole or not at all: to a temporary name beside it, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
