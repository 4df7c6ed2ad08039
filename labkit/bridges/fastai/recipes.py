"""What a fastai recipe does, found out without training: each `fit` that it asks for, with depth and rates.

`learn.fine_tune(5)` is such a recipe. Its whole method is which fits it makes, so a Learner whose `fit` only takes
notes tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastai.callback.schedule import ParamScheduler
from fastai.learner import Learner

from labkit.bridges.fastai.views import stage_names

Recipe = Callable[[Learner], object]
Curve = Callable[
    [float], Sequence[float]
]  # the share done, 0 to 1, to the rate of every parameter group
PLACES = 1000  # at which a curve is looked at


@dataclass(frozen=True)
class Fit:
    """One call of `fit`: how many epochs, the first stage that trains, and the rate of every stage as it goes."""

    epochs: int
    trainable_from: str
    stages: tuple[str, ...]
    curve: Curve = field(repr=False)

    def rates(self, done: float) -> dict[str, float]:
        """The rate of every stage, input to output, when the share `done` of the fit is done."""
        return dict(zip(self.stages, map(float, self.curve(done)), strict=True))

    @property
    def peak(self) -> float:
        """The share of the fit after which the rate of the head is largest."""
        return max(range(PLACES + 1), key=lambda at: self.curve(at / PLACES)[-1]) / PLACES

    @property
    def lr(self) -> float:
        """The largest rate of the head."""
        return float(self.curve(self.peak)[-1])

    @property
    def lowest_lr(self) -> float:
        """The largest rate of the first stage, whether it trains or not."""
        return float(self.curve(self.peak)[0])


def fits(learn: Learner, recipe: Recipe) -> tuple[Fit, ...]:
    """The fits that a recipe makes, in order. Nothing trains, and the Learner is left as it was.

    A recipe that looks at the results of its own training cannot be asked this way; it raises what it raises then.
    """
    if learn.opt is None:
        learn.create_opt()
    depth, hypers = learn.opt.frozen_idx, [dict(group) for group in learn.opt.hypers]
    noted: list[Fit] = []

    def take_note(
        n_epoch: int, lr: Any = None, wd: Any = None, cbs: Any = None, *_: Any, **__: Any
    ) -> None:
        learn.opt.set_hyper("lr", learn.lr if lr is None else lr)
        every = [*learn.cbs, *(cbs if isinstance(cbs, Sequence) else [cbs])]
        stages = stage_names(learn)
        noted.append(Fit(n_epoch, stages[depth_of(learn)], stages, _curve(learn, every)))

    learn.fit = take_note
    try:
        recipe(learn)
    finally:
        del learn.fit  # the method of its class comes to light again
        learn.opt.freeze_to(depth)
        for name in hypers[0]:
            learn.opt.set_hyper(name, [group[name] for group in hypers])
    return tuple(noted)


def depth_of(learn: Learner) -> int:
    """Which parameter group is the first that trains, at most the last."""
    return min(int(learn.opt.frozen_idx), len(learn.opt.param_lists) - 1)


def head_rate(learn: Learner) -> float:
    """The largest rate of the head in the fit under way."""
    return Fit(0, "", (), _curve(learn, learn.cbs)).lr


def _curve(learn: Learner, callbacks: Sequence[Any]) -> Curve:
    """The rates by the scheduler among some callbacks, or where there is none those in force."""
    groups = len(learn.opt.param_lists)
    for callback in callbacks:
        if isinstance(callback, ParamScheduler) and "lr" in getattr(callback, "scheds", {}):
            schedule = callback.scheds["lr"]
            return lambda done: _for_all(schedule(done), groups)
    now = [float(group["lr"]) for group in learn.opt.hypers]
    return lambda _: now


def _for_all(rate: Any, groups: int) -> list[float]:
    """A rate a group; where the schedule gives one number, all have it."""
    several = [float(one) for one in rate] if hasattr(rate, "__len__") else [float(rate)]
    return several if len(several) == groups else several * groups
