"""What the learner guessed, chose, solved and opened, kept in one local JSON file and sent nowhere.

The file is read again before each change and written whole or not at all, so two notebooks can share it and a crash
leaves the last good state. A file that cannot be read is set aside under another name, never overwritten.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Literal, get_args

import platformdirs

from labkit.errors import UNREADABLE
from labkit.runtime import write_atomic

Drawer = Literal["predictions", "quizzes", "exercises", "seals"]
Record = dict[str, dict[str, dict[str, Any]]]

_VERSION = 1
# What labkit itself keeps under these names; in a quiz's entry the names are its questions, and the values are text.
_KINDS: dict[str, type] = {
    **dict.fromkeys(("question", "guess", "outcome", "when", "run", "recipe"), str),
    **dict.fromkeys(("confidence", "attempts", "hints", "seed", "correct", "count"), int),
    "choices": list,
    "solved": bool,
    "told": dict,
}
_one_at_a_time = RLock()  # widget callbacks and cells run in different threads


def path() -> Path:
    """Where progress is kept: `LABKIT_PROGRESS`, else `progress.json` in the user's data folder."""
    chosen = os.environ.get("LABKIT_PROGRESS")
    return Path(chosen) if chosen else platformdirs.user_data_path("labkit") / "progress.json"


def read(drawer: str) -> dict[str, dict[str, Any]]:
    """All entries of a drawer by their id, as they lie on disk now; a drawer that there is not is empty."""
    with _one_at_a_time:
        return _load().get(drawer, {})


@contextmanager
def entry(drawer: Drawer, name: str) -> Iterator[dict[str, Any]]:
    """The entry to be changed in place; it is saved when the block ends without an error."""
    with _one_at_a_time:
        record = _load()
        yield record[drawer].setdefault(name, {})
        _save(record)


def forget() -> None:
    """Remove everything that was kept."""
    with _one_at_a_time:
        path().unlink(missing_ok=True)


def _load() -> Record:
    file = path()
    try:
        return _understood(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return _understood({"version": _VERSION})
    except OSError as problem:  # a folder, or a file of somebody else's: it stays as it is
        _not_kept(problem)
        return _understood({"version": _VERSION})
    except UNREADABLE as problem:  # not UTF-8, not JSON, or not ours
        aside = _set_aside(file)
        warnings.warn(
            f"Your progress file {file} could not be read ({problem}). "
            f"It was kept as {aside.name}, and a new one begins.",
            stacklevel=4,
        )
        return _understood({"version": _VERSION})


def _understood(content: Any) -> Record:
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        raise ValueError(f"it is not a labkit progress file of version {_VERSION}")
    drawers = {name: content.get(name, {}) for name in get_args(Drawer)}
    for drawer in drawers.values():
        if not isinstance(drawer, dict) or not all(isinstance(e, dict) for e in drawer.values()):
            raise ValueError("its entries are damaged")
    return {
        name: {id: _sound(entry) for id, entry in drawer.items()}
        for name, drawer in drawers.items()
    }


def _sound(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without values of a wrong kind, which count as if they had never been kept."""
    return {name: value for name, value in entry.items() if _is_sound(value, _KINDS.get(name))}


def _is_sound(value: object, kind: type | None) -> bool:
    return kind is None or (isinstance(value, kind) and isinstance(value, bool) == (kind is bool))


def _set_aside(file: Path) -> Path:
    number = 1
    while (aside := file.with_name(f"{file.name}.unreadable-{number}")).exists():
        number += 1
    os.replace(file, aside)
    return aside


def _save(record: Record) -> None:
    """Write the record; a disk that cannot be written to costs the memory of progress, not the lesson."""
    content = json.dumps({"version": _VERSION, **record}, indent=1, ensure_ascii=False)
    try:
        write_atomic(path(), content.encode())
    except OSError as problem:
        _not_kept(problem)


def _not_kept(problem: OSError) -> None:
    warnings.warn(
        f"Progress was not saved ({problem}). Set LABKIT_PROGRESS to a file you may read and write.",
        stacklevel=5,
    )
