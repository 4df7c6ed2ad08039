"""Whatever a page says to a widget, it gets an answer in words: no traceback in the kernel, and no silence."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn

import labkit
from labkit import learn, runtime
from labkit.console.session import COMMANDS, Session
from labkit.console.wire import SENTENCE
from labkit.course.lesson_14.card import ClinicCard
from labkit.course.lesson_14.clinic import Clinic
from labkit.tuning import Run
from tests.nonsense import HUGE, ODD, TOO_LONG, anything, nested

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SETTINGS = ("lr", "trainable_from", "lr_decay", "batch_size", "weight_decay", "hold", "rehearse")
TOO_MUCH = (HUGE, -HUGE, TOO_LONG, float("inf"), float("nan"), nested())
FIELDS = ("client", "id", "n", "since", "keys", "known", "probes", "look", "finder", "hidden")
NAMES = (*SETTINGS, "augment", "epochs", "step", "run", "name", "preset", "seed", "stop", "kind")


def tiny(classes: int) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    return nn.Sequential(OrderedDict(stem=stem, head=head))


@pytest.fixture(scope="module")
def run() -> Run:
    data = labkit.load_data("digits", size=8).subset(per_class=2)
    net = labkit.Backbone.from_module(tiny, ("stem", "head"), "tiny")
    return Run(net, data, labkit.full(epochs=1), precision=runtime.Precision())


@pytest.fixture
def session(run: Run) -> Iterator[Session]:
    yield Session([run])
    run.stop()


@pytest.fixture(autouse=True)
def own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


def sendable(answer: Any) -> dict[str, Any]:
    """The answer, if it can go over the wire as it is: JSON without NaN, in UTF-8, of bounded size."""
    assert isinstance(answer, dict)
    text = json.dumps(answer, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert len(text) < 100_000
    return answer


def command(session: Session, name: Any, args: Any, identity: str = "c") -> dict[str, Any]:
    message = {"kind": "command", "client": "t", "id": identity, "command": name, "args": args}
    return sendable(session.answer(message))


def refused(answer: dict[str, Any]) -> str:
    """The sentence of a refusal."""
    said = answer.get("error") or answer.get("problem")
    assert isinstance(said, str)
    assert 0 < len(said) <= SENTENCE + 1
    return said


# ---------------------------------------------------------------- the console


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_a_number_too_large_is_refused_in_words(session: Session, name: str, value: Any) -> None:
    answer = command(session, "set", {name: value})
    assert answer["ok"] is False
    assert name in refused(answer)
    assert answer["type"].endswith("Error")
    assert not answer["type"].startswith(("Overflow", "Recursion", "Value", "Type"))


@given(message=anything)
@QUICK
def test_any_message_to_the_console_gets_an_answer(session: Session, message: Any) -> None:
    assert refused(sendable(session.answer(message)))


@given(
    fields=st.dictionaries(st.sampled_from(FIELDS), anything),
    kind=st.sampled_from(("poll", "command", "images", "figure")),
)
@QUICK
def test_any_field_of_a_message_gets_an_answer(
    session: Session, kind: str, fields: dict[str, Any]
) -> None:
    answer = sendable(session.answer({**fields, "kind": kind}))
    assert answer["kind"] in ("delta", "ack", "images", "figure", "error")


@given(
    name=st.sampled_from([*COMMANDS, "no-such", 7, None]) | anything,
    args=st.dictionaries(st.sampled_from(NAMES), anything, max_size=2) | anything,
)
@QUICK
def test_any_command_gets_an_answer_and_the_next_poll_too(
    session: Session, name: Any, args: Any
) -> None:
    if name in ("run", "find_lr", "paste", "share", "look"):
        name = "set"  # the others train, or are tested on their own
    answer = command(session, name, args, identity=str(time.perf_counter_ns()))
    assert answer["kind"] == "ack"
    assert answer["ok"] or refused(answer)
    assert sendable(session.answer({"kind": "poll", "since": 0}))["kind"] == "delta"


def test_a_name_of_broken_text_does_not_silence_the_panel(session: Session) -> None:
    command(session, "rename", {"run": "r0", "name": "\ud800\udead"})
    assert sendable(session.answer({"kind": "poll", "since": 0}))["kind"] == "delta"


@pytest.mark.parametrize("name", ["self", "kind", "args"])
def test_an_argument_named_like_one_of_pythons_own_is_refused_in_labkits_words(
    session: Session, name: str
) -> None:
    for kind in ("set", "rewind", "pause"):
        answer = command(session, kind, {name: 1}, identity=f"{kind} {name}")
        assert answer["type"] == "CommandError"
        assert name in refused(answer)


def test_what_nobody_foresaw_is_answered_too(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("one / nothing")

    monkeypatch.setitem(COMMANDS, "rename", broken)
    assert "one / nothing" in refused(command(session, "rename", {}))
    monkeypatch.setattr(session, "_state", broken)
    answer = sendable(session.answer({"kind": "poll"}))
    assert answer["kind"] == "error"
    assert "one / nothing" in refused(answer)


# ---------------------------------------------------------------- the cards


def cards() -> dict[str, Callable[[], Any]]:
    return {
        "atlas": learn.atlas_card,
        "clinic": lambda: ClinicCard(Clinic(seed=0)),
        "quiz": lambda: learn.quiz("05"),
        "prediction": lambda: learn.predict("00-x", "Which?", ["a", "b"]),
    }


MESSAGES: dict[str, tuple[dict[str, Any], ...]] = {
    "atlas": ({"kind": "run", "lr": 1e-3, "trainable_from": "head", "per_class": 10},),
    "clinic": (
        {"kind": "examine", "patient": 1, "name": "audit"},
        {"kind": "diagnose", "patient": 1, "name": "leakage"},
    ),
    "quiz": ({"kind": "choose", "question": 0, "option": 0},),
    "prediction": ({"kind": "commit", "guess": "a", "confidence": 70},),
}


def heard(card: Any, message: Any, buffers: Any = ()) -> list[dict[str, Any]]:
    """What the page hears when it sends a message, over the widget's own door."""
    sent: list[dict[str, Any]] = []
    card.send = lambda content, buffers=None: sent.append(sendable(content))
    card._handle_custom_msg(message, list(buffers))
    return sent


@pytest.fixture(scope="module", params=MESSAGES)
def card(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_PROGRESS", str(tmp_path_factory.mktemp("progress") / "p.json"))
        made = cards()[request.param]()
        made.kind_of_card = request.param
        yield made


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_a_card_answers_a_message_that_is_none(card: Any, value: Any) -> None:
    assert len(heard(card, value)) == 1


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_a_card_refuses_a_wrong_value_in_words(card: Any, value: Any) -> None:
    for good in MESSAGES[card.kind_of_card]:
        for field in good.keys() - {"kind"}:
            (answer,) = heard(card, {**good, field: value})
            assert refused(answer), field


@pytest.mark.parametrize("field", ["client", "have", "n"])
@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_a_card_sends_nothing_back_that_cannot_be_sent(card: Any, field: str, value: Any) -> None:
    assert len(heard(card, {"kind": "poll", field: value})) == 1


def test_a_card_refuses_a_message_with_missing_keys(card: Any) -> None:
    for good in MESSAGES[card.kind_of_card]:
        for field in good.keys() - {"kind"}:
            message = {key: value for key, value in good.items() if key != field}
            assert refused(heard(card, message)[0]), field


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_the_predict_panel_answers_whatever_it_is_given(run: Run, value: Any) -> None:
    panel = learn.predict_panel(run)
    for message in (value, {"name": value}, {"client": value, "n": value, "name": "a.png"}):
        for buffers in ([], [b""], [b"no image"], [memoryview(b"GIF89a")], [b"", b""]):
            (answer,) = heard(panel, message, buffers)
            assert refused(answer)
