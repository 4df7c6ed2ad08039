"""The checks of lesson 16 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from tests.answers import Answers

# ---------------------------------------------------------------- a loop that keeps to a budget


def _while(step, clock, seconds):
    began, steps = clock(), 0
    while clock() - began < seconds:
        step()
        steps += 1
    return steps


def _deadline(step, clock, seconds):
    until, steps = clock() + seconds, 0
    while True:
        if clock() >= until:
            return steps
        step()
        steps += 1


def _from_zero(step, clock, seconds):
    steps = 0
    while clock() < seconds:
        step()
        steps += 1
    return steps


def _by_the_wall(step, clock, seconds):
    began, steps = time.time(), 0
    while time.time() - began < seconds:
        step()
        steps += 1
    return steps


def _asks_after(step, clock, seconds):
    began, steps = clock(), 0
    while True:
        step()
        steps += 1
        if clock() - began >= seconds:
            return steps


def _one_too_many(step, clock, seconds):
    began, steps = clock(), 0
    while clock() - began <= seconds:
        step()
        steps += 1
    return steps


def _reckons(step, clock, seconds):
    began = clock()
    if seconds <= 0:
        return 0
    step()
    count = max(1, int(seconds / (clock() - began)))
    for _ in range(count - 1):
        step()
    return count


def _says_seconds(step, clock, seconds):
    _while(step, clock, seconds)
    return float(seconds)


def _says_nothing(step, clock, seconds):
    _while(step, clock, seconds)


def _keeps_a_reserve(step, clock, seconds):
    began, steps, longest = clock(), 0, 0.0
    while clock() - began + longest < seconds:
        before = clock()
        step()
        longest = max(longest, clock() - before)
        steps += 1
    return steps


# ---------------------------------------------------------------- an answer people can read


def _top(scores, classes, count):
    shares, places = scores.softmax(0).topk(min(count, len(classes)))
    return [(classes[p], s) for s, p in zip(shares.tolist(), places.tolist(), strict=True)]


def _sorted(scores, classes, count):
    pairs = zip(classes, torch.softmax(scores, dim=0).tolist(), strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])[:count]


def _ranked(shares, classes, count, descending=True):
    order = shares.argsort(descending=descending)[:count].tolist()
    return [(classes[place], float(shares[place])) for place in order]


def _shown_only(scores, classes, count):
    best, places = scores.topk(min(count, len(classes)))
    return [(classes[p], float(s)) for s, p in zip(best.softmax(0), places, strict=True)]


def _by_hand(scores, classes, count):
    raised = scores.exp()
    return _ranked(raised / raised.sum(), classes, count)


# ---------------------------------------------------------------- an export that says the same


def _largest(ours, theirs):
    apart = (ours - theirs).abs()
    return apart.max().item() if torch.isfinite(apart).all() else math.inf


def _nan_is_far(ours, theirs):
    return float((ours - theirs).abs().nan_to_num(nan=math.inf).max())


RIGHT: dict[str, tuple[Callable[..., Any], ...]] = {
    "16-budget": (_while, _deadline),
    "16-top": (_top, _sorted),
    "16-same": (_largest, _nan_is_far),
}

WRONG: list[tuple[str, Callable[..., Any], str]] = [
    ("16-budget", _from_zero, "subtract those"),
    ("16-budget", _by_the_wall, "ask the clock that it is given"),
    ("16-budget", _asks_after, "before the first one, too"),
    ("16-budget", _one_too_many, "use <, not <="),
    ("16-budget", _reckons, "do not reckon from the first"),
    ("16-budget", _says_seconds, "whole number"),
    ("16-budget", _says_nothing, "whole number"),
    ("16-budget", _keeps_a_reserve, "the tenth still fits"),
    ("16-budget", lambda step, clock, seconds: step() or 1, "single step"),
    ("16-top", lambda s, c, n: _ranked(s.sigmoid(), c, n), "sigmoid"),
    ("16-top", lambda s, c, n: _ranked(s, c, n), "That is the score"),
    ("16-top", _shown_only, "the two that are shown"),
    ("16-top", lambda s, c, n: _ranked(s.softmax(0), c, n, descending=False), "least likely"),
    ("16-top", lambda s, c, n: _top(s, c, n)[::-1], "Yours is last"),
    ("16-top", lambda s, c, n: list(zip(c, s.softmax(0).tolist(), strict=True))[:n], "first two"),
    (
        "16-top",
        lambda s, c, n: [(p, x) for p, x in enumerate(s.softmax(0).tolist())][:n],
        "by name",
    ),
    ("16-top", lambda s, c, n: _sorted(s, c, 9), "4 came"),
    ("16-top", lambda s, c, n: s.softmax(0).topk(n), "pair"),
    (
        "16-top",
        lambda s, c, n: ([p[0] for p in _top(s, c, n)], [p[1] for p in _top(s, c, n)]),
        "Pair them",
    ),
    ("16-top", lambda s, c, n: [(a, 100 * b) for a, b in _top(s, c, n)], "per cent"),
    ("16-top", lambda s, c, n: _ranked(s.log_softmax(0), c, n), "logarithm"),
    ("16-top", lambda s, c, n: _ranked(s / s.sum(), c, n), "share of their sum"),
    ("16-top", _by_hand, "around a thousand"),
    ("16-top", lambda s, c, n: _ranked(s.softmax(0), c, min(n, 3)), "yours gave 3"),
    ("16-same", lambda a, b: float((a - b).abs().mean()), "mean over everything"),
    ("16-same", lambda a, b: float((a - b).max().nan_to_num(math.inf)), "too small counts"),
    ("16-same", lambda a, b: float((a - b).abs().max()), "Say inf"),
    ("16-same", lambda a, b: float((a - b).abs().nan_to_num().max()), "Say inf"),
    ("16-same", lambda a, b: float((a - b).abs().sum(1).max()), "sum over the classes"),
    ("16-same", lambda a, b: float((a - b).square().max()), "square"),
    ("16-same", lambda a, b: float((a - b).norm(dim=1).max()), "length"),
    ("16-same", lambda a, b: int((a.argmax(1) != b.argmax(1)).sum()), "counts images"),
    ("16-same", lambda a, b: (a - b).abs().amax(1), "shape"),
    ("16-same", lambda a, b: torch.allclose(a, b), "one number"),
    ("16-same", lambda a, b: abs(float(a.max()) - float(b.max())), "Say inf"),
    ("16-same", lambda a, b: float((a.sum(1) - b.sum(1)).abs().max()), "nothing differs"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
