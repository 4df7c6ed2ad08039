"""The checks of lesson 14 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

from math import inf

import torch

from tests.answers import Answers

# ---------------------------------------------------------------- answers, right and wrong


def _moved(before, after, frozen):
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    return [stage for stage in frozen if stage in changed]


def _moved_by_loops(before, after, frozen):
    found = set()
    for name, tensor in after.items():
        stage, _, _ = name.partition(".")
        if stage in frozen and (tensor != before[name]).any():
            found.add(stage)
    return found


def _moved_if(differs, kind=lambda name: True, stage=lambda name: name.split(".")[0]):
    """An answer that compares in a way of its own, or looks at some tensors only."""

    def answer(before, after, frozen):
        return {
            stage(name)
            for name in before
            if stage(name).split(".")[0] in frozen
            and kind(name)
            and differs(before[name], after[name])
        }

    return answer


def _moved_prefix(before, after, frozen):
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    return [stage for stage in frozen if any(name.startswith(stage) for name in changed)]


def _moved_often(before, after, frozen):
    changed = [n.split(".")[0] for n in before if not torch.equal(before[n], after[n])]
    return [stage for stage in changed if stage in frozen]


def _unequal(one, other):
    return not torch.equal(one, other)


def _counted(batches):
    right = sum(int((scores.argmax(1) == labels).sum()) for scores, labels in batches)
    return right / sum(len(labels) for _, labels in batches)


def _counted_whole(batches):
    scores, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return (scores.argmax(1) == labels).float().mean()


def _mean_of_means(batches):
    return sum(_counted([batch]) for batch in batches) / len(batches)


def _rights(batches):
    return sum(int((scores.argmax(1) == labels).sum()) for scores, labels in batches)


def _copies(train, valid, tolerance):
    found = []
    for position, image in enumerate(valid):
        if (train - image).abs().flatten(1).max(dim=1).values.min() <= tolerance:
            found.append(position)
    return found


def _one_way(train, valid, tolerance):
    return [
        i
        for i, one in enumerate(valid)
        if (one - train).flatten(1).max(dim=1).values.min() <= tolerance
    ]


def _copies_by_cdist(train, valid, tolerance):
    apart = torch.cdist(valid.flatten(1), train.flatten(1), p=inf)
    return (apart.min(dim=1).values <= tolerance).nonzero().flatten()


def _copies_if(apart):
    """An answer that measures in a way of its own how far an image is from all training images."""

    def answer(train, valid, tolerance):
        return [i for i, one in enumerate(valid) if apart(train - one).min() <= tolerance]

    return answer


def _copies_named_twice(train, valid, tolerance):
    apart = torch.cdist(valid.flatten(1), train.flatten(1), p=inf)
    return (apart <= tolerance).nonzero()[:, 0].tolist()


def _copies_in_train(train, valid, tolerance):
    return _copies(valid, train, tolerance)


RIGHT = {
    "14-moved": [_moved, _moved_by_loops],
    "14-accuracy": [_counted, _counted_whole],
    "14-copies": [_copies, _copies_by_cdist],
}
WRONG = [
    ("14-moved", _moved_if(_unequal, lambda n: n.endswith(("weight", "bias"))), "buffers count"),
    ("14-moved", _moved_if(lambda a, b: not torch.allclose(a, b)), "bit for bit"),
    ("14-moved", _moved_if(lambda a, b: a.sum() != b.sum()), "bit for bit"),
    ("14-moved", _moved_if(lambda a, b: a.is_floating_point() and _unequal(a, b)), "whole numbers"),
    ("14-moved", _moved_if(_unequal, stage=lambda name: name), "name of a tensor"),
    ("14-moved", _moved_prefix, "layer10 is not layer1"),
    ("14-moved", lambda b, a, f: _moved(b, a, ["stem", "layer1", "head"]), "not frozen"),
    ("14-moved", _moved_often, "more than once"),
    ("14-moved", lambda b, a, f: f, "Nothing changed"),
    ("14-moved", lambda b, a, f: len(_moved(b, a, f)), "as a list or a set"),
    ("14-accuracy", _mean_of_means, "mean of the batch accuracies"),
    ("14-accuracy", _rights, "Divide by how many"),
    ("14-accuracy", lambda b: 100 * _counted(b), "in percent"),
    ("14-accuracy", lambda b: _rights(b) / (len(b) * len(b[0][1])), "shorter than the first"),
    ("14-accuracy", lambda b: _counted(b[:-1]), "left out"),
    ("14-accuracy", lambda b: _rights(b) / len(b), "not by batches"),
    ("14-accuracy", lambda b: 1 - _counted(b), "was wrong"),
    ("14-accuracy", lambda b: [_counted([one]) for one in b], "one number"),
    ("14-copies", _copies_if(lambda d: d.abs().flatten(1).mean(dim=1)), "average hides"),
    ("14-copies", _copies_if(lambda d: d.flatten(1).max(dim=1).values), "not its sign"),
    ("14-copies", lambda t, v, tol: _one_way(t, v, tol), "not its sign"),
    ("14-copies", _copies_if(lambda d: d.square().flatten(1).mean(dim=1).sqrt()), "average hides"),
    ("14-copies", lambda t, v, tol: _copies(t, v, 2 * tol), "beyond the tolerance"),
    ("14-copies", lambda t, v, tol: _copies(t, v, 0.0), "allow for the tolerance"),
    ("14-copies", lambda t, v, tol: _copies(t, v, 0.04), "tolerance that is given"),
    ("14-copies", _copies_in_train, "among the training images"),
    ("14-copies", lambda t, v, tol: _copies(t[:1], v[:1], tol), "with all training"),
    ("14-copies", _copies_named_twice, "named twice"),
    ("14-copies", lambda t, v, tol: len(_copies(t, v, tol)), "Return positions"),
    ("14-copies", lambda t, v, tol: v.flatten(1).mean(dim=1) > 0.5, "one value an image"),
    ("14-copies", lambda t, v, tol: [(i, 0) for i in _copies(t, v, tol)], "in valid alone"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
