"""Dataset cards: what labkit knows of each data set before a byte of it is fetched.

A card is a TOML file under `datasets/`. The wheel carries the same files inside the package, because Colab installs
labkit without a checkout.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labkit.errors import UNREADABLE, DataError, clipped, shown


@dataclass(frozen=True)
class Archive:
    """One file to fetch: its official address, its size in bytes (None: unknown) and its published checksum."""

    url: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def filename(self) -> str:
        """The last part of the address, under which a mirror offers the same file."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]

    @property
    def checksum(self) -> tuple[str, str] | None:
        """(algorithm, hexadecimal digest), the strongest that was published, or None."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


@dataclass(frozen=True)
class DatasetCard:
    """What a data set is, whose it is and where it comes from.

    `splits` maps train, valid and test to an official part (a string) or to a share drawn from the seed (a number).
    `placeholders` maps the sha256 of a file that stands in for a missing image to what it is. `size` is the default
    working size in pixels. `folder` is its name under `LABKIT_DATA`, by default that of the card. `flip` says whether a
    mirrored image is still an image of its class.
    """

    name: str
    title: str
    kind: str = "folder"
    classes: tuple[str, ...] = ()
    pictures: int = 0
    size: int = 64
    flip: bool = True
    licence: str = "unknown"
    homepage: str = ""
    citation: str = ""
    notes: str = ""
    folder: str = ""
    splits: Mapping[str, str | float] = field(default_factory=dict)
    archives: tuple[Archive, ...] = ()
    placeholders: Mapping[str, str] = field(default_factory=dict)

    @property
    def ships(self) -> bool:
        """Whether it is inside the package, so that nothing has to be fetched."""
        return self.kind == "digits"

    @property
    def bytes(self) -> int:
        """What there is to fetch, in bytes, as far as it is known."""
        return sum(archive.size or 0 for archive in self.archives)


def card(name: str) -> DatasetCard:
    """The card of a data set by name.

    Raises `DataError` with the nearest names when labkit has no such card.
    """
    known = cards()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise DataError(
            f"there is no data set named {name!r}.{hint} labkit knows {', '.join(known)}; it also takes the path of a "
            "folder of images with one subfolder a class, such as './my-images'."
        )
    return known[name]


@lru_cache(maxsize=1)
def cards() -> dict[str, DatasetCard]:
    """All cards by name, in alphabetical order."""
    found = [_parse(path) for path in sorted(_folder().glob("*.toml"))]
    return {card.name: card for card in found}


def _folder() -> Path:
    """Where the cards lie: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_datasets"
    return inside if inside.is_dir() else package.parent / "datasets"


def _parse(path: Path) -> DatasetCard:
    """Raises DataError for a file that is no card."""
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        content["classes"] = tuple(content["classes"])
        content.setdefault("folder", content["name"])
        content["archives"] = tuple(Archive(**archive) for archive in content.get("archives", ()))
        content["placeholders"] = {
            entry["sha256"]: entry["what"] for entry in content.get("placeholders", ())
        }
        return _checked(DatasetCard(**content))
    except (OSError, *UNREADABLE) as error:
        raise DataError(
            f"{path} is not the card of a data set ({clipped(str(error))}). A card is TOML with "
            f"{', '.join(item.name for item in fields(DatasetCard))}; mend it, or take it away."
        ) from error


def _checked(about: DatasetCard) -> DatasetCard:
    """The card, if its values are of the kinds that labkit reckons with; else raise TypeError."""
    for item in fields(DatasetCard):
        kinds = {"str": str, "int": int, "bool": bool, "Mapping": Mapping, "tuple": tuple}
        kind = kinds[str(item.type).split("[")[0]]
        value = getattr(about, item.name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TypeError(f"{item.name}={shown(value)} is not of the kind {item.type}")
    if not 8 <= about.size <= 512:
        raise ValueError(f"size={shown(about.size)} is not between 8 and 512")
    return about
