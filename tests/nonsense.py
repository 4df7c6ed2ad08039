"""What a page, a pasted line or a file may say instead of what it should: for tests that promise an answer in words."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

HUGE = 10**400  # whole numbers that no float can hold, and that JSON can
TOO_LONG = 10**5000  # and one that Python does not even write out
DEEP = 10_000


def nested(depth: int = DEEP) -> list[Any]:
    """A list in a list in a list: `repr`, `str` and `json.dumps` of it end in a RecursionError."""
    outer: list[Any] = []
    for _ in range(depth):
        outer = [outer]
    return outer


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    HUGE,
    -HUGE,
    TOO_LONG,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    "7",
    "\ud800",  # half of a pair: text that cannot be written as UTF-8
    "x" * 100_000,
    [],
    {},
    {"lr": HUGE},
    nested(),
)

# Values as JSON has them, of every kind and size; the odd ones come often.
anything = st.one_of(
    st.sampled_from(ODD),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=6,
    ),
)
