"""Where pictures come from: the digits that the package carries, folders, and the sets that torchvision reads.

Each source lists its pictures with name, class and official part, and decodes nothing yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labkit.data.cards import Card
from labkit.data.decode import SUFFIXES, Source
from labkit.data.report import Finding
from labkit.errors import DataError

DIGITS = Path(__file__).with_name("digits.npz")
PARTS = {"train": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class Picture:
    """One picture before it is decoded; `part` is "train", "valid" or "test"."""

    name: str
    label: int
    part: str
    source: Source


@dataclass(frozen=True)
class Listing:
    """All pictures of a data set, in a stable order. `key` names their contents where they are no files."""

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    findings: tuple[Finding, ...] = ()
    key: str | None = None


def list_digits(card: Card) -> Listing:
    """The 1,797 handwritten digits, 8 × 8 pixels of 0 to 16, brought to 0 to 255.

    They lie in the package with the pixels and in the order of scikit-learn's `load_digits`, because importing that
    takes longer than everything else a first lesson loads.
    """
    with np.load(DIGITS) as digits:
        pixels = (digits["images"] * (255 / 16)).round().astype("uint8")
        labels = digits["labels"].tolist()
    pictures = (
        Picture(f"digit-{index:04d}", label, "train", partial(Image.fromarray, image))
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True))
    )
    return Listing(card.classes, tuple(pictures))


def list_torchvision(card: Card, folder: Path) -> Listing:
    """A set that torchvision reads (and checks) from `folder`, in its official parts."""
    from torchvision import datasets

    makers = {
        "cifar10": lambda part: datasets.CIFAR10(folder.parent, train=part == "train"),
        "flowers102": lambda part: datasets.Flowers102(folder.parent, split=part),
        "pets": lambda part: datasets.OxfordIIITPet(folder.parent, split=part),
    }
    pictures: list[Picture] = []
    for part, official in card.splits.items():
        try:
            dataset = makers[card.kind](official)
        except (RuntimeError, OSError, ImportError) as error:
            raise DataError(
                f"torchvision cannot read {card.name!r} from {folder}: {error}"
            ) from error
        labels = _labels(dataset)
        pictures += [
            Picture(f"{official}/{index:05d}", label, part, partial(_image, dataset, index))
            for index, label in enumerate(labels)
        ]
    return Listing(card.classes, tuple(pictures), key=_archive_key(card))


def _image(dataset: Any, index: int) -> Image.Image:
    return dataset[index][0]


def _labels(dataset: Any) -> list[int]:
    """The classes without decoding a picture: torchvision keeps them under one of two names."""
    labels = getattr(dataset, "targets", None) or dataset._labels
    return [int(label) for label in labels]


def _archive_key(card: Card) -> str:
    return f"{card.name}-" + "-".join(str(archive.checksum) for archive in card.archives)


def list_folder(root: Path) -> Listing:
    """A folder with one subfolder a class, or with train and valid (and test) folders of that shape.

    Raises `DataError` when the folder has another shape, naming what was found and what is expected.
    """
    _check_folder(root)
    parts: dict[str, Path] = {}
    others: list[Path] = []
    for folder in _subfolders(root):
        part = PARTS.get(folder.name.lower())
        if part is None:
            others.append(folder)
        elif part in parts:
            raise DataError(
                f"{str(root)!r} has both {parts[part].name!r} and {folder.name!r}; keep one"
            )
        else:
            parts[part] = folder
    if "train" not in parts or (len(parts) == 1 and others):  # a class may be called train
        return list_parts({"train": root}, root)
    listing = list_parts(parts, root)
    strange = "a folder beside train, valid and test"
    findings = [Finding(_printable(f"{folder.name}/"), strange, "left out") for folder in others]
    return replace(listing, findings=(*listing.findings, *findings))


def list_parts(folders: Mapping[str, Path], root: Path | None) -> Listing:
    """Part name -> folder with one subfolder a class. Names are given relative to `root`."""
    for folder in folders.values():
        _check_folder(folder)
    classes = {part: [f.name for f in _class_folders(folder)] for part, folder in folders.items()}
    names = classes["train"]
    for part, found in classes.items():
        if strange := sorted(set(found) ^ set(names)):
            raise DataError(
                f"the classes of {str(folders['train'])!r} and {str(folders[part])!r} differ in "
                f"{_list(strange)}; both need a subfolder of the same name for each class"
            )
    pictures: list[Picture] = []
    findings: list[Finding] = []
    for part, folder in folders.items():
        for path in _loose_pictures(folder):
            shown = _shown(path.relative_to(root or folder), part if root is None else None)
            findings.append(Finding(shown, "lies in no class folder", "left out"))
        for label, name in enumerate(names):
            for path in _files(folder / name):
                shown = _shown(path.relative_to(root or folder), part if root is None else None)
                if path.suffix.lower() in SUFFIXES:
                    pictures.append(Picture(shown, label, part, path))
                else:
                    findings.append(Finding(shown, "not a picture by its name", "left out"))
    return Listing(tuple(map(_printable, names)), tuple(pictures), tuple(findings))


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if not folder.exists():
        raise DataError(f"there is no folder {str(folder)!r}; check the spelling of the path")
    unpack = " Unpack it first." if folder.suffix in (".zip", ".gz", ".tgz", ".tar") else ""
    raise DataError(
        f"{str(folder)!r} is a file; load_data takes a folder with one subfolder of pictures a class.{unpack}"
    )


def _class_folders(folder: Path) -> list[Path]:
    found = _subfolders(folder)
    if len(found) >= 2:
        return found
    if not any(folder.iterdir()):
        problem = "is empty"
    elif found:
        problem = f"has a single class, {_printable(found[0].name)!r}"
    else:
        problem = "has no subfolders, so nothing says which picture is of which class"
    raise DataError(
        f"{str(folder)!r} {problem}; put the pictures into at least two subfolders, one a class, "
        "such as cats/ and dogs/"
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))
    )


def _files(folder: Path) -> Iterator[Path]:
    """All files below, sorted, hidden ones passed over. Linked folders are not entered: they may lead in circles."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def _loose_pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _shown(path: Path, part: str | None) -> str:
    return _printable(f"{part}/{path.as_posix()}" if part else path.as_posix())


def _printable(name: str) -> str:
    """File names may be any bytes; what cannot be shown as text is shown as �."""
    return os.fsencode(name).decode("utf-8", "replace")


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(_printable(name)) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
