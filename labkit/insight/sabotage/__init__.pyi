from labkit.insight.sabotage.cases import TITLES, Case
from labkit.insight.sabotage.chance import POOLS, Chance, Pool
from labkit.insight.sabotage.kinds import CLINIC, KINDS, Kind, find, make, train

__all__ = [
    "CLINIC",
    "KINDS",
    "POOLS",
    "TITLES",
    "Case",
    "Chance",
    "Kind",
    "Pool",
    "find",
    "make",
    "train",
]
