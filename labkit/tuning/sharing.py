"""A run as one line of text: what another learner pastes to get the same run.

The line holds names, settings and commands, never weights and never code. It is read with the care that anything
pasted deserves: bounded in size, parsed as JSON, every value checked by the same doors as a learner's own.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

from labkit.data import load_data
from labkit.data.cards import cards
from labkit.errors import LabkitError, ShareError
from labkit.models import load_backbone
from labkit.tuning.commands import LoggedCommand, check_settings
from labkit.tuning.plans import Plan

if TYPE_CHECKING:
    from labkit.tuning.run import Run

PREFIX = "labkit1."
LARGEST = 1_000_000  # characters of JSON: hours of fast clicking


def to_line(run: Run) -> str:
    """One line of printable ASCII that describes the run, without weights or data."""
    content = {
        "net": run.net.spec(),
        "data": run.data.spec(),
        "plan": run.plan.to_dict(),
        "seed": run.seed,
        "name": run.name,
        "log": [[command.step, command.kind, dict(command.args)] for command in run.log],
    }
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def from_line(line: str) -> Run:
    """The run a line describes, at step 0; its commands come again at their steps as it trains.

    Raises:
        ShareError: the line is damaged, or describes something this labkit does not have.
    """
    from labkit.tuning.run import Run

    content = _unpack(line)
    try:
        _refuse_files(content["net"], content["data"])
        net, data = load_backbone(**content["net"]), load_data(**content["data"])
        run = Run(
            net, data, Plan.from_dict(content["plan"]), content["seed"], str(content["name"])[:200]
        )
        run._script = deque(
            _logged(int(step), kind, args, run) for step, kind, args in content["log"]
        )
    except LabkitError as error:
        raise ShareError(f"This line describes a run that cannot be made here. {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShareError(
            f"This line does not describe a run ({error!r}). Copy it again, whole."
        ) from error
    return run


def _unpack(line: str) -> dict[str, Any]:
    text = str(line).strip()
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


def _refuse_files(net: dict[str, Any], data: dict[str, Any]) -> None:
    """A stranger's line may name what everybody has; it may not make this machine open a file."""
    if data["name"] not in cards() or net.get("weights", "pretrained") not in ("pretrained", None):
        raise ShareError(
            "It uses somebody's own files. Load your copy of them and build the run by hand."
        )


def _logged(step: int, kind: object, args: Any, run: Run) -> LoggedCommand:
    """A command of a line: a change of settings, or the end that a budget made."""
    if kind == "end" and args == {"reason": "budget"}:
        return LoggedCommand(step, "end", args)
    if kind != "set":
        raise ShareError(f"A shared run may only set settings, not {kind!r}.")
    return LoggedCommand(step, "set", check_settings(args, run))
