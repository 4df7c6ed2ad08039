"""Checks of the arguments of our functions, before anything runs; what does not fit is refused in words.

    @takes(run=a_run, count=a_count())
    def worst_images(run: Run, count: int = 12, split: str = "valid") -> Figure: ...

A check is called with the name of the function, that of the argument and the value, and raises a labkit error. What
only the run itself can tell (its stages, its splits) is judged where the run is looked at. torch is imported by who
is called, not here: commands that only print come by this file too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from labkit.errors import (
    ArgumentError,
    EvidenceError,
    FileError,
    LabkitError,
    RunError,
    clipped,
    shown,
)
from labkit.runtime import real_number, whole_number
from labkit.tuning.plans import check_seed

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[str, str, Any], object]

MOST_DRAWN = 240  # images or panels in one figure; more take minutes and cannot be told apart


def takes(**checks: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Judge the arguments of a function by name, in this order, before anything is done."""

    def judged(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        name = function.__name__.removeprefix("plot_")  # as the learner calls it: labkit.confusion

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError:  # an argument too many or too few: Python says it best
                return function(*args, **kwargs)
            for argument, check in checks.items():
                if argument in given:
                    check(name, argument, given[argument])
            return function(*args, **kwargs)

        return checked

    return judged


# ---------------------------------------------------------------- kinds


def a_run(function: str, argument: str, value: Any) -> None:
    """Something that trains and tells: a Run, or a Learner that is steered."""
    refuse_no_run(value, function)


def refuse_no_run(seen: Any, function: str, or_else: str = "") -> None:
    """Raise RunError unless `seen` is a run; `or_else` is what the function takes beside one."""
    from torch import nn

    from labkit.tuning.loop import Loop

    if isinstance(getattr(seen, "loop", None), Loop):
        return
    hint = " Give the run itself instead of its model." if isinstance(seen, nn.Module) else ""
    raise RunError(
        f"{function} takes a run, as labkit.Run makes it{f', or {or_else}' if or_else else ''}, not {_what(seen)}."
        f"{hint}"
    )


def as_runs(function: str, runs: Any) -> list[Any]:
    """A run, or several, as a list. Raises RunError for anything else, EvidenceError where there is none."""
    from torch import nn

    listed = isinstance(runs, Iterable) and not isinstance(runs, str | bytes | Mapping | nn.Module)
    several = list(runs) if listed else [runs]
    if not several:
        raise EvidenceError(
            f"There is nothing to compare or to show; give {function} a list of runs."
        )
    for run in several:
        refuse_no_run(run, function, "a list of runs")
    return several


def a_run_or(kind: type, words: str) -> Check:
    """A run, or what was found by looking at one."""

    def check(function: str, argument: str, value: Any) -> None:
        if not isinstance(value, kind):
            refuse_no_run(value, function, words)

    return check


def a_run_or_evaluation(function: str, argument: str, value: Any) -> None:
    """A run, or what its `evaluate` gave."""
    from labkit.tuning.evaluation import Evaluation

    a_run_or(Evaluation, "what run.evaluate('valid') gave")(function, argument, value)


def an_evaluation(function: str, argument: str, value: Any) -> None:
    """What `run.evaluate` gave."""
    from labkit.tuning.evaluation import Evaluation

    a(Evaluation, source="run.evaluate('valid')")(function, argument, value)


def a_count(
    low: int = 1, high: int | None = None, error: type[LabkitError] = ArgumentError
) -> Check:
    """A whole number of things."""

    def check(function: str, argument: str, value: Any) -> None:
        whole = whole_number(value)
        if whole is None or whole < low or (high is not None and whole > high):
            span = f"{low} or more" if high is None else f"from {low} to {high}"
            raise error(f"{function}: {argument}={shown(value)} must be a whole number, {span}.")

    return check


def a_number(low: float, high: float, error: type[LabkitError] = ArgumentError) -> Check:
    """A number in a range, both ends included."""

    def check(function: str, argument: str, value: Any) -> None:
        number = real_number(value)
        if number is None or not low <= number <= high:
            raise error(
                f"{function}: {argument}={shown(value)} must be a number from {low:g} to {high:g}."
            )

    return check


def a_seed(function: str, argument: str, value: Any) -> None:
    """What chance is drawn from."""
    check_seed(value)


def a_flag(function: str, argument: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise ArgumentError(f"{function}: {argument}={shown(value)} must be True or False.")


def a_clock(function: str, argument: str, value: Any) -> None:
    """A clock: something that gives a number when it is called."""
    try:
        told = real_number(value())
    except Exception:  # whatever it raises, it is no clock
        told = None
    if told is None:
        raise ArgumentError(
            f"{function}: {argument} must be a clock, such as time.process_time, not {_what(value)}."
        )


def a_text(function: str, argument: str, value: Any) -> None:
    """Text."""
    if not isinstance(value, str):
        raise ArgumentError(f"{function}: {argument}={shown(value)} must be text.")


def a_path(function: str, argument: str, value: Any) -> None:
    """The path of a file or a folder."""
    FileError.refuse_no_path(value)


def a(*kinds: type, source: str) -> Check:
    """One of these types; `source` says where one comes from."""

    def check(function: str, argument: str, value: Any) -> None:
        if not isinstance(value, kinds):
            words = " or ".join(kind.__name__ for kind in kinds)
            raise ArgumentError(
                f"{function}: {argument} must be {_article(words)}, as {source} gives it, not {_what(value)}."
            )

    return check


def some(kind: type, source: str, at_least: int = 1) -> Check:
    """A list of things of one type, or the values of a dict."""

    def check(function: str, argument: str, value: Any) -> None:
        listed = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
        if not listed or len(value) < at_least or not all(isinstance(one, kind) for one in value):
            raise ArgumentError(
                f"{function}: {argument} must be a list of {kind.__name__}, each as {source} gives it, not "
                f"{shown(value) if listed else _what(value)}."
            )

    return check


def maybe(check: Check) -> Check:
    """The same, or None."""
    return lambda function, argument, value: (
        None if value is None else check(function, argument, value)
    )


def refuse_no_list(function: str, argument: str, value: Any) -> None:
    """A list, a tuple or a range; not one name, whose letters would be taken one by one."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ArgumentError(
            f"{function}: {argument}={shown(value)} must be a list, such as [{_example(value)}]."
        )


def refuse_no_columns(function: str, table: Any, *columns: Any) -> None:
    """A table, a pandas DataFrame, has these columns, and rows."""
    known = [str(name) for name in table.columns]
    missing = [name for name in columns if not isinstance(name, str) or name not in known]
    if missing:
        raise ArgumentError(
            f"{function}: the table has no column {shown(missing[0])}. It has {clipped(', '.join(known)) or 'none'}."
        )
    if not len(table):
        raise ArgumentError(f"{function}: the table has no rows, so there is nothing to draw.")


def _example(value: Any) -> str:
    return shown(value) if isinstance(value, str) and value else "…"


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'AEIOU' else 'a'} {words}"


def _what(value: Any) -> str:
    """A value in a few words: itself where it is short, else its type."""
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return shown(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return clipped(type(value).__name__)
