"""Checks of lesson 15: what a slice of rates means, fine_tune as a plan, and a freeze that holds in fastai."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isclose
from typing import Any

from torch import nn

from labkit.course import small
from labkit.errors import StageError
from labkit.learn.exercises import exercise
from labkit.tuning import Phase, Plan
from labkit.tuning.plans import resolve_depth

Rates = Callable[[float | None, float, int], Sequence[float]]
AsPlan = Callable[[int, float, int], Plan]
Frozen = Callable[[Any, nn.Module], Any]

# ---------------------------------------------------------------- a slice of rates


@exercise(
    "15-slice",
    title="what a slice of rates means",
    difficulty=1,
    minutes=8,
    hints=(
        "Two cases. With both ends, neighbours have the same ratio, not the same distance.",
        "From the first group to the last there are groups - 1 steps. Multiply by one factor at each.",
        "The factor is (high / low) ** (1 / (groups - 1)). Without low, all but the last get high / 10.",
    ),
)
def slices(answer: Rates) -> Iterator[str]:
    """The answer maps (low or None, high, groups) to the rate of every group, the first group first."""
    given = _numbers(answer(1e-5, 1e-3, 3))
    if given is None:
        yield "Return a list of numbers, one for each group."
        return
    if not _same(given, (1e-5, 1e-4, 1e-3)):
        yield _why_not(given)
        return
    if not _same(_numbers(answer(2e-4, 3.2e-3, 5)), (2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3)):
        yield "Three groups are right and five are not: does your factor depend on how many there are?"
    yield from _without_low(answer)


def _numbers(given: object) -> list[float] | None:
    try:
        return [float(one) for one in given]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None


def _same(given: Sequence[float] | None, wanted: Sequence[float]) -> bool:
    return given is not None and len(given) == len(wanted) and all(map(isclose, given, wanted))


def _why_not(given: list[float]) -> str:
    known = (
        ((1e-3, 1e-4, 1e-5), "The order is reversed: the first group is nearest to the image."),
        ((1e-5, 5.05e-4, 1e-3), "The same distance lies between neighbours. It should be the same ratio."),
        ((1e-5, 1e-5 * 100 ** (1 / 3), 1e-5 * 100 ** (2 / 3)), "The head never gets the high rate: from the first "
         "group to the last there is one step fewer than there are groups."),
        ((1e-4, 1e-4, 1e-3), "That is what a slice without a low end means. This one has both ends."),
        ((1e-3, 1e-3, 1e-3), "All groups got the high rate: the low end was not used."),
    )  # fmt: skip
    for wrong, said in known:
        if _same(given, wrong):
            return said
    if len(given) != 3:
        return f"For three groups your function gives {len(given)} rates."
    return f"For 1e-05 to 0.001 in three groups your rates are {given}."


def _without_low(answer: Rates) -> Iterator[str]:
    given = _numbers(answer(None, 4e-3, 3))
    if _same(given, (4e-4, 4e-4, 4e-3)):
        return
    if _same(given, (4e-3, 4e-3, 4e-3)):
        yield "Without a low end, `slice(high)` is not high for all: only the last group gets it."
    elif _same(given, (4e-5, 4e-4, 4e-3)):
        yield "Without a low end nothing is spread: all groups but the last get the same, a tenth of high."
    else:
        yield f"Without a low end and with a high one of 0.004, your three rates are {given}."


# ---------------------------------------------------------------- fine_tune as a plan


@exercise(
    "15-plan",
    title="fine_tune as a plan",
    difficulty=2,
    minutes=15,
    hints=(
        "Two phases. Read the lines of fine_tune: what is frozen, for how long, at which rate?",
        "The second phase: half the rate, and the first stage at a hundredth of the head's. From the head "
        "down to the first stage there are stages - 1 steps.",
        "labkit.Plan(name, (Phase('head', base_lr, 1, ...), Phase('all', base_lr / 2, epochs, lr_decay=0.01 ** "
        "(1 / (stages - 1)), schedule='cosine', warmup=0.3)))",
    ),
)
def as_plan(answer: AsPlan) -> Iterator[str]:
    """The answer maps (epochs, base_lr, stages) to a plan that does what fine_tune does."""
    for epochs, base, stages in ((7, 0.004, 5), (3, 0.001, 6)):
        plan = answer(epochs, base, stages)
        if not isinstance(plan, Plan):
            yield f"Return a labkit.Plan, not {type(plan).__name__}."
            return
        problems = list(_unlike(plan, epochs, base, stages))
        if problems:
            yield from problems[:1]
            return


def _unlike(plan: Plan, epochs: int, base: float, stages: int) -> Iterator[str]:
    """How a plan differs from fine_tune, the most important first."""
    if len(plan.phases) != 2:
        yield f"fine_tune fits twice, and your plan has {len(plan.phases)} phase(s)."
        return
    first, second = plan.phases
    depths = [_depth(phase, stages) for phase in plan.phases]
    if depths == [0, stages - 1]:
        yield "The order is reversed: fine_tune freezes first and thaws afterwards."
    if depths[0] != stages - 1:
        yield "In the first phase only the head trains."
    if depths[1] != 0:
        yield "In the second phase everything trains."
    yield from _wrong_lengths(first, second, epochs)
    yield from _wrong_rates(first, second, base, stages)
    yield from _wrong_shapes(first, second)


def _depth(phase: Phase, stages: int) -> int | None:
    """The number of the first stage that trains, or None where the names are not those of our networks."""
    names = ["stem", *(f"layer{number}" for number in range(1, stages - 1)), "head"]
    try:
        return names.index(resolve_depth(phase.trainable_from, names))
    except StageError:
        return None


def _wrong_lengths(first: Phase, second: Phase, epochs: int) -> Iterator[str]:
    if first.epochs != 1:
        yield f"The frozen phase lasts {first.epochs} epochs. fine_tune gives it one, unless told otherwise."
    if second.epochs == epochs - 1:
        yield "The frozen epoch comes on top: the second phase has all the epochs that were asked for."
    elif second.epochs != epochs:
        yield f"Asked for {epochs} epochs, the second phase has {second.epochs}."


def _wrong_rates(first: Phase, second: Phase, base: float, stages: int) -> Iterator[str]:
    if isclose(first.lr, base / 2):
        yield "The first phase is at half the rate already. The halving comes after it."
    elif not isclose(first.lr, base):
        yield f"The head should begin at base_lr, {base:g}, and your first phase has {first.lr:g}."
    if isclose(second.lr, base):
        yield "The second phase runs at the full rate. Look for the line that halves it."
    elif not isclose(second.lr, base / 2):
        yield f"The head's rate in the second phase should be {base / 2:g}, and it is {second.lr:g}."
    lowest = second.lr_decay ** (stages - 1)
    if second.lr_decay == 1:
        yield "All stages have the same rate in the second phase. The slice gives each its own."
    elif isclose(second.lr_decay, 0.01):
        yield (
            f"A hundredth at every step down leaves the first stage with {lowest:.0e} of the head's rate. "
            "The hundredth is meant over all steps together."
        )
    elif isclose(second.lr_decay, 0.01 ** (1 / stages)):
        yield "From the head down to the first stage there is one step fewer than there are stages."
    elif not isclose(lowest, 0.01, rel_tol=1e-3):
        yield f"With {stages} stages the first gets {lowest:.2g} of the head's rate, and it should be a hundredth."


def _wrong_shapes(first: Phase, second: Phase) -> Iterator[str]:
    for name, phase in (("second", second), ("first", first)):
        if phase.schedule == "constant":
            yield f"The rate of the {name} phase does not fall. One cycle goes up and comes down, along a cosine."
    if not isclose(second.warmup, 0.3):
        yield f"In the second phase the rate rises over {second.warmup:g} of it. fine_tune says pct_start=0.3."
    if first.warmup < 0.8:
        yield "In the first phase the rate rises nearly to the end (pct_start=0.99). labkit allows a warmup of 0.9."


# ---------------------------------------------------------------- a freeze that holds in fastai

EPOCHS, RATE = 2, 0.1


@exercise(
    "15-freeze",
    title="a freeze that holds in fastai",
    difficulty=3,
    minutes=15,
    hints=(
        "Three kinds of numbers move below the head: weights, the weights of BatchNorm, and its statistics.",
        "learner.freeze() stops the first kind. train_bn=False, when the Learner is made, stops the second.",
        "BnFreeze, of fastai.callback.training, keeps BatchNorm in evaluation mode where its weights are frozen: "
        "Learner(..., splitter=bridge.by_stage, train_bn=False, cbs=BnFreeze()), and then freeze().",
    ),
)
def frozen(answer: Frozen) -> Iterator[str]:
    """The answer makes a Learner of loaders and a model, in which only the last child of the model ever changes."""
    from fastai.learner import Learner

    model = small.model()
    before = small.snapshot(model)
    learner = answer(_loaders(), model)
    if not isinstance(learner, Learner):
        yield f"Return the Learner, not {type(learner).__name__}."
        return
    if learner.model is not model:
        yield "The Learner has another model than the one it was given."
        return
    if small.moved(model, before):
        yield "Something moved before any training: only make the Learner, the check trains it."
        return
    with learner.no_bar(), learner.no_logging():
        learner.fit(EPOCHS, RATE)
    yield from _what_moved(small.moved(model, before))


def _loaders() -> Any:
    """A dozen small images, the same for training and validation, as fastai's loaders."""
    import fastai.callback.progress  # noqa: F401 (gives Learner its no_bar)
    from fastai.data.core import DataLoaders

    pairs = list(zip(small.images(), small.labels(), strict=True))
    return DataLoaders.from_dsets(pairs, pairs, bs=6, drop_last=False, num_workers=0)


def _what_moved(moved: set[str]) -> Iterator[str]:
    below = {name for name in moved if not name.startswith("head.")}
    learned = {name for name in below if name.endswith(("weight", "bias"))}
    ours = {name for name in learned if ".1." not in name}  # stem.1 and layer1.1 are BatchNorm
    if not moved:
        yield "Nothing moved at all: the head should learn."
    elif moved == below:
        yield "Below the head something moved, and the head stood still. It should be the other way round."
    elif ours:
        yield f"The weights of frozen stages moved: {', '.join(sorted(ours)[:2])}. Did you freeze?"
    elif learned:
        yield (
            f"The convolutions stood still, and the weights of BatchNorm moved: {', '.join(sorted(learned)[:2])}. "
            "fastai trains these in frozen stages too, unless it is told not to when the Learner is made."
        )
    elif below:
        yield (
            "No weight below the head moved, yet the statistics of BatchNorm followed the images. fastai puts the "
            "whole model in training mode at every epoch, so setting the mode once does not last."
        )
