"""Where the learning rate should lie: the range test on a throw-away branch of a run.

The rate rises geometrically from step to step while the loss is watched (Smith, "Cyclical Learning Rates for Training
Neural Networks", 2017). Where the rate is too low the loss stays, where it is right it falls, where it is too high it
rises. The branch takes over all that the run would do next: frozen depth, batches, augmentation, rate decay, the
optimiser's memory. It shares nothing that training changes, so the run goes on as if nobody had looked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from labkit.errors import CommandError, LearningRateError, shown
from labkit.runtime import real_number, whole_number
from labkit.settings import learning_rate
from labkit.tuning.run import Run
from labkit.tuning.trainer import DivergedError, Trainer

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[tuple[int], np.dtype[np.float64]]
Stopped = Literal["not yet", "end", "rose", "not finite", "out of time"]

FEWEST, MOST = 10, 1000  # steps: fewer make no curve, more tell nothing new
MEMORY = 0.5  # decades of the rate over which the loss is smoothed
BLOW_UP = 4  # times its best: where the smoothed loss has left for good (fastai's number)
SHARE = 0.1  # of the whole fall: less than this is "hardly"
TELLING = 0.05  # of the loss at the start: a smaller fall tells nothing
LEARNED = 0.1  # nats: the right class has 90 % on average, and little is left to learn
POINTS = 120  # that a message carries at most


# ---------------------------------------------------------------- the result


@dataclass(frozen=True, eq=False)
class LearningRates:
    """What a range test saw, n steps long, and what follows from it.

    `lrs` (n,) are the rates of the head, rising; `losses` (n,) the training loss in nats on the batch right after the
    step with that rate; `counts` (n,) the samples of that batch. `current` is the rate in force in the run, `step`
    where the run was, `high` the highest rate that was asked for, `stopped` why the test went no further.
    """

    name: str
    step: int
    current: float
    high: float
    lrs: Array
    losses: Array
    counts: Array
    stopped: Stopped

    # ------------------------------------------------------------ what follows from the curve

    @cached_property
    def smoothed(self) -> Array:
        """The losses (n,) as a mean over about half a decade of rates, every sample counting alike."""
        return smooth(self.lrs, self.losses, self.counts)

    @property
    def start(self) -> float:
        """The loss at the lowest rates, where the network still stands."""
        first = slice(0, self._opening)
        return float(np.average(self.losses[first], weights=self.counts[first]))

    @property
    def lowest(self) -> float:
        """The smallest smoothed loss."""
        return float(self.smoothed[self._bottom])

    @property
    def falls(self) -> bool:
        """Whether there is something left to learn, and the loss falls by more than batches differ anyway."""
        if len(self.lrs) < FEWEST or self.start < LEARNED:
            return False
        return self.start - self.lowest > max(TELLING * self.start, self._scatter)

    @property
    def diverges_at(self) -> float | None:
        """The rate from which the loss rises for good; None where it never does."""
        if len(self.lrs) < FEWEST:
            return None
        slack = max(SHARE * (self.start - self.lowest), TELLING * self.start, self._scatter)
        low = np.flatnonzero(self.smoothed <= self.lowest + slack)
        if low[-1] + 1 < len(self.lrs):
            return float(self.lrs[low[-1] + 1])
        return float(self.lrs[-1]) if self.stopped == "not finite" else None

    @cached_property
    def suggestions(self) -> dict[str, float]:
        """A rate by each rule: `valley`, `steep` and `minimum`; empty where the curve gives no ground for one.

        The rules are those of fastai's `lr_find`, used on the way down only.
        """
        if not self.falls or self._open_ended:
            return {}
        down = slice(self._opening - 1, self._bottom + 1)
        return {name: rule(self.lrs[down], self.smoothed[down]) for name, rule in RULES.items()}

    @property
    def suggestion(self) -> float | None:
        """The rate to try first: the middle one of the rules. None where the curve gives no ground for one.

        Each rule alone goes astray on some noisy curve, seldom two on the same side. With 10 labels a class of the
        digits the middle one stayed closest to the best rate of a grid.
        """
        return median(self.suggestions.values()) if self.suggestions else None

    # ------------------------------------------------------------ in words and numbers

    def explain(self) -> str:
        """What the test saw and what to try, in a few plain sentences."""
        if len(self.lrs) < FEWEST:
            return self._describe_too_short()
        end = f" It rises from {number(self.diverges_at)} on." if self.diverges_at else ""
        if not self.falls:
            return f"{self._describe_flat()}{end} {self._describe_what_to_check()}"
        if self._open_ended:
            return (
                f"The loss still falls at the highest rate tried, {number(self.lrs[-1])}: the best rate may lie "
                "above. Look further up, for example with high=1."
            )
        return f"{self._describe_curve()}{end} Try {number(self.suggestion)}."

    @property
    def table(self) -> pd.DataFrame:
        """One row a step: the rate, the loss after it in nats, and the smoothed loss."""
        import pandas as pd

        columns = {"learning rate": self.lrs, "loss": self.losses, "smoothed loss": self.smoothed}
        return pd.DataFrame(columns)

    def as_message(self) -> dict[str, Any]:
        """The result as plain data that fits into JSON: four digits, at most 120 points."""
        count = len(self.lrs)
        shown = np.unique(np.linspace(0, count - 1, min(POINTS, count)).astype(int))
        return {
            "step": self.step,
            "lrs": _digits(self.lrs[shown]),
            "losses": _digits(self.losses[shown]),
            "smoothed": _digits(self.smoothed[shown]),
            "current": self.current,
            "suggestion": _digit(self.suggestion),
            "suggestions": {name: _digit(lr) for name, lr in self.suggestions.items()},
            "diverges_at": _digit(self.diverges_at),
            "stopped": self.stopped,
            "text": self.explain(),
        }

    def _describe_too_short(self) -> str:
        if self.stopped == "not finite":
            return (
                f"After {len(self.lrs) + 1} steps the loss is no number any more: too few for a curve. "
                "Look further down, with a smaller low, or rewind the run."
            )
        return (
            f"{len(self.lrs)} steps are too few for a curve. "
            "Give find_lr more seconds, or the run a smaller batch."
        )

    def _describe_curve(self) -> str:
        fallen = self.smoothed[self._opening :] < self.start - SHARE * (self.start - self.lowest)
        begins = float(self.lrs[self._opening + int(np.argmax(fallen))])
        fastest = self.suggestions["steep"]
        said = f"Below {number(begins)} the loss hardly falls."
        if fastest > begins:  # else the steepest place is a bump in what hardly falls
            said += f" It falls fastest near {number(fastest)}."
        return (
            said if self.diverges_at else f"{said} It does not rise up to {number(self.lrs[-1])}."
        )

    def _describe_flat(self) -> str:
        if self.start < LEARNED:
            return (
                f"The training loss is {self.start:.2g} already, so no rate can lower it by much."
            )
        return (
            f"No rate from {number(self.lrs[0])} to {number(self.lrs[-1])} lowers the loss by more than "
            f"batches differ anyway: it starts at {self.start:.3g}, and {self.lowest:.3g} is its lowest."
        )

    def _describe_what_to_check(self) -> str:
        if self.start < LEARNED:
            return "Go on with a low rate, or stop here."
        if self.diverges_at is None and self.high < 1:
            return "The rates may be too low: look further up, for example with high=1."
        return (
            "Either the run has learned what it can, or this depth or these few steps cannot learn it: "
            "check the labels, unfreeze more stages, or try steps=300."
        )

    # ------------------------------------------------------------ measures of the curve

    @property
    def _opening(self) -> int:
        """Points at the lowest rates, a tenth of them, that tell where the loss starts."""
        return max(3, len(self.lrs) // 10)

    @property
    def _bottom(self) -> int:
        return self._opening + int(np.argmin(self.smoothed[self._opening :]))

    @property
    def _open_ended(self) -> bool:
        """Whether the test ended below the highest rate there is while the loss still fell."""
        at_the_end = self._bottom >= len(self.lrs) - max(2, len(self.lrs) // 20)
        return at_the_end and self.diverges_at is None and self.lrs[-1] < 1

    @property
    def _scatter(self) -> float:
        """How far two means of a few batches can differ by chance: three standard errors.

        From differences of neighbours, which a trend hardly touches, and their median, which a blow-up does not.
        """
        one_batch = float(np.median(np.abs(np.diff(self.losses)))) / (0.6745 * math.sqrt(2))
        decades = math.log10(self.lrs[-1] / self.lrs[0])
        in_memory = max(1.0, 2 * MEMORY * len(self.lrs) / decades) if decades else 1.0
        return 3 * one_batch * math.sqrt(1 / self._opening + 1 / in_memory)


# ---------------------------------------------------------------- the test


def find_lr(
    run: Run,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    seconds: float | None = 30.0,
) -> LearningRates:
    """The learning-rate range test from where `run` is now; the run itself is not touched.

    Args:
        run: paused, ended or training in the background; the branch is taken between two of its steps.
        low, high: the rates of the head to start from and to rise to. Stages below follow by the run's `lr_decay`.
        steps: how many rates are tried, 10 to 1000.
        seconds: how long it may take. A network too slow for all steps takes fewer and wider ones; None: no limit.

    Raises:
        LearningRateError: rates that no optimiser should be given, or too close to each other.
        CommandError: the run has failed, or steps or seconds make no test.
    """
    finder = Finder(run, low, high, steps, seconds)
    while finder.advance():
        pass
    return finder.result


class Finder:
    """The range test one step at a time, for whoever has other things to do in between.

    Building it checks the arguments and costs nothing. The first `advance()` takes the branch, for which it waits for
    the run to finish its step. To cancel, stop calling it.
    """

    def __init__(
        self,
        run: Run,
        low: float = 1e-6,
        high: float = 1.0,
        steps: int = 100,
        seconds: float | None = 30.0,
    ) -> None:
        _check_run(run)
        self.low, self.high = _check_range(low, high)
        self.steps, self.seconds = _check_steps(steps), _check_seconds(seconds)
        self._run, self._at, self._current = run, run.step_number, run.settings.lr
        self._trainer: Trainer | None = None
        self._lrs: list[float] = []  # of the steps done
        self._seen: list[tuple[float, int]] = []  # loss and samples of the batch after each
        self._used = self._branching = 0.0  # seconds
        self._stopped: Stopped = "not yet"

    def advance(self) -> bool:
        """Try the next rate; False once there is none left. Raises CommandError where the run cannot go on."""
        if self._stopped == "not yet":
            began = time.perf_counter()
            trainer = self._trainer or self._branch()
            self._try_next(trainer)
            self._used += time.perf_counter() - began
        if self._stopped != "not yet":
            self._trainer = None  # its weights are of no more use
        return self._stopped == "not yet"

    @property
    def progress(self) -> float:
        """How much of the way from the lowest to the highest rate is done, 0 to 1."""
        if self._stopped != "not yet":
            return 1.0
        reached = self._lrs[-1] if self._lrs else self.low
        return math.log(reached / self.low) / math.log(self.high / self.low)

    @property
    def result(self) -> LearningRates:
        """What has been seen so far."""
        losses, counts = zip(*self._seen, strict=True) if self._seen else ((), ())
        return LearningRates(
            name=self._run.name,
            step=self._at,
            current=self._current,
            high=self.high,
            lrs=np.array(self._lrs[: len(losses)], dtype=np.float64),
            losses=np.array(losses, dtype=np.float64),
            counts=np.array(counts, dtype=np.float64),
            stopped=self._stopped,
        )

    # ------------------------------------------------------------ how

    def _branch(self) -> Trainer:
        """The trainer of a branch alone: a test needs no journal, no validation and no way back."""
        began = time.perf_counter()
        branch = self._run.branch()
        self._at, self._current = branch.step_number, branch.settings.lr
        self._trainer = branch.trainer
        self._branching = time.perf_counter() - began
        return self._trainer

    def _try_next(self, trainer: Trainer) -> None:
        """A step with the next rate; the loss it meets is what the step before has led to."""
        lr = self._next_lr()
        if lr is None:
            return
        trainer.apply_settings(trainer.at.settings.changed({"lr": lr}))
        try:
            done = trainer.step()
        except DivergedError as trouble:
            self._stopped = "not finite"
            if not self._lrs:
                raise CommandError(
                    f"There is no rate to find: {trouble}. Rewind the run to where it was well."
                ) from trouble
            return
        if self._lrs:
            self._seen.append((done.loss, done.count))
        self._lrs.append(lr)
        arrived = self._lrs[-2:-1] == [
            self.high
        ]  # and what it has led to is seen, however much time is left
        if arrived or len(self._seen) == self.steps or self._blown_up():
            self._stopped = "rose" if self._blown_up() else "end"

    def _next_lr(self) -> float | None:
        """The rate that reaches the highest in the steps that are left; None when the time is over."""
        if not self._lrs:
            return self.low
        left = self.steps - len(self._lrs)
        if self.seconds is not None:
            each = (self._used - self._branching) / len(self._lrs)
            affordable = int((self.seconds - self._used) / each)
            if affordable < 1:
                self._stopped = "end" if self._lrs[-1] == self.high else "out of time"
                return None
            left = min(left, affordable - 1)  # one step more, to see what the last has led to
        if left < 1 or self._lrs[-1] == self.high:
            return self.high
        return self.high if left == 1 else self._lrs[-1] * (self.high / self._lrs[-1]) ** (1 / left)

    def _blown_up(self) -> bool:
        """Whether the smoothed loss is far above its best and above where it began."""
        if len(self._seen) < FEWEST:
            return False
        seen = self.result
        return bool(seen.smoothed[-1] > max(BLOW_UP * seen.lowest, seen.start))


def smooth(lrs: Array, losses: Array, counts: Array) -> Array:
    """A running mean (n,) that forgets with the rate: after `MEMORY` decades a sample counts 1/e.

    With 100 steps over six decades that is fastai's exponential mean at 0.89; unlike a number of steps it means the
    same when a slow network takes fewer, wider ones. The last batch of an epoch may be small and counts for less.
    Like fastai's it lags, by up to half a decade, and the rules are made for that.
    """
    kept = np.exp(-np.diff(np.log10(lrs), prepend=np.log10(lrs[:1])) / MEMORY)
    means, total, weight = np.empty_like(losses), 0.0, 0.0
    for place, (loss, count, keep) in enumerate(zip(losses, counts, kept, strict=True)):
        total, weight = total * keep + loss * count, weight * keep + count
        means[place] = total / weight
    return means


# ---------------------------------------------------------------- fastai's rules (fastai.callback.schedule, 2.8)
#
# Its fourth, slide, is left out: it compares slopes between single steps, and on the small data of a lesson it named
# rates from 4e-6 to 2e-2 for the same task.


def valley(lrs: Array, losses: Array) -> float:
    """The middle of the longest stretch in which the loss falls.

    The stretch is the longest falling subsequence, taken to begin as many places before its end as it is long.
    """
    length = np.ones(len(losses), dtype=int)
    for place in range(1, len(losses)):
        higher = losses[:place] > losses[place]
        length[place] += length[:place][higher].max(initial=0)
    end = int(length.argmax())
    span = int(length[end])
    return float(lrs[max(0, end - span + span // 3 + span // 6)])


def steep(lrs: Array, losses: Array) -> float:
    """Where the loss falls fastest per factor of the rate."""
    return float(lrs[np.argmin(np.diff(losses) / np.diff(np.log(lrs)))])


def minimum(lrs: Array, losses: Array) -> float:
    """A tenth of the rate at the lowest loss, which itself is at the edge."""
    return float(lrs[np.argmin(losses)]) / 10


RULES: Mapping[str, Any] = {"valley": valley, "steep": steep, "minimum": minimum}


# ---------------------------------------------------------------- checks of the arguments


def _check_run(run: Any) -> None:
    if not isinstance(run, Run):
        raise CommandError(
            f"find_lr needs a run, not {type(run).__name__}. Build one: labkit.Run(net, data, plan)."
        )
    if run.status == "failed":
        raise CommandError(
            f"The run failed at step {run.step_number}. Rewind it, then look for a rate."
        )


def _check_range(low: object, high: object) -> tuple[float, float]:
    first, last = learning_rate(low), learning_rate(high)
    if last < 10 * first:
        raise LearningRateError(
            f"low={first:g} and high={last:g}: the test needs at least a factor of ten between them. "
            "The default is from 1e-6 to 1."
        )
    return first, last


def _check_steps(steps: object) -> int:
    whole = whole_number(steps)
    if whole is None or not FEWEST <= whole <= MOST:
        raise CommandError(f"steps={shown(steps)} must be a whole number from {FEWEST} to {MOST}.")
    return whole


def _check_seconds(seconds: object) -> float | None:
    if seconds is None:
        return None
    number = real_number(seconds)
    if number is None or not 0 < number < math.inf:
        raise CommandError(
            f"seconds={shown(seconds)} must be a number above 0, or None for no limit."
        )
    return float(number)


# ---------------------------------------------------------------- numbers as people write them


def number(lr: float | None) -> str:
    """A rate in one digit: 7e-4, 0.05, 1."""
    if lr is None:
        return "none"
    return f"{float(f'{lr:.0e}'):g}" if lr >= 0.0095 else f"{lr:.0e}".replace("e-0", "e-")


def _digit(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _digits(values: Array) -> list[float | None]:
    return [_digit(float(value)) for value in values]
