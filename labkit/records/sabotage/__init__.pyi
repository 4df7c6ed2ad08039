from labkit.records.sabotage.cases import TITLES, Case
from labkit.records.sabotage.chance import POOLS, Chance, Pool
from labkit.records.sabotage.kinds import CLINIC, KINDS, Kind, find, make, train

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
