"""A run has a loop and a trainer: a command goes through each once, and what a trainer does otherwise are its hooks."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import labkit
from labkit.console.session import Session
from labkit.errors import PlanError
from labkit.tuning import EpochDone, Run
from labkit.tuning.commands import KINDS
from labkit.tuning.loop import Loop
from labkit.tuning.parts import validate_parts
from labkit.tuning.trainer import Hooks, Trainer
from tests.invariants.conftest import same_optimizer_state, same_weights
from tests.small import Clouds

IN_THE_PAGE = (
    4  # functions of the console's script: the slider's listener, Held.send, act, Link.command
)
HOME = Path(labkit.__file__).parent  # not the checkout, which may be called labkit and hold .venv


def ways(monkeypatch: pytest.MonkeyPatch, *ends: tuple[type, str]) -> list[list[str]]:
    """From now on the functions of labkit that were gone through, outermost first, at each call of one of `ends`."""
    found: list[list[str]] = []

    def recording(inner: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **options: Any) -> Any:
            frame, way = sys._getframe(1), [inner.__name__]
            while frame is not None:
                path = Path(frame.f_code.co_filename)
                if path.is_relative_to(HOME):
                    way.insert(0, f"{path.stem}.{frame.f_code.co_name}")
                frame = frame.f_back  # type: ignore[assignment]
            found.append(way)
            return inner(*args, **options)

        return record

    for owner, name in ends:
        monkeypatch.setattr(owner, name, recording(getattr(owner, name)))
    return found


# ---------------------------------------------------------------- composition


def test_a_run_has_a_loop_and_a_trainer_and_inherits_from_neither(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=1))
    assert Run.__mro__ == (Run, object)
    assert isinstance(run.loop, Loop)
    assert isinstance(run.trainer, Trainer)


def test_every_command_has_a_function_that_carries_it_out(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=1))
    assert run.handlers.keys() == {*KINDS, "end"}


def test_a_set_goes_into_the_loop_once_and_comes_out_of_it_once(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(labkit.full(epochs=1))
    found = ways(monkeypatch, (Trainer, "apply_settings"))
    run.set(lr=1e-4)
    assert found == [
        ["run.set", "loop.give", "loop.apply_commands", "run._do_set", "apply_settings"]
    ]


def test_the_slider_is_13_calls_from_the_optimizer(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run(labkit.full(epochs=1))
    found = ways(monkeypatch, (Loop, "_wake_thread"), (Trainer, "apply_settings"))
    message = {"kind": "command", "id": "1", "command": "set", "args": {"lr": 1e-4}}
    Session([run]).answer(message)
    run.wait(20)
    run.stop()
    to_the_queue, to_the_optimizer = found[0][:-1], found[-1]
    assert run.settings.lr == 1e-4
    assert to_the_queue[-1] == "loop.submit"
    assert to_the_optimizer[0] == "loop._serve"
    assert IN_THE_PAGE + len(to_the_queue) + len(to_the_optimizer) <= 13


def test_a_run_that_nobody_needs_is_freed_at_once(tiny_run: Callable[..., Run]) -> None:
    run = tiny_run(labkit.full(epochs=1))
    run.set(lr=1e-4)
    run.fit().rewind(1)
    model = weakref.ref(run.model)
    gc.collect()
    gc.disable()  # no ring of objects may hold it
    try:
        del run
        assert model() is None
    finally:
        gc.enable()


def test_events_can_be_asked_of_a_run_that_only_they_hold(tiny_run: Callable[..., Run]) -> None:
    events = tiny_run(labkit.full(epochs=1)).events()
    assert any(isinstance(event, EpochDone) and event.epoch == 1 for event in events)


def test_parts_are_validated_before_anything_is_built() -> None:
    class NeverBuilt:
        name, stages = "never built", ("body", "head")

        def build(self, *_: object, **__: object) -> torch.nn.Module:
            raise AssertionError("built")

    net: Any = NeverBuilt()
    assert validate_parts(net, Clouds(), labkit.partial("body"), 3) == 3
    with pytest.raises(PlanError, match="seed"):
        validate_parts(net, Clouds(), labkit.partial("body"), -1)


# ---------------------------------------------------------------- hooks


def test_a_hook_comes_before_every_step_and_again_where_a_rewind_trains_again(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 1e9)  # the way back is from step 0
    run, steps = tiny_run(labkit.full(epochs=1)), []

    def before_step(trainer: Trainer) -> None:
        assert trainer is run.trainer
        assert not any(module.training for module in trainer.model.modules())
        steps.append(trainer.at.step)

    run.trainer.hooks = Hooks(before_step=before_step)
    for _ in range(3):
        run.step()
    run.rewind(2)
    assert steps == [0, 1, 2, 0, 1]


def test_another_loss_trains_otherwise_and_a_rewind_repeats_it(
    tiny_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.tuning.run.REWIND_SECONDS", 1e9)
    sound, run = (tiny_run(labkit.full(epochs=1, optimizer="sgd")) for _ in range(2))
    run.trainer.hooks = Hooks(loss=lambda outputs, _: outputs.square().sum())
    first, other = sound.step(), run.step()
    assert first.loss != other.loss
    assert first.correct == other.correct
    assert not same_weights(sound, run)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.step()
    run.rewind(1)
    assert all(value.equal(before[name]) for name, value in run.model.state_dict().items())


def test_an_epoch_may_be_validated_otherwise_and_evaluate_stays_exact(
    tiny_run: Callable[..., Run],
) -> None:
    run = tiny_run(labkit.full(epochs=1))
    run.trainer.hooks = Hooks(
        validate=lambda trainer, split: trainer.evaluate(split.take(torch.tensor([0, 1])), "two")
    )
    run.fit()
    told = [event for event in run.journal.current if isinstance(event, EpochDone)]
    assert [event.valid_count for event in told] == [2, 2]
    assert run.evaluate("valid").count == len(run.data.valid)


def test_hooks_change_no_bit_where_they_are_off_and_branches_have_none(
    tiny_run: Callable[..., Run],
) -> None:
    run, hooked = (tiny_run(labkit.full(epochs=1)) for _ in range(2))
    hooked.trainer.hooks = Hooks(before_step=lambda _: None)
    assert same_weights(run.fit(), hooked.fit())
    assert same_optimizer_state(run, hooked)
    assert hooked.branch().trainer.hooks == Hooks() == run.trainer.hooks
