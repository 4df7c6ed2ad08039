"""The JSON beside a record of runs: the recipe, machine, versions and seconds that its numbers belong to."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labkit import runtime
from labkit.errors import UNREADABLE, EvidenceError, LabkitError

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn")


def read_story(path: Path, error: type[LabkitError] = EvidenceError) -> dict[str, Any]:
    """What the JSON beside a record says; empty where there is none. Raises `error` where it cannot be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, *UNREADABLE) as trouble:
        raise error(f"{path.name} cannot be read ({trouble}). Build it again.") from trouble


def write_story(path: Path, story: dict[str, Any]) -> Path:
    """Write the JSON beside a record, whole or not at all."""
    text = json.dumps(story, indent=1, ensure_ascii=False) + "\n"
    return runtime.write_atomic(path, text.encode())


def machine_and_versions() -> dict[str, str]:
    """What runs are made on and with."""
    return {
        "processor": runtime.processor_name(),
        "device": str(runtime.device()),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
