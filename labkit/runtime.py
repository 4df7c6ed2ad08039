"""What the machine is and what chance does: device, threads, memory, precision, seeds, numbers, folders.

The ground floor: every room may import it and it imports none of ours. torch is imported inside the functions that
need it, so that asking for a folder never costs half a second.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import gc
import hashlib
import json
import math
import numbers
import operator
import os
import platform
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import IO, TYPE_CHECKING, Any, Literal
from uuid import uuid4

if TYPE_CHECKING:
    import torch

MemoryFormat = Literal["contiguous", "channels_last"]
Dtype = Literal["fp32", "bf16"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt's names for them, in malloc.h
FREE_END = 16 * 2**20  # bytes
LARGE_BLOCK = 32 * 2**20  # bytes: larger ones are none of a heap's; glibc allows no more
TUNED = ("MALLOC_", "GLIBC_TUNABLES")  # variables by which people tune the C library
LARGEST_SEED = 2**63 - 1  # what 64 bits hold
ROOT = Path("/")  # below which the system describes itself; another one in tests


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


def memory_limit(root: Path = ROOT) -> int | None:
    """The memory this process may use in bytes (control groups, else the machine), or None if unknown."""
    limits = list(_numbers(_groups("", root), "memory.max"))
    limits += _numbers(_groups("memory", root), "memory.limit_in_bytes")
    with suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=None)


def _cgroup_cpus(root: Path = ROOT) -> float | None:
    """The CPU limit of the control groups in cores, or None where there is none."""
    limits = []
    for group in _groups("", root):
        with suppress(OSError, ValueError):  # "max 100000" or "200000 100000"
            quota, period = map(int, (group / "cpu.max").read_text().split())
            limits.append(quota / period)
    for group in _groups("cpu", root):
        with suppress(OSError, ValueError):  # -1 means no limit
            quota = int((group / "cpu.cfs_quota_us").read_text())
            period = int((group / "cpu.cfs_period_us").read_text())
            limits += [quota / period] if quota > 0 else []
    return min(limits, default=None)


def _numbers(folders: Iterator[Path], name: str) -> Iterator[int]:
    for folder in folders:
        with suppress(OSError, ValueError):  # no such file, or "max"
            yield int((folder / name).read_text())


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of the control group of this process and of all groups above it, up to the root of the mount.

    A limit holds for everything below it, and a spawner or a scheduler sets it on a group deep inside, so each level
    is asked. `controller` is the name of one of version 1, or "" for version 2, which has one tree for all.
    """
    with suppress(OSError, StopIteration, ValueError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        names = (line.split(":", 2)[1:] for line in lines)
        inside = next(path for who, path in names if controller in who.split(","))
        for mount, shown in _cgroup_mounts(controller, root):
            # What the mount shows begins at `shown`; a container is often shown its own group as the root.
            below = PurePosixPath(inside)
            below = below.relative_to(shown) if below.is_relative_to(shown) else PurePosixPath()
            for level in (below, *below.parents):
                yield mount / level


def _cgroup_mounts(controller: str, root: Path) -> Iterator[tuple[Path, str]]:
    """Where a controller is mounted, and which group is the root of what is seen there."""
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        shown, mount = place.split()[3:5]
        filesystem, _, options = kind.split(maxsplit=2)
        if filesystem == ("cgroup" if controller else "cgroup2") and (
            not controller or controller in options.split(",")
        ):
            yield root / mount.lstrip("/").replace("\\040", " "), shown


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
def bound_free_memory() -> None:
    """Have what is freed go back to the system, once, where the C library would keep much of it in every thread.

    glibc gives each thread a heap of its own and lets the end of it lie when that is free, up to twice the largest
    block ever freed: 64 MB a heap. Every run that trains in the background is a thread, so half an hour of play at the
    console left 0.25 GB that nobody used, and `malloc_trim` leaves the ends of such heaps alone. With a bound of 16 MB
    steps are as fast as before. Whoever has tuned it by hand knows better, and nothing is changed.
    """
    if sys.platform == "linux" and not any(name.startswith(TUNED) for name in os.environ):
        with suppress(OSError, AttributeError):  # another C library
            set_option = ctypes.CDLL(None).mallopt
            # Both: once one is set, glibc no longer moves the other.
            set_option(M_MMAP_THRESHOLD, LARGE_BLOCK)
            set_option(M_TRIM_THRESHOLD, FREE_END)


@lru_cache(maxsize=1)
def limit_threads() -> int:
    """Tell torch how many threads it may use, once, and return the number."""
    import torch

    bound_free_memory()
    torch.set_num_threads(threads())
    return torch.get_num_threads()


@lru_cache(maxsize=1)
def freeze_gc() -> None:
    """Call gc.freeze() once: modules that are loaded for good are left out of every later collection.

    With torch and its like loaded, a full collection took 0.3 s, at any time, and no slider was answered meanwhile.
    """
    gc.collect()  # what is garbage now would be found late
    gc.freeze()
    gc.callbacks.append(_look_everywhere_when_asked)
    atexit.register(_spare_nothing)


def _look_everywhere_when_asked(phase: str, info: dict[str, int]) -> None:
    """Called before and after each pass: one that somebody asks for, with `gc.collect()`, spares nothing.

    What a notebook made before its first run is spared, too: a Learner, say, with its weights on a graphics card. A
    pass that comes by itself begins with more new objects than the threshold, one that is asked for with fewer.
    """
    if info["generation"] < 2:
        return
    if phase == "stop":
        if not gc.get_freeze_count():
            gc.freeze()
    elif not gc.isenabled() or gc.get_count()[0] <= gc.get_threshold()[0]:
        gc.unfreeze()


def _spare_nothing() -> None:
    """Python ends: Triton would say that what is spared was left behind."""
    with suppress(ValueError):
        gc.callbacks.remove(_look_everywhere_when_asked)
    gc.unfreeze()


# ---------------------------------------------------------------- chance

_global_chance = RLock()  # torch's global generator is one per process, and engines are several


def generator(seed: int, *stream: str | int) -> torch.Generator:
    """An independent random generator for a seed and a named stream.

    The same seed and names give the same numbers everywhere; another name gives unrelated ones, so that drawing one
    number more for the augmentation never changes the order of the samples.
    """
    import torch

    return torch.Generator(device="cpu").manual_seed(_mix(seed, *stream))


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


@contextmanager
def plain_torch() -> Iterator[None]:
    """Inside: gradients are taken, and a tensor is made on the CPU unless its maker says where.

    An earlier cell may have switched gradients off or named another default device; training must not depend on it.
    """
    import torch

    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.device("cpu") if _makes_tensors_elsewhere() else nullcontext(),
    ):
        yield


def _makes_tensors_elsewhere() -> bool:
    """Whether a tensor is not made on the CPU where its maker does not say."""
    import torch

    try:
        return torch.get_default_device().type != "cpu"
    except AttributeError:
        return (
            False  # torch 2.4 cannot tell once `torch.set_default_device(None)` took a default back
        )


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


@lru_cache
def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: so many standard errors reach to either end of a 95 % interval.

    Found by halving, from the closed form for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4),
    because scipy takes a third of a second to import.
    """
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(freedom)
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(high)


def _within(angle: float, freedom: int) -> float:
    """The share of Student's t between -t and t, where `angle` is the arc tangent of t / sqrt(freedom)."""
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for power in range(2 + odd, freedom + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (power - 1) / power
    share = total * math.sin(angle)
    return (angle + share) * 2 / math.pi if odd else share


# ---------------------------------------------------------------- numbers that somebody gives


def whole_number(value: Any) -> int | None:
    """The value as a plain int, or None where it is no whole number.

    numpy's and torch's whole numbers are accepted, because counts often come out of an array. True and False are not:
    `epochs=True` is a mistake. The plain int is what goes into cards, shared lines and JSON.
    """
    value = plain_scalar(value)
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
    value = plain_scalar(value)
    if isinstance(value, bool) or not issubclass(type(value), numbers.Real):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    whole = whole_number(value)
    return as_float if whole is None else whole


def plain_scalar(value: Any) -> Any:
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
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of a processor that multiplies in bf16


def has_bf16() -> bool:
    """Whether arithmetic in bf16 is fast on the device that runs train on.

    A graphics card says so itself. A processor is believed by its flags until `confirm_bf16` has measured here: where
    it has no instructions for bf16, bf16 works too, but far slower.
    """
    import torch

    if device().type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device().type != "cpu":
        return False
    measured = remembered("bf16")
    return measured == ["fast"] if measured else bool(BF16_FLAGS & _processor_flags())


def confirm_bf16() -> float:
    """How many times faster than fp32 a convolution in bf16 is here; remembered, and `has_bf16` goes by it.

    It takes a tenth of a second on two cores, so it is for `labkit doctor` and never stands before a first step.
    """
    import torch

    where = device()
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(where)
    images = torch.rand(16, 64, 32, 32, device=where)

    def seconds(reduced: bool) -> float:
        with torch.autocast(where.type, torch.bfloat16, enabled=reduced):
            return min(_timed(lambda: layer(images).sum().backward()) for _ in range(5))

    ratio = seconds(False) / seconds(True)
    remember("bf16", ["fast" if ratio * CLEARLY > 1 else "slow"])
    return ratio


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def remembered(key: str) -> list[str] | None:
    """What was measured under that name on this machine, with this torch and so many threads, if anything was."""
    return _read_json(_precisions()).get(f"{_machine()}|{key}")


def remember(key: str, answer: list[str]) -> None:
    """Keep what was measured, for `remembered`."""
    known = _read_json(_precisions()) | {f"{_machine()}|{key}": answer}
    with suppress(OSError):  # a read-only home costs a new measurement next time, nothing more
        write_atomic(_precisions(), json.dumps(known, indent=1).encode())


def _precisions() -> Path:
    """Where it is kept what was measured of arithmetic on this machine."""
    return cache_dir() / "precision.json"


def _machine() -> str:
    import torch

    return f"{platform.machine()} {_processor()} torch {torch.__version__} {device()} {threads()} threads"


@lru_cache(maxsize=1)
def _processor() -> str:
    """What decides the speed of an instruction: the processor's features, in a short name."""
    line = _features()
    if not line:
        return platform.processor() or "unknown"
    return hashlib.blake2b(line.encode(), digest_size=4).hexdigest()


def _processor_flags() -> set[str]:
    return set(_features().split())


def _features() -> str:
    """The line in which Linux names the processor's features, or nothing."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    lines = text.splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _read_json(path: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError, RecursionError):
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


def lock(file: IO[bytes]) -> bool | None:
    """Lock an open file until it is closed or this process dies, however it dies.

    True: it is locked now. False: another process has it. None: this file system has no locks.
    """
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(
                1 << 20
            )  # a byte beyond what is written in it, which others must be able to read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


Content = bytes | Callable[[IO[bytes]], object]


def write_atomic(path: Path, content: Content) -> Path:
    """Write a file whole or not at all: to a temporary name beside it, synced, then renamed.

    A link stays a link: what it points to is written. A file that is there already keeps its mode.
    Raises OSError where it cannot be written, or is no regular file.
    """
    return write_together({path: content})[0]


def write_together(contents: Mapping[Path, Content]) -> list[Path]:
    """Write files that belong together, all or none: each as `write_atomic` does, and none takes its place before all
    are on the disk. Returns their paths."""
    ready: list[tuple[Path, Path]] = []  # (temporary, place)
    try:
        for path, content in contents.items():
            place = Path(os.path.realpath(path))
            place.parent.mkdir(parents=True, exist_ok=True)
            # short, because the name of the file may be as long as names can be
            temporary = place.with_name(f".{place.name[:40]}.{uuid4().hex}.part")
            ready.append((temporary, place))
            _pour(content, temporary, _mode(place))
        for temporary, place in ready:
            _replace(temporary, place)
    except BaseException:
        for temporary, _ in ready:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise
    return list(contents)


def _mode(place: Path) -> int | None:
    """The mode of a file that will be replaced, None where there is none. OSError for what no file can replace."""
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(place))
    if not stat.S_ISREG(mode):  # a device or a pipe: a rename would put a file in its place
        raise OSError(errno.EINVAL, "it is not a regular file", str(place))
    return stat.S_IMODE(mode)


def _pour(content: Content, temporary: Path, mode: int | None) -> None:
    with temporary.open("xb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if mode is not None:
        temporary.chmod(mode)


def _replace(temporary: Path, path: Path) -> None:
    """Rename onto `path`. On Windows that fails while somebody reads the old file, so it is tried for half a second."""
    for wait in (0.02, 0.04, 0.08, 0.16, 0.2):
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(wait)
    os.replace(temporary, path)
