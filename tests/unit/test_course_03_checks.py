"""The checks of lesson 03 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold, train_test_split

from labkit.learn import exercises
from tests.answers import Answers

# ---------------------------------------------------------------- patients


def _patients(train, valid):
    known = set(train)
    return [at for at, one in enumerate(valid) if one in known]


def _patients_numpy(train, valid):
    return np.isin(np.array(valid), np.array(train)).nonzero()[0]


def _patients_often(train, valid):
    return [at for at, one in enumerate(valid) for other in train if one == other]


def _patients_first(train, valid):
    return [valid.index(one) for one in dict.fromkeys(valid) if one in train]


def _patients_in_place(train, valid):
    return [at for at, (one, other) in enumerate(zip(train, valid, strict=False)) if one == other]


def _patients_by_part_of_a_name(train, valid):
    return [at for at, one in enumerate(valid) if one in " ".join(train)]


# ---------------------------------------------------------------- split


def _split(labels, share, seed):
    chance = torch.Generator().manual_seed(seed)
    train, valid = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=chance)]
        count = round(share * len(members))
        valid += members[:count].tolist()
        train += members[count:].tolist()
    return train, valid


def _split_by_sklearn(labels, share, seed):
    return train_test_split(
        np.arange(len(labels)), test_size=share, stratify=labels.numpy(), random_state=seed
    )


def _shuffled(labels, seed):
    return torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))


def _split_plainly(labels, share, seed):
    order, count = _shuffled(labels, seed), round(share * len(labels))
    return order[count:], order[:count]


def _split_at_the_end(labels, share, seed):
    order, count = list(range(len(labels))), round(share * len(labels))
    return order[:-count], order[-count:]


def _split_first_of_each(labels, share, seed):
    members = [(labels == label).nonzero().flatten() for label in labels.unique()]
    counts = [round(share * len(some)) for some in members]
    parts = list(zip(members, counts, strict=True))
    return torch.cat([m[c:] for m, c in parts]), torch.cat([m[:c] for m, c in parts])


def _split_with_putting_back(labels, share, seed):
    train, valid = _split(labels, share, seed)
    return train, [valid[0], *valid[:-1]]


def _split_by_no_seed(labels, share, seed):
    return _split(labels, share, int(torch.randint(10**6, ())))


# ---------------------------------------------------------------- suspects


def _suspects(features, labels, fit, parts=5, score=None):
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return _cross_validated(features, labels, fit, order.chunk(parts), score)


def _cross_validated(features, labels, fit, parts, score=None):
    score = score or (lambda p, y: p[range(len(y)), y])
    kept = torch.zeros(len(labels))
    for part in parts:
        others = torch.ones(len(labels), dtype=torch.bool)
        others[part] = False
        judge = fit(features[others], labels[others])
        kept[part] = score(judge(features[part]), labels[part])
    return kept.argsort()


def _suspects_by_sklearn(features, labels, fit):
    folds = StratifiedKFold(4, shuffle=True, random_state=1).split(features, labels)
    return _cross_validated(features, labels, fit, [torch.as_tensor(part) for _, part in folds])


def _suspects_one_by_one(features, labels, fit):
    return _cross_validated(features, labels, fit, torch.arange(len(labels)).split(1)).tolist()


def _suspects_in_sample(features, labels, fit):
    return fit(features, labels)(features)[range(len(labels)), labels].argsort(stable=True)


def _suspects_in_order(features, labels, fit):
    return _cross_validated(features, labels, fit, torch.arange(len(labels)).chunk(3))


def _suspects_among_themselves(features, labels, fit):
    kept = torch.zeros(len(labels))
    for part in torch.arange(len(labels)).chunk(3):
        kept[part] = fit(features[part], labels[part])(features[part]).max(1).values
    return kept.argsort(stable=True)


def _believed(probabilities, labels):
    return probabilities.max(1).values


RIGHT: dict[str, list[Any]] = {
    "03-patients": [_patients, _patients_numpy],
    "03-split": [_split, _split_by_sklearn],
    "03-suspects": [_suspects, _suspects_by_sklearn, _suspects_one_by_one],
}
WRONG = [
    ("03-patients", lambda train, valid: _patients(valid, train), "positions in `train`"),
    ("03-patients", _patients_often, "more than once"),
    ("03-patients", _patients_first, "Every one of them"),
    ("03-patients", _patients_in_place, "the whole of `train`"),
    ("03-patients", _patients_by_part_of_a_name, "p1 is not p12"),
    ("03-patients", lambda t, v: [at for at, one in enumerate(v) if one not in t], "turned"),
    ("03-patients", lambda t, v: [one for one in v if one in t], "Return positions"),
    ("03-patients", lambda t, v: [one in t for one in v], "Return positions"),
    ("03-patients", lambda t, v: [0, 2, 4], "Now nobody"),
    ("03-patients", lambda t, v: [0, 1], "The images are at"),
    ("03-split", lambda y, s, seed: (_split(y, 0, seed)[0], _split(y, s, seed)[1]), "both sides"),
    ("03-split", _split_with_putting_back, "drawn twice"),
    ("03-split", lambda y, s, seed: (_split(y, s, seed)[0][5:], _split(y, s, seed)[1]), "neither"),
    ("03-split", lambda y, s, seed: _split(y, s, seed)[::-1], "share went to training"),
    ("03-split", _split_at_the_end, "blind to it"),
    ("03-split", _split_plainly, "each class by itself"),
    ("03-split", _split_by_no_seed, "two different splits"),
    ("03-split", _split_first_of_each, "nothing was drawn"),
    ("03-split", lambda y, s, seed: _split(y, s, seed)[1], "Return two things"),
    ("03-split", lambda y, s, seed: (y, y > 0), "no mask"),
    ("03-suspects", _suspects_in_sample, "never saw it"),
    ("03-suspects", _suspects_among_themselves, "never saw it"),
    ("03-suspects", lambda *a: _suspects(*a).flip(0), "turned"),
    ("03-suspects", lambda *a: _suspects(*a, score=_believed), "label that was given"),
    ("03-suspects", _suspects_in_order, "Shuffle before you cut"),
    ("03-suspects", lambda *a: _suspects(*a)[:3], "every position once"),
    ("03-suspects", lambda x, y, fit: fit(x[1:], y[1:])(x)[:, 0], "not probabilities"),
    ("03-suspects", lambda x, y, fit: range(len(y)), "Your order begins"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG


def test_a_check_of_chance_is_none() -> None:
    """A split that is not stratified is refused whatever seed the check asks for."""
    for shift in range(20):
        answer = lambda labels, share, seed, s=shift: _split_plainly(labels, share, seed + s)  # noqa: E731
        assert exercises.find("03-split").problems(answer), shift
