"""What works on this machine, in words, and what to do about what does not.

Every check does the thing itself, small: a gradient on the device, the operator that a mismatched torchvision lacks,
a look at the files. Nothing here raises and nothing is changed or fetched: a check that breaks becomes a finding.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from textwrap import fill
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

from labkit import hosts, runtime

Status = Literal["ok", "warn", "fail"]

GB = 10**9
ENOUGH_MEMORY = 2 * GB  # Binder's limit; a lesson's kernel stays below 1.4 GB
ENOUGH_DISK = 1 * GB
PATIENCE = 2.0  # seconds to wait for an answer from the network

WIDTH = 79  # characters; what a narrow notebook shows without breaking words
MARGIN = 20 * " "  # beside it stand status and name

SHIPPED = ("resnet10", "resnet10-glyphs")

# ipywidgets in Python and its half in the browser carry different numbers; these belong together.
FRONT_ENDS = {"7": "1", "8": "3"}


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it stands, what was seen, and what to do when it is not well."""

    name: str
    status: Status
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        lines = [f"{self.status:<5} {self.name:<13} {_beside(self.detail).lstrip()}"]
        return "\n".join([*lines, _beside(self.advice)] if self.advice else lines)


def _beside(text: str) -> str:
    """The text in lines that stand beside a margin; words, and paths, stay whole."""
    return fill(
        text,
        WIDTH,
        initial_indent=MARGIN,
        subsequent_indent=MARGIN,
        break_long_words=False,
        break_on_hyphens=False,
    )


@dataclass(frozen=True)
class Checks:
    """All findings, in the order in which they build on each other."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings are allowed."""
        return all(check.status != "fail" for check in self.checks)

    @property
    def summary(self) -> str:
        """One sentence."""
        failed = [check.name for check in self.checks if check.status == "fail"]
        warned = [check.name for check in self.checks if check.status == "warn"]
        if failed:
            return f"The lab will not work before this is put right: {', '.join(failed)}."
        return (
            f"The lab works here. Worth a look: {', '.join(warned)}."
            if warned
            else "The lab works here."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "ok": self.ok,
            "summary": self.summary,
            "checks": [asdict(check) for check in self.checks],
        }

    def __str__(self) -> str:
        return "\n".join([*map(str, self.checks), "", self.summary])


def examine() -> Checks:
    """Look at everything; takes a few seconds, most of them for importing torch. Never raises."""
    return Checks(tuple(_guarded(name, look) for name, look in LOOKS.items()))


def _guarded(name: str, look: Callable[[], tuple[Status, str, str]]) -> Check:
    try:
        return Check(name, *look())
    except Exception as problem:
        seen = f"{type(problem).__name__}: {problem}".strip().splitlines()[0]
        return Check(name, "fail", seen, hosts.how_to_start_afresh())


# ---------------------------------------------------------------- the machine


def python() -> tuple[Status, str, str]:
    return (
        "ok",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.prefix}",
        "",
    )


def torch_pair() -> tuple[Status, str, str]:
    """torchvision's compiled operators load only into the torch that they were built for."""
    import torch

    seen = f"torch {torch.__version__}"
    try:
        import torchvision
        from torchvision.ops import nms

        seen += f", torchvision {torchvision.__version__}"
        kept = nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([0.9, 0.1]), 0.5)
        if kept.tolist() == [0]:
            return "ok", f"{seen}; they were built for each other", ""
    except (ImportError, RuntimeError, AttributeError) as problem:
        seen += f"; {str(problem).splitlines()[0]}"
    if hosts.host() in ("colab", "binder"):  # which bring a pair that fits
        return "fail", seen, hosts.how_to_start_afresh()
    return "fail", seen, "Install torch and torchvision in one command and from one source."


def device() -> tuple[Status, str, str]:
    """A convolution and its gradient, checked against arithmetic: of ones, every inner pixel sums nine."""
    import torch

    where = runtime.device()
    images = torch.ones(1, 1, 8, 8, device=where, requires_grad=True)
    out = torch.nn.functional.conv2d(images, torch.ones(1, 1, 3, 3, device=where))
    out.sum().backward()
    right = bool((out == 9).all()) and images.grad is not None and images.grad[0, 0, 4, 4] == 9
    label = torch.cuda.get_device_name() if where.type == "cuda" else runtime.processor_name()
    if not right:
        return (
            "fail",
            f"{where} ({label}): a convolution came out wrong",
            "Set CUDA_VISIBLE_DEVICES= to use the CPU.",
        )
    return "ok", f"{where} ({label}): a convolution and its gradient came out right", ""


def threads() -> tuple[Status, str, str]:
    allowed, there = runtime.threads(), os.cpu_count() or 1
    seen = (
        f"{allowed} of the {there} cores that the machine reports"
        if allowed < there
        else f"{allowed} cores"
    )
    if allowed == 1:
        return "warn", seen, "Training works and takes about twice as long as the lessons say."
    return "ok", seen, ""


def memory() -> tuple[Status, str, str]:
    limit = runtime.memory_limit()
    if limit is None:
        return "ok", "no limit could be read", ""
    if limit < ENOUGH_MEMORY:
        return (
            "warn",
            f"{limit / GB:.1f} GB",
            "Run one lesson at a time and shut down the kernels of the others.",
        )
    return "ok", f"{limit / GB:.1f} GB may be used; a lesson needs about one", ""


def precision() -> tuple[Status, str, str]:
    """Runs go by what the processor says of itself; here it is measured, and they go by that from now on."""
    runtime.limit_threads()
    ratio = runtime.confirm_bf16()
    pace = f"{ratio:.1f} times faster" if ratio > 1 else f"{1 / ratio:.1f} times slower"
    use = "large networks train in bf16" if runtime.has_bf16() else "networks train in fp32"
    return "ok", f"a convolution is {pace} in bf16 than in fp32, so {use}", ""


def disk() -> tuple[Status, str, str]:
    folder = runtime.cache_dir()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    seen = f"{free / GB:.1f} GB free for {folder}"
    if not os.access(there, os.W_OK):
        return (
            "warn",
            f"{folder} cannot be written to",
            "Point LABKIT_CACHE to a folder of your own.",
        )
    if free < ENOUGH_DISK:
        return (
            "warn",
            seen,
            "Point LABKIT_CACHE to a disk with more room before you fetch photographs.",
        )
    return "ok", seen, ""


def network() -> tuple[Status, str, str]:
    """Being offline is no fault: what ships is enough for every lesson."""
    enough = "the lessons run on what ships with labkit"
    if runtime.is_offline():
        return "ok", f"offline, because LABKIT_OFFLINE is set; {enough}", ""
    if getproxies().get("https"):
        return "ok", "through a proxy; not tried", ""
    host = _archive_host()
    try:
        socket.create_connection((host, 443), timeout=PATIENCE).close()
    except OSError:
        return "ok", f"offline ({host} does not answer); {enough}", ""
    return "ok", f"{host} answers: photographs can be fetched", ""


# ---------------------------------------------------------------- the lab


def widgets() -> tuple[Status, str, str]:
    """The console needs a Python half and a browser half that fit each other."""
    names = ("ipywidgets", "anywidget", "ipykernel", "jupyterlab", "jupyterlab-widgets")
    found = {name: _version(name) for name in names}
    seen = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    missing = [name for name in ("ipywidgets", "anywidget", "ipykernel") if not found[name]]
    on_colab = hosts.host() == "colab"
    if missing:
        advice = hosts.how_to_install("" if on_colab else "lab")
        return "fail", f"{seen}; missing: {', '.join(missing)}", advice
    if on_colab:
        return "ok", f"{seen}; Colab brings its own front end", ""
    if not found["jupyterlab"]:
        return (
            "warn",
            f"{seen}; no JupyterLab beside them",
            f"To have one: {hosts.how_to_install('lab')} Or open the lessons elsewhere.",
        )
    wanted = FRONT_ENDS.get(str(found["ipywidgets"]).split(".")[0])
    if wanted and (found["jupyterlab-widgets"] or "").split(".")[0] != wanted:
        fit = hosts.how_to_install_package(f"jupyterlab-widgets=={wanted}.*")
        return (
            "fail",
            seen,
            f"They do not fit. {fit}, then reload the page.",
        )
    return "ok", seen, ""


def data() -> tuple[Status, str, str]:
    from labkit.data import describe

    table = describe()
    at_hand = list(table.loc[table["at_hand"], "name"])
    seen = f"at hand: {', '.join(at_hand)}"
    if "ants-bees" in at_hand:
        return "ok", seen, ""
    return (
        "ok",
        seen,
        "For photographs: `labkit data fetch ants-bees`, or set LABKIT_DATA to the folder they lie in.",
    )


def weights() -> tuple[Status, str, str]:
    """Both shipped backbones load and answer."""
    import torch

    from labkit import load_backbone

    for name in SHIPPED:
        net = load_backbone(name)
        out = net.build(num_classes=2)(torch.rand(1, 3, 64, 64))
        if out.shape != (1, 2) or not bool(out.isfinite().all()):
            return "fail", f"{name} gives nonsense", hosts.how_to_start_afresh()
    return "ok", f"{' and '.join(SHIPPED)} load and answer", ""


LOOKS: dict[str, Callable[[], tuple[Status, str, str]]] = {
    "Python": python,
    "PyTorch": torch_pair,
    "Device": device,
    "Threads": threads,
    "Memory": memory,
    "Precision": precision,
    "Widgets": widgets,
    "Weights": weights,
    "Data": data,
    "Disk": disk,
    "Network": network,
}


# ---------------------------------------------------------------- small tools


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _archive_host() -> str:
    """Where the photographs of the lessons are fetched from: the host to ask whether there is a network."""
    from labkit.data.cards import card

    return urlsplit(card("ants-bees").archives[0].url).hostname or ""
