"""The console's messages over a live kernel: what a page may rely on, whatever else the kernel does."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from typing import Any

import pytest

from tests.bounds import held
from tests.kernel.conftest import SETUP, Page, Wire
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def test_the_first_poll_is_answered_with_the_events_so_far(page: Page) -> None:
    delta = page.poll()
    assert delta["points"][0][:2] == ["n", "r0"]
    stages = [name for name, _ in delta["points"][0][2]["stages"]]
    assert stages == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert delta["state"]["runs"][0]["status"] == "ready"
    assert delta["state"]["settings"]["lr"] == 1e-3


def test_console_does_not_start_training(page: Page) -> None:
    page.poll()
    trains = "[t.name for t in __import__('threading').enumerate() if t.name == 'labkit-engine']"
    assert page.wire.value(trains) == []
    assert page.poll()["state"]["runs"][0]["step"] == 0


def test_a_new_rate_is_in_force_on_the_very_next_step(page: Page) -> None:
    page.catch_up()
    page.command("run")
    rates = [0.002, 0.0005, 0.003]
    for rate in rates:
        page.wait_for_steps(2)
        assert page.command("set", lr=rate)["ok"]
    page.wait_for_steps(2)
    page.command("pause")
    page.wire.run("run.wait(60)")
    steps = page.wire.value(
        "[(e.step, e.lr) for _, e in run.journal.since(0) if type(e).__name__ == 'StepDone']"
    )
    log = page.wire.value("[(c.step, c.args['lr']) for c in run.log]")
    assert [rate for _, rate in log] == rates
    changes = [(before[0], after[1]) for before, after in pairwise(steps) if after[1] != before[1]]
    assert changes == log  # the step after the one at which it was logged uses it: none is late


def test_a_view_that_joins_later_gets_the_whole_event_log(page: Page) -> None:
    page.command("run")
    page.wait_for_steps(3)
    page.command("pause")
    page.wire.run("run.wait(60)")
    page.catch_up()
    second = Page(page.wire, page.comm)
    second.catch_up()
    assert second.points == page.points
    told = page.wire.value("sum(type(e).__name__ == 'StepDone' for _, e in run.journal.since(0))")
    assert sum(point[0] == "s" for point in second.points) == told > 0


def test_two_views_do_not_take_each_others_answers(page: Page) -> None:
    second = Page(page.wire, page.comm)
    page.catch_up()
    second.catch_up()
    page.command("step")
    page.wire.run("run.wait(60)")
    page.catch_up()
    second.catch_up()
    assert page.points == second.points


def test_no_answer_is_larger_than_eight_kilobytes(page: Page) -> None:
    code = "from labkit.tuning import StepDone\n"
    code += "for i in range(3000): run.journal.append(StepDone(i, i / 9, 1 / 3, 15, 16, 1e-3, 'stem', 0.01))"
    page.wire.run(code)
    page.catch_up()
    assert max(page.sizes) <= 8192


NONSENSE = (None, 7, "poll", [], {"kind": "poll", "since": "all"}, {"kind": "command", "id": 1})


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_malformed_message_gets_an_error_and_the_kernel_goes_on(
    page: Page, nonsense: object
) -> None:
    page.wire.send(page.comm, nonsense)
    assert page.wire.listen(_is_error)
    assert page.poll()["state"]["runs"][0]["status"] == "ready"


def _is_error(message: dict[str, Any]) -> bool:
    told = message["content"].get("data", {}).get("content", {})
    return message["msg_type"] == "comm_msg" and told.get("kind") == "error" and bool(told["error"])


def test_a_mistake_is_refused_in_words_and_nothing_changes(page: Page) -> None:
    ack = page.command("set", lr=3)
    assert (ack["ok"], ack["type"]) == (False, "LearningRateError")
    assert "above 1" in ack["error"]
    assert page.poll()["state"]["settings"]["lr"] == 1e-3


def test_a_branch_is_acknowledged_at_once_and_told_when_made(page: Page) -> None:
    page.command("step")
    page.wire.run("run.wait(60)")
    ack = page.command("branch")
    assert ack["pending"]
    wait_until(lambda: page.poll() and ["o", ack["id"], None] in page.points, 60)
    state = page.catch_up()
    assert [row["step"] for row in state["runs"]] == [1, 1]


def test_polls_and_commands_are_quick_while_a_cell_sleeps(page: Page) -> None:
    """What JupyterLab does: comms go to a subshell. Never primed, straight into a blocked main shell."""
    if not page.wire.open_subshell():
        pytest.skip("left out: this ipykernel has no subshells")
    page.wire.start("time.sleep(5)")
    time.sleep(0.2)
    began = time.monotonic()
    page.command("run", seconds=4)
    waits = []
    while time.monotonic() - began < 4:
        asked = time.perf_counter()
        page.poll(seconds=4)
        waits.append(time.perf_counter() - asked)
        time.sleep(max(0.0, 0.1 - waits[-1]))
    page.wire.run("run.pause()")
    page.wire.subshell = None
    assert len(waits) > 20
    held("a poll while a cell sleeps, median", statistics.median(waits), 0.25, "s")


def test_asking_does_not_make_the_kernel_look_busy(page: Page) -> None:
    """JupyterLab would redraw its icons twice for each question; the "idle" lets it forget the question."""
    page.wire.send(page.comm, {"client": page.client, "kind": "poll", "n": 1, "since": 0})
    told = []
    while "idle" not in told:
        message = page.wire.client.get_iopub_msg(timeout=30)
        if message["msg_type"] == "status" and message["parent_header"]["msg_type"] == "comm_msg":
            told.append(message["content"]["execution_state"])
    assert told == ["idle"]


def test_an_executed_notebook_keeps_the_image_of_what_it_trained(wire: Wire) -> None:
    wire.heard.clear()
    wire.run(SETUP)
    shown = wire.listen(lambda message: message["msg_type"] == "display_data")
    assert "image/png" not in shown["content"]["data"]
    wire.start("_ = run.fit(epochs=1)")
    update = wire.listen(lambda message: message["msg_type"] == "update_display_data", 120)
    assert update["content"]["transient"] == shown["content"]["transient"]
    assert {"image/png", "text/html"} <= set(update["content"]["data"])
