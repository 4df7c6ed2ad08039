"""Commands: in force on the very next step, safe from any thread, refused with a reason, never a deadlock."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import labkit
from labkit import runtime
from labkit.errors import CommandError, LabkitError, LearningRateError, PlanError, StageError
from labkit.tuning import CommandApplied, EpochDone, PhaseChanged, Run, RunFailed, StepDone
from tests.invariants.conftest import same_moments, same_weights


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
            assert same_moments(run, again), f"sequence {sequence}"
            assert run.settings == again.settings
    run.stop()


def test_probes_are_served_between_steps_while_the_engine_trains(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=1000)).start()
    waits = []  # in steps: whoever waits for the lock is served after the step in hand
    for _ in range(50):
        before = run.step_number
        with run.frozen_world():
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
def test_bad_settings_are_refused_at_the_door_and_change_nothing(
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
