"""What the console promises without a browser: points, commands, text that stays text, and an instant return."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import labkit
from labkit import runtime
from labkit.console.session import DELTA_BYTES, LARGEST_FAMILY, EventLog, Session, clip, point
from labkit.console.strip import SHOWN, Sample, thumbnail
from labkit.console.widget import Console
from labkit.course.lesson_12.figures import gallery
from labkit.errors import CommandError
from labkit.insight.kinds import has_images, image_at
from labkit.records import atlas
from labkit.tuning import CommandApplied, EpochDone, Plan, Run, StepDone
from tests.bounds import held
from tests.waiting import wait_until

MARKUP = "<img src=x onerror=alert(1)>"


def tiny(classes: int) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    return nn.Sequential(OrderedDict(stem=stem, head=head))


@pytest.fixture(scope="module")
def digits() -> Any:
    return labkit.load_data("digits", size=16).subset(per_class=8)


@pytest.fixture
def make_run(digits: Any) -> Callable[..., Run]:
    def make(plan: Plan | None = None, **options: Any) -> Run:
        net = labkit.Backbone.from_module(tiny, ("stem", "head"), "tiny")
        plan = plan or labkit.full(lr=1e-3, epochs=20, batch_size=16)
        return Run(net, digits, plan, precision=runtime.Precision(), **options)

    return make


class Browser:
    """The other side of a session, as far as messages go: what the console's story keeps of them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.points: list[Any] = []
        self.sizes: list[int] = []
        self.count = 0
        self.probes = self.finder = 0

    def poll(self) -> dict[str, Any]:
        """Ask once and take in what came."""
        self.count += 1
        question = {
            "kind": "poll",
            "client": "test",
            "n": self.count,
            "since": len(self.points),
            "probes": self.probes,
            "finder": self.finder,
        }
        delta = self.session.answer(question)
        assert delta["kind"] == "delta", delta
        self.sizes.append(len(json.dumps(delta).encode()))
        self.points += delta["points"]
        self.probes = delta.get("probes", {}).get("version", self.probes)
        self.finder = delta.get("finder", {}).get("version", self.finder)
        assert delta["seq"] == len(self.points)
        return delta

    def catch_up(self) -> dict[str, Any]:
        """Ask until there is no more; the last state."""
        while (delta := self.poll())["more"]:
            pass
        return delta["state"]

    def command(self, command: str, **args: Any) -> dict[str, Any]:
        """Give a command; its acknowledgement."""
        self.count += 1
        return self.session.answer(
            {
                "kind": "command",
                "client": "test",
                "id": f"c{self.count}",
                "command": command,
                "args": args,
            }
        )

    def outcome(self, ack: dict[str, Any], seconds: float = 60) -> str | None:
        """Wait for slow work that was acknowledged; its error, if any."""
        told: list[Any] = []

        def is_told() -> bool:
            self.catch_up()
            told[:] = [point for point in self.points if point[:2] == ["o", ack["id"]]]
            return bool(told)

        wait_until(is_told, seconds, f"the outcome of {ack}")
        return told[0][2]


@pytest.fixture
def browser(make_run: Callable[..., Run]) -> Browser:
    return Browser(Session([make_run()]))


# ---------------------------------------------------------------- opening


def test_console_returns_at_once_and_trains_nothing(make_run: Callable[..., Run]) -> None:
    run = make_run()
    labkit.console(run)  # the first one imports the widgets
    took = []
    for _ in range(5):
        began = time.thread_time()  # of this thread's processor: a busy machine adds nothing to it
        panel = labkit.console(run)
        took.append(time.thread_time() - began)
    held("showing a console", min(took), 0.1, "s")
    assert run.status == "ready"
    assert len(run.journal) == 0
    assert panel.run is run


def test_autostart_trains_in_the_background(make_run: Callable[..., Run]) -> None:
    run = make_run(labkit.full(epochs=1, batch_size=16))
    labkit.console(run, autostart=True)
    assert run.wait(30).status == "ended"


def test_console_shows_a_run_or_several_and_nothing_else(make_run: Callable[..., Run]) -> None:
    runs = [make_run(name="one"), make_run(name="two")]
    assert labkit.console(runs).runs == tuple(runs)
    for nonsense in ([], 7, "run", [runs[0], "two"]):
        with pytest.raises(CommandError, match=r"shows a labkit\.Run"):
            labkit.console(nonsense)


def test_an_image_a_table_and_text_stand_in_where_scripts_do_not_run(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(name=MARKUP)
    fresh, _ = labkit.console(run)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in fresh
    assert "image/png" not in fresh
    run.fit(epochs=2)
    trained, _ = labkit.console(run)._repr_mimebundle_()
    assert "image/png" in trained
    assert "<table" in trained["text/html"]
    assert run.name in trained["text/plain"]
    for bundle in (fresh, trained):
        assert MARKUP not in bundle["text/html"]


# ---------------------------------------------------------------- the event log


def test_a_view_that_joins_late_reads_the_same_event_log(browser: Browser) -> None:
    early = browser
    for _ in range(30):
        browser.session.run.step()
        early.poll()
    late = Browser(early.session)
    late.catch_up()
    assert late.points == early.points
    assert sum(told[0] == "s" for told in late.points) == 30


def test_deltas_stay_small_however_long_the_event_log(make_run: Callable[..., Run]) -> None:
    run = make_run()
    for step in range(1, 3001):
        run.journal.append(StepDone(step, step / 5, 1 / 3, 15, 16, 1e-3, "stem", 0.01))
    view = Browser(Session([run]))
    view.catch_up()
    assert sum(told[0] == "s" for told in view.points) == 3000
    assert max(view.sizes) <= DELTA_BYTES
    assert len(view.sizes) < 50


def test_a_long_event_log_does_not_hold_a_handler(make_run: Callable[..., Run]) -> None:
    run = make_run()
    for step in range(1, 20001):
        run.journal.append(StepDone(step, step / 5, 1 / 3, 15, 16, 1e-3, "stem", 0.01))
    session = Session([run])
    best = min(seconds_of_a_poll(session) for _ in range(5))  # others use the processor, too
    held("a poll with a long event log", best, 0.02, "s")


def seconds_of_a_poll(session: Session) -> float:
    """Processor time, as the wall's clock also counts while other processes run."""
    began = time.thread_time()
    session.answer({"kind": "poll", "since": 0})
    return time.thread_time() - began


def test_a_chunk_gives_at_least_one_point() -> None:
    events = EventLog()
    events.add(["x" * 100])
    events.add(["y"])
    assert events.chunk(0, 10) == [["x" * 100]]
    assert events.chunk(1, 10) == [["y"]]
    assert events.chunk(2, 10) == []


def test_a_loss_that_is_not_finite_travels_as_null() -> None:
    for loss in (float("nan"), float("inf")):
        told = point("r0", StepDone(3, 0.5, loss, 1, 16, 1.0, "stem", 0.01))
        assert told == ["s", "r0", 3, None, 1, 16]
        json.dumps(told, allow_nan=False)


def test_counts_travel_exactly() -> None:
    done = EpochDone(40, 2, 0.123456, 153, 160, 0.98762, 71, 97, 1.5)
    assert point("r0", done) == ["e", "r0", 40, 2, 0.1235, 153, 160, 0.9876, 71, 97, 1.5]


def test_a_marker_says_what_was_changed() -> None:
    changed = CommandApplied(12, 5, "set", {"lr": 0.0003, "trainable_from": "layer3"})
    assert point("r0", changed) == ["c", "r0", 12, 5, "set", "lr 0.0003, from layer3", None]
    assert point("r0", CommandApplied(12, 6, "pause"))[5] == ""


# ---------------------------------------------------------------- messages that make no sense


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        7,
        [],
        "poll",
        {},
        {"kind": 3},
        {"kind": ["poll"]},
        {"kind": "__class__"},
        {"kind": "poll", "since": -1},
        {"kind": "poll", "since": "0"},
        {"kind": "poll", "since": True},
        {"kind": "poll", "since": 10**9},
        {"kind": "command"},
        {"kind": "command", "id": 7, "command": "run"},
        {"kind": "images", "keys": "r0:1"},
        {"kind": "images", "keys": ["r0:99999"]},
        {"kind": "images", "keys": ["../../etc"]},
        {"kind": "images", "keys": [None]},
    ],
)
def test_a_message_that_makes_no_sense_gets_an_error_and_harms_nothing(
    browser: Browser, nonsense: Any
) -> None:
    assert browser.session.answer(nonsense)["kind"] == "error"
    assert browser.catch_up()["runs"][0]["status"] == "ready"


@pytest.mark.parametrize(
    ("command", "args", "kind"),
    [
        ("fly", {}, "CommandError"),
        ("set", {}, "CommandError"),
        ("set", {"lr": 3}, "LearningRateError"),
        ("set", {"lr": "much"}, "LearningRateError"),
        ("set", {"trainable_from": "layer9"}, "StageError"),
        ("set", {"batch_size": 0}, "PlanError"),
        ("set", {"hold": "tight"}, "PlanError"),
        ("set", {"hold": 1001}, "PlanError"),
        ("set", {"augment": MARKUP}, "CommandError"),
        ("set", {"colour": "red"}, "CommandError"),
        ("rewind", {"step": -1}, "CommandError"),
        ("rewind", {}, "CommandError"),
        ("select", {"run": "r9"}, "CommandError"),
        ("rename", {"run": "r0", "name": " "}, "CommandError"),
        ("plan", {"preset": "magic"}, "PlanError"),
        ("plan", {"preset": "full", "seed": -1}, "PlanError"),
    ],
)
def test_a_command_with_a_mistake_is_refused_at_once_in_words(
    browser: Browser, command: str, args: dict[str, Any], kind: str
) -> None:
    ack = browser.command(command, **args)
    assert (ack["ok"], ack["type"]) == (False, kind)
    assert len(ack["error"]) > 15
    assert browser.session.run.log == ()


def test_a_command_sent_twice_is_done_once(browser: Browser) -> None:
    message = {"kind": "command", "client": "a", "id": "same", "command": "step", "args": {}}
    first, second = browser.session.answer(message), browser.session.answer(message)
    assert first == second
    browser.session.run.wait(10)
    assert browser.session.run.step_number == 1


# ---------------------------------------------------------------- commands


def test_a_new_rate_is_used_on_the_very_next_step(browser: Browser) -> None:
    run = browser.session.run
    run.step()
    assert browser.command("set", lr=0.0123)["ok"]
    browser.command("step")
    run.wait(10)
    steps = [event for _, event in run.journal.since(0) if isinstance(event, StepDone)]
    assert [step.lr for step in steps] == [1e-3, 0.0123]


def test_the_pull_to_the_start_is_set_shown_and_marked_like_any_setting(browser: Browser) -> None:
    run = browser.session.run
    run.step()
    assert browser.catch_up()["settings"]["hold"] == 0
    assert browser.command("set", hold=30)["ok"]
    browser.command("step")
    run.wait(10)
    assert browser.catch_up()["settings"]["hold"] == run.settings.hold == 30
    assert [told[5] for told in browser.points if told[0] == "c" and told[4] == "set"] == [
        "hold 30"
    ]
    assert browser.outcome(browser.command("plan", preset="partial", seed=1)) is None
    assert browser.session.run.plan.hold == 30


def test_a_refusal_that_comes_late_is_told_with_its_ticket(browser: Browser) -> None:
    ack = browser.command("rewind", step=50)
    assert ack["ok"]
    browser.session.run.wait(10)
    browser.catch_up()
    refused = [
        told for told in browser.points if told[0] == "c" and f"r0:{told[3]}" == ack["ticket"]
    ]
    assert "has not happened" in refused[0][6]


def test_a_branch_joins_the_family_and_its_parent_stays(browser: Browser) -> None:
    run = browser.session.run
    for _ in range(6):
        run.step()
    assert browser.outcome(browser.command("branch", step=4)) is None
    state = browser.catch_up()
    assert [(row["id"], row["step"]) for row in state["runs"]] == [("r0", 6), ("r1", 4)]
    assert state["active"] == "r1"
    assert browser.command("select", run="r0")["ok"]
    assert browser.session.run is run


def become(run: Run, status: str, seconds: float = 60) -> None:
    """Wait until a run that an engine thread serves has that status."""
    wait_until(lambda: run.status == status, seconds, f"{run}: {status}")


def test_one_run_trains_at_a_time(browser: Browser) -> None:
    parent = browser.session.run
    browser.command("set", epochs=1000)
    browser.command("run")
    become(parent, "running")
    assert browser.outcome(browser.command("branch")) is None
    become(parent, "paused")
    become(browser.session.run, "running")
    browser.session.run.stop()
    parent.stop()


# ---------------------------------------------------------------- the range test


def found(browser: Browser, seconds: float = 60) -> dict[str, Any]:
    """Ask until the next range test has told something."""
    told: dict[str, Any] = {}
    wait_until(lambda: told.update(browser.poll().get("finder", {})) or told, seconds)
    return told


def test_a_range_test_pauses_the_run_leaves_it_as_it_was_and_lets_it_go_on(
    browser: Browser,
) -> None:
    run = browser.session.run
    browser.command("set", epochs=1000)
    browser.command("run")
    become(run, "running")
    before = run.settings
    assert browser.command("find_lr")["ok"]
    assert "goes on" in browser.command("find_lr")["error"]
    answer = found(browser)
    assert answer["run"] == "r0"
    assert len(answer["lrs"]) == len(answer["smoothed"]) > 10
    assert answer["suggestion"] is None or 1e-6 < answer["suggestion"] < 1
    assert answer["text"]
    become(run, "running")
    assert run.settings == before
    run.stop()
    again = run.replay()
    assert list(again.history.loss) == list(run.history.loss)


def test_a_range_test_can_be_stopped_and_started_again(browser: Browser) -> None:
    assert browser.command("find_lr")["ok"]
    assert browser.command("find_lr", stop=True)["ok"]
    assert "lrs" not in found(browser)
    assert browser.session.run.status == "ready"
    assert browser.command("find_lr")["ok"]
    assert "lrs" in found(browser)
    assert "finder" not in browser.poll(), "told once"


def test_a_range_test_of_a_failed_run_is_refused_in_words(make_run: Callable[..., Run]) -> None:
    run = make_run(labkit.full(lr=1.0, epochs=3, batch_size=16))
    with run.paused():
        run.model.head[2].weight.data.fill_(float("nan"))
    run.fit()
    assert run.status == "failed"
    ack = Browser(Session([run])).command("find_lr")
    assert not ack["ok"]
    assert "failed" in ack["error"]


# ---------------------------------------------------------------- what is on record


def test_the_panel_says_what_recorded_runs_came_to_and_in_what_this_one_differs() -> None:
    data = labkit.load_data("digits", per_class=10)
    net = labkit.load_backbone("resnet10-glyphs")
    run = Run(net, data, labkit.partial("layer4", lr=1e-3, epochs=6))
    expected = atlas.expect_run(run)
    browser = Browser(Session([run]))

    def told() -> str:
        return str(browser.catch_up()["expected"])

    wait_until(lambda: told().startswith(expected.sentence()), 60)
    browser.command("set", batch_size=8)
    run.wait(10)
    wait_until(lambda: "batch_size is 8" in told(), 60)


def test_the_panel_says_nothing_of_runs_that_are_not_on_record(browser: Browser) -> None:
    wait_until(lambda: browser.catch_up()["sentence"], 60)
    assert browser.catch_up()["expected"] == ""


def test_an_epoch_says_what_keeping_frozen_output_saved(digits: Any) -> None:
    net = labkit.load_backbone("resnet10-glyphs")
    run = Run(net, digits, labkit.feature_extraction(epochs=3))
    browser = Browser(Session([run]))
    assert browser.catch_up()["saved_seconds"] == 0
    run.fit()
    state = browser.catch_up()
    done = [event for _, event in run.journal.since(0) if isinstance(event, EpochDone)][-1]
    assert state["saved_seconds"] == pytest.approx(done.saved_seconds, rel=1e-3)
    assert state["saved_seconds"] > 0


@pytest.mark.parametrize(
    "preset", ["feature_extraction", "partial", "full", "gradual", "from_scratch"]
)
def test_every_preset_starts_a_new_run_with_the_seed_asked_for(
    browser: Browser, preset: str
) -> None:
    assert browser.outcome(browser.command("plan", preset=preset, seed=3)) is None
    run = browser.session.run
    assert (run.seed, run.step_number, run.plan.batch_size) == (3, 0, 16)
    assert len({run.name for run in browser.session.runs}) == 2


def test_a_plan_that_is_chosen_keeps_what_is_in_force_beside_rate_and_depth(digits: Any) -> None:
    kept = {
        "optimizer": "sgd",
        "views": 3,
        "frozen_statistics": "running",
        "decay_all": False,
        "clip_norm": 2.0,
    }
    net, data = (
        labkit.load_backbone("resnet10-glyphs"),
        labkit.load_data("digits").subset(per_class=4),
    )
    one = Browser(Session([Run(net, data, labkit.full(lr=1e-3, augment="light", **kept), seed=5)]))
    assert one.outcome(one.command("plan", preset="partial", seed=1)) is None
    plan = one.session.run.plan
    assert {name: getattr(plan, name) for name in kept} == kept


@pytest.mark.slow
def test_a_shared_line_opens_the_same_run_elsewhere(digits: Any) -> None:
    data = labkit.load_data("digits").subset(per_class=4)
    net = labkit.load_backbone("resnet10-glyphs")
    one = Browser(Session([Run(net, data, labkit.full(lr=1e-3), seed=5, name="mine")]))
    one.session.run.step()
    one.command("set", lr=0.002)
    one.session.run.wait(10)
    line = one.command("share")["value"]
    assert line.count("\n") == 0
    assert one.outcome(one.command("paste", line=line)) is None
    opened = one.session.run
    assert (opened.seed, opened.name, opened.step_number) == (5, "mine (2)", 0)
    while opened.step_number < 3:
        opened.step()
    assert opened.settings.lr == 0.002


def test_a_damaged_line_says_so_and_opens_nothing(browser: Browser) -> None:
    for line in ("", "hello", "labkit1.AAAA", MARKUP):
        error = browser.outcome(browser.command("paste", line=line))
        assert "opy" in error
    assert len(browser.session.runs) == 1


@pytest.mark.slow
def test_the_family_has_room_for_so_many_and_says_so(browser: Browser) -> None:
    for _ in range(LARGEST_FAMILY - 1):
        assert browser.outcome(browser.command("branch")) is None
    refused = browser.command("branch")
    assert not refused["ok"]
    assert str(LARGEST_FAMILY) in refused["error"]
    assert max(browser.sizes) <= DELTA_BYTES


def test_a_run_that_diverged_says_where_it_was_well(browser: Browser) -> None:
    run = browser.session.run
    run.step()
    with run.paused() as model:
        next(model.parameters()).data.fill_(float("nan"))
    browser.command("step")
    run.wait(10)
    state = browser.catch_up()
    assert state["runs"][0]["status"] == "failed"
    assert "nan" in state["failure"]["reason"]
    assert browser.command("rewind", step=state["failure"]["last_good"])["ok"]
    run.wait(10)
    assert browser.catch_up()["failure"] is None


# ---------------------------------------------------------------- text stays text


def test_names_travel_as_they_are_and_bounded(make_run: Callable[..., Run]) -> None:
    run = make_run(name=MARKUP * 20)
    state = Browser(Session([run])).catch_up()
    assert state["runs"][0]["name"].startswith("<img src=x")
    assert len(state["runs"][0]["name"]) <= 60


def test_console_js_writes_no_markup() -> None:
    source = Console._esm
    for door in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "https:",
    ):
        assert door not in source, door


def test_clip_keeps_both_ends() -> None:
    assert clip("short") == "short"
    long = clip("a" * 50 + "photo.jpg", 20)
    assert len(long) <= 20
    assert long.endswith("photo.jpg")


# ---------------------------------------------------------------- the strip


def test_the_strip_shows_the_worst_first_and_says_what_is_right(
    make_run: Callable[..., Run],
) -> None:
    run = make_run()
    run.fit(epochs=2)
    view = Browser(Session([run]))
    probes: dict[str, Any] = {}
    wait_until(lambda: probes.update(view.poll().get("probes", {})) or probes, 60)
    strip = probes["strip"]
    assert len(strip) == SHOWN
    assert [item["right"] for item in strip] == [item["says"] == item["truth"] for item in strip]
    assert set(probes["drift"]) == {"stem", "head"}
    assert max(view.sizes) <= DELTA_BYTES


def test_predictions_of_the_strip_are_those_of_an_evaluation(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.fit(epochs=1)
    whole = run.evaluate("valid")
    for guess in Sample(run.data.valid).guesses(run):
        assert guess.true == int(whole.targets[guess.index])
        assert guess.true_probability == pytest.approx(
            float(whole.probabilities[guess.index, guess.true]), abs=1e-4
        )


def test_looking_changes_nothing_in_a_run(make_run: Callable[..., Run]) -> None:
    watched, alone = make_run(), make_run()
    sample = Sample(watched.data.valid)
    for _ in range(10):
        watched.step()
        sample.guesses(watched)
        watched.drift()
        alone.step()
    ours, theirs = watched.model.state_dict(), alone.model.state_dict()
    assert all(bool((ours[key] == theirs[key]).all()) for key in ours)


class CountedStore:
    """Decoded images that count how many of them are read."""

    def __init__(self, store: Tensor) -> None:
        self.images, self.shape, self.read = store, store.shape, 0

    def __getitem__(self, rows: Any) -> Tensor:
        found = self.images[rows]
        self.read += len(found)
        return found


def test_a_thumbnail_reads_one_image_and_not_the_whole_split(
    make_run: Callable[..., Run], digits: Any
) -> None:
    run, store = make_run(), CountedStore(digits.valid.store)
    run.data = replace(digits, valid=replace(digits.valid, store=store))
    session = Session([run])
    store.read = 0
    reply = session.answer({"kind": "images", "client": "a", "keys": ["r0:1", "r0:5"]})
    assert [key for key, _ in reply["images"]] == ["r0:1", "r0:5"]
    assert store.read == 2
    assert has_images(run.data.valid)
    assert store.read == 3
    gallery(run.data.valid, 7, digits.classes, strengths=(1,), kinds=("dark",))
    assert store.read == 4


def test_a_thumbnail_is_of_the_image_that_was_asked_for(digits: Any) -> None:
    for place in (0, 3, len(digits.valid) - 1):
        assert torch.equal(image_at(digits.valid, place), digits.valid.images[place])
    assert image_at(SimpleNamespace(images=digits.valid.images), 3) is not None
    assert image_at(SimpleNamespace(), 3) is None


def test_thumbnails_are_small_and_come_in_small_messages(browser: Browser, digits: Any) -> None:
    assert len(thumbnail(digits.valid.images[0])) < 4000
    keys = [f"r0:{index}" for index in range(40)]
    got: dict[str, str] = {}
    while missing := [key for key in keys if key not in got]:
        reply = browser.session.answer({"kind": "images", "client": "a", "keys": missing})
        assert len(json.dumps(reply)) <= DELTA_BYTES
        got |= dict(reply["images"])
    assert all(address.startswith("data:image/") for address in got.values())
