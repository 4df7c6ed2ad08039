"""What can be wrong with a run, by name, and a run that is to be made: what a table of answers needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from labkit.records.sabotage.chance import Pool

Material = Literal["digits", "ants-bees"]

TITLES = {
    "sound": "Nothing is wrong",
    "statistics-drift": "BatchNorm statistics of frozen stages drift",
    "head-left-out": "The head is not in the optimiser",
    "eval-mode": "Eval mode and train mode are mixed up",
    "leakage": "Validation images are among the training ones",
    "normalisation": "The images come on the wrong scale",
    "rate-too-large": "The learning rate is far too large",
    "averaged-averages": "Accuracy is a mean of batch means",
    "stale-moments": "The optimiser remembers another past",
    "not-a-number": "The loss is not a number any more",
    "rate-too-small": "The learning rate is far too small",
    "overfitting": "Training gets better, validation worse",
    "underfitting": "The training examples are not learned",
    "frozen-moves": "Frozen parameters move",
    "little-validation": "Too few validation images to tell",
    "augmented": "Training images are made harder than validation ones",
}


@dataclass(frozen=True)
class Case:
    """One run to be made: what is wrong with it, the draw, and what it works on."""

    kind: str
    seed: int
    pool: Pool
    material: Material = "digits"

    @property
    def id(self) -> tuple[str, int, str]:
        """What tells it from the other cases of its pool."""
        return self.kind, self.seed, self.material

    def __str__(self) -> str:
        return f"{self.kind} {self.seed} on {self.material}"
