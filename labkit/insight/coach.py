"""One plain sentence about a run: what is happening, and what to try where that is plain too.

The journal is folded into a `Trace`, event by event, so that each look costs only what is new. Then
small rules, the most urgent first, each look at the trace; the first that has something to say
speaks. No rule touches the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, log, sqrt
from statistics import fmean, pvariance
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from labkit.insight.reading import listed, noise, percent, train_right, valid_right
from labkit.tuning.events import EpochDone, Rewound, RunFailed, StepDone
from labkit.tuning.given import a_run, takes

if TYPE_CHECKING:
    from labkit.tuning import Run
    from labkit.tuning.events import Event

WINDOW = 20  # steps whose mean loss is taken; single steps are too noisy to tell anything
FRESH = 10  # steps for which a change of depth is news
PATIENCE = 2  # epochs that validation must get worse before we call it overfitting
GAP = 0.10  # how far training accuracy must be above validation accuracy to matter
WIDE = 0.25  # from which on it is enough that validation no longer improves
LEARNED = 0.75  # of the training examples, below which nothing has been learned by heart
FEW = 35  # validation examples below which a single one is 3 points
RUINED = (
    3  # steps in a row far above the loss of guessing, after which a network has lost what it knew
)
HIGH = 0.5  # of the loss of guessing, from which on a level training loss is underfitting


@dataclass
class Trace:
    """What the journal of a run says so far. `classes` 0 means that chance level is unknown.

    `lr` is the rate in force before its schedule, which is what a learner sets; None where only steps are known.
    """

    stages: tuple[str, ...]
    classes: int = 0
    status: str = "ready"
    augment: str = "none"
    goes_back: bool = True  # can be rewound; a loop that is not ours may only begin again
    lr: float | None = None
    steps: list[StepDone] = field(default_factory=list)
    epochs: list[EpochDone] = field(default_factory=list)
    failure: RunFailed | None = None

    def add(self, event: Event) -> None:
        """Fold one event in; a rewind forgets what came after the step it went to."""
        match event:
            case StepDone():
                self.steps.append(event)
            case EpochDone():
                self.epochs.append(event)
            case RunFailed():
                self.failure = event
            case Rewound(step=step):
                self.failure = None
                self.steps = [done for done in self.steps if done.step <= step]
                self.epochs = [done for done in self.epochs if done.step <= step]

    @property
    def checked(self) -> list[EpochDone]:
        """The epochs with something to validate on; the first is before any training."""
        return [epoch for epoch in self.epochs if epoch.valid_count]

    def since_last_change(self) -> list[StepDone]:
        """The latest steps at one frozen depth and, but for a schedule, one learning rate."""
        latest: list[StepDone] = []
        for step in reversed(self.steps):
            if latest and (
                step.trainable_from != latest[-1].trainable_from
                or not 1 / 3 < step.lr / max(latest[-1].lr, 1e-30) < 3
            ):
                break
            latest.append(step)
            if len(latest) >= 20 * WINDOW:
                break
        return latest[::-1]


Rule = Callable[[Trace], str | None]


@takes(run=a_run)
def sentence(run: Run) -> str:
    """What is happening in `run`, in one sentence; costs under 2 ms while it trains."""
    trace = _follow(run)
    return next(said for rule in RULES if (said := rule(trace)))


def trace_of(run: Run) -> Trace:
    """What the journal of a run says up to now: a trace of its own, which does not grow with the run."""
    return _Follower(run).catch_up(run)


def read(events: Sequence[Event], stages: tuple[str, ...], status: str, classes: int = 0) -> Trace:
    """The trace of a list of events: for runs that are recorded, not live."""
    trace = Trace(stages, classes, status)
    for event in events:
        trace.add(event)
    return trace


# ---------------------------------------------------------------- the rules, most urgent first


def failed(trace: Trace) -> str | None:
    if trace.status != "failed" or trace.failure is None:
        return None
    good = trace.failure.last_good_step
    back = f"rewind to step {good}" if trace.goes_back else "reset"
    advice = f"{back} and lower the learning rate"
    if trace.steps:
        advice += f" to about {_rate(trace) / 10:.1g}"
    reason = trace.failure.reason.rstrip(". ")
    return f"The run diverged at step {trace.failure.step} ({reason}): {advice}."


def not_started(trace: Trace) -> str | None:
    if trace.steps:
        return None
    if not trace.checked:
        return "Nothing has been trained yet."
    return (
        "Nothing has been trained yet; before any training, "
        f"{percent(valid_right(trace.checked[-1]))} of the validation examples are right."
    )


def ended(trace: Trace) -> str | None:
    if trace.status != "ended" or not trace.epochs:
        return None
    said = f"The run ended after {_count(trace.epochs[-1].epoch, 'epoch')}"
    if not trace.checked:
        return f"{said}; there was nothing to validate on."
    last, best = trace.checked[-1], max(trace.checked, key=valid_right)
    counts = f"{last.valid_correct} of {last.valid_count}"
    said += f" with {percent(valid_right(last))} on validation ({counts})"
    if valid_right(best) - valid_right(last) > noise(last):
        said += f"; it was better after epoch {best.epoch}, with {percent(valid_right(best))}"
    return f"{said}."


def paused(trace: Trace) -> str | None:
    if trace.status != "paused":
        return None
    said = f"Paused after {_count(len(trace.steps), 'step')}"
    if trace.checked:
        said += f", with {percent(valid_right(trace.checked[-1]))} right on validation"
    ways = "resume, step, rewind or branch" if trace.goes_back else "resume, step or reset"
    return f"{said}; {ways}."


def ruined(trace: Trace) -> str | None:
    """The loss was far above that of guessing and has not come back: the rate has destroyed what the network knew.

    Three steps are enough to tell, so it is said at the next look. A fresh head may begin at a little more than the
    loss of guessing; nothing but too large a step leads to twice that and twice where the run began.
    """
    if trace.classes < 2 or len(trace.steps) < RUINED:
        return None
    guessing = log(trace.classes)
    sound = max(guessing, trace.steps[0].loss)
    if trace.steps[-1].loss <= sound:
        return None
    recent = trace.steps[-20 * WINDOW :]
    last = next((done for done in reversed(recent) if done.loss <= sound), None)
    if last is None or not _three_above(2 * sound, recent[recent.index(last) + 1 :]):
        return None
    # The loss of a step is that before its weights move, so it is this very step that may have ruined them.
    back = f"rewind to step {last.step - 1}" if trace.goes_back else "reset"
    return (
        f"A learning rate of {last.lr:.2g} has ruined the network: the loss is {_loss(trace.steps[-RUINED:]):.3g}, and "
        f"guessing has {guessing:.2g}. It will hardly recover; {back} and go on with about {last.lr / 10:.1g}."
    )


def depth_moved(trace: Trace) -> str | None:
    """A stage that was unfrozen or frozen within the last few steps."""
    recent = trace.steps[-FRESH - 1 :]
    now = recent[-1].trainable_from
    before = next((s.trainable_from for s in reversed(recent) if s.trainable_from != now), now)
    first, second = trace.stages.index(now), trace.stages.index(before)
    if first == second:
        return None
    moved = listed(trace.stages[min(first, second) : max(first, second)])
    if first < second:
        return f"Just unfrozen {moved}: those weights move too now, so the loss may jump first."
    return f"Just froze {moved}: those weights stand still now, and {_what_learns(trace)}."


def rising(trace: Trace) -> str | None:
    """The loss of the latest steps lies far above the best stretch before."""
    steps = trace.since_last_change()
    if len(steps) < 2 * WINDOW:
        return None
    means = [
        fmean(_losses(steps[i : i + WINDOW])) for i in range(0, len(steps) - WINDOW + 1, WINDOW)
    ]
    lowest, now = min(means), fmean(_losses(steps[-WINDOW:]))
    if now < 1.5 * lowest or now - lowest < 0.1 or not _clearly_above(steps[-WINDOW:], lowest):
        return None
    return (
        f"The training loss is rising, {lowest:.2g} before and {now:.2g} now: lower the learning rate, "
        f"to about {_rate(trace) / 10:.1g}, or {'rewind' if trace.goes_back else 'reset'}."
    )


def overfitting(trace: Trace) -> str | None:
    """Validation loss has been rising for some epochs while training goes on getting better."""
    epochs = [epoch for epoch in trace.checked if epoch.epoch > 0]
    if len(epochs) <= PATIENCE:
        return None
    best, last = min(epochs, key=_valid_loss), epochs[-1]
    gap, learned = train_right(last) - valid_right(last), train_right(last)
    if last.epoch - best.epoch < PATIENCE or gap < max(GAP, noise(last)):
        return None
    wander = 0.0 if gap > WIDE else max(0.05, 1.5 / sqrt(last.valid_count))  # of so few examples
    if _valid_loss(last) <= (1 + wander) * _valid_loss(best):
        return None
    if learned < LEARNED or learned < train_right(best) - 0.05:
        return None
    return (
        f"Overfitting since epoch {best.epoch}: training gets better, validation does not "
        f"({percent(train_right(last))} against {percent(valid_right(last))}); {_against_overfitting(trace)}."
    )


def too_small(trace: Trace) -> str | None:
    """Many steps at one rate and a loss that is still high have changed nothing."""
    steps = trace.since_last_change()
    if (
        len(steps) < 2 * WINDOW
        or not _level(steps)
        or not _near_start(trace)
        or _rate(trace) > 1e-3
    ):
        return None
    return (
        f"{_count(len(steps), 'step')} have hardly changed the training loss ({_loss(steps):.3g}): "
        f"the learning rate may be too small; try {_rate(trace) * 10:.1g}."
    )


def stuck(trace: Trace) -> str | None:
    """No better than guessing at a rate that is anything but small."""
    steps = trace.since_last_change()
    if trace.classes < 2 or len(steps) < 2 * WINDOW or _rate(trace) <= 1e-3 or not _level(steps):
        return None
    if _loss(steps) < 0.95 * log(trace.classes):
        return None
    return (
        f"The training loss stays at {_loss(steps):.3g}, no better than guessing: "
        f"the learning rate may be too large; try {_rate(trace) / 10:.1g}."
    )


def underfitting(trace: Trace) -> str | None:
    """The training loss is level, and high; what strong augmentation makes hard is another matter."""
    epochs, now = trace.checked, _loss(trace.steps) if trace.steps else 0.0
    if trace.classes < 2 or trace.augment == "strong" or not epochs:
        return None
    if now < HIGH * log(trace.classes):
        return None
    steps = trace.since_last_change()
    if len(steps) < 2 * WINDOW or now < 0.95 * fmean(_losses(steps[-2 * WINDOW : -WINDOW])):
        return None
    return (
        f"Underfitting: the training loss is level at {now:.2g}, with {percent(train_right(epochs[-1]))} right; "
        "train more stages, or decay the weights less."
    )


def augmented(trace: Trace) -> str | None:
    """Validation stands above training for a reason, and nothing is wrong."""
    epochs = [epoch for epoch in trace.checked if epoch.epoch > 0]
    if trace.augment == "none" or len(epochs) <= PATIENCE:
        return None
    late = epochs[len(epochs) // 2 :]
    above = fmean(valid_right(epoch) - train_right(epoch) for epoch in late)
    if above < 0.03 or _valid_loss(late[-1]) > (late[-1].train_loss or 0.0):
        return None
    return (
        f"Validation is above training ({percent(valid_right(late[-1]))} against "
        f"{percent(train_right(late[-1]))}) because only training images are augmented: nothing is wrong; "
        "judge by validation."
    )


def few_to_validate(trace: Trace) -> str | None:
    """So few examples that one of them is three points or more."""
    if not trace.checked or trace.checked[-1].epoch == 0 or trace.checked[-1].valid_count >= FEW:
        return None
    last = trace.checked[-1]
    return (
        f"{last.valid_count} validation examples are too few to tell: each is {100 / last.valid_count:.0f} points, and "
        f"{percent(valid_right(last))} may be off by {100 * noise(last):.0f} points; set more aside."
    )


def head_only(trace: Trace) -> str | None:
    """Said in the first epoch only: later, what comes of it is the news."""
    only_head = trace.steps[-1].trainable_from == trace.stages[-1]
    if not only_head or any(epoch.epoch > 0 for epoch in trace.epochs):
        return None
    return (
        f"All stages but the head are frozen: only the head learns, loss {_loss(trace.steps):.2g}."
    )


def within_noise(trace: Trace) -> str | None:
    """Validation moves by less than so few examples can show, and training is level."""
    epochs = [epoch for epoch in trace.checked if epoch.epoch > 0]
    if (
        len(epochs) <= PATIENCE
        or noise(epochs[-1]) < 0.02
        or not _level(trace.steps[-2 * WINDOW :])
    ):
        return None
    values = [valid_right(epoch) for epoch in epochs[-PATIENCE - 1 :]]
    if max(values) - min(values) > noise(epochs[-1]):
        return None
    return (
        f"Validation stands at {percent(values[-1])}; it has {epochs[-1].valid_count} examples, "
        f"so differences under {100 * noise(epochs[-1]):.0f} points are noise."
    )


def learning(trace: Trace) -> str | None:
    """The loss is clearly below where it began."""
    steps = trace.steps
    if len(steps) < 2 or not _clearly_above(steps[:WINDOW], _loss(steps)):
        return None
    said = (
        f"Learning: training loss {fmean(_losses(steps[:5])):.2g} at first, {_loss(steps):.2g} now"
    )
    if trace.checked and trace.checked[-1].epoch > 0:
        said += f"; {percent(valid_right(trace.checked[-1]))} right on validation"
    return f"{said}."


def level(trace: Trace) -> str | None:
    """What to say when nothing has changed since the last sentence."""
    if len(trace.steps) < WINDOW:
        return (
            f"Just started: {_count(len(trace.steps), 'step')} done, loss {_loss(trace.steps):.2g}."
        )
    return f"The training loss is about level at {_loss(trace.steps):.2g}."


RULES: tuple[Rule, ...] = (
    failed,
    not_started,
    ended,
    ruined,
    paused,
    depth_moved,
    rising,
    overfitting,
    too_small,
    stuck,
    underfitting,
    head_only,
    few_to_validate,
    augmented,
    within_noise,
    learning,
    level,
)


# ---------------------------------------------------------------- following a live run


class _Follower:
    """A trace and how far it has read; many views may ask at once."""

    def __init__(self, run: Run) -> None:
        self.trace = Trace(tuple(run.stages), len(run.data.classes))
        self.read = 0
        self.lock = Lock()

    def catch_up(self, run: Run) -> Trace:
        with self.lock:
            for number, event in run.journal.since(self.read):
                self.trace.add(event)
                self.read = number + 1
            self.trace.status, self.trace.augment = run.status, run.settings.augment
            self.trace.lr = run.settings.lr
            self.trace.goes_back = "rewind" not in run.refuses
            return self.trace


_followers: WeakKeyDictionary[Run, _Follower] = WeakKeyDictionary()


def _follow(run: Run) -> Trace:
    follower = _followers.get(run)
    if follower is None:
        follower = _followers.setdefault(run, _Follower(run))
    return follower.catch_up(run)


# ---------------------------------------------------------------- small measures


def _against_overfitting(trace: Trace) -> str:
    if trace.augment == "none":
        return "stop there or augment"
    return "stop there; images are augmented already, so see whether a changed one still belongs to its class"


def _rate(trace: Trace) -> float:
    """The rate that a learner would set: before the schedule, which lowers it towards the end, where that is known."""
    return trace.steps[-1].lr if trace.lr is None else trace.lr


def _losses(steps: Sequence[StepDone]) -> list[float]:
    return [step.loss for step in steps]


def _loss(steps: Sequence[StepDone]) -> float:
    return fmean(_losses(steps[-WINDOW:]))


def _three_above(value: float, steps: Sequence[StepDone]) -> bool:
    """Whether the losses of three steps in a row lie above a value."""
    above = [step.loss > value for step in steps]
    return any(all(above[at : at + RUINED]) for at in range(len(above) - RUINED + 1))


def _clearly_above(steps: Sequence[StepDone], value: float) -> bool:
    """Whether the mean loss of `steps` lies above `value` by more than twice its standard error."""
    losses = _losses(steps)
    return fmean(losses) - value > 2 * sqrt(pvariance(losses) / len(losses)) + 1e-9


def _level(steps: Sequence[StepDone]) -> bool:
    """Whether first and last window differ by less than 3 % or twice their standard error."""
    first, last = _losses(steps[:WINDOW]), _losses(steps[-WINDOW:])
    if len(steps) < 2 * WINDOW:
        return False
    error = sqrt((pvariance(first) + pvariance(last)) / WINDOW)
    return abs(fmean(first) - fmean(last)) < max(0.03 * fmean(first), 2 * error)


def _near_start(trace: Trace) -> bool:
    """Whether the loss is still about where the run began."""
    return _loss(trace.steps) > 0.9 * fmean(_losses(trace.steps[:WINDOW]))


def _valid_loss(epoch: EpochDone) -> float:
    return inf if epoch.valid_loss is None else epoch.valid_loss


def _what_learns(trace: Trace) -> str:
    learning = trace.stages[trace.stages.index(trace.steps[-1].trainable_from) :]
    return f"only {listed(learning)} {'learn' if len(learning) > 1 else 'learns'}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
