"""What a lesson works on beyond what ships: real photographs, where they are at hand."""

from __future__ import annotations

from labkit.data import ImageData, at_hand, card, load_data
from labkit.errors import DataError
from labkit.tuning.given import a_count, takes


@takes(size=a_count(8, 512, DataError))  # where there are no photographs nothing else looks at it
def photographs(size: int = 64) -> ImageData | None:
    """The ants and bees at `size` pixels if they lie on this machine, else None. Fetches nothing.

    A lesson must not start to download in the middle of a class; `labkit data fetch` does that.
    """
    return load_data("ants-bees", size=size) if at_hand(card("ants-bees")) else None
