"""Commands: in force on the very next step, safe from any thread, refused with a reason, never a deadlock."""

from __future__ import annotations

import copy
import json
import pickle
import random
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import labkit
from labkit import runtime
from labkit.errors import (
    BackboneError,
    CommandError,
    DataError,
    LabkitError,
    LearningRateError,
    PlanError,
    StageError,
)
from labkit.tuning import (
    CommandApplied,
    EpochDone,
    PhaseChanged,
    Plan,
    Run,
    RunFailed,
    StepDone,
    find_lr,
    rate_factor,
)
from tests.invariants.conftest import same_optimizer_state, same_weights
from tests.small import Clouds, Small


def test_a_new_rate_is_used_on_the_very_next_step_always(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=300)).start()
    for number in range(200):
        run.submit("set", lr=1e-4 + number * 1e-6).wait(10)
    run.stop()
    events = [event for _, event in run.journal.since(0)]
    in_force = None
    for event in events:
        if isinstance(event, CommandApplied) and event.kind == "set":
            in_force = event.args["lr"]
        if isinstance(event, StepDone) and in_force is not None:
            assert event.lr == in_force


def random_command(chance: random.Random, run: Run) -> tuple[str, dict[str, Any]]:
    kind = chance.choice(["set"] * 6 + ["pause", "resume", "resume", "step", "rewind", "reset"])
    if kind == "rewind":
        return kind, {"step": chance.randint(0, max(1, run.step_number + 1))}
    if kind != "set":
        return kind, {}
    offered = {
        "lr": 10 ** chance.uniform(-5, 0),
        "trainable_from": chance.choice(["stem", "middle", "head", "all", 1, 2]),
        "lr_decay": chance.uniform(0.1, 1),
        "batch_size": chance.choice([2, 7, 32, 64]),
        "weight_decay": chance.random(),
        "augment": chance.choice(["none", "light", "strong"]),
        "epochs": chance.randint(1, 6),
    }
    return kind, {
        name: offered[name] for name in chance.sample(sorted(offered), chance.randint(1, 3))
    }


def test_1000_random_command_sequences_end_without_deadlock_and_replay_to_the_same_state(
    tiny_run: Callable[..., Run],
) -> None:
    """In the engine's thread, commands fired while it trains; every 25th is replayed and compared to the bit."""
    plans = (
        labkit.full(epochs=3),
        labkit.gradual(3, epochs=1),
        labkit.feature_extraction(epochs=2),
    )
    run = tiny_run(plans[0])
    for sequence in range(1000):
        chance = random.Random(sequence)
        if sequence % 25 == 0:
            run.stop()
            run = tiny_run(plans[sequence // 25 % 3], seed=sequence)
        tickets = []
        for _ in range(chance.randint(1, 6)):
            kind, args = random_command(chance, run)
            tickets.append(run.submit(kind, **args))
            if chance.random() < 0.3:
                time.sleep(chance.random() * 2e-3)
        for ticket in tickets:
            assert ticket._flag.wait(20), f"sequence {sequence}: {ticket} never took effect"
        if sequence % 25 == 24:
            run.submit("pause").wait(20)
            again = run.replay()
            assert same_weights(run, again), f"sequence {sequence}"
            assert same_optimizer_state(run, again), f"sequence {sequence}"
            assert run.settings == again.settings
    run.stop()


def test_probes_are_served_between_steps_while_the_engine_trains(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=1000)).start()
    waits = []  # in steps: whoever waits for the lock is served after the step in hand
    for _ in range(50):
        before = run.step_number
        with run.paused():
            waits.append(run.step_number - before)
    run.stop()
    assert sorted(waits)[25] <= 1


def test_many_threads_may_command_one_run(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=200)).start()

    def fire(number: int) -> None:
        for turn in range(20):
            run.submit("set", lr=1e-4 * (number + 1) + 1e-6 * turn)

    threads = [threading.Thread(target=fire, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.submit("pause").wait(10)
    applied = [
        e for _, e in run.journal.since(0) if isinstance(e, CommandApplied) and e.kind == "set"
    ]
    assert len(applied) == 160
    assert len({event.id for event in applied}) == 160
    assert same_weights(run, run.replay())
    run.stop()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"lr": 3}, LearningRateError, "above 1"),
        ({"lr": 0}, LearningRateError, "above 0"),
        ({"lr": float("nan")}, LearningRateError, "above 0"),
        ({"lr": "fast"}, LearningRateError, "not a number"),
        ({"lr": True}, LearningRateError, "not a number"),
        ({"trainable_from": "layer9"}, StageError, "stem, middle, head"),
        ({"trainable_from": 0}, StageError, "no such stage"),
        ({"batch_size": 1}, PlanError, "from 2"),
        ({"batch_size": 2.5}, PlanError, "whole number"),
        ({"weight_decay": -1}, PlanError, "from 0 to 1"),
        ({"augment": "<script>"}, CommandError, "none, light, strong"),
        ({"epochs": 0}, PlanError, "from 1"),
        ({"momentum": 0.9}, CommandError, "These can"),
        ({}, CommandError, "Nothing was given"),
        ({"lr": 1e-3, "batch_size": -4}, PlanError, "from 2"),
    ],
)
def test_bad_settings_are_refused_at_once_and_change_nothing(
    tiny_run: Callable[..., Run], settings: dict[str, Any], error: type[LabkitError], words: str
) -> None:
    run = tiny_run(labkit.full(epochs=1))
    before = run.settings
    with pytest.raises(error, match=words):
        run.set(**settings)
    assert run.settings == before
    assert run.log == ()


def test_commands_that_come_too_late_are_refused_with_a_reason(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=1)).fit()
    with pytest.raises(CommandError, match="plan is done"):
        run.step()
    with pytest.raises(CommandError, match="has not happened"):
        run.rewind(10_000)
    with pytest.raises(CommandError, match="has not happened"):
        run.branch(step=10_000)
    assert run.set(epochs=2).error is None
    assert run.fit().epoch == 2
    assert "is past" in str(run.set(epochs=1).error)


def test_a_rate_that_ruins_the_run_ends_it_kindly_and_it_can_go_back(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=50, optimizer="sgd"), tame=False)
    run.fit(epochs=1).set(lr=1.0, trainable_from="all")
    run.fit()
    failed = [event for _, event in run.journal.since(0) if isinstance(event, RunFailed)]
    assert run.status == "failed"
    assert len(failed) == 1
    assert "loss is" in failed[0].reason
    run.rewind(failed[0].last_good_step)
    run.set(lr=1e-3, epochs=3)
    assert run.fit().status == "ended"


def test_an_interrupted_step_leaves_the_run_whole(
    tiny_run: Callable[..., Run], monkeypatch: Any
) -> None:
    run, calm = (tiny_run(labkit.full(epochs=2)) for _ in range(2))
    for _ in range(5):
        run.step()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run.optimizer, "zero_grad", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.fit()
    assert run.status == "paused"
    assert same_weights(run.fit(), calm.fit())


def test_phases_follow_the_plan_and_take_back_what_was_set_by_hand(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.gradual(3, lr=1e-3, epochs=1))
    for event in run.events():
        if isinstance(event, StepDone) and event.step == 2:
            run.set(lr=5e-3, trainable_from="all")
    phases = [event for _, event in run.journal.since(0) if isinstance(event, PhaseChanged)]
    assert [(event.phase, event.trainable_from, event.lr) for event in phases] == [
        (0, "head", 1e-3),
        (1, "middle", 1e-3),
        (2, "stem", 1e-3),
    ]


def test_accuracy_is_correct_over_count_never_a_mean_of_batches(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=1, batch_size=64)).fit()
    steps = run.history[run.history.split == "train"]
    epoch = [event for _, event in run.journal.since(0) if isinstance(event, EpochDone)][-1]
    assert epoch.train_correct == steps.correct.sum()
    assert epoch.train_count == len(run.data.train) == steps["count"].sum()
    valid = run.evaluate("valid")
    assert valid.accuracy == valid.correct / len(run.data.valid)
    assert valid.interval[0] < valid.accuracy < valid.interval[1]


def test_no_batch_is_a_single_sample(tiny_run: Callable[..., Run], digits: Any) -> None:
    size = next(size for size in range(3, 1000) if len(digits.train) % size == 1)
    run = tiny_run(labkit.full(epochs=1, batch_size=size)).fit()
    steps = run.history[run.history.split == "train"]
    assert steps["count"].min() > 1
    assert steps["count"].sum() == len(digits.train)


def test_two_drivers_cannot_fight_over_a_run(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=500)).start()
    with pytest.raises(CommandError, match="background"):
        run.step()
    run.submit("pause").wait(10)
    run.step()
    run.stop()


@pytest.mark.slow
def test_python_may_end_while_a_run_trains() -> None:
    script = (
        "import labkit\n"
        "data = labkit.load_data('digits').subset(per_class=20)\n"
        "net = labkit.load_backbone('resnet10-glyphs')\n"
        "run = labkit.Run(net, data, labkit.full(epochs=1000)).start()\n"
        "while run.step_number < 3: pass\n"
        "raise SystemExit(7)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 7, ended.stderr
    assert "terminate" not in ended.stderr
    assert "leaked" not in ended.stderr


def test_waiting_counts_the_command_that_is_being_carried_out(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=100))
    for number in range(1, 101):
        run.submit("step")
        run.wait(20)
        assert run.step_number == number
    run.stop()


def test_fit_leaves_off_after_the_epochs_it_was_given(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=4))
    assert run.fit(epochs=1).epoch == 1
    assert run.status == "paused"
    assert run.fit().epoch == 4
    assert run.status == "ended"


def test_precision_is_part_of_the_run_and_survives_a_branch(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=1), precision=runtime.Precision("bf16", "channels_last"))
    assert run.branch().precision == run.precision == run.replay().precision


# ---------------------------------------------------------------- a loop in a cell, and who else would train


def test_start_says_so_where_a_loop_in_a_cell_has_the_run_in_hand(
    tiny_run: Callable[..., Run],
) -> None:
    run, calm = (tiny_run(labkit.full(epochs=2)) for _ in range(2))
    events = run.events()
    next(events)  # one event a cell
    for begin in (run.start, run.resume):
        with pytest.raises(CommandError, match="A loop in a cell has this run in hand"):
            begin()
    events.close()
    run.start().wait(60)
    run.stop()
    assert same_weights(run, calm.fit())


def test_commands_are_carried_out_while_a_loop_waits_to_be_asked(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=3))
    events = run.events()
    for event in events:
        if isinstance(event, StepDone) and event.step == 3:
            break
    assert run.submit("set", lr=5e-4).wait(20).step == 3
    assert run.submit("step").wait(20).step == 3
    assert run.step_number == 4
    assert run.submit("rewind", step=2).wait(20).error is None
    assert run.step_number == 2
    assert run.submit("pause").wait(20).error is None
    run.wait(20)
    assert run.step_number == 2, "only the loop trains"
    assert [type(event) for event in events][-1] is CommandApplied, "it ends as the run is paused"
    assert same_weights(run.fit(), run.replay())
    run.stop()


def test_a_command_is_carried_out_though_the_loop_it_was_given_to_is_over(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=3))
    inner, tickets = run.trainer.forward, []

    def forward(inputs: Any) -> Any:
        if not tickets:
            tickets.append(run.submit("set", lr=5e-4))  # as a page would, in the middle of a step
        return inner(inputs)

    run.trainer.forward = forward  # type: ignore[method-assign]
    for event in run.events():
        if isinstance(event, StepDone):
            break
    assert tickets[0].wait(20).error is None
    assert run.settings.lr == 5e-4
    run.stop()


def test_who_waits_for_a_command_that_breaks_off_is_told(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=3))

    def broken(_: Any) -> Any:
        raise RuntimeError("out of memory")

    run.trainer.forward = broken  # type: ignore[method-assign]
    ticket = run.submit("step")
    with pytest.raises(CommandError, match="out of memory"):
        ticket.wait(20)
    run.stop()


# ---------------------------------------------------------------- interrupts, wherever they come


class Presses:
    """Presses "interrupt" at the calls that are given, counted over all passes through a run's network."""

    def __init__(self, run: Run, *at: int) -> None:
        self.left, self.calls, self._inner = set(at), 0, run.trainer.forward
        run.trainer.forward = self.forward  # type: ignore[method-assign]

    def forward(self, inputs: Any) -> Any:
        self.calls += 1
        if self.calls in self.left:
            raise KeyboardInterrupt
        return self._inner(inputs)


def finished(run: Run) -> Run:
    """Fit to the end, and again after each interrupt, as people do."""
    while run.status != "ended":
        before = run.step_number, run.epoch
        try:
            run.fit()
        except KeyboardInterrupt:
            assert (run.step_number, run.epoch) >= before, "the way back is not a way to go on from"
    return run


def told(run: Run) -> list[Any]:
    """The history, but for the time it took, and what else was told of it."""
    rows = run.history.drop(columns="seconds").astype(object)
    events = [event for event in run.journal.current if isinstance(event, EpochDone | PhaseChanged)]
    return [
        rows.where(rows.notna(), None).values.tolist(),
        [replace(e, seconds=0, saved_seconds=0) if isinstance(e, EpochDone) else e for e in events],
    ]


@pytest.mark.parametrize("plan", [labkit.full(epochs=2), labkit.gradual(2, epochs=1)])
@pytest.mark.slow
def test_interrupts_at_any_pass_leave_no_trace(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 1e9)  # so that the way back is long
    calm = tiny_run(plan)
    passes = Presses(calm)
    calm.fit()
    for first in range(1, passes.calls + 1):
        run = tiny_run(plan)
        Presses(run, first, first + 2, first + 3)  # in a step or a validation, then on the way back
        assert same_weights(finished(run), calm), first
        assert same_optimizer_state(run, calm), first
        assert told(run) == told(calm), first


def test_an_interrupted_rewind_has_not_happened(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 1e9)
    run, calm = (tiny_run(labkit.full(epochs=2)) for _ in range(2))
    for one in (run, calm):
        for _ in range(4):
            one.step()
        one.set(lr=1e-4)
        one.step()
    Presses(run, 2)
    with pytest.raises(KeyboardInterrupt):
        run.rewind(3)
    assert run.step_number == 5
    assert run.log == calm.log
    with run.paused() as model:  # whoever looks now sees the whole of step 5
        assert all(
            torch.equal(v, calm.model.state_dict()[k]) for k, v in model.state_dict().items()
        )
    assert same_weights(run.fit(), calm.fit())


# ---------------------------------------------------------------- what is told beforehand


@pytest.mark.parametrize("batch_size", [2, 7, 29, 30, 44, 45, 88, 89, 90, 91, 200])
@pytest.mark.parametrize("epochs", [1, 3])
def test_the_number_of_steps_is_known_before_and_at_any_time(batch_size: int, epochs: int) -> None:
    data = Clouds()  # 90 points: with 89 the last is taken along, with 29 there are three left
    plan = labkit.full(epochs=epochs, batch_size=batch_size)
    run = Run(Small(), data, plan, precision=runtime.Precision())
    foreseen = {run.total_steps}
    for event in run.events():
        if isinstance(event, StepDone):
            foreseen.add(run.total_steps)
    assert foreseen == {run.step_number}


@pytest.mark.parametrize("epochs", [0, -1, "3", 2.5, True, float("nan"), [1]])
def test_fit_takes_a_whole_number_of_epochs_and_trains_nothing_otherwise(
    tiny_run: Callable[..., Run], epochs: Any
) -> None:
    run = tiny_run(labkit.full(epochs=2))
    with pytest.raises(CommandError, match="whole number from 1"):
        run.fit(epochs)
    assert (run.step_number, len(run.journal), run.status) == (0, 0, "ready")


def test_numbers_out_of_an_array_are_numbers(tiny_run: Callable[..., Run]) -> None:
    plan = labkit.full(lr=np.float32(1e-3), epochs=np.int64(2), batch_size=np.int32(16))
    run = tiny_run(plan, seed=np.int64(3), budget=np.float32(1e4)).fit(np.int64(1))
    run.set(lr=np.float32(1e-4), trainable_from=np.int64(2), epochs=np.uint8(3))
    run.rewind(np.int64(2))
    assert run.branch(np.int16(1)).step_number == 1
    assert find_lr(run, steps=np.int64(10), seconds=np.float64(60)).lrs.size >= 10
    assert Plan.from_dict(json.loads(json.dumps(run.plan.to_dict()))) == plan
    json.dumps([run.seed, [dict(command.args) for command in run.log]])


# ---------------------------------------------------------------- what is no run


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"data": "digits"}, DataError, r"labkit.load_data\('digits'\)"),
        ({"data": Path("some/folder")}, DataError, "is a name"),
        ({"data": None}, DataError, "NoneType"),
        ({"data": DataLoader([1, 2])}, DataError, "DataLoader, which a run cannot train on"),
        ({"data": SimpleNamespace(train=[1, 2], valid=[], classes="ab")}, DataError, "train.batch"),
        ({"net": "resnet10"}, BackboneError, "not a backbone"),
        ({"net": torch.nn.Linear(2, 2)}, BackboneError, "not a backbone"),
        ({"plan": "full"}, PlanError, "not a Plan"),
        ({"precision": "fp16"}, PlanError, "precision='fp16' is not known"),
        ({"precision": runtime.Precision("fp16")}, PlanError, "is not known"),  # type: ignore[arg-type]
        ({"precision": None}, PlanError, "is not known"),
        ({"seed": 1.5}, PlanError, "whole number"),
        ({"seed": True}, PlanError, "whole number"),
    ],
)
def test_parts_that_make_no_run_are_refused_with_a_sentence(
    wrong: dict[str, Any], error: type[LabkitError], words: str
) -> None:
    parts = {"net": Small(), "data": Clouds(), "plan": labkit.full(epochs=1), **wrong}
    with pytest.raises(error, match=words):
        Run(**parts)


def test_a_weight_that_stages_share_trains_with_the_first_of_them() -> None:
    def tied(classes: int) -> torch.nn.Module:
        body, head = torch.nn.Linear(6, 6), torch.nn.Sequential(torch.nn.Linear(6, 6))
        head[0].weight = body.weight
        head.append(torch.nn.Linear(6, classes))
        return torch.nn.Sequential(OrderedDict(body=body, head=head))

    net = labkit.Backbone.from_module(tied, ["body", "head"], "tied")
    plan = labkit.full(lr=1e-2, epochs=9)
    run = Run(net, Clouds(), plan, precision=runtime.Precision())
    start = run.model.body.weight.clone()
    run.set(trainable_from="head")
    run.step()
    assert run.audit().ok
    assert torch.equal(run.model.head[0].weight, start)
    run.set(trainable_from="body")
    run.step()
    assert not torch.equal(run.model.body.weight, start)
    assert run.model.head[0].weight is run.model.body.weight


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_run_that_is_copied_or_pickled_names_what_to_do_instead(
    tiny_run: Callable[..., Run], copied: Callable[[Run], Any]
) -> None:
    with pytest.raises(CommandError, match=r"branch\(\).*export"):
        copied(tiny_run(labkit.full(epochs=1)))


# ---------------------------------------------------------------- rates


def test_every_step_has_the_rate_of_its_middle() -> None:
    plan = labkit.full(lr=1e-2, epochs=2, batch_size=10, schedule="cosine")
    run = Run(Small(), Clouds(), plan, precision=runtime.Precision()).fit()
    rates = [event.lr for event in run.journal.current if isinstance(event, StepDone)]
    middles = [(step + 0.5) / 18 for step in range(18)]  # 90 points, nine steps an epoch
    assert rates == pytest.approx([1e-2 * rate_factor("cosine", 0, at) for at in middles], rel=1e-9)


def test_a_rate_set_in_the_warm_up_is_used_on_the_next_step() -> None:
    plan = labkit.full(lr=1e-2, epochs=2, batch_size=10, schedule="cosine", warmup=0.5)
    run = Run(Small(), Clouds(), plan, precision=runtime.Precision())
    for _ in range(3):  # of nine steps of the warm-up
        run.step()
    run.set(lr=2e-3)
    assert [run.step().lr for _ in range(2)] == [2e-3, 2e-3]
