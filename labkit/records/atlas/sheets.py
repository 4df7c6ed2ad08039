"""What the atlas holds: a sheet a data set and network, each a grid of runs that differ in three settings and the seed.

The plan of every run is the same but for the learning rate and the frozen depth: AdamW at a constant rate, so that
what a run has after an epoch does not depend on how many are to come. The seed draws the training examples, the head
and the order, so the spread over seeds is what a learner meets who starts anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from labkit.errors import AtlasError, shown

if TYPE_CHECKING:
    from labkit.tuning import Plan

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
DEPTHS = ("head", "layer4", "layer3", "stem")


@dataclass(frozen=True)
class Sheet:
    """A grid of runs of one network on one data set: `size` in pixels, `per_class` training examples of each class."""

    data: str
    net: str
    size: int
    per_class: tuple[int, ...]
    rates: tuple[float, ...] = RATES
    depths: tuple[str, ...] = DEPTHS
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: int = 6
    batch_size: int = 16

    @property
    def name(self) -> str:
        """As in `digits/resnet10-glyphs`."""
        return f"{self.data}/{self.net}"

    @property
    def file(self) -> str:
        """The name of its records without the ending."""
        return f"{self.data}.{self.net}"

    def plan(self, trainable_from: str, lr: float) -> Plan:
        """The plan of one of its runs."""
        from labkit.tuning import partial

        return partial(trainable_from, lr, self.epochs, batch_size=self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """The grid as plain data."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


# The two that the lessons use have all three numbers of labels. The other two, each network on what it was not made
# for, have the two that are quick to train: all four together take 25 minutes in two processes.
SHEETS = (
    Sheet("digits", "resnet10-glyphs", 32, (3, 10, 30)),
    Sheet("ants-bees", "resnet10", 64, (5, 20, 80)),
    Sheet("digits", "resnet10", 32, (3, 10)),
    Sheet("ants-bees", "resnet10-glyphs", 64, (5, 20)),
)


def find(name: str | Sheet) -> Sheet:
    """The sheet of that name, or AtlasError with those there are; your own as it is."""
    if isinstance(name, Sheet):
        return name
    known = {sheet.name: sheet for sheet in SHEETS}
    if isinstance(name, str) and name in known:
        return known[name]
    near = get_close_matches(shown(name), known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise AtlasError(f"The atlas has no sheet {shown(name)}.{hint} It has {', '.join(known)}.")
