"""A pasted line is a stranger's text: it is read with care, or refused in words."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

import labkit
from labkit.errors import ShareError
from labkit.tuning import Run
from labkit.tuning.sharing import PREFIX


def line_of(content: Any) -> str:
    packed = zlib.compress(json.dumps(content).encode())
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def described(**changes: Any) -> dict[str, Any]:
    return {
        "net": {"name": "resnet10-glyphs"},
        "data": {"name": "digits"},
        "plan": labkit.full().to_dict(),
        "seed": 0,
        "name": "shared",
        "log": [],
        **changes,
    }


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        PREFIX,
        PREFIX + "!!!!",
        PREFIX + "AAAA",
        line_of(described())[:-9],
        line_of([1, 2]),
        line_of({}),
        line_of(described(seed=-1)),
        line_of(described(seed="0; import os")),
        line_of(described(plan={"name": "x", "phases": []})),
        line_of(described(net={"name": "no-such-net"})),
        line_of(described(net=3)),
        line_of(described(data={"name": "no-such-data"})),
        line_of(described(log=[[3, "rewind", {"step": 0}]])),
        line_of(described(log=[[3, "set", {"lr": 99}]])),
        line_of(described(log=[["three", "set", {"lr": 0.1}]])),
        line_of(described(log="all")),
        PREFIX + base64.urlsafe_b64encode(zlib.compress(b"[" * 50_000_000)).decode(),
    ],
)
def test_a_bad_line_is_refused_in_words(line: str) -> None:
    with pytest.raises(ShareError, match=r"[Cc]opy|cannot be made here|may only"):
        Run.from_line(line)


def test_a_good_line_is_taken() -> None:
    run = Run.from_line(line_of(described(name="<b>mine</b>", log=[[3, "set", {"lr": 1e-4}]])))
    assert run.name == "<b>mine</b>"
    assert run.step_number == 0


@pytest.mark.parametrize("field", ["net", "data"])
def test_a_line_cannot_open_files_of_the_learner(field: str, tmp_path: Any) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ShareError):
        Run.from_line(line_of(described(**{field: {"name": str(tmp_path)}})))
