"""The weights inside the package: their names, their files and their cards, told without loading what they describe."""

from __future__ import annotations

import hashlib
from pathlib import Path

from labkit.errors import WeightsError
from labkit.models.card import ModelCard

SHIPPED = {"resnet10": "resnet10-photos", "resnet10-glyphs": "resnet10-glyphs"}  # name -> file
# name -> SHA-256 of weights that come as a package of their own, told without torch
PACKAGED = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
}
ALIASES = {"resnet10-photos": "resnet10"}
FOLDER = Path(__file__).parent / "weights"


def shipped(name: str) -> tuple[Path, ModelCard]:
    """The file of shipped weights and its card; WeightsError where one does not belong to the other."""
    path = FOLDER / f"{SHIPPED[name]}.safetensors"
    card = ModelCard.read(path.with_suffix(".json"))
    if not path.exists() or sha256(path) != card.sha256:
        raise WeightsError(
            f"{path} is {'damaged' if path.exists() else 'missing'}: it is not the file that its card describes. "
            f"Install labkit again, or make the weights anew: {card.made_with}."
        )
    return path, card


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
