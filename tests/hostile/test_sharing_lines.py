"""A pasted line is a stranger's text: it is read with care, or refused in words."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import labkit
from labkit.errors import DownloadError, ShareError
from labkit.sharing import PREFIX
from tests.nonsense import DEEP, HUGE, anything


def line_of(content: Any) -> str:
    packed = zlib.compress(json.dumps(content).encode())
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def packed(text: str) -> str:
    """A line of any JSON, of what `json.dumps` refuses to write too."""
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(text.encode())).decode().rstrip("=")


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


SCRATCH = labkit.from_scratch().to_dict()


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
        line_of(described(log=[[3, "set", {"lr": HUGE}]])),
        line_of(described(log=[[3, "set", {"trainable_from": HUGE}]])),
        line_of(described(log=[[float("inf"), "set", {"lr": 0.1}]])),
        line_of(described(log=[[float("nan"), "set", {"lr": 0.1}]])),
        line_of(described(log=[[-1, "set", {"lr": 0.1}]])),
        line_of(described(log=[[True, "set", {"lr": 0.1}]])),
        line_of(described(log=[[3, "set"]])),
        line_of(described(log=[[3, "set", ["lr"]]])),
        line_of(described(log=[[3, ["set"], {"lr": 0.1}]])),
        line_of(described(log=[[3, "end", {"reason": "plan"}]])),
        line_of(described(log={"a": 1})),
        line_of(described(seed=HUGE)),
        line_of(described(seed=float("inf"))),
        line_of(described(name=["a"])),
        line_of(described(net={"name": ["resnet10"]})),
        line_of(described(net={"name": "resnet10", "weights": HUGE})),
        line_of(described(data={"name": "digits", "memory": 10**12})),
        line_of(described(data={"name": "digits", "per_class": HUGE})),
        line_of(described(data={"name": "digits", "mislabelled": HUGE})),
        packed(json.dumps(described()).replace('"seed": 0', f'"seed": {"[" * DEEP}{"]" * DEEP}')),
        packed(json.dumps(described()).replace('"seed": 0', '"seed": ' + "9" * 5000)),
        packed('{"a":' * DEEP + "1" + "}" * DEEP),
    ],
    ids=range(41),
)
def test_a_bad_line_is_refused_in_words(line: str) -> None:
    with pytest.raises(ShareError, match=r"[Cc]opy|cannot be made here|may only"):
        labkit.from_line(line)


def changed(content: Any, path: list[Any], value: Any) -> Any:
    """The content with the value put where the path leads, as far as it leads anywhere."""
    if not path or not isinstance(content, dict | list) or not content:
        return value
    keys = list(content) if isinstance(content, dict) else range(len(content))
    key = keys[path[0] % len(keys)]
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[key] = changed(content[key], path[1:], value)
    return copy


LOGGED = [[3, "set", {"lr": 1e-4, "trainable_from": "head"}], [9, "end", {"reason": "budget"}]]


@given(path=st.lists(st.integers(0, 20), min_size=1, max_size=4), value=anything)
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_a_line_it_is_a_run_or_a_sentence(path: list[int], value: Any) -> None:
    content = described(
        data={"name": "digits", "size": 8, "seed": 0, "per_class": 2}, log=LOGGED, name="x"
    )
    try:
        line = line_of(changed(content, path, value))
    except (RecursionError, ValueError):
        return  # what JSON cannot hold stands in no line
    try:
        run = labkit.from_line(line)
    except ShareError as refusal:
        told = str(refusal)
    else:
        told = f"{run.name} {run!r}"
    assert 0 < len(told.encode("utf-8")) < 1500


def test_a_line_with_a_bad_command_is_refused_before_network_and_data_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("labkit.sharing.load_data", lambda **_: loaded.append("data"))
    monkeypatch.setattr("labkit.sharing.load_backbone", lambda **_: loaded.append("net"))
    for changes in ({"log": [[3, "set", {"lr": 99}]]}, {"seed": -1}, {"plan": {}}, {"name": 7}):
        with pytest.raises(ShareError):
            labkit.from_line(line_of(described(**changes)))
    assert loaded == []


def test_a_line_asks_before_it_downloads_weights(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("LABKIT_OFFLINE", raising=False)
    line = line_of(described(net={"name": "resnet18"}))
    with pytest.raises(DownloadError, match=r"weights of resnet18 \(45 MB\).*download=True"):
        labkit.from_line(line)
    assert list(tmp_path.iterdir()) == []
    plain = line_of(described(net={"name": "resnet18", "weights": None}, plan=SCRATCH))
    assert labkit.from_line(plain).net.name == "resnet18"


def test_a_good_line_is_taken() -> None:
    run = labkit.from_line(line_of(described(name="<b>mine</b>", log=[[3, "set", {"lr": 1e-4}]])))
    assert run.name == "<b>mine</b>"
    assert run.step_number == 0


@pytest.mark.parametrize("field", ["net", "data"])
def test_a_line_cannot_open_files_of_the_learner(field: str, tmp_path: Any) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ShareError):
        labkit.from_line(line_of(described(**{field: {"name": str(tmp_path)}})))
