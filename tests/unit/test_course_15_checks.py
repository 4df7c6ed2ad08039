"""The checks of lesson 15 accept what is right and refuse what is plausibly wrong, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastai", reason="left out: fastai is not installed")

from fastai.callback.core import Callback
from fastai.callback.training import BnFreeze
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat

from labkit.course import small
from labkit.tuning import Phase, Plan, full
from tests.answers import Answers

# ---------------------------------------------------------------- slices


def _slice(low, high, groups):
    if low is None:
        return [high / 10] * (groups - 1) + [high]
    factor = (high / low) ** (1 / (groups - 1))
    return [low * factor**group for group in range(groups)]


def _logspace(low, high, groups):
    if low is None:
        return tuple(np.r_[np.full(groups - 1, high / 10), high])
    return np.logspace(np.log10(low), np.log10(high), groups)


def _linear(low, high, groups):
    return np.linspace(low, high, groups)


def _one_step_more(low, high, groups):
    return [low * (high / low) ** (group / groups) for group in range(groups)]


def _tenths(low, high, groups):
    """Right for three groups that span two decades, and for nothing else."""
    return (
        [high / 10] * (groups - 1) + [high]
        if low is None
        else [high / 10**i for i in range(groups)][::-1]
    )


def _same_without(low, high, groups):
    return [high] * groups if low is None else _slice(low, high, groups)


def _spread_without(low, high, groups):
    return _slice(high / 100 if low is None else low, high, groups)


# ---------------------------------------------------------------- plans


def _plan(epochs, base_lr, stages, **changes):
    """fine_tune, with some of it changed."""
    first = {"trainable_from": "head", "lr": base_lr, "epochs": 1, "warmup": 0.9}
    second = {"trainable_from": "all", "lr": base_lr / 2, "epochs": epochs, "warmup": 0.3}
    second |= {"lr_decay": 0.01 ** (1 / (stages - 1))}
    for name, value in changes.items():
        which, _, field = name.partition("_")
        (first if which == "first" else second)[field] = value
    return Plan("p", tuple(Phase(**{"schedule": "cosine", **phase}) for phase in (first, second)))


def changed(**how: Callable[[int, float, int], Any]) -> Callable[..., Plan]:
    return lambda e, b, s: _plan(e, b, s, **{name: value(e, b, s) for name, value in how.items()})


def _numbers_for_names(epochs, base_lr, stages):
    return changed(first_trainable_from=lambda *_: 1, second_trainable_from=lambda e, b, s: s)(
        epochs, base_lr, stages
    )


def _reversed(epochs, base_lr, stages):
    plan = _plan(epochs, base_lr, stages)
    return plan.with_(phases=plan.phases[::-1])


# ---------------------------------------------------------------- freezes


def _by_stage(model):
    return [list(stage.parameters()) for stage in model.children()]


def _learner(loaders, model, freeze=True, **options):
    made = Learner(
        loaders, model, loss_func=CrossEntropyLossFlat(), **{"splitter": _by_stage, **options}
    )
    if freeze:
        made.freeze()
    return made


def _held(loaders, model):
    return _learner(loaders, model, train_bn=False, cbs=BnFreeze())


class _Asleep(Callback):
    def before_train(self):
        for stage in list(self.learn.model.children())[:-1]:
            stage.eval()


def _by_hand(loaders, model):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    head_alone = lambda model: list(model.head.parameters())  # noqa: E731
    return _learner(loaders, model, freeze=False, splitter=head_alone, cbs=_Asleep())


def _too_late(loaders, model):
    made = _learner(loaders, model, cbs=BnFreeze())
    made.train_bn = False  # the optimiser exists already
    return made


def _mode_once(loaders, model):
    made = _learner(loaders, model, train_bn=False)
    for stage in list(model.children())[:-1]:
        stage.eval()
    return made


def _by_flags(loaders, model):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    head_alone = lambda model: list(model.head.parameters())  # noqa: E731
    return _learner(loaders, model, freeze=False, splitter=head_alone)


def _all_asleep(loaders, model):
    model.requires_grad_(False)
    everything = lambda model: list(model.parameters())  # noqa: E731
    return _learner(
        loaders,
        model,
        freeze=False,
        splitter=everything,
        train_bn=False,
        cbs=[_Asleep(), _NoStep()],
    )


class _NoStep(Callback):
    def before_backward(self):
        from fastai.callback.core import CancelBatchException

        raise CancelBatchException


def _wrong_end(loaders, model):
    upside_down = lambda model: _by_stage(model)[::-1]  # noqa: E731
    return _learner(loaders, model, splitter=upside_down, train_bn=False, cbs=BnFreeze())


def _trained_already(loaders, model):
    made = _held(loaders, model)
    with made.no_bar(), made.no_logging():
        made.fit(1, 0.1)
    return made


def _another_model(loaders, model):
    return _held(loaders, small.model(seed=1))


RIGHT: dict[str, list[Any]] = {
    "15-slice": [_slice, _logspace],
    "15-plan": [_plan, _numbers_for_names],
    "15-freeze": [_held, _by_hand],
}
WRONG = [
    ("15-slice", _linear, "the same ratio"),
    ("15-slice", lambda low, high, n: _slice(low, high, n)[::-1], "reversed"),
    ("15-slice", _one_step_more, "one step fewer"),
    ("15-slice", lambda low, high, n: [high / 10] * (n - 1) + [high], "has both ends"),
    ("15-slice", lambda low, high, n: [high] * n, "low end was not used"),
    ("15-slice", lambda low, high, n: _slice(low, high, n + 1), "gives 4 rates"),
    ("15-slice", _tenths, "five are not"),
    ("15-slice", _same_without, "not high for all"),
    ("15-slice", _spread_without, "nothing is spread"),
    ("15-slice", lambda low, high, n: high, "list of numbers"),
    ("15-plan", lambda e, b, s: full(lr=b, epochs=e), "fits twice"),
    ("15-plan", lambda e, b, s: _plan(e, b, s).phases, "Return a labkit.Plan"),
    ("15-plan", _reversed, "order is reversed"),
    ("15-plan", changed(first_trainable_from=lambda *_: "all"), "only the head trains"),
    ("15-plan", changed(second_trainable_from=lambda *_: "head"), "everything trains"),
    ("15-plan", changed(first_epochs=lambda e, *_: e), "gives it one"),
    ("15-plan", changed(second_epochs=lambda e, *_: e - 1), "comes on top"),
    ("15-plan", changed(first_lr=lambda e, b, s: b / 2), "halving comes after"),
    ("15-plan", changed(second_lr=lambda e, b, s: b), "the line that halves"),
    ("15-plan", changed(second_lr_decay=lambda *_: 1.0), "gives each its own"),
    ("15-plan", changed(second_lr_decay=lambda *_: 0.01), "over all steps together"),
    ("15-plan", changed(second_lr_decay=lambda e, b, s: 0.01 ** (1 / s)), "one step fewer"),
    ("15-plan", changed(second_lr_decay=lambda *_: 0.5), "should be a hundredth"),
    ("15-plan", changed(second_lr_decay=lambda *_: 0.01**0.25), "should be a hundredth"),
    ("15-plan", changed(second_schedule=lambda *_: "constant"), "second phase does not fall"),
    ("15-plan", changed(first_schedule=lambda *_: "constant"), "first phase does not fall"),
    ("15-plan", changed(second_warmup=lambda *_: 0.0), "pct_start=0.3"),
    ("15-plan", changed(first_warmup=lambda *_: 0.0), "pct_start=0.99"),
    ("15-freeze", _learner, "weights of BatchNorm moved"),
    ("15-freeze", lambda x, m: _learner(x, m, cbs=BnFreeze()), "weights of BatchNorm moved"),
    ("15-freeze", _too_late, "weights of BatchNorm moved"),
    ("15-freeze", lambda x, m: _learner(x, m, train_bn=False), "followed the images"),
    ("15-freeze", _mode_once, "setting the mode once does not last"),
    ("15-freeze", _by_flags, "followed the images"),
    ("15-freeze", lambda x, m: _learner(x, m, freeze=False), "Did you freeze"),
    ("15-freeze", _all_asleep, "Nothing moved at all"),
    ("15-freeze", _wrong_end, "other way round"),
    ("15-freeze", _trained_already, "before any training"),
    ("15-freeze", _another_model, "another model"),
    ("15-freeze", lambda x, m: m, "Return the Learner"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
