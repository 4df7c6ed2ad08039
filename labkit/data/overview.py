"""All data sets at a glance, for `labkit data` and for whoever asks what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.data.cards import cards
from labkit.data.fetching import at_hand

if TYPE_CHECKING:
    import pandas


def describe() -> pandas.DataFrame:
    """One row a data set: name, title, classes, images, megabytes to fetch, whether it is at hand, licence."""
    import pandas

    return pandas.DataFrame(listed())


def listed() -> list[dict[str, Any]]:
    """The same as plain rows, for a command that prints them: pandas takes a second to import."""
    return [
        {
            "name": card.name,
            "title": card.title,
            "classes": len(card.classes),
            "pictures": card.pictures,
            "megabytes": round(card.bytes / 1e6),
            "at_hand": card.ships or at_hand(card) is not None,
            "licence": card.licence,
        }
        for card in cards().values()
    ]
