"""Whether the probabilities of a network can be believed, and one number that mends most of it.

A network is calibrated when of all examples that it gives 80 % to, 80 % are right. Fine-tuned networks usually claim
too much. Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017) divides all scores by one
number: it changes how sure the network is, never what it says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from labkit import runtime
from labkit.errors import EvidenceError
from labkit.insight.confusion import evaluated
from labkit.tuning.given import a, a_count, a_run_or_evaluation, a_seed, an_evaluation, maybe, takes

if TYPE_CHECKING:
    from labkit.tuning import Evaluation, Run

BINS = 10
MOST_BINS = 1000
RESAMPLES = 1000
AT_ONCE = 2**22  # numbers drawn at once: 32 MB
HOTTEST = 20.0  # and 1/20: where every example is right, no temperature is cold enough


@dataclass(frozen=True)
class Bin:
    """The examples whose confidence lies in [low, high): how sure the network was of them, and how often right.

    `accuracy_low` and `accuracy_high` are the 95 % Wilson interval; an empty bin has nan for a mean.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy lie apart on a split; all are fractions, 0 to 1.

    `error` is the expected calibration error: |accuracy - confidence| of each bin, weighted by its count. `low` and
    `high` are its 95 % bootstrap interval. `by_chance` is the error that a perfectly calibrated network with these
    confidences would show on average on so few examples: an error near it says nothing against the network.
    `loss` is the mean cross-entropy in nats, `temperature` what the scores were divided by.
    """

    split: str
    count: int
    accuracy: float
    confidence: float
    bins: tuple[Bin, ...]
    error: float
    low: float
    high: float
    by_chance: float
    loss: float
    temperature: float = 1.0

    @property
    def table(self) -> pd.DataFrame:
        """One row a bin."""
        return pd.DataFrame([vars(part) for part in self.bins])


@dataclass(frozen=True)
class Temperature:
    """The number that all scores are divided by, and the loss in nats that this gave where it was fitted."""

    value: float
    split: str
    count: int
    loss_before: float
    loss_after: float

    @takes(evaluation=an_evaluation)
    def apply(self, evaluation: Evaluation) -> Evaluation:
        """The same predictions, with the probabilities that this temperature gives, and their loss."""
        scores = _scores(evaluation) / self.value
        loss = F.cross_entropy(scores, evaluation.targets).item()
        return replace(evaluation, loss=loss, probabilities=scores.softmax(1).float())


@takes(
    seen=a_run_or_evaluation,
    temperature=maybe(a(Temperature, source="insight.fit_temperature(run)")),
    bins=a_count(2, MOST_BINS, EvidenceError),
    seed=a_seed,
)
def calibration(
    seen: Run | Evaluation,
    split: str = "valid",
    temperature: Temperature | None = None,
    bins: int = BINS,
    seed: int = 0,
) -> Calibration:
    """Compare how sure a network is with how often it is right, in `bins` equal steps of confidence.

    The confidence is the probability of the predicted class. With a `temperature` it is taken after scaling. `seed`
    draws the resamples of the interval; the interval is the reflected one, because the error of a resample is too
    large by about as much as the error itself.

    Raises SplitError where the run has no such split, EvidenceError for fewer than 2 bins or more than 1000.
    """
    found, _ = evaluated(seen, split)
    found = temperature.apply(found) if temperature else found
    sure, right = found.confidence.double(), found.right.double()
    place = (sure * bins).long().clamp(max=bins - 1)
    member = F.one_hot(place, bins).double()
    error = float(_errors(torch.ones(1, len(sure)).double(), right - sure, member))
    low, high = _interval(error, right - sure, member, seed)
    return Calibration(
        split=found.split,
        count=found.count,
        accuracy=found.accuracy,
        confidence=float(sure.mean()),
        bins=tuple(_bin(number, bins, place == number, sure, right) for number in range(bins)),
        error=error,
        low=low,
        high=high,
        by_chance=_by_chance(sure, member, seed),
        loss=found.loss,
        temperature=temperature.value if temperature else 1.0,
    )


@takes(seen=a_run_or_evaluation)
def fit_temperature(seen: Run | Evaluation, split: str = "valid") -> Temperature:
    """The temperature with the lowest loss on a split, by default validation; judge it on another split.

    It lies between 1/20 and 20: where every example is right, ever colder would be ever better.
    """
    from scipy.optimize import minimize_scalar

    found, _ = evaluated(seen, split)
    scores = _scores(found)

    def loss(inverse: float) -> float:
        return F.cross_entropy(scores * exp(inverse), found.targets).item()

    # In 1/T the loss is convex, so that this search cannot end in a lesser valley.
    best = minimize_scalar(loss, bounds=(-log(HOTTEST), log(HOTTEST)), method="bounded")
    inverse = float(best.x) if loss(float(best.x)) < loss(0.0) else 0.0
    return Temperature(exp(-inverse), found.split, found.count, loss(0.0), loss(inverse))


def _scores(evaluation: Evaluation) -> Tensor:
    """Scores (N, C) float64 whose softmax is the probabilities: the network's own, up to a constant a row.

    Raises EvidenceError where only the probability of each prediction was kept, as of tokens.
    """
    if evaluation.probabilities.ndim != 2:
        raise EvidenceError(
            f"A temperature needs the probabilities of all classes, and of {evaluation.split} only those of the "
            "predictions were kept. Look at insight.calibration(run) without one."
        )
    smallest = torch.finfo(torch.float32).tiny
    return evaluation.probabilities.double().clamp(min=smallest).log()


def _bin(number: int, bins: int, chosen: Tensor, sure: Tensor, right: Tensor) -> Bin:
    count, hits = int(chosen.sum()), int(right[chosen].sum())
    return Bin(
        low=number / bins,
        high=(number + 1) / bins,
        count=count,
        confidence=float(sure[chosen].mean()),
        accuracy=hits / count if count else float("nan"),
        accuracy_low=runtime.wilson(hits, count)[0],
        accuracy_high=runtime.wilson(hits, count)[1],
    )


def _errors(weights: Tensor, gaps: Tensor, member: Tensor) -> Tensor:
    """The calibration error of each of B resamples, (B,): `weights` (B, N) says how often each example is in it."""
    sums = weights @ (gaps.unsqueeze(1) * member)
    return sums.abs().sum(1) / weights.sum(1)


def _interval(error: float, gaps: Tensor, member: Tensor, seed: int) -> tuple[float, float]:
    chance, errors = runtime.generator(seed, "calibration"), []
    for some in _portions(len(gaps)):
        drawn = torch.randint(len(gaps), (some, len(gaps)), generator=chance)
        weights = torch.zeros(some, len(gaps), dtype=torch.float64)
        weights.scatter_add_(1, drawn, torch.ones_like(weights))
        errors.append(_errors(weights, gaps, member))
    upper, lower = np.quantile(torch.cat(errors).numpy(), [0.975, 0.025])
    return max(0.0, 2 * error - float(upper)), max(0.0, 2 * error - float(lower))


def _by_chance(sure: Tensor, member: Tensor, seed: int) -> float:
    chance, total = runtime.generator(seed, "calibrated"), 0.0
    for some in _portions(len(sure)):
        drawn = torch.rand(some, len(sure), generator=chance, dtype=torch.float64)
        gaps = (drawn < sure).double() - sure
        total += float(((gaps @ member).abs().sum(1) / len(sure)).sum())
    return total / RESAMPLES


def _portions(count: int) -> list[int]:
    """How many resamples to draw at once, so that they stay small in memory."""
    whole = max(1, AT_ONCE // count)
    return [min(whole, RESAMPLES - done) for done in range(0, RESAMPLES, whole)]
