"""A budget ends a run between two steps; the log says where, so that a replay does not ask the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

import labkit
from labkit import insight
from labkit.errors import CommandError, PlanError, ShareError
from labkit.tuning import Budget, Run, RunEnded, StepDone
from tests.invariants.conftest import same_optimizer_state, same_weights

ENDLESS = labkit.full(lr=1e-3, epochs=1000, batch_size=16)
SECONDS = 0.3


@pytest.fixture
def cut(tiny_run: Callable[..., Run]) -> Run:
    """A run that its budget has ended, after a change of the rate."""
    run = tiny_run(ENDLESS, budget=SECONDS)
    for _ in range(3):
        run.step()
    run.set(lr=3e-3, augment="light")
    return run.fit()


def test_the_engine_ends_a_run_when_its_budget_is_spent(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(ENDLESS, budget=SECONDS)
    began = time.process_time()
    run.fit()
    took = time.process_time() - began
    assert SECONDS <= run.budget.spent <= took
    assert run.status == "ended"
    assert run.ended_by == "budget"
    assert run.budget is not None
    assert run.budget.left == 0
    assert 0 < run.step_number < run.total_steps
    last = run.journal.since(0)[-1][1]
    assert last == RunEnded(run.step_number, run.epoch, "budget")
    assert run.evaluate("valid").count == len(run.data.valid)  # it keeps its last state


class Clock:
    """The budget's clock: each look at it is a hundredth of a second of the processor later."""

    def __init__(self) -> None:
        self.looks = 0

    def process_time(self) -> float:
        self.looks += 1
        return self.looks / 100


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("labkit.tuning.budget.time", clock)
    return clock


def test_a_budget_is_overdrawn_by_one_step_at_most(
    tiny_run: Callable[..., Run], clock: Clock
) -> None:
    run = tiny_run(ENDLESS, budget=0.305).fit()  # each step takes 0.01 s
    assert run.step_number == 31
    assert run.budget.spent == pytest.approx(0.31)


def test_a_replay_ends_at_the_step_of_the_cut_whatever_the_clock_says(cut: Run) -> None:
    again = cut.replay()
    assert cut.log[-1].kind == "end"
    assert cut.log[-1].step == cut.step_number
    assert again.log == cut.log
    assert (again.status, again.ended_by, again.budget) == ("ended", "budget", None)
    assert same_weights(cut, again)
    assert same_optimizer_state(cut, again)
    assert list(cut.history.loss) == list(again.history.loss)


def test_a_spent_budget_refuses_in_words_and_changes_nothing(cut: Run) -> None:
    at = cut.step_number
    for ask in (cut.step, cut.start, lambda: cut.set(lr=1e-4).wait()):
        with pytest.raises(CommandError, match=r"budget of 0\.3 processor seconds is spent"):
            ask()
    assert cut.fit().step_number == at
    assert [c.kind for c in cut.log] == ["set", "end"]
    cut.stop()


def test_a_rewind_takes_the_end_back_and_gives_no_seconds_back(cut: Run) -> None:
    at, spent = cut.step_number, cut.budget.spent
    cut.rewind(at - 1)
    assert cut.status == "paused"
    assert [c.kind for c in cut.log] == ["set"]
    cut.fit()
    assert (cut.ended_by, cut.step_number) == ("budget", at - 1)
    assert cut.budget.spent == spent


def test_branches_and_whoever_is_given_it_share_one_budget(tiny_run: Callable[..., Run]) -> None:
    budget = Budget(SECONDS)
    first = tiny_run(ENDLESS, budget=budget)
    for _ in range(5):
        first.step()
    branch = first.branch(lr=1e-4)
    branch.fit()
    assert branch.ended_by == "budget"
    assert branch.budget is budget
    assert first.fit().ended_by == "budget"
    assert first.step_number == 5
    late = tiny_run(ENDLESS, budget=budget).fit()
    assert (late.step_number, late.ended_by) == (0, "budget")
    assert same_weights(late, late.replay())
    assert (
        branch.branch().log == branch.log[:-1]
    )  # a branch was not ended: it may be given other seconds


def test_in_the_background_a_budget_ends_a_run_too(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(ENDLESS, budget=SECONDS).start().wait(60)
    assert run.ended_by == "budget"
    run.stop()


def test_a_plan_that_is_done_in_time_ends_by_itself(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=1, batch_size=16), budget=1000)
    assert run.ended_by is None
    assert run.fit().ended_by == "plan"
    assert 0 < run.budget.spent < run.budget.seconds
    assert run.log == ()


def test_two_runs_at_once_spend_a_second_once(clock: Clock) -> None:
    budget = Budget(100)
    with budget.spending(), budget.spending():
        clock.looks += 10
    assert budget.spent == pytest.approx(0.1 + 0.03)  # and the three looks after the first
    held = budget.spent
    clock.looks += 10
    assert budget.spent == held  # nothing is spent outside
    with budget.spending():
        clock.looks += 10
    assert budget.spent == pytest.approx(held + 0.1 + 0.01)


@pytest.mark.slow
def test_looking_into_a_run_is_free(cut: Run) -> None:
    spent = cut.budget.spent
    insight.gradient_norms(cut)
    labkit.find_lr(cut.branch(), steps=10)
    assert cut.budget.spent == spent


@pytest.mark.parametrize("budget", [0, -1, math.nan, math.inf, "60", True, 1e9, [60]])
def test_bad_budgets_are_refused_before_anything_runs(
    budget: Any, tiny_run: Callable[..., Run]
) -> None:
    with pytest.raises(PlanError, match="processor seconds above 0"):
        tiny_run(ENDLESS, budget=budget)


def test_a_shared_line_ends_where_the_budget_ended_it(digit_run: Callable[..., Run]) -> None:
    run = digit_run(labkit.feature_extraction(epochs=50, batch_size=16), budget=SECONDS).fit()
    assert run.ended_by == "budget"
    clone = labkit.from_line(labkit.to_line(run)).fit()
    assert clone.log == run.log
    assert clone.step_number == run.step_number
    assert same_weights(run, clone)


def test_a_line_may_hold_no_other_end(digit_run: Callable[..., Run]) -> None:
    run = digit_run(labkit.feature_extraction(epochs=1))
    run.step()
    run._end("plan")
    with pytest.raises(ShareError, match="may only set"):
        labkit.from_line(labkit.to_line(run))


def test_steps_are_counted_and_the_run_stays_whole(tiny_run: Callable[..., Run]) -> None:
    free, bound = tiny_run(ENDLESS), tiny_run(ENDLESS, budget=SECONDS).fit()
    while free.step_number < bound.step_number:
        free.step()
    assert same_weights(free, bound)
    steps = [event for _, event in bound.journal.since(0) if isinstance(event, StepDone)]
    assert [event.step for event in steps] == list(range(1, bound.step_number + 1))
