"""What is wrong with a run, and what to try: rules over its history, its audit and the probes, the surest first.

A rule looks at the `Observations` and either finds its fault and says so in one sentence, or says with a number what
speaks against it. The first rules read a mechanism (a parameter that the optimiser does not hold, an image on both
sides) and can hardly be mistaken; the later ones read curves, where a fault is a matter of degree. A symptom often
has several readings, so the order matters: a mechanism comes before the curve that it bends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import TYPE_CHECKING

from labkit.errors import EvidenceError
from labkit.insight import coach, probes
from labkit.insight.coach import WINDOW, Trace
from labkit.insight.reading import listed, noise, percent, train_right, valid_right
from labkit.tuning.given import a_run, takes

if TYPE_CHECKING:
    import pandas as pd

    from labkit.tuning import Audit, EpochDone, Run, StageAudit, StepDone

COPIES = 0.02  # of the validation images, and 3 of them, from which on copies are no accident
# Times wider or narrower than the first layer learned: other images do not do that.
LEARNED_SCALE = 2.2
SPLITS_DIFFER = 1.5  # times by which the two splits may differ in their spread
FAR = 1.2  # times its own length that a stage may move before its past is lost; 1 is to shrink to nothing
FAR_HEAD = 8.0  # the same of the head, which is new and small, where the loss has risen too
# Times the loss of guessing; that of validation is rough at first.
RISEN = {"training": 1.4, "validation": 2.0}
SMALL = 0.2  # of the training loss: a fall by less than this share is hardly any


@dataclass(frozen=True)
class Observations:
    """All that the rules may look at. A field is None if the probe was not run or does not apply."""

    trace: Trace
    audit: Audit | None = None
    memory: probes.OptimizerMemory | None = None
    modes: probes.Modes | None = None
    recount: probes.Recount | None = None
    twins: probes.Twins | None = None
    scales: probes.Scales | None = None

    @property
    def steps(self) -> list[StepDone]:
        return self.trace.steps

    @property
    def epochs(self) -> list[EpochDone]:
        """The epochs of training that were validated."""
        return [epoch for epoch in self.trace.checked if epoch.epoch > 0]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or (`note`) only worth knowing; `sentence` says what happens and what to try."""

    kind: str
    sentence: str
    note: bool = False

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class Diagnosis:
    """What was found, the surest first; empty where nothing is wrong."""

    findings: tuple[Finding, ...]
    observations: Observations

    @property
    def first(self) -> Finding | None:
        """The diagnosis: the first fault, else the first note, else None."""
        return next(iter(self.findings), None)

    @property
    def kind(self) -> str:
        """The kind of the first finding; "sound" where there is none."""
        return self.first.kind if self.first else "sound"

    def table(self) -> pd.DataFrame:
        """One row a finding."""
        import pandas as pd

        rows = [(f.kind, "note" if f.note else "fault", f.sentence) for f in self.findings]
        return pd.DataFrame(rows, columns=["kind", "weight", "what it says"])

    def __str__(self) -> str:
        if not self.findings:
            return "Nothing is wrong with this run that its history, its audit or the probes show."
        return "\n".join(finding.sentence for finding in self.findings)

    __repr__ = __str__


@dataclass(frozen=True)
class Rule:
    """How one fault is found, and what speaks against it where it is not."""

    kind: str
    finds: Callable[[Observations], str | None]
    against: Callable[[Observations], str]
    note: bool = False


def gather(run: Run) -> Observations:
    """Everything the rules look at, asked of a run now; under a second for the networks that ship."""
    return Observations(
        trace=coach.trace_of(run),
        audit=run.audit(),
        memory=probes.memory(run),
        modes=probes.modes(run),
        recount=probes.recount(run),
        twins=probes.twins(run),
        scales=probes.scales(run),
    )


@takes(run=a_run)
def diagnose(run: Run) -> Diagnosis:
    """What is wrong with a run, the surest finding first. The run is not changed."""
    return judge(gather(run))


def judge(observed: Observations) -> Diagnosis:
    """The findings of all rules, faults before notes."""
    said = [(rule, rule.finds(observed)) for rule in RULES]
    findings = [Finding(rule.kind, text, rule.note) for rule, text in said if text]
    return Diagnosis(tuple(sorted(findings, key=lambda finding: finding.note)), observed)


def against(kind: str, observed: Observations) -> str:
    """What the observations say against a fault being what is wrong, in one sentence."""
    for rule in RULES:
        if rule.kind == kind and rule.finds(observed):
            return "The run shows signs of it, but something surer explains them."
        if rule.kind == kind:
            return rule.against(observed)
    raise EvidenceError(
        f"No rule is called {kind!r}. There are {', '.join(r.kind for r in RULES)}."
    )


# ---------------------------------------------------------------- what the audit and the probes show


def _frozen_moves(observed: Observations) -> str | None:
    moved = _moved(observed, "tensors_changed")
    if not moved:
        return None
    return (
        f"{listed(moved)} should be frozen, but parameters there have changed: something still trains them; "
        "freeze again after every change to the model, and let the audit confirm it."
    )


def _not_frozen_moves(observed: Observations) -> str:
    if _moved(observed, "tensors_changed"):
        return "Parameters of stages that should be frozen have changed."
    return "In the audit no parameter of a frozen stage has changed."


def _head_left_out(observed: Observations) -> str | None:
    missing = _not_held(observed)
    if not missing:
        return None
    return (
        f"The optimiser does not hold the parameters of {listed(missing)}, so they never move: "
        "build the optimiser after the head, from the parameters that are to train."
    )


def _not_head_left_out(observed: Observations) -> str:
    drift = percent(_drift_of_head(observed))
    return (
        f"The optimiser holds every parameter that is to train, and the head has moved by {drift}."
    )


def _eval_mode(observed: Observations) -> str | None:
    """Either way round: stages that train in eval mode, or a validation that was made in train mode."""
    still = _training_in_eval_mode(observed)
    if still:
        return (
            f"{listed(still)} train in eval mode, so BatchNorm keeps its old statistics: "
            "call model.train() again after each validation."
        )
    again = observed.recount
    if again is None or again.agrees or _is_averaged(observed):
        return None
    return (
        f"The run told {percent(again.told_correct / again.count)} on validation and loss {again.told_loss:.3g}, but "
        f"in eval mode it is {percent(again.correct / again.count)} and {again.loss:.3g}: "
        "it was validated in train mode; call model.eval() before."
    )


def _not_eval_mode(observed: Observations) -> str:
    return f"Every stage is in the mode it should train in, and {_recounted(observed)}."


def _statistics_drift(observed: Observations) -> str | None:
    moved = _moved(observed, "buffers_changed")
    if not moved:
        return None
    return (
        f"{listed(moved)} should be frozen, but BatchNorm statistics there have drifted: "
        "keep frozen stages in eval mode while the rest trains."
    )


def _not_statistics_drift(observed: Observations) -> str:
    frozen = [row.stage for row in _audit(observed) if not row.ever_trained]
    if not frozen:
        return "No stage is frozen, so its statistics are meant to move."
    return f"In the audit no buffer of the frozen {listed(frozen)} has changed."


def _stale_optimizer_state(observed: Observations) -> str | None:
    old = [row for row in observed.memory.rows if _is_stale(row)] if observed.memory else []
    if not old:
        return None
    oldest = max(old, key=lambda row: row.remembers or 0)
    return (
        f"The optimiser remembers {oldest.remembers} steps of {oldest.stage}, but only {oldest.trained} belong to "
        "this run: its state comes from another past; start it afresh, or restore it with the weights."
    )


def _not_stale_optimizer_state(observed: Observations) -> str:
    return "The optimiser state of each stage has seen exactly the steps that it has trained for."


def _averaged_averages(observed: Observations) -> str | None:
    if not _is_averaged(observed):
        return None
    epoch = next(e for e in observed.trace.checked if not _is_whole(e.valid_correct))
    return (
        f"Validation accuracy is no count: after epoch {epoch.epoch} it comes to {epoch.valid_correct:.2f} of "
        f"{epoch.valid_count} images, so batch means were averaged; divide all correct by all counted."
    )


def _not_averaged_averages(observed: Observations) -> str:
    return "Each validation accuracy is a whole number of images over their count."


def _leakage(observed: Observations) -> str | None:
    twins = observed.twins
    if twins is None or twins.share < COPIES or len(twins.copies) < 3:
        return None
    return (
        f"{len(twins.copies)} of {twins.looked_at} validation images are among the training images too: "
        "validation is no examination; take the copies out and train again."
    )


def _not_leakage(observed: Observations) -> str:
    twins = observed.twins
    if twins is None:
        return "There is nothing to compare images with."
    return f"{len(twins.copies)} of {twins.looked_at} validation images have a copy among the training ones."


def _normalisation(observed: Observations) -> str | None:
    scales = observed.scales
    if scales is None:
        return None
    train, valid = scales.train, scales.valid
    what = "normalise once, with the constants that belong to the weights."
    if _factor(train.std, valid.std) > SPLITS_DIFFER or abs(train.mean - valid.mean) > 0.5 * max(
        train.std, valid.std
    ):
        return (
            f"Training images have mean {train.mean:.2g} and deviation {train.std:.2g}, validation images "
            f"{valid.mean:.2g} and {valid.std:.2g}: the splits come on different scales; {what}"
        )
    if min(train.low, valid.low) < -0.01 or max(train.high, valid.high) > 1.01:
        return (
            f"The images run from {train.low:.2g} to {train.high:.2g}, but this network takes 0 to 1 and "
            f"normalises itself: they are on the wrong scale; {what}"
        )
    if scales.learned and _factor(train.spread, 1) > LEARNED_SCALE:
        return (
            f"The first BatchNorm layer sees values {train.spread:.2g} times as wide as those it learned: "
            f"the images are normalised in another way than for its weights; {what}"
        )
    return None


def _not_normalisation(observed: Observations) -> str:
    scales = observed.scales
    if scales is None:
        return "There are no images whose scale could be wrong."
    return (
        f"Both splits run from {scales.train.low:.2g} to {scales.train.high:.2g}, and the first BatchNorm layer sees "
        f"values {scales.train.spread:.2g} times as wide as those it learned."
    )


# ---------------------------------------------------------------- what the curves show


def _not_a_number(observed: Observations) -> str | None:
    """A rate that is too large announces itself by a rising loss; a spoilt image strikes out of the blue."""
    failure, steps = observed.trace.failure, observed.steps
    if failure is None:
        return None
    said = f"The run failed at step {failure.step}: the loss is not a number any more"
    if len(steps) >= 5 and _mean(steps[-5:]) > 2 * _start(observed):
        return f"{said}, after it had risen to {_mean(steps[-5:]):.2g}: rewind and lower the rate tenfold."
    return f"{said}, though it was not rising: look for an image with values that are no numbers."


def _loss_is_finite(observed: Observations) -> str:
    return "The loss is a number at every step."


def _rate_too_large(observed: Observations) -> str | None:
    """BatchNorm keeps the training loss of a wild run in bounds, so three signs count, and one is enough."""
    if observed.trace.failure is not None or len(observed.steps) < 5:
        return None
    lr = max(step.lr for step in observed.steps)
    advice = f"the learning rate is far too large; rewind and try {lr / 30:.1g}."
    stage, drift = _farthest(observed)
    if drift > FAR:
        return f"{stage} has moved by {percent(drift)} of its own length, so what it knew is gone: {advice}"
    head = _drift_of_head(observed)
    for what, peak, start in _heights(observed):
        if peak > RISEN[what] * start or (head > FAR_HEAD and peak > 1.1 * start):
            return f"The {what} loss shot up from {start:.2g} to {peak:.2g}: {advice}"
    return None


def _not_rate_too_large(observed: Observations) -> str:
    if not observed.steps:
        return "Nothing has been trained yet."
    stage, drift = _farthest(observed)
    said = f"The training loss was never far above the {_start(observed):.2g} it began with"
    if stage:
        said += (
            f", and no stage below the head has moved by more than {percent(drift)} of its length"
        )
    return f"{said}."


def _rate_too_small(observed: Observations) -> str | None:
    steps = observed.steps
    if len(steps) < 2 * WINDOW or observed.trace.failure is not None or _fallen(steps) > SMALL:
        return None
    lr = max(step.lr for step in steps)
    if lr > 1e-3 or (observed.epochs and train_right(observed.epochs[-1]) > 0.9):
        return None
    return (
        f"{len(steps)} steps have hardly changed the training loss ({_mean(steps[:WINDOW]):.3g} at first, "
        f"{_mean(steps[-WINDOW:]):.3g} now): the learning rate is too small; try {lr * 30:.1g}."
    )


def _not_rate_too_small(observed: Observations) -> str:
    return f"The training loss has fallen by {percent(_fallen(observed.steps))}, so the steps are large enough to see."


def _little_validation(observed: Observations) -> str | None:
    return coach.few_to_validate(observed.trace)


def _not_little_validation(observed: Observations) -> str:
    if not observed.epochs:
        return "Nothing was validated."
    last = observed.epochs[-1]
    half = 100 * noise(last)
    return f"With {last.valid_count} validation images the interval is {half:.0f} points to either side."


def _overfitting(observed: Observations) -> str | None:
    return coach.overfitting(observed.trace)


def _not_overfitting(observed: Observations) -> str:
    if not observed.epochs:
        return "Nothing was validated."
    last = observed.epochs[-1]
    return (
        f"Training stands at {percent(train_right(last))} and validation at {percent(valid_right(last))}, "
        "and validation does not get worse while training gets better."
    )


def _underfitting(observed: Observations) -> str | None:
    return coach.underfitting(observed.trace)


def _not_underfitting(observed: Observations) -> str:
    if not observed.epochs:
        return "Nothing was validated."
    right, now = percent(train_right(observed.epochs[-1])), _mean(observed.steps[-10:])
    return f"{right} of the training examples are right, with a loss of {now:.2g}."


def _augmented(observed: Observations) -> str | None:
    return coach.augmented(observed.trace)


def _not_augmented(observed: Observations) -> str:
    if observed.trace.augment == "none":
        return "The training images are not augmented."
    return "Validation is not above training."


RULES: tuple[Rule, ...] = (
    Rule("not-a-number", _not_a_number, _loss_is_finite),
    Rule("frozen-moves", _frozen_moves, _not_frozen_moves),
    Rule("head-left-out", _head_left_out, _not_head_left_out),
    Rule("eval-mode", _eval_mode, _not_eval_mode),
    Rule("statistics-drift", _statistics_drift, _not_statistics_drift),
    Rule("stale-moments", _stale_optimizer_state, _not_stale_optimizer_state),
    Rule("averaged-averages", _averaged_averages, _not_averaged_averages),
    Rule("leakage", _leakage, _not_leakage),
    Rule("normalisation", _normalisation, _not_normalisation),
    Rule("rate-too-large", _rate_too_large, _not_rate_too_large),
    Rule("rate-too-small", _rate_too_small, _not_rate_too_small),
    Rule("little-validation", _little_validation, _not_little_validation),
    Rule("overfitting", _overfitting, _not_overfitting),
    Rule("underfitting", _underfitting, _not_underfitting),
    Rule("augmented", _augmented, _not_augmented, note=True),
)


# ---------------------------------------------------------------- small measures


def _audit(observed: Observations) -> Iterable[StageAudit]:
    return observed.audit.rows if observed.audit else ()


def _moved(observed: Observations, what: str) -> list[str]:
    """The stages that never trained and yet have changed tensors of one sort."""
    return [row.stage for row in _audit(observed) if not row.ever_trained and getattr(row, what)]


def _not_held(observed: Observations) -> list[str]:
    rows = observed.memory.rows if observed.memory else ()
    return [row.stage for row in rows if row.trainable and row.held < row.parameters]


def _is_stale(row: probes.StageMemory) -> bool:
    return row.trainable and row.remembers is not None and row.remembers > row.trained


def _training_in_eval_mode(observed: Observations) -> list[str]:
    rows = observed.modes.rows if observed.modes else ()
    return [
        row.stage for row in rows if row.trainable and row.batch_norms and not row.in_train_mode
    ]


def _is_averaged(observed: Observations) -> bool:
    return any(not _is_whole(epoch.valid_correct) for epoch in observed.trace.checked)


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-4


def _recounted(observed: Observations) -> str:
    if observed.recount is None:
        return "the last validation cannot be counted again"
    if _is_averaged(observed):
        return "validation differs from its recount only by how batches were averaged"
    agrees = "gives the same" if observed.recount.agrees else "gives something else"
    return f"counting the last validation again in eval mode {agrees}"


def _factor(first: float, second: float) -> float:
    """How many times the larger of two lengths is the smaller."""
    low, high = sorted((max(first, 1e-9), max(second, 1e-9)))
    return high / low


def _mean(steps: list[StepDone]) -> float:
    return fmean(step.loss for step in steps)


def _start(observed: Observations) -> float:
    """The loss before training: what a new head is bound to give, or more where the run began with more."""
    guess = log(max(2, observed.trace.classes))
    return max(observed.steps[0].loss, guess) if observed.steps else guess


def _farthest(observed: Observations) -> tuple[str, float]:
    """The stage below the head that has moved farthest from where it began, and how far."""
    rows = [row for row in _audit(observed) if row.stage != observed.trace.stages[-1]]
    far = max(rows, key=lambda row: row.drift, default=None)
    return (far.stage, far.drift) if far else ("", 0.0)


def _drift_of_head(observed: Observations) -> float:
    head = observed.trace.stages[-1]
    return next((row.drift for row in _audit(observed) if row.stage == head), 0.0)


def _heights(observed: Observations) -> list[tuple[str, float, float]]:
    """Of each loss its name, the highest it rose to, and where it began."""
    start = _start(observed)
    found = [("training", _peak(observed.steps), start)]
    losses = [epoch.valid_loss for epoch in observed.epochs if epoch.valid_loss is not None]
    return [*found, ("validation", max(losses), start)] if losses else found


def _peak(steps: list[StepDone]) -> float:
    """The highest mean loss of five steps in a row."""
    return max(_mean(steps[i : i + 5]) for i in range(max(1, len(steps) - 4)))


def _fallen(steps: list[StepDone]) -> float:
    """By which share of itself the training loss has fallen, first window to last."""
    first = _mean(steps[:WINDOW]) if steps else 0.0
    return 1 - _mean(steps[-WINDOW:]) / first if first else 0.0
