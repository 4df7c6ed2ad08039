"""How alike two networks see: linear CKA of what their stages make of the same samples.

Centred kernel alignment (Kornblith et al., "Similarity of Neural Network Representations Revisited", 2019) asks whether
two networks find the same samples alike. It is 1 where they agree, whatever rotation or scale lies between them, and
0 where they have nothing in common. Of few samples with many channels the paper's estimate lies far too high, so ours
is the unbiased one of Song et al. ("Feature Selection via Dependence Maximization", 2012), unless you ask otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from labkit.errors import DataError, StageError
from labkit.insight.inside import check_stages, drawn, features, looking_at, split_of, start_of
from labkit.tuning.contracts import Split
from labkit.tuning.given import a_count, a_run, a_seed, maybe, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

GROUPS = 10  # that the samples are left out in, one after another, for the interval
FEWEST = 4 * GROUPS  # samples


@dataclass(frozen=True, eq=False)
class Similarity:
    """Linear CKA between the stages of two networks, over `count` samples.

    `table`: one row a stage that both have, with columns stage, cka, low, high (a 95 % jackknife interval over the
    samples). `matrix`: CKA of every stage of `ours` (rows) with every stage of `theirs` (columns).
    """

    ours: str
    theirs: str
    split: str
    count: int
    table: pd.DataFrame
    matrix: pd.DataFrame


@takes(run=a_run, other=maybe(a_run), count=a_count(error=DataError), seed=a_seed)
def similarity(
    run: Run,
    other: Run | None = None,
    stages: Sequence[str] | None = None,
    count: int = 256,
    split: Split | str | None = None,
    seed: int = 0,
) -> Similarity:
    """How much of its beginning a run still sees as it did, stage by stage; with `other`, how alike two runs see.

    Both networks look at the same `count` samples of the first run's split, drawn by `seed`: by default of the
    validation split, or of the training split where only that has 40. `stages` are those of the run to look at, by
    default all. A stage that was never trained has a CKA of 1 with its beginning, as long as all below it stood still.

    Raises StageError for a stage that is not there, DataError for fewer than 40 samples.
    """
    split = _large_split(run) if split is None else split
    part = split_of(run, split, labelled=False)
    where = split if isinstance(split, str) else "sample"
    if count < FEWEST:
        raise DataError(
            f"count={count} samples are too few to compare networks by; take {FEWEST} or more."
        )
    if len(part) < FEWEST:
        raise DataError(
            f"There are {len(part)} samples in {where}, too few to compare networks by: that takes {FEWEST} or more. "
            "Take a split that has them, or look at other data of the same size of image: split=other_data.train."
        )
    indices = drawn(part, count, seed)
    names = check_stages(run, stages)
    with looking_at(run) as model:
        ours = features(model, run, part, indices, names)
    if other is None:
        label, theirs = "its start", features(start_of(run), run, part, indices, names)
    else:
        names = [name for name in stages or other.stages if name in other.stages]
        label = other.name
        with looking_at(other) as model:
            theirs = features(model, other, part, indices, names)
    return _compare(run.name, label, where, ours, theirs)


def _large_split(run: Run) -> str:
    """The validation split, or the training split where validation is too small and training is not."""
    small = len(run.data.valid) < FEWEST <= len(run.data.train)
    return "train" if small else "valid" if len(run.data.valid) else "train"


def linear_cka(x: Tensor, y: Tensor, debiased: bool = True) -> float:
    """CKA of two sets of features of the same n samples, (n, p) and (n, q); nan where one of them is constant.

    1 for the same features, also turned, mirrored, shifted or scaled; around 0 for unrelated ones, where it can be
    slightly negative. With `debiased=False` the paper's own estimate, between 0 and 1.
    Raises DataError for other shapes, or for fewer than 4 samples.
    """
    shapes = [tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for one in (x, y)]
    fits = all(isinstance(one, Tensor) and one.ndim == 2 for one in (x, y))
    if not fits or len(x) != len(y) or len(x) < 4:
        raise DataError(
            f"CKA compares tensors (n, p) and (n, q) of the same 4 or more samples, not {shapes[0]} with {shapes[1]}."
        )
    return _cosine(*(centred(gram(features), debiased) for features in (x, y)))


def gram(x: Tensor) -> Tensor:
    """Which samples are alike: the products (n, n) of all pairs of features (n, p), float64."""
    x = x.double()
    x = x - x.mean(0)  # `centred` would do it too, but would lose digits where the mean is large
    return x @ x.T


def centred(products: Tensor, debiased: bool = True) -> Tensor:
    """A Gram matrix (n, n) whose product with another of its kind measures their dependence (HSIC).

    Debiased, a sample is not compared with itself, and the means are taken over what is left (U-centring, as in
    Székely and Rizzo, 2014, which gives the estimate of Song et al.).
    """
    n = len(products)
    if not debiased:
        row, column = products.mean(0, keepdim=True), products.mean(1, keepdim=True)
        return products - row - column + products.mean()
    others = products - products.diag().diag()
    sums = others.sum(0) / (n - 2)
    middle = others.sum() / ((n - 1) * (n - 2))
    return (others - sums - sums.unsqueeze(1) + middle).fill_diagonal_(0.0)


def _cosine(one: Tensor, two: Tensor) -> float:
    lengths = float(one.norm() * two.norm())
    # Rounding must not make anything more alike than the same.
    return min(1.0, float((one * two).sum()) / lengths) if lengths > 1e-12 else nan


def _compare(
    name: str, label: str, split: str, ours: dict[str, Tensor], theirs: dict[str, Tensor]
) -> Similarity:
    shared = [stage for stage in ours if stage in theirs]
    if not shared:
        raise StageError(
            f"The two networks have no stage of the same name: {', '.join(ours)} and {', '.join(theirs) or 'none'}."
        )
    left, right = ({stage: gram(x) for stage, x in one.items()} for one in (ours, theirs))
    rows_of, columns_of = ([centred(one) for one in each.values()] for each in (left, right))
    matrix = pd.DataFrame(
        [[_cosine(one, two) for two in columns_of] for one in rows_of],
        index=pd.Index(left, name=name),
        columns=pd.Index(right, name=label),
    )
    rows = [(stage, *_with_interval(left[stage], right[stage])) for stage in shared]
    table = pd.DataFrame(rows, columns=["stage", "cka", "low", "high"])
    return Similarity(name, label, split, len(next(iter(left.values()))), table, matrix)


def _cka(one: Tensor, two: Tensor) -> float:
    return _cosine(centred(one), centred(two))


def _with_interval(one: Tensor, two: Tensor) -> tuple[float, float, float]:
    """CKA from two Gram matrices, and its 95 % interval: a tenth of the samples is left out at a time."""
    value, group = _cka(one, two), torch.arange(len(one)) % GROUPS
    without = []
    for number in range(GROUPS):
        rest = (group != number).nonzero().squeeze(1)
        without.append(_cka(one[rest][:, rest], two[rest][:, rest]))
    mean = sum(without) / GROUPS
    error = sqrt((GROUPS - 1) / GROUPS * sum((each - mean) ** 2 for each in without))
    half = 2.262 * error  # Student's t with 9 degrees of freedom
    return value, max(-1.0, value - half), min(1.0, value + half)
