"""What is known about a set of weights: where they come from, what they cost, what they can do, who may use them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from labkit.errors import UNREADABLE, WeightsError
from labkit.runtime import wilson

STUDENT = {3: 4.303, 5: 2.776, 10: 2.262, 20: 2.093}  # 97.5 % quantile of t for so many repetitions


@dataclass(frozen=True)
class Measure:
    """An accuracy and how it was measured; `low` and `high` bound it (95 %)."""

    what: str
    accuracy: float
    low: float
    high: float
    count: int | None = None  # images judged, where it is one fraction
    seeds: int | None = None  # repetitions, where it is a mean

    @classmethod
    def of(cls, what: str, correct: int, count: int) -> Measure:
        """A fraction with its Wilson score interval (Wilson, 1927)."""
        return cls(what, correct / count, *wilson(correct, count), count=count)

    @classmethod
    def mean(cls, what: str, accuracies: Sequence[float]) -> Measure:
        """The mean over repetitions with its 95 % interval from Student's t."""
        n, centre = len(accuracies), fmean(accuracies)
        spread = STUDENT[n] * stdev(accuracies) / sqrt(n)
        return cls(what, centre, centre - spread, min(1.0, centre + spread), seeds=n)

    def __str__(self) -> str:
        of = f"{self.count} images" if self.seeds is None else f"{self.seeds} seeds"
        return f"{self.what}: {self.accuracy:.1%} ({self.low:.1%} to {self.high:.1%}, {of})"


@dataclass(frozen=True)
class ModelCard:
    """The card of a set of weights. It lies beside the file as JSON and prints as a few lines."""

    name: str
    title: str
    architecture: str
    parameters: int
    data: str
    data_licence: str
    classes: tuple[str, ...] = ()
    made_with: str = ""  # the command that makes the file again
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None  # wall clock of the training
    machine: str = ""
    measures: tuple[Measure, ...] = ()
    sha256: str = ""  # of the weights file; torchvision publishes the first eight digits
    url: str = ""

    @property
    def accuracy(self) -> float | None:
        """Top-1 on the task the weights were trained for: the first measure."""
        return self.measures[0].accuracy if self.measures else None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def to_bytes(self) -> bytes:
        """As a file holds it; a name that is no text (a file system may give such) is kept as JSON escapes it."""
        return self.to_json().encode(errors="backslashreplace")

    @classmethod
    def read(cls, path: Path) -> ModelCard:
        """Read a card. Raises WeightsError when the file is missing or is not a card."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            content["classes"] = tuple(content["classes"])
            content["measures"] = tuple(Measure(**measure) for measure in content["measures"])
            return cls(**content)
        except (OSError, *UNREADABLE) as error:
            known = ", ".join(item.name for item in fields(cls))
            raise WeightsError(
                f"{path} cannot be read as the card of a weights file ({error}). A card is JSON with {known}."
            ) from error

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.title}",
            f"  network   {self.architecture}, {self.parameters / 1e6:.1f} M parameters",
            f"  data      {self.data} ({self.data_licence})",
            *(f"  measured  {measure}" for measure in self.measures),
        ]
        if self.seconds is not None:
            size, unit = (60, "minutes") if self.seconds >= 120 else (1, "seconds")
            lines.append(f"  made in   {self.seconds / size:.0f} {unit} on {self.machine}")
        if self.made_with:
            lines.append(f"  made by   {self.made_with}")
        return "\n".join(lines)
