"""Checks of lesson 13: the operations of a convolution, a price row that can be judged, a strategy within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import torch
from torch import nn

from labkit.course import small
from labkit.errors import PriceError
from labkit.insight.cost import counting
from labkit.insight.prices import Machine
from labkit.learn.exercises import exercise

Operations = Callable[[nn.Conv2d, Sequence[int], bool, bool], Any]
Choice = Callable[[Mapping[str, Mapping[str, float]], float, int, float], Any]


# ---------------------------------------------------------------- operations of one convolution


@exercise(
    "13-convolution",
    title="the operations of a convolution",
    difficulty=2,
    minutes=12,
    hints=(
        "How many numbers does it give, and how many products are summed for one of them?",
        "Each number of the output needs in_channels x kernel height x kernel width products, and each product goes "
        "with an addition. The gradient for the weights needs as many as the forward pass, and so does the gradient "
        "for the input.",
        "forward = 2 * out[0] * out[1] * out[2] * out[3] * conv.in_channels * kernel[0] * kernel[1]; "
        "backward = forward for each of trains and passes_on that is true.",
    ),
)
def convolution(answer: Operations) -> Iterator[str]:
    """The answer maps (convolution, shape of its output, trains, passes on) to operations forward and backward."""
    for conv, size in _convolutions():
        for trains, passes_on in ((True, True), (True, False), (False, False), (False, True)):
            out, wanted = _counted(conv, size, trains, passes_on)
            given = answer(conv, out, trains, passes_on)
            problem = _why_not(given, wanted, conv, out, size, (trains, passes_on))
            if problem:
                yield problem
                return


def _convolutions() -> Iterator[tuple[nn.Conv2d, tuple[int, int, int]]]:
    """Convolutions, and (images, height, width) of what goes in: each has a shape that another mistake falls over."""
    yield nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False), (4, 6, 6)
    yield nn.Conv2d(4, 6, kernel_size=3, stride=2, padding=1, bias=False), (2, 8, 12)
    yield nn.Conv2d(5, 7, kernel_size=(2, 3), bias=True), (4, 6, 5)


def _counted(
    conv: nn.Conv2d, size: tuple[int, int, int], trains: bool, passes_on: bool
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The shape of the output, and what torch's counter says of one step."""
    images, height, width = size
    conv.requires_grad_(trains)
    x = torch.zeros(images, conv.in_channels, height, width, requires_grad=passes_on)
    with counting() as ahead:
        y = conv(x)
    with counting() as back:
        if y.requires_grad:
            y.sum().backward()
    return tuple(y.shape), (ahead.get_total_flops(), back.get_total_flops())


def _why_not(
    given: Any,
    wanted: tuple[int, int],
    conv: nn.Conv2d,
    out: tuple[int, ...],
    size: tuple[int, int, int],
    way: tuple[bool, bool],
) -> str | None:
    """What is wrong with two numbers, or None if nothing is."""
    numbers = _two_numbers(given)
    if numbers is None:
        return "Return two numbers: the operations of the forward pass, and those of the backward pass."
    forward, backward = numbers
    if forward != wanted[0]:
        return _why_not_forward(forward, wanted[0], conv, out, size)
    return None if backward == wanted[1] else _why_not_backward(backward, wanted, *way)


def _two_numbers(given: Any) -> tuple[float, float] | None:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in given):
        return None
    return float(given[0]), float(given[1])


def _why_not_forward(
    given: float,
    wanted: int,
    conv: nn.Conv2d,
    out: tuple[int, ...],
    size: tuple[int, int, int],
) -> str:
    images, height, width = size
    inside = out[2] * out[3]
    side = conv.kernel_size[0] * conv.kernel_size[1]
    known = [
        (wanted / 2, "A product and the addition that goes with it are two operations, not one."),
        (wanted / images, "That is for one image. A step goes over the whole batch."),
        (wanted / out[1], "Every channel of the output has weights of its own: count them all."),
        (wanted / conv.in_channels, "Each output sums over all channels of the input, too."),
        (wanted / side, "Each output sums over the whole kernel, height times width."),
        (
            wanted * height * width / inside,
            "With a stride the output is smaller than the input: count places of the output.",
        ),
        (
            wanted * conv.kernel_size[0] / conv.kernel_size[1],
            "A kernel may be higher than wide: multiply its two sides.",
        ),
        (
            wanted + images * out[1] * inside,
            "The bias is one addition a number. torch's counter leaves it out, and so should you.",
        ),
        (
            wanted / inside,
            "That is for one place of the output. The kernel is laid on every place.",
        ),
    ]
    said = f"Forward, this convolution takes {wanted:,} operations, and your function says {given:,.10g}."
    return small.reason(given / wanted, [(value / wanted, why) for value, why in known], said)


def _why_not_backward(given: float, wanted: tuple[int, int], trains: bool, passes_on: bool) -> str:
    forward, right = wanted
    if not trains and not passes_on:
        return "Its weights are frozen and nothing below it trains: then no gradient comes this way at all."
    if not trains and passes_on:
        if given == 0:
            return (
                "It is frozen, but something below it trains: the gradient has to pass through it."
            )
        return "It is frozen: only the gradient for its input is computed, not the one for its weights."
    if not passes_on:
        return "Nothing below it trains, so nobody asks for the gradient of its input. That half is spared."
    if given == forward:
        return (
            "Backward there are two products: one gives the gradient of the weights, one that of the input. "
            "Each takes as many operations as the forward pass."
        )
    if given == right + forward:
        return "The backward pass alone was asked for; the forward pass is the other number."
    return f"Backward, it takes {right:,} operations where {forward:,} go forward. Yours says {given:,.10g}."


# ---------------------------------------------------------------- a price row of one's own

NO_SOURCE = (
    "the internet",
    "the web",
    "internet search",
    "my own guess",
    "common knowledge",
    "not known",
)
CLOSE_TO_A_EURO = ("EUR", "USD", "GBP", "CHF")
DEAREST = 100  # of one of these for each kilowatt and hour; rented machines were seen at 3 to 12
SHORTEST_SOURCE = 10  # letters: "AWS" alone leads nobody to the number


@exercise(
    "13-price",
    title="a price row of your own",
    difficulty=1,
    minutes=8,
    hints=(
        "A stranger should be able to find the number again: which page, which bill, of which day?",
        "Your own machine costs at least its electricity: watts / 1000 times the price of a kilowatt-hour.",
        'insight.Machine("my laptop", price_per_hour=0.028 * 0.2872, currency="EUR", watts=28, date="2026-11-20", '
        'source="electricity bill of ..., 0.2872 EUR a kWh", estimate=True).',
    ),
)
def price(answer: Any) -> Iterator[str]:
    """The answer is a row of a price table: a Machine, or a dictionary with the same fields."""
    row = answer() if callable(answer) and not isinstance(answer, type) else answer
    if isinstance(row, Mapping):
        try:
            row = Machine(**row)
        except TypeError as trouble:
            yield f"Something is missing from the row, or too much: {trouble}."
            return
        except PriceError as trouble:
            yield str(trouble)
            return
    if not isinstance(row, Machine):
        yield "Give one row: insight.Machine(...), or a dictionary with the same fields."
        return
    yield from _row_problems(row)


def _row_problems(row: Machine) -> Iterator[str]:
    if row.date > date.today() + timedelta(days=1):
        yield f"The date {row.date} is still to come. Give the day on which you read the number."
    source = row.source.strip()
    if source.lower().strip(".") in NO_SOURCE or len(source) < SHORTEST_SOURCE:
        yield f"The source {source!r} leads nobody to the number. Name the page, the bill or the data sheet."
    if row.price_per_hour == 0:
        yield "No machine is free: your own draws electricity, and a free one is paid for by somebody."
    if row.watts == 0:
        yield "A machine at work draws watts. A data sheet gives the rated power of its processor."
    elif row.currency in CLOSE_TO_A_EURO and row.price_per_hour > DEAREST * row.watts / 1000:
        yield (
            f"{row.price_per_hour:g} {row.currency} an hour for {row.watts:g} W is far too much. If it is electricity: "
            "a watt is a thousandth of a kilowatt, so divide by a thousand."
        )
    if row.price_per_hour and row.watts and _is_shipped(row):
        yield "That is a row of the table that ships. Make one of your own."


def _is_shipped(row: Machine) -> bool:
    from labkit.insight.prices import machines

    return any(row.source == known.source for known in machines().values())


# ---------------------------------------------------------------- what one can afford

OFFERS: dict[str, dict[str, float]] = {
    "scratch": {"seconds": 7200.0, "accuracy": 0.80},
    "full": {"seconds": 3600.0, "accuracy": 0.90},
    "partial": {"seconds": 1800.0, "accuracy": 0.90},
    "head": {"seconds": 180.0, "accuracy": 0.85},
}


@exercise(
    "13-budget",
    title="the best that you can afford",
    difficulty=2,
    minutes=12,
    hints=(
        "First the bill of each strategy: its seconds, times how often it is tried, in hours, times the price.",
        "Leave out what is above the budget. Of the rest, take the highest accuracy; of equal ones the quickest.",
        "affordable = [name for name, row in strategies.items() if row['seconds'] * tries / 3600 * price <= budget]; "
        "return max(affordable, key=lambda name: (strategies[name]['accuracy'], -strategies[name]['seconds']), "
        "default=None).",
    ),
)
def budget(answer: Choice) -> Iterator[str]:
    """The answer maps (strategies, price an hour, tries, budget) to the name of the one to take, or None."""
    for price_per_hour, tries, money, wanted, said in _cases():
        given = answer(
            {name: dict(row) for name, row in OFFERS.items()}, price_per_hour, tries, money
        )
        if given is not None and not isinstance(given, str):
            yield "Return the name of one strategy, or None where none can be afforded."
            return
        if given is not None and given not in OFFERS:
            yield f"{given!r} is the name of no strategy. They are {', '.join(OFFERS)}."
            return
        if given != wanted:
            yield _why_not_that_one(given, wanted, price_per_hour, tries, money, said)
            return


def _cases() -> Iterator[tuple[float, int, float, str | None, str]]:
    """Price an hour, tries, budget, what to take, and what it means if the answer is another."""
    yield (
        1.0, 1, 10.0, "partial",
        "There is money for all. Two are equally accurate: take the one that needs fewer seconds.",
    )  # fmt: skip
    yield 1.0, 1, 0.1, "head", "Only the cheapest is within this budget."
    yield 2.0, 1, 0.1, "head", "The bill is exactly the budget: that can still be paid."
    yield 1.0, 20, 2.0, "head", "It is tried twenty times, so the bill is twenty times as high."
    yield 1.0, 5, 2.5, "partial", "Five tries of the better one are exactly the budget."
    yield 1.0, 1, 0.01, None, "Nothing is within this budget: then the answer is None."


def _why_not_that_one(
    given: str | None,
    wanted: str | None,
    price_per_hour: float,
    tries: int,
    money: float,
    said: str,
) -> str:
    often = f"{tries} {'try' if tries == 1 else 'tries'}"
    asked = f"At {price_per_hour:g} an hour, {often} and a budget of {money:g}"
    if given is not None:
        bill = OFFERS[given]["seconds"] * tries / 3600 * price_per_hour
        if bill > money + 1e-9:
            plain = "Seconds into hours, times the price of an hour, is the bill."
            why = plain if wanted is not None and tries == 1 else said
            return f"{asked}, {given!r} would cost {bill:.3g}. {why}"
    return f"{asked}, the answer should be {wanted!r} and not {given!r}. {said}"
