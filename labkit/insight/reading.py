"""How the numbers of an epoch are read and worded, by all who make sentences of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.tuning.events import EpochDone


def train_right(epoch: EpochDone) -> float:
    """The share of the training examples that were right, while the model moved; 0 where there were none."""
    return epoch.train_correct / max(1, epoch.train_count)


def valid_right(epoch: EpochDone) -> float:
    """The share of the validation examples that were right; 0 where there were none."""
    return epoch.valid_correct / max(1, epoch.valid_count)


def noise(epoch: EpochDone) -> float:
    """Half the 95 % interval of a validation accuracy, a fraction; at least one example."""
    count, share = max(1, epoch.valid_count), valid_right(epoch)
    return max(1 / count, 1.96 * sqrt(share * (1 - share) / count))


def percent(fraction: float) -> str:
    """A fraction in whole per cent."""
    return f"{100 * fraction:.0f} %"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def in_columns(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a terminal shows them, a column a name, as pandas would: it takes a second to import."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [_column(name, [row.get(name, nan) for row in rows]) for name in names]
    return "\n".join(map(" ".join, zip(*columns, strict=True)))


def _column(name: str, values: Sequence[object]) -> list[str]:
    """The name and the values below each other; a blank is before the name of numbers."""
    numbers = all(isinstance(value, int | float) for value in values)
    cells = [f" {name}" if numbers else name, *map(_cell, values)]
    width = max(map(len, cells))
    return [cell.rjust(width) for cell in cells]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "NaN" if isnan(value) else f"{value:.1f}"
    return str(value)
