"""The images a model is most wrong about, and those it is least sure of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from labkit.tuning.given import a_count, an_evaluation, takes

if TYPE_CHECKING:
    from labkit.tuning import Evaluation


@dataclass(frozen=True)
class Guess:
    """What the model makes of one example; classes are numbers, probabilities 0 to 1."""

    index: int
    predicted: int
    probability: float
    true: int
    true_probability: float

    @property
    def right(self) -> bool:
        return self.predicted == self.true


@takes(evaluation=an_evaluation, count=a_count(0))
def worst(evaluation: Evaluation, count: int = 12) -> tuple[Guess, ...]:
    """The `count` examples whose true class got the least probability, worst first."""
    return _guesses(evaluation, _truth(evaluation).argsort(stable=True), count)


@takes(evaluation=an_evaluation, count=a_count(0))
def uncertain(evaluation: Evaluation, count: int = 12) -> tuple[Guess, ...]:
    """The `count` examples whose probabilities have the largest entropy, the least sure first.

    The true class plays no part, so these can be found where nobody knows it: they are the ones to ask a person about.
    """
    entropy = torch.special.entr(evaluation.probabilities).sum(1)
    return _guesses(evaluation, entropy.argsort(descending=True, stable=True), count)


def _truth(evaluation: Evaluation) -> Tensor:
    """The probability of the true class, (N,)."""
    return evaluation.probabilities.gather(1, evaluation.targets.unsqueeze(1)).squeeze(1)


def _guesses(evaluation: Evaluation, order: Tensor, count: int) -> tuple[Guess, ...]:
    truth = _truth(evaluation)
    return tuple(
        Guess(
            index=index,
            predicted=int(evaluation.predictions[index]),
            probability=float(evaluation.probabilities[index].max()),
            true=int(evaluation.targets[index]),
            true_probability=float(truth[index]),
        )
        for index in order[: min(count, len(order))].tolist()
    )
