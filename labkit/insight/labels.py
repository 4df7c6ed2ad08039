"""Which labels are probably wrong: those that a head would not have given, had it never seen them.

Whoever learned from a wrong label believes it in the end, so nobody may judge a label that they learned from. The
examples are cut into folds, and the labels of each fold are judged by a head that learned from the other folds. What
it looks at is what the network made of the examples before it was trained on these labels. The ranking by the
probability of the given label, and the count, are those of confident learning (Northcutt, Jiang and Chuang, "Confident
Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from labkit.errors import DataError
from labkit.insight.inside import features, split_of, start_of
from labkit.tuning.contracts import Split
from labkit.tuning.given import a_count, a_run, a_seed, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

FOLDS = 5
# scikit-learn's C. Small, because a head that can fit every label fits the wrong ones; chosen on digits and on ants and
# bees with seeds that no record has.
STIFFNESS = 0.003
TOLERANCE = (
    1e-6  # a probability this close to its threshold reaches it, whatever the last digits say
)


@dataclass(frozen=True)
class Suspect:
    """A label that may be wrong: classes are numbers, probabilities are out of sample, 0 to 1."""

    index: int
    given: int
    given_probability: float
    proposed: int
    proposed_probability: float


@dataclass(frozen=True, eq=False)
class SuspectLabels:
    """The labels of N examples judged by heads that learned from others.

    `given` int64 (N,) are the labels as they stand, `probabilities` float64 (N, C) what the heads gave each class.
    `order` int64 (N,) are all positions, the least believable label first. `likely` bool (N,) are the labels that
    confident learning takes for wrong: another class is both the most probable one and as probable as it is on
    average where it was given.
    """

    split: str
    classes: tuple[str, ...]
    given: Tensor
    probabilities: Tensor
    order: Tensor
    likely: Tensor

    @takes(count=a_count(0))
    def worst(self, count: int = 12) -> tuple[Suspect, ...]:
        """The `count` least believable labels, the worst first."""
        return tuple(
            self._suspect(index) for index in self.order[: min(count, len(self.order))].tolist()
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row an example, worst first: its position, both labels with their probabilities, and `likely`."""
        rows = [
            {
                "index": one.index,
                "given": self.classes[one.given],
                "its probability": one.given_probability,
                "proposed": self.classes[one.proposed],
                "probability of that": one.proposed_probability,
                "likely wrong": bool(self.likely[one.index]),
            }
            for one in self.worst(len(self.order))
        ]
        return pd.DataFrame(rows)

    def _suspect(self, index: int) -> Suspect:
        row, given = self.probabilities[index], int(self.given[index])
        others = row.clone()
        others[given] = -1
        proposed = int(others.argmax())
        return Suspect(index, given, float(row[given]), proposed, float(row[proposed]))


@takes(run=a_run, folds=a_count(2, error=DataError), seed=a_seed)
def suspect_labels(
    run: Run, split: Split | str = "train", folds: int = FOLDS, seed: int = 0
) -> SuspectLabels:
    """Judge the labels of a run's data, by default those that it trains on. The run is neither trained nor changed.

    The features are those of the network as the run began, so whatever it has learned from wrong labels since plays no
    part. `folds` parts are judged one after another, drawn with `seed`, with every class in each.

    Raises DataError for a class with a single example, or for fewer than 2 folds.
    """
    part = split_of(run, split)
    stage = run.stages[-2]
    seen = features(start_of(run), run, part, torch.arange(len(part)), [stage])[stage]
    given = torch.as_tensor(part.labels)
    classes = tuple(run.data.classes)
    probabilities = out_of_sample(seen, given, len(classes), folds, seed)
    return SuspectLabels(
        split=split if isinstance(split, str) else "sample",
        classes=classes,
        given=given,
        probabilities=probabilities,
        order=rank(probabilities, given),
        likely=likely_wrong(probabilities, given),
    )


def out_of_sample(
    seen: Tensor, labels: Tensor, classes: int, folds: int = FOLDS, seed: int = 0
) -> Tensor:
    """What heads that learned from other examples give each class: float64 (N, classes).

    `seen` (N, channels) are features and `labels` (N,) the classes. A class that nobody has gets 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = seen.double().numpy(), labels.numpy()
    parts = StratifiedKFold(_folds(labels, folds), shuffle=True, random_state=seed % 2**32)
    given = torch.zeros(len(labels), classes, dtype=torch.float64)
    for learned, judged in parts.split(x, y):
        head = make_pipeline(StandardScaler(), LogisticRegression(C=STIFFNESS, max_iter=1000))
        head.fit(x[learned], y[learned])
        columns = torch.as_tensor(head.classes_)
        rows = torch.as_tensor(judged)
        given[rows.unsqueeze(1), columns] = torch.from_numpy(head.predict_proba(x[judged]))
    return given


def _folds(labels: Tensor, folds: int) -> int:
    """The folds asked for, or as many as the smallest class has examples for."""
    if folds < 2:
        raise DataError(
            f"folds={folds}: nothing would be left to learn from; take 2 or more, such as {FOLDS}."
        )
    present, counts = labels.unique(return_counts=True)
    smallest = int(counts.min())
    if smallest < 2 or len(present) < 2:
        alone = int(present[counts.argmin()])
        raise DataError(
            f"class number {alone} has {smallest} example(s) of {len(labels)}; to judge labels takes two classes with "
            "two examples each, one to learn from and one to judge."
        )
    return min(folds, smallest)


def rank(probabilities: Tensor, labels: Tensor) -> Tensor:
    """All positions, int64 (N,), the least believable label first: by the probability (N, C) of the given label."""
    return _of_given(probabilities, labels).argsort(stable=True)


def likely_wrong(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Which of the labels (N,) confident learning takes for wrong, bool (N,), from probabilities (N, C).

    A class counts as confident of an example when it gets at least the probability that it gets on average where it
    was given. A single confident class is taken for the truth; among several, the most probable class of all, as
    cleanlab does. A label is likely wrong when the truth is another class, and so is the most probable one.
    """
    thresholds = torch.full_like(
        probabilities[0], float("inf")
    )  # what nobody was given is confident of none
    for label in labels.unique():
        thresholds[label] = probabilities[labels == label, label].mean()
    confident, top = probabilities >= thresholds - TOLERANCE, probabilities.argmax(1)
    truth = torch.where(confident.sum(1) > 1, top, confident.int().argmax(1))
    return confident.any(1) & (truth != labels) & (top != labels)


def _of_given(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)
