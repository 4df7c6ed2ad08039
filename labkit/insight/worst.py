"""The images a model is most wrong about, worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def worst(evaluation: Evaluation, count: int = 12) -> tuple[Guess, ...]:
    """The `count` examples whose true class got the least probability, worst first."""
    truth = evaluation.probabilities.gather(1, evaluation.targets.unsqueeze(1)).squeeze(1)
    order = truth.argsort(stable=True)[: max(0, count)].tolist()
    return tuple(
        Guess(
            index=index,
            predicted=int(evaluation.predictions[index]),
            probability=float(evaluation.probabilities[index].max()),
            true=int(evaluation.targets[index]),
            true_probability=float(truth[index]),
        )
        for index in order
    )
