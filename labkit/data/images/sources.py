"""Where images come from: the digits that the package carries, folders, and the sets that torchvision reads.

Each source lists its images with name, class and official part, and decodes nothing yet.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labkit.data.cards import DatasetCard
from labkit.data.images.decode import SUFFIXES, Source
from labkit.data.report import FileFinding
from labkit.errors import DataError

DIGITS = Path(__file__).with_name("digits.npz")
# What splits are called, alone or beside a word that says nothing: training_set, seg_test, TestImages, val2017.
PARTS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), "valid"
    ),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
SAY_NOTHING = frozenset(
    ("set", "sets", "data", "dataset", "split", "seg", "images", "imgs", "pictures", "photos")
)
# What operating systems, file servers and Python put between the images; passed over as hidden folders are.
NOT_OURS = frozenset(
    (
        "__macosx",
        "__pycache__",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "lost+found",
        "system volume information",
    )
)
# Beside each other they are a set for finding things in images, not for telling images apart.
IMAGES = frozenset(("image", "images", "img", "imgs", "jpegimages", "pictures", "photos"))
ANSWERS = frozenset(
    ("label", "labels", "mask", "masks", "annotation", "annotations", "segmentation")
)
RAW = frozenset((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"))
OTHER = frozenset((".svg", ".eps", ".psd", ".xcf", ".tga", ".ico", ".dcm", ".pdf"))


@dataclass(frozen=True)
class ListedImage:
    """One image before it is decoded; `part` is "train", "valid" or "test"."""

    name: str
    label: int
    part: str
    source: Source


@dataclass(frozen=True)
class Listing:
    """All images of a data set, in a stable order. `key` names their contents where they are no files.

    `places` says with what the names of a part's files begin, such as "val/", where they lie in folders.
    """

    classes: tuple[str, ...]
    images: tuple[ListedImage, ...]
    findings: tuple[FileFinding, ...] = ()
    key: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)


def list_digits(card: DatasetCard) -> Listing:
    """The 1,797 handwritten digits, 8 × 8 pixels of 0 to 16, brought to 0 to 255.

    They lie in the package with the pixels and in the order of scikit-learn's `load_digits`, because importing that
    takes longer than everything else a first lesson loads.
    """
    with np.load(DIGITS) as digits:
        pixels = (digits["images"] * (255 / 16)).round().astype("uint8")
        labels = digits["labels"].tolist()
    images = (
        ListedImage(f"digit-{index:04d}", label, "train", partial(Image.fromarray, image))
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True))
    )
    return Listing(card.classes, tuple(images))


def list_torchvision(card: DatasetCard, folder: Path) -> Listing:
    """A set that torchvision reads (and checks) from `folder`, in its official parts."""
    from torchvision import datasets

    makers = {
        "cifar10": lambda part: datasets.CIFAR10(folder.parent, train=part == "train"),
        "flowers102": lambda part: datasets.Flowers102(folder.parent, split=part),
        "pets": lambda part: datasets.OxfordIIITPet(folder.parent, split=part),
    }
    images: list[ListedImage] = []
    for part, official in card.splits.items():
        try:
            dataset = makers[card.kind](official)
        except (RuntimeError, OSError, ImportError) as error:
            raise DataError(
                f"torchvision cannot read {card.name!r} from {folder}: {error}"
            ) from error
        labels = _labels(dataset)
        images += [
            ListedImage(f"{official}/{index:05d}", label, part, partial(_image, dataset, index))
            for index, label in enumerate(labels)
        ]
    return Listing(card.classes, tuple(images), key=_archive_key(card))


def _image(dataset: Any, index: int) -> Image.Image:
    return dataset[index][0]


def _labels(dataset: Any) -> list[int]:
    """The classes without decoding an image: torchvision keeps them under one of two names."""
    labels = getattr(dataset, "targets", None) or dataset._labels
    return [int(label) for label in labels]


def _archive_key(card: DatasetCard) -> str:
    return f"{card.name}-" + "-".join(str(archive.checksum) for archive in card.archives)


# ---------------------------------------------------------------- folders


def list_folder(root: Path) -> Listing:
    """A folder with one subfolder a class, or with train and valid (and test) folders of that shape.

    The splits may have any of their usual names, see `part_of`. Raises `DataError` when the folder has another shape,
    naming what was found and what is expected, and where it is not clear which folders are splits and which classes.
    """
    _check_folder(root)
    parts, others = _parts(root)
    if "train" not in parts:
        _check_not_splits(root, parts)
        return list_parts({"train": root}, root)
    train = parts["train"]
    if len(parts) == 1 and any(_holds_images(folder) for folder in others):
        if _loose_images(train) or not _subfolders(train):  # a class may be called train
            return list_parts({"train": root}, root)
        raise DataError(_unclear(root, [train, *others], "only the first is named as a split is"))
    findings = [
        FileFinding(_shown_folder(f), "a folder beside the splits", "left out") for f in others
    ]
    if "test" in parts and _is_unlabelled(parts["test"], train):
        strange = "none of its folders is a class, so nothing says what its images show"
        findings.append(FileFinding(_shown_folder(parts.pop("test")), strange, "left out"))
    listing = list_parts(parts, root)
    return replace(listing, findings=(*listing.findings, *findings))


def list_parts(folders: Mapping[str, Path], root: Path | None) -> Listing:
    """Part name -> folder with one subfolder a class. Names are given relative to `root`."""
    for folder in folders.values():
        _check_folder(folder)
    classes = {part: _class_folders(folder) for part, folder in folders.items()}
    names = tuple(classes["train"])
    for part, found in classes.items():
        if strange := sorted(set(found) ^ set(names)):
            raise DataError(
                f"the classes of {str(folders['train'])!r} and {str(folders[part])!r} differ in "
                f"{_list(strange)}; both need a subfolder of the same name for each class"
            )
    own = frozenset(path.resolve() for found in classes.values() for path in found.values())
    images: list[ListedImage] = []
    findings: list[FileFinding] = []
    places = {part: _place(part, folder, root) for part, folder in folders.items()}
    for part, folder in folders.items():
        for path in _loose_images(folder):
            shown = _shown(path, folder, places[part])
            findings.append(FileFinding(shown, "lies in no class folder", "left out"))
        for label, name in enumerate(names):
            walk = Walk(set(own), [])
            for path in walk.files(classes[part][name]):
                shown = _shown(path, folder, places[part])
                if path.suffix.lower() in SUFFIXES:
                    images.append(ListedImage(shown, label, part, path))
                else:
                    findings.append(FileFinding(shown, _what_else(path), "left out"))
            for path, reason in walk.passed:
                findings.append(FileFinding(_shown(path, folder, places[part]), reason, "left out"))
    return Listing(names, tuple(images), tuple(findings), places=places)


# ---------------------------------------------------------------- which folders are splits


def part_of(name: str) -> str | None:
    """The part ("train", "valid" or "test") that a folder of this name holds, or None."""
    told = [word for word in _words(name) if word not in SAY_NOTHING]
    return PARTS.get(told[0]) if len(told) == 1 else None


def _words(name: str) -> list[str]:
    """The words of a name in lower case: train_set, TrainSet and trainset2 are all train and set."""
    words = [word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)]
    return [
        word.removesuffix("set") if word.removesuffix("set") in PARTS else word for word in words
    ]


def _parts(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """The subfolders that are named as splits are, by part, and the others."""
    parts: dict[str, Path] = {}
    others: list[Path] = []
    for folder in _subfolders(root):
        part = part_of(folder.name)
        if part is None:
            others.append(folder)
        elif part in parts:
            raise DataError(
                f"{str(root)!r} has both {parts[part].name!r} and {folder.name!r}; keep one"
            )
        else:
            parts[part] = folder
    return parts, others


def _check_not_splits(root: Path, parts: Mapping[str, Path]) -> None:
    """Raise `DataError` for splits without one to train on, as in val and test, and for trainA and testA."""
    folders = _subfolders(root)
    named = [{PARTS[word] for word in _words(folder.name) if word in PARTS} for folder in folders]
    if len(parts) > 1 or (all(named) and len(set().union(*named)) > 1):
        raise DataError(
            _unclear(root, folders, "there are splits among them, but none is called train")
        )


def _check_not_nested(folder: Path, classes: Sequence[Path]) -> None:
    """Raise `DataError` where all «classes» hold the same subfolders, which are then the classes, or splits."""
    same = {_class_name(path) for path in _subfolders(classes[0])}
    for place in classes[1:]:
        if len(same) < 2:
            return
        same &= {_class_name(path) for path in _subfolders(place)}
    if len(same) > 1 and not any(_loose_images(place) for place in classes):
        raise DataError(_unclear(folder, classes, f"each of them holds {_list(sorted(same))}"))


def _check_not_answers(folder: Path, classes: Sequence[Path]) -> None:
    """Raise `DataError` for images beside masks or labels of them, which would be learned as two classes."""
    names = {path.name.lower() for path in classes}
    if names & IMAGES and names & ANSWERS and names <= IMAGES | ANSWERS:
        raise DataError(
            f"{str(folder)!r} has {_list([path.name for path in classes])}, which looks like images beside what is "
            "marked in them; labkit learns one class for each image: put the images into one subfolder a class"
        )


def _unclear(root: Path, folders: Sequence[Path], why: str) -> str:
    names = _list([folder.name for folder in folders])
    return (
        f"{str(root)!r} has the folders {names}, and {why}, so it is not clear which are splits and which are classes. "
        "Name the splits train and val (and test), each with one subfolder a class; or give the two to use as a pair, "
        "load_data((train, valid)). Where these are the classes, put their images right into them."
    )


def _is_unlabelled(test: Path, train: Path) -> bool:
    """Whether no subfolder of `test` is a class of `train`, as in a test set whose answers are kept back."""
    classes = {_class_name(folder) for folder in _subfolders(train)}
    return not classes & {_class_name(folder) for folder in _subfolders(test)}


# ---------------------------------------------------------------- which folders are classes


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if not folder.exists():
        raise DataError(f"there is no folder {str(folder)!r}; check the spelling of the path")
    unpack = " Unpack it first." if folder.suffix in (".zip", ".gz", ".tgz", ".tar") else ""
    raise DataError(
        f"{str(folder)!r} is a file; load_data takes a folder with one subfolder of images a class.{unpack}"
    )


def _class_folders(folder: Path) -> dict[str, Path]:
    """Class name -> its folder, in the order of the folders' names."""
    found = _subfolders(folder)
    if len(found) < 2:
        raise DataError(
            f"{str(folder)!r} {_too_few(folder, found)}; put the images into at least two subfolders, one a class, "
            "such as cats/ and dogs/"
        )
    _check_not_nested(folder, found)
    _check_not_answers(folder, found)
    classes: dict[str, Path] = {}
    for path in found:
        name = _class_name(path)
        if name in classes:
            raise DataError(
                f"{str(folder)!r} has two folders whose names both read {name!r} and are written with other "
                "characters; put their images into one of them"
            )
        classes[name] = path
    return classes


def _too_few(folder: Path, found: Sequence[Path]) -> str:
    if found:
        return f"has a single class, {_class_name(found[0])!r}"
    if any(folder.iterdir()):
        return "has no subfolders, so nothing says which image is of which class"
    return "is empty"


def _class_name(folder: Path) -> str:
    """How a class is called: one spelling for names that look the same (macOS writes é as two characters)."""
    return unicodedata.normalize("NFC", _printable(folder.name))


def _subfolders(folder: Path) -> list[Path]:
    _, names, _ = next(os.walk(folder), ("", [], []))  # knows of links that lead in circles
    return sorted(folder / name for name in names if _is_ours(name))


def _is_ours(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in NOT_OURS


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in Walk(set(), []).files(folder))


def _loose_images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and _is_ours(path.name) and not path.is_dir()
    )


# ---------------------------------------------------------------- which files there are


@dataclass
class Walk:
    """One way through a folder. Linked folders are entered once, and never one that leads back to `seen`.

    `seen` are real paths of folders whose files are taken elsewhere; `passed` fills with what was not entered, and why.
    """

    seen: set[Path]
    passed: list[tuple[Path, str]]

    def files(self, folder: Path) -> Iterator[Path]:
        """All files below, sorted folder by folder, hidden ones passed over."""
        for place, folders, files in os.walk(folder, onerror=self._locked):
            folders[:] = sorted(filter(_is_ours, folders))
            yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))
            for path in (Path(place, name) for name in folders):
                if path.is_symlink() and self._is_new(path):
                    yield from self.files(path)

    def _is_new(self, link: Path) -> bool:
        real = link.resolve()
        if any(real.is_relative_to(seen) or seen.is_relative_to(real) for seen in self.seen):
            self.passed.append((link, "a link to a folder that is part of the data set already"))
            return False
        self.seen.add(real)
        return True

    def _locked(self, error: OSError) -> None:
        self.passed.append((Path(error.filename), f"cannot be opened: {error.strerror}"))


def _what_else(path: Path) -> str:
    """Why a file is left out without a look into it."""
    suffix = path.suffix.lower()
    if suffix in RAW:
        return f"{suffix}, a camera's raw file, which labkit does not read; develop it and save it as JPEG"
    if suffix in OTHER:
        return f"{suffix}, which labkit does not read; save it as JPEG or PNG if it is a photograph"
    return "not an image by its name"


def _place(part: str, folder: Path, root: Path | None) -> str:
    """What the shown names of a part's files begin with."""
    if root is None:
        return f"{part}/"
    return "" if folder == root else _shown_folder(folder)


def _shown(path: Path, folder: Path, place: str) -> str:
    return place + _printable(path.relative_to(folder).as_posix())


def _shown_folder(folder: Path) -> str:
    return _printable(f"{folder.name}/")


def _printable(name: str) -> str:
    r"""File names may be any bytes; those that are no text are shown as \xe9, so that two names stay two."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(_printable(name)) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
