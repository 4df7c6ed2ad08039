"""Which samples a stage finds most alike: what a network knows, seen without any training and without any head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.errors import DataError, shown
from labkit.insight.inside import check_stage, features, looking_at, positions, split_of
from labkit.runtime import wilson
from labkit.tuning.contracts import Split
from labkit.tuning.given import a_count, a_run, maybe, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

MOST = 5  # neighbours, where nobody says how many
AT_ONCE = 512  # samples that are compared with all others together


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The samples of a split that lie nearest to some of them, by the cosine between their features at a stage.

    `asked` (n,) and `found` (n, k) are positions in the split, the nearest first; `alike` (n, k) are the cosines, 1 for
    the same direction. `labels` are those of the whole split.
    """

    stage: str
    split: str
    classes: tuple[str, ...]
    labels: Tensor
    asked: Tensor
    found: Tensor
    alike: Tensor

    @property
    def agreement(self) -> float:
        """The share of the samples asked about whose nearest neighbour is of their own class."""
        return self._agreeing / len(self.asked)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the agreement, over samples."""
        return wilson(self._agreeing, len(self.asked))

    @property
    def _agreeing(self) -> int:
        return int((self.labels[self.found[:, 0]] == self.labels[self.asked]).sum())

    @property
    def table(self) -> pd.DataFrame:
        """One row a pair: the sample asked about and its class, the neighbour and its class, and the cosine."""
        rows = [
            (int(asked), self._name(asked), rank, int(near), self._name(near), float(alike))
            for asked, found, cosines in zip(self.asked, self.found, self.alike, strict=True)
            for rank, (near, alike) in enumerate(zip(found, cosines, strict=True), start=1)
        ]
        columns = ["sample", "class", "rank", "neighbour", "class of neighbour", "cosine"]
        return pd.DataFrame(rows, columns=columns)

    def _name(self, place: Tensor) -> str:
        return self.classes[int(self.labels[place])]


@takes(run=a_run, count=maybe(a_count(error=DataError)))
def neighbours(
    run: Run,
    stage: str | None = None,
    images: Sequence[int] | None = None,
    count: int | None = None,
    split: Split | str = "valid",
) -> Neighbours:
    """The `count` samples of a split whose features at a stage are most like those of each sample asked about.

    A sample is never its own neighbour. `stage` is by default the last before the head, `images` are positions in the
    split, by default all, and `count` is 5, or as many as there are. The run is looked at as it is now and not touched.

    Raises:
        StageError, SplitError: a stage, a split or a position that is not there.
        DataError: more neighbours than there are other samples.
    """
    name, part = check_stage(run, run.stages[-2] if stage is None else stage), split_of(run, split)
    asked = torch.arange(len(part)) if images is None else positions(part, images)
    if len(part) < 2:
        raise DataError(
            "A single sample has no neighbour. Take a split with 2 or more, such as split='train'."
        )
    count = min(MOST, len(part) - 1) if count is None else count
    if not 1 <= count < len(part):
        raise DataError(
            f"count={shown(count)} neighbours cannot be had among {len(part)} samples; take 1 to {len(part) - 1}."
        )
    with looking_at(run) as model:
        seen = features(model, run, part, torch.arange(len(part)), [name])[name]
    alike, found = _nearest(F.normalize(seen), asked, count)
    where = split if isinstance(split, str) else "sample"
    labels = torch.as_tensor(part.labels)
    return Neighbours(name, where, tuple(run.data.classes), labels, asked, found, alike)


def _nearest(directions: Tensor, asked: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosines and positions, (n, count) each, of the rows most like the rows asked about, those themselves left out."""
    cosines, places = [], []
    for some in asked.split(AT_ONCE):
        every = directions[some] @ directions.T
        every[torch.arange(len(some)), some] = -2.0
        best = every.sort(dim=1, descending=True, stable=True)
        cosines.append(best.values[:, :count])
        places.append(best.indices[:, :count])
    return torch.cat(cosines), torch.cat(places)
