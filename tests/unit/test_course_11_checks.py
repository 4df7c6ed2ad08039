"""The checks of lesson 11 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

from math import sqrt
from statistics import fmean, pstdev, stdev
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit

from labkit.insight import paired_difference
from labkit.runtime import wilson
from tests.answers import Answers

# ---------------------------------------------------------------- an accuracy with its interval


def _sums(batches):
    return sum(right for right, _ in batches), sum(images for _, images in batches)


def _with_labkit(batches):
    right, images = _sums(batches)
    return [right / images, *wilson(right, images)]


def _by_hand(batches, z=1.96, n=None):
    right, images = _sums(batches)
    n, p = n or images, right / images
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return p, centre - half, centre + half


def _mean_of_batches(batches):
    return fmean(right / images for right, images in batches), *_with_labkit(batches)[1:]


def _textbook(batches):
    right, images = _sums(batches)
    p = right / images
    half = 1.96 * sqrt(p * (1 - p) / images)
    return p, max(0, p - half), min(1, p + half)


def _textbook_at_the_edge(batches):
    """Wilson's only where the textbook's has a width."""
    right, images = _sums(batches)
    return _textbook(batches) if right in (0, images) else _by_hand(batches)


def _spread_of_batches(batches):
    shares = [right / images for right, images in batches]
    p = _sums(batches)[0] / _sums(batches)[1]
    half = 1.96 * stdev(shares) / sqrt(len(shares))
    return p, p - half, p + half


def _scaled(batches):
    return [100 * one for one in _by_hand(batches)]


def _half_widths(batches):
    p, low, high = _by_hand(batches)
    return p, (high - low) / 2, (high - low) / 2


def _centre(batches):
    _, low, high = _by_hand(batches)
    return (low + high) / 2, low, high


def _reordered(order):
    return lambda batches: tuple(_by_hand(batches)[place] for place in order)


def _share_only(batches):
    return _by_hand(batches)[0]


def _last(batches):
    return _by_hand(batches[-1:])


def _counts(batches):
    return _sums(batches)[0], *_by_hand(batches)[1:]


def _errors(batches):
    return _by_hand([(images - right, images) for right, images in batches])


def _narrow(batches):
    """With twice as many images as there are."""
    return _by_hand(batches, n=2 * _sums(batches)[1])


# ---------------------------------------------------------------- a difference, seed by seed


def _gaps(ours, theirs):
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def _paired(ours, theirs, spread=stdev, quantile=0.975, freedom=1, power=0.5, scale=1):
    gaps = _gaps(ours, theirs)
    half = stdtrit(len(gaps) - freedom, quantile) * spread(gaps) / len(gaps) ** power
    return scale * fmean(gaps), scale * (fmean(gaps) - half), scale * (fmean(gaps) + half)


def _paired_with_labkit(ours, theirs):
    both = ours.keys() & theirs.keys()
    found = paired_difference({s: ours[s] for s in both}, {s: theirs[s] for s in both})
    return found.mean, found.low, found.high


def _labkit_alone(ours, theirs):
    found = paired_difference(ours, theirs)
    return found.mean, found.low, found.high


def _unpaired(ours, theirs, quantile=None):
    both = ours.keys() & theirs.keys()
    one, other = ([side[s] for s in both] for side in (ours, theirs))
    error = sqrt((stdev(one) ** 2 + stdev(other) ** 2) / len(both))
    half = error * (quantile or stdtrit(2 * len(both) - 2, 0.975))
    return fmean(one) - fmean(other), *(fmean(one) - fmean(other) + s * half for s in (-1, 1))


def _everyone(ours, theirs):
    mean = fmean(ours.values()) - fmean(theirs.values())
    return mean, mean - 0.01, mean + 0.01


def _by_position(ours, theirs):
    one = [ours[s] for s in ours if s in theirs]
    other = [theirs[s] for s in theirs if s in ours]
    return _paired(dict(enumerate(one)), dict(enumerate(other)))


def _normal(ours, theirs, times=1.96):
    gaps = _gaps(ours, theirs)
    half = times * stdev(gaps) / sqrt(len(gaps))
    return fmean(gaps), fmean(gaps) - half, fmean(gaps) + half


def _one_seed(ours, theirs):
    gap = _gaps(ours, theirs)[0]
    return gap, gap - 0.01, gap + 0.01


def _swapped(ours, theirs):
    return _paired(theirs, ours)


def _upside_down(ours, theirs):
    mean, low, high = _paired(ours, theirs)
    return mean, high, low


def _without_signs(ours, theirs):
    gaps = {s: abs(ours[s] - theirs[s]) for s in ours if s in theirs}
    return _paired(gaps, dict.fromkeys(gaps, 0.0))


def _around_nothing(ours, theirs):
    mean, low, high = _paired(ours, theirs)
    return mean, low - mean, high - mean


# ---------------------------------------------------------------- a test split that opens once


def _once(candidates, open_test):
    best = max(candidates, key=lambda name: fmean(candidates[name]))
    return best, open_test(best)


def _sorted(candidates, open_test):
    means = sorted((sum(seen) / len(seen), name) for name, seen in candidates.items())
    return [means[-1][1], open_test(means[-1][1])]


def _best_seed(candidates, open_test):
    best = max(candidates, key=lambda name: max(candidates[name]))
    return best, open_test(best)


def _largest_sum(candidates, open_test):
    best = max(candidates, key=lambda name: sum(candidates[name]))
    return best, open_test(best)


def _by_test(candidates, open_test):
    found = {name: open_test(name) for name in candidates}
    best = max(found, key=found.get)
    return best, found[best]


def _opened_for_all(candidates, open_test):
    found = {name: open_test(name) for name in candidates}
    best = max(candidates, key=lambda name: fmean(candidates[name]))
    return best, found[best]


def _validation_reported(candidates, open_test):
    best, _ = _once(candidates, open_test)
    return best, fmean(candidates[best])


def _never_opened(candidates, open_test):
    best = max(candidates, key=lambda name: fmean(candidates[name]))
    return best, fmean(candidates[best])


def _opened_twice(candidates, open_test):
    best, _ = _once(candidates, open_test)
    return best, open_test(best)


def _worst(candidates, open_test):
    worst = min(candidates, key=lambda name: fmean(candidates[name]))
    return worst, open_test(worst)


def _other_way_round(candidates, open_test):
    return _once(candidates, open_test)[::-1]


def _accuracy_only(candidates, open_test):
    return _once(candidates, open_test)[1]


def _two_best(candidates, open_test):
    ranked = sorted(candidates, key=lambda name: fmean(candidates[name]))[-2:]
    found = {name: open_test(name) for name in ranked}
    best = max(found, key=found.get)
    return best, found[best]


RIGHT: dict[str, list[Any]] = {
    "11-count": [_with_labkit, _by_hand, lambda x: torch.tensor(_by_hand(x))],
    "11-paired": [_paired, _paired_with_labkit, lambda a, b: np.array(_paired(a, b))],
    "11-once": [_once, _sorted],
}
WRONG = [
    ("11-count", _mean_of_batches, "mean of the accuracies of batches"),
    ("11-count", _textbook, "without Wilson's correction"),
    ("11-count", _textbook_at_the_edge, "nothing is certain yet"),
    ("11-count", _spread_of_batches, "spread of the batches"),
    ("11-count", lambda x: _by_hand(x, n=len(x)), "not of batches"),
    ("11-count", lambda x: _by_hand(x, z=1.6449), "for 90 %"),
    ("11-count", lambda x: _by_hand(x, z=1), "for 68 %"),
    ("11-count", _scaled, "as a share"),
    ("11-count", _half_widths, "not how wide"),
    ("11-count", _centre, "centre of the interval"),
    ("11-count", _reordered((0, 2, 1)), "swap them"),
    ("11-count", _reordered((1, 0, 2)), "comes first"),
    ("11-count", _share_only, "three numbers"),
    ("11-count", _last, "last batch alone"),
    ("11-count", _counts, "number of right answers"),
    ("11-count", _errors, "wrong answers"),
    ("11-count", _narrow, "Wilson's interval is"),
    ("11-paired", _unpaired, "each side's own spread"),
    ("11-paired", lambda a, b: _unpaired(a, b, 1.96), "each side's own spread"),
    ("11-paired", _by_position, "Pair by seed"),
    ("11-paired", _everyone, "have no partner"),
    ("11-paired", _normal, "quantile of Student's t"),
    ("11-paired", lambda a, b: _normal(a, b, 1), "one standard error"),
    ("11-paired", lambda a, b: _paired(a, b, quantile=0.95), "for 90 %"),
    ("11-paired", lambda a, b: _paired(a, b, freedom=0), "one degree of freedom less"),
    ("11-paired", lambda a, b: _paired(a, b, power=0), "square root of the number of seeds"),
    ("11-paired", lambda a, b: _paired(a, b, power=1), "once and not twice"),
    ("11-paired", lambda a, b: _paired(a, b, spread=pstdev), "stdev, not pstdev"),
    ("11-paired", lambda a, b: _paired(a, b, scale=100), "not in points"),
    ("11-paired", _swapped, "sign is reversed"),
    ("11-paired", _upside_down, "swap them"),
    ("11-paired", _without_signs, "Keep the signs"),
    ("11-paired", _one_seed, "difference of one seed"),
    ("11-paired", _around_nothing, "around the mean difference"),
    ("11-paired", lambda a, b: fmean(_gaps(a, b)), "three numbers"),
    ("11-paired", _labkit_alone, "Your code stopped with EvidenceError"),
    ("11-once", _best_seed, "best single seed"),
    ("11-once", _largest_sum, "largest sum"),
    ("11-once", _by_test, "helped to choose"),
    ("11-once", _opened_for_all, "opened for 4 candidates"),
    ("11-once", _two_best, "opened for 2 candidates"),
    ("11-once", _validation_reported, "what the test split said"),
    ("11-once", _never_opened, "never opened"),
    ("11-once", _opened_twice, "opened 2 times"),
    ("11-once", _worst, "poorest on validation"),
    ("11-once", _other_way_round, "Return two things"),
    ("11-once", _accuracy_only, "Return two things"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
