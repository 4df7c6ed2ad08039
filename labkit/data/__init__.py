"""The data room: what data sets there are, how they come here, and how files become batches.

`load_data` is the door. It lists the pictures (`sources`), decodes them once (`decode`, `store`), splits them
(`splits`), reports what was odd (`sniff`, `report`) and hands out batches (`images`, `augment`). `mislabel` and
`shift` spoil them on purpose. `cards` knows the data sets by name and `fetching` brings them here.
"""

from labkit.data.augment import LEVELS
from labkit.data.cards import Archive, Card, card, cards
from labkit.data.fetching import at_hand, fetch
from labkit.data.images import ImageData, Split
from labkit.data.load import load_data
from labkit.data.overview import describe
from labkit.data.report import Finding, Report
from labkit.data.shift import KINDS

datasets = describe  # the same table under the name that people look for first

__all__ = [
    "KINDS",
    "LEVELS",
    "Archive",
    "Card",
    "Finding",
    "ImageData",
    "Report",
    "Split",
    "at_hand",
    "card",
    "cards",
    "datasets",
    "describe",
    "fetch",
    "load_data",
]
