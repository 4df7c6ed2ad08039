"""The checks of lesson 13 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date, timedelta
from math import prod
from typing import Any

from labkit.insight.prices import Machine, machines
from tests.answers import Answers

# ---------------------------------------------------------------- operations of one convolution


def _forward(conv, out):
    return 2 * prod(out) * conv.in_channels * prod(conv.kernel_size)


def _operations(conv, out, trains, passes_on):
    forward = _forward(conv, out)
    return forward, forward * (trains + passes_on)


def _by_weights(conv, out, trains, passes_on):
    """The same by the other way round: every weight is used once a place and image."""
    forward = 2 * conv.weight.numel() * out[0] * out[2] * out[3]
    backward = 0
    if trains:
        backward += forward
    if passes_on:
        backward += forward
    return [forward, backward]


def _wrong_forward(change):
    def answer(conv, out, trains, passes_on):
        forward = change(conv, out)
        return forward, forward * (trains + passes_on)

    return answer


def _wrong_backward(change):
    def answer(conv, out, trains, passes_on):
        forward = _forward(conv, out)
        return forward, change(forward, trains, passes_on)

    return answer


def _padded_input(conv, out):
    """Counts the places of the input: right only where the stride is 1 and the padding full."""
    places = out[2] * out[3] * prod(conv.stride)
    return 2 * out[0] * out[1] * places * conv.in_channels * prod(conv.kernel_size)


def _square(conv, out):
    return 2 * prod(out) * conv.in_channels * conv.kernel_size[0] ** 2


# ---------------------------------------------------------------- a price row

MINE = Machine(
    "my laptop", 0.028 * 0.3, "EUR", 28, date.today(), "bill of the municipal works, 0.30 EUR a kWh"
)


def _row(**changes):
    return {**asdict(MINE), **changes}


def _without(name):
    return {key: value for key, value in asdict(MINE).items() if key != name}


# ---------------------------------------------------------------- what one can afford


def _bill(row, price, tries):
    return row["seconds"] * tries / 3600 * price


def _best(strategies, price, tries, budget):
    affordable = [n for n, row in strategies.items() if _bill(row, price, tries) <= budget]
    rank = lambda n: (strategies[n]["accuracy"], -strategies[n]["seconds"])  # noqa: E731
    return max(affordable, key=rank, default=None)


def _best_by_sorting(strategies, price, tries, budget):
    ranked = sorted(strategies.items(), key=lambda it: (-it[1]["accuracy"], it[1]["seconds"]))
    for name, row in ranked:
        if price * tries * row["seconds"] / 3600 <= budget:
            return name
    return None


def _chosen(bill=_bill, within=lambda b, m: b <= m, rank=None):
    """An answer that makes its bill, its limit or its ranking in a way of its own."""

    def answer(strategies, price, tries, budget):
        names = [n for n, row in strategies.items() if within(bill(row, price, tries), budget)]
        key = rank or (lambda row: (row["accuracy"], -row["seconds"]))
        return max(names, key=lambda name: key(strategies[name]), default=None)

    return answer


RIGHT: dict[str, list[Any]] = {
    "13-convolution": [_operations, _by_weights],
    "13-price": [MINE, _row(date="2025-01-31"), lambda: MINE],
    "13-budget": [_best, _best_by_sorting],
}
WRONG = [
    ("13-convolution", _wrong_forward(lambda c, o: _forward(c, o) // 2), "two operations"),
    ("13-convolution", _wrong_forward(lambda c, o: _forward(c, o) // o[0]), "one image"),
    ("13-convolution", _wrong_forward(lambda c, o: _forward(c, o) // o[1]), "of the output"),
    ("13-convolution", _wrong_forward(lambda c, o: _forward(c, o) / c.in_channels), "the input"),
    ("13-convolution", _wrong_forward(lambda c, o: _forward(c, o) / 9), "whole kernel"),
    ("13-convolution", _wrong_forward(_padded_input), "With a stride"),
    ("13-convolution", _wrong_forward(_square), "higher than wide"),
    ("13-convolution", _wrong_forward(lambda c, o: _forward(c, o) + prod(o)), "The bias"),
    ("13-convolution", _wrong_forward(lambda c, o: 2 * c.weight.numel() * o[0]), "every place"),
    ("13-convolution", _wrong_backward(lambda f, t, p: 2 * f), "half is spared"),
    ("13-convolution", _wrong_backward(lambda f, t, p: f), "two products"),
    ("13-convolution", _wrong_backward(lambda f, t, p: 3 * f), "the other number"),
    ("13-convolution", _wrong_backward(lambda f, t, p: 2 * f * t), "half is spared"),
    ("13-convolution", _wrong_backward(lambda f, t, p: f * t + f * (t and p)), "pass through it"),
    ("13-convolution", _wrong_backward(lambda f, t, p: f if t else f * p + f), "two products"),
    ("13-convolution", lambda c, o, t, p: _forward(c, o) * (1 + t + p), "two numbers"),
    ("13-price", _row(date=date.today() + timedelta(days=40)), "still to come"),
    ("13-price", _row(date="last year"), "must be a day"),
    ("13-price", _row(source="internet"), "leads nobody"),
    ("13-price", _row(source="Common knowledge."), "leads nobody"),
    ("13-price", _row(source=""), "must say something"),
    ("13-price", _row(price_per_hour="0.30 EUR"), "without its unit"),
    ("13-price", _row(price_per_hour=65 * 0.31, watts=65), "divide by a thousand"),
    ("13-price", _row(price_per_hour=-1), "0 or more"),
    ("13-price", _row(price_per_hour=0), "No machine is free"),
    ("13-price", _row(watts=0), "draws watts"),
    ("13-price", _row(currency="€"), "three capital letters"),
    ("13-price", _without("source"), "missing from the row"),
    ("13-price", replace(machines()["laptop"], name="mine"), "table that ships"),
    ("13-price", 0.0084, "Give one row"),
    ("13-budget", _chosen(bill=lambda r, p, t: r["seconds"] / 3600 * p), "twenty times"),
    ("13-budget", _chosen(bill=lambda r, p, t: r["seconds"] * t * p), "not None"),
    ("13-budget", _chosen(bill=lambda r, p, t: r["seconds"] * t / 60 * p), "not 'head'"),
    ("13-budget", _chosen(within=lambda b, m: b < m), "exactly the budget"),
    ("13-budget", _chosen(within=lambda b, m: True), "would cost"),
    ("13-budget", _chosen(rank=lambda row: -row["seconds"]), "equally accurate"),
    ("13-budget", _chosen(rank=lambda row: row["accuracy"]), "equally accurate"),
    ("13-budget", lambda s, p, t, b: s[_best(s, p, t, b)], "the name of one"),
    ("13-budget", lambda s, p, t, b: _best(s, p, t, b) or "head", "then the answer is None"),
    ("13-budget", lambda s, p, t, b: "cheapest", "name of no strategy"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
