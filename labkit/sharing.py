"""A run as one line of text: what another learner pastes to get the same run.

The line holds names, settings and commands, never weights and never code. It is read with the care that anything
pasted deserves: bounded in size, parsed as JSON, every value checked by the same functions as a learner's own. What
can be judged without network and data is judged before they are loaded, and nothing is downloaded unless it was asked
for.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from labkit import runtime
from labkit.data import load_data
from labkit.data.cards import card, cards
from labkit.data.fetching import to_download
from labkit.errors import (
    UNREADABLE,
    CommandError,
    DownloadError,
    LabkitError,
    ShareError,
    clipped,
    shown,
)
from labkit.models import load_backbone
from labkit.models.vision.shipped import ALIASES, SHIPPED
from labkit.tuning.commands import LoggedCommand, check_settings, check_values
from labkit.tuning.contracts import spec_of
from labkit.tuning.given import a_flag, a_run, takes
from labkit.tuning.plans import Plan, check_seed

if TYPE_CHECKING:
    from labkit.tuning.run import Run

PREFIX = "labkit1."
LARGEST = 1_000_000  # characters of JSON: hours of fast clicking
NAME = 200  # characters of a run's name
SENTENCE = 1000  # of the reason why a line is refused
BUDGET = {"reason": "budget"}  # the only end that a line may tell of


@takes(run=a_run)
def to_line(run: Run) -> str:
    """One line of printable ASCII that describes the run, without weights or data."""
    content = {
        "net": spec_of(run.net),
        "data": spec_of(run.data),
        "plan": run.plan.to_dict(),
        "seed": run.seed,
        "name": run.name,
        "log": [[command.step, command.kind, dict(command.args)] for command in run.log],
    }
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


@takes(download=a_flag)
def from_line(line: str, download: bool = False) -> Run:
    """The run a line describes, at step 0; its commands come again at their steps as it trains.

    Args:
        line: what `to_line` gave.
        download: whether to download what it needs and this machine does not have yet.

    Raises:
        ShareError: the line is damaged, or describes something this labkit does not have.
        DownloadError: data or weights would have to be downloaded first; it says which, and how large they are.
    """
    try:
        content = _unpack(line)
        plan, seed = Plan.from_dict(content["plan"]), check_seed(content["seed"])
        log = [_logged(*command) for command in content["log"]]
        net, data = _parts(content["net"], content["data"])
        if not download:
            _ask_first(net, data)
        run = _built(net, data, plan, seed, _text(content["name"]))
        run.loop.repeat(_fitting(command, run) for command in log)
    except ShareError:
        raise
    except LabkitError as error:
        raise ShareError(
            f"This line describes a run that cannot be made here. {clipped(str(error), SENTENCE)}"
        ) from error
    except UNREADABLE as error:
        raise ShareError(
            f"This line does not describe a run ({type(error).__name__}: {shown(error)}). Copy it again, whole."
        ) from error
    return run


def _unpack(line: str) -> dict[str, Any]:
    text = line.strip() if isinstance(line, str) else ""
    if not text.startswith(PREFIX):
        raise ShareError(
            f"A shared run starts with {PREFIX!r}. Copy the whole line from the console."
        )
    try:
        packed = base64.urlsafe_b64decode(text[len(PREFIX) :] + "==")
        unpacker = zlib.decompressobj()
        content = json.loads(unpacker.decompress(packed, LARGEST))
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise ShareError("This line is damaged or cut short. Copy it again, whole.") from error
    if not isinstance(content, dict):
        raise ShareError("This line does not describe a run. Copy it again, whole.")
    return content


def _text(name: object) -> str:
    """A run's name of bounded length, in characters that can be sent and written."""
    if not isinstance(name, str):
        raise ShareError(f"A run's name is text, and this line has {shown(name)}. Copy it again.")
    return name[:NAME].encode("utf-8", "replace").decode("utf-8")


def _parts(net: dict[str, Any], data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What describes the network and the data. A line may name what everybody has; it may not make this machine open
    a file, nor decide how much memory is used here."""
    weights = net.get("weights", "pretrained")
    if data["name"] not in cards() or weights not in ("pretrained", None) or "memory" in data:
        raise ShareError(
            "This line cannot be made here: it uses somebody's own files. Load your copy of them and build the run by "
            "hand."
        )
    return {**net, "weights": weights}, data


def _built(net: dict[str, Any], data: dict[str, Any], plan: Plan, seed: int, name: str) -> Run:
    from labkit.tuning.run import Run

    return Run(_loaded(load_backbone, net), _loaded(load_data, data), plan, seed, name)


_known: WeakValueDictionary[str, Any] = WeakValueDictionary()


def _loaded(load: Callable[..., Any], spec: Mapping[str, Any]) -> Any:
    """What a line describes; the same for every line that describes it, as long as one of their runs is there.

    Lines pasted one after the other mostly differ in their commands, and network and data take many megabytes.
    """
    key = json.dumps([load.__name__, spec], sort_keys=True)
    found = _known.get(key)
    if found is None:
        _known[key] = found = load(**spec)
    return found


# ---------------------------------------------------------------- what would be downloaded


def _ask_first(net: dict[str, Any], data: dict[str, Any]) -> None:
    """Refuse to download what nobody asked for by name. Where there is no network, loading says so better."""
    needed = [*_weights_to_download(net), *_data_to_download(data["name"])]
    if needed and not runtime.is_offline():
        raise DownloadError(
            f"This run needs {' and '.join(needed)}, to be downloaded first. Nothing was downloaded yet.",
            "labkit.from_line(line, download=True) downloads it and opens the run.",
        )


def _weights_to_download(net: dict[str, Any]) -> list[str]:
    name = ALIASES.get(net["name"], net["name"])
    if net["weights"] is None or name in SHIPPED:
        return []
    from labkit.models.vision import published

    if not published.knows(name) or published.is_cached(name):
        return []
    return [f"the weights of {name} ({published.weights_of(name).megabytes:.0f} MB)"]


def _data_to_download(name: str) -> list[str]:
    archives = to_download(card(name))
    if not archives:
        return []
    size = sum(archive.size or 0 for archive in archives)
    return [f"the data set {name} ({size / 1e6:.0f} MB)" if size else f"the data set {name}"]


# ---------------------------------------------------------------- the commands of a line


def _logged(step: object, kind: object, args: Any) -> LoggedCommand:
    """A command of a line, a change of settings or the end that a budget made, judged without network and data."""
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise CommandError(f"A command's step is a whole number from 0 on, not {shown(step)}.")
    if kind == "end" and args == BUDGET:
        return LoggedCommand(step, "end", BUDGET)
    if kind != "set":
        raise ShareError(f"A shared run may only set settings, not {shown(kind)}.")
    return LoggedCommand(step, "set", check_values(args))


def _fitting(command: LoggedCommand, run: Run) -> LoggedCommand:
    """The command, judged by the network and the data of the run as well."""
    if command.kind == "end":
        return command
    return LoggedCommand(command.step, "set", check_settings(command.args, run))
