from labkit.data.cards import Archive, DatasetCard, card, cards
from labkit.data.fetching import at_hand, fetch
from labkit.data.images.augment import LEVELS
from labkit.data.images.dataset import ImageData, ImageSplit
from labkit.data.images.shift import KINDS
from labkit.data.load import load_data
from labkit.data.overview import (
    describe,
    describe as datasets,  # the name that people look for first
)
from labkit.data.report import DataReport, FileFinding

__all__ = [
    "KINDS",
    "LEVELS",
    "Archive",
    "DataReport",
    "DatasetCard",
    "FileFinding",
    "ImageData",
    "ImageSplit",
    "at_hand",
    "card",
    "cards",
    "datasets",
    "describe",
    "fetch",
    "load_data",
]
