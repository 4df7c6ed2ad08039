"""Lesson 02: its checks accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize, one_hot

from labkit.learn import exercises
from tests.answers import Answers


@pytest.fixture(autouse=True)
def _own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


# ---------------------------------------------------------------- neighbours


def _cosines(features, query):
    rows = normalize(features)
    return rows @ rows[query]


def _nearest(features, query, k):
    cosines = _cosines(features, query)
    cosines[query] = -2
    return cosines.topk(k).indices


def _nearest_by_sorting(features, query, k):
    rows = features.numpy()
    lengths = np.linalg.norm(rows, axis=1)
    cosines = rows @ rows[query] / (lengths * lengths[query])
    order = sorted(range(len(rows)), key=lambda row: -cosines[row])
    return [row for row in order if row != query][:k]


def _itself_too(features, query, k):
    return _cosines(features, query).topk(k).indices


def _own_cosine_zero(features, query, k):
    directions = normalize(features)
    cosines = directions @ directions[query]
    cosines[query] = 0
    return cosines.topk(k).indices


def _first_dropped(features, query, k):
    return _cosines(features, query).sort(descending=True, stable=True).indices[1 : k + 1]


def _by_distance(features, query, k):
    distances = torch.cdist(features, features[query : query + 1]).flatten()
    distances[query] = torch.inf
    return distances.topk(k, largest=False).indices


def _by_product(features, query, k):
    products = features @ features[query]
    products[query] = -torch.inf
    return products.topk(k).indices


def _farthest(features, query, k):
    return _cosines(features, query).topk(k, largest=False).indices


def _values(features, query, k):
    return _cosines(features, query).topk(k).values


# ---------------------------------------------------------------- translate


def _sums(shares, groups):
    return torch.stack([shares[:, some].sum(1) for some in groups], dim=1)


def _normal(shares):
    return shares / shares.sum(1, keepdim=True)


def _translate(scores, groups):
    return _normal(_sums(scores.softmax(1), groups))


def _translate_by_logarithms(scores, groups):
    return torch.stack([scores[:, some].logsumexp(1) for some in groups], dim=1).softmax(1)


def _translate_what_means_something(scores, groups):
    kept = [column for some in groups for column in some]
    ends = np.cumsum([0, *map(len, groups)])
    places = [list(range(begin, end)) for begin, end in pairwise(ends)]
    return _sums(scores[:, kept].softmax(1), places)


def _averaged(scores, groups):
    return _normal(torch.stack([scores.softmax(1)[:, some].mean(1) for some in groups], dim=1))


def _strongest(scores, groups):
    return _normal(torch.stack([scores.softmax(1)[:, some].amax(1) for some in groups], dim=1))


# ---------------------------------------------------------------- prototypes


def _means(features, labels):
    classes = labels.unique()
    return classes, torch.stack([features[labels == c].mean(0) for c in classes])


def _prototypes(train, labels, asked):
    classes, means = _means(train, labels)
    return classes[(normalize(asked) @ normalize(means).T).argmax(1)]


def _prototypes_by_sums(train, labels, asked):
    sums = one_hot(labels).float().T @ train  # a sum has the direction of the mean
    return (normalize(asked) @ normalize(sums).T).argmax(1)


def _prototype_positions(train, labels, asked):
    _, means = _means(train, labels)
    return (normalize(asked) @ normalize(means).T).argmax(1)


def _nearest_example(train, labels, asked):
    return labels[(normalize(asked) @ normalize(train).T).argmax(1)]


def _prototypes_by_distance(train, labels, asked):
    classes, means = _means(train, labels)
    return classes[torch.cdist(asked, means).argmin(1)]


def _prototypes_by_product(train, labels, asked):
    classes, means = _means(train, labels)
    return classes[(asked @ means.T).argmax(1)]


def _least_alike(train, labels, asked):
    classes, means = _means(train, labels)
    return classes[(normalize(asked) @ normalize(means).T).argmin(1)]


def _prototypes_of_directions(train, labels, asked):
    return _prototypes(normalize(train), labels, asked)


def _pairs_in_a_row(train, labels, asked):
    means = train.reshape(3, 2, -1).mean(1)
    return torch.tensor([2, 5, 7])[(normalize(asked) @ normalize(means).T).argmax(1)]


RIGHT = {
    "02-neighbours": [_nearest, _nearest_by_sorting],
    "02-translate": [_translate, _translate_by_logarithms, _translate_what_means_something],
    "02-prototypes": [_prototypes, _prototypes_by_sums],
}
WRONG = [
    ("02-neighbours", _itself_too, "among its own neighbours"),
    ("02-neighbours", _first_dropped, "its twin was thrown out"),
    ("02-neighbours", _own_cosine_zero, "cosine of 0"),
    ("02-neighbours", _by_distance, "by distance"),
    ("02-neighbours", _by_product, "divide by the lengths"),
    ("02-neighbours", _farthest, "the farthest"),
    ("02-neighbours", _values, "positions of the neighbours"),
    ("02-neighbours", lambda f, q, k: _nearest(f, 3, k), "is `query` used"),
    ("02-neighbours", lambda f, q, k: _nearest(f, q, 3), "is `k` used"),
    ("02-neighbours", lambda f, q, k: _nearest(f, q, k).flip(0), "wrong order"),
    ("02-neighbours", lambda f, q, k: _nearest(f, q, k + 1), "gives 4"),
    ("02-translate", lambda s, g: _sums(s.softmax(1), g), "do not sum to 1"),
    ("02-translate", lambda s, g: _sums(s.softmax(1), g).softmax(1), "second softmax"),
    ("02-translate", lambda s, g: _sums(s, g).softmax(1), "Raw scores"),
    ("02-translate", _averaged, "averaged"),
    ("02-translate", _strongest, "strongest"),
    ("02-translate", lambda s, g: _normal(_sums(s.exp(), g)), "overflows"),
    ("02-translate", lambda s, g: _translate(s, g).argmax(1), "Return a tensor of shape"),
    ("02-translate", lambda s, g: _translate(s, g[::-1]), "For the first row"),
    ("02-prototypes", _prototype_positions, "positions among the prototypes"),
    ("02-prototypes", _nearest_example, "nearest example"),
    ("02-prototypes", _prototypes_by_distance, "by distance"),
    ("02-prototypes", _prototypes_by_product, "favours long prototypes"),
    ("02-prototypes", _prototypes_of_directions, "before the mean"),
    ("02-prototypes", _least_alike, "least alike"),
    ("02-prototypes", _pairs_in_a_row, "in another order"),
    ("02-prototypes", lambda t, y, a: 5, "one class for each"),
    ("02-prototypes", lambda t, y, a: y[:1].repeat(len(a)), "The classes should be"),
]  # fmt: skip


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG


def test_an_answer_that_writes_into_what_it_is_given_cannot_spoil_the_check() -> None:
    def spoils(features, query, k):
        found = _nearest(features, query, k)
        features.zero_()
        return found

    assert exercises.find("02-neighbours").problems(spoils) == []
    assert exercises.find("02-neighbours").problems(_nearest) == []
