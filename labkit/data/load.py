"""`load_data`: from a name or a folder to three splits of decoded images, with everything odd reported."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from labkit.data.cards import DatasetCard, card, cards
from labkit.data.fetching import fetch
from labkit.data.images import sources
from labkit.data.images.dataset import ImageData, ImageSplit
from labkit.data.images.sources import ListedImage, Listing
from labkit.data.images.store import ImageRecord, decode
from labkit.data.report import DataReport, FileFinding
from labkit.data.splits import check_seed, copies, stratified
from labkit.errors import DataError, SplitError, shown
from labkit.runtime import plain_scalar, real_number, whole_number

SIZES = range(8, 513)
PARTS = ("train", "valid", "test")
VALID_SHARE = 0.2  # of a folder that brings no validation split

Location = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def load_data(
    name: Location,
    *,
    size: int | None = None,
    seed: int = 0,
    test: float | None = None,
    flip: bool | None = None,
    per_class: int | None = None,
    subset_seed: int = 0,
    mislabelled: float | None = None,
    mislabel_seed: int = 0,
    shifted: str | None = None,
    strength: float = 1.0,
    shift_seed: int = 0,
    memory: int | None = None,
) -> ImageData:
    """Load a data set by name, a folder of images by path, or a pair of folders (train, valid).

    size: side of the square images in pixels, 8 to 512; by default what the card recommends.
    seed: draws the splits that the data set does not bring itself: stratified, disjoint, the same every time.
    test: share of the training images to set aside as the test split; by default what the card says.
    flip: whether augmentation may mirror images; by default what the card says, and yes for a folder.
    per_class, subset_seed: as `data.subset(per_class, seed)`.
    mislabelled, mislabel_seed: as `data.mislabel(share, seed)`, after the subset is taken.
    shifted, strength, shift_seed: as `data.shift(kind, strength, seed)`.
    memory: bytes of pixels that may stay in memory; by default a quarter of what this process may use.

    Raises `DataError` for a name, folder or value that cannot be used, `SplitError` where a class has too few
    images (with the report on its files in `error.report`), and `FetchError` where a set is not at hand and cannot
    be fetched.
    """
    size, seed, test = _checked(size, seed, test)  # before anything is fetched
    check_seed(subset_seed), check_seed(mislabel_seed)
    _check_memory(memory)
    flip = _check_flip(flip)
    about, listing = _list(name)
    size = about.size if size is None else size
    about = about if flip is None else replace(about, flip=flip)
    shares = _shares(about, listing, test)
    decoded = decode([image.source for image in listing.images], size, listing.key, memory)
    kept, findings = _judge(about, listing, decoded.notes)
    report = DataReport(tuple(findings))
    rows = _split(listing, kept, shares, seed, report)
    parts = {part: _part(decoded.store, rows[part], listing.images, about.flip) for part in PARTS}
    recipe = {"name": _plain(name), "size": size, "seed": seed, "test": test, "flip": flip}
    data = ImageData(about.name, size, listing.classes, about, report, **parts, recipe=recipe)
    data = data if per_class is None else data.subset(per_class, subset_seed)
    data = data if mislabelled is None else data.mislabel(mislabelled, mislabel_seed)
    return data if shifted is None else data.shift(shifted, strength, shift_seed)


def _checked(size: Any, seed: Any, test: Any) -> tuple[int | None, int, float | None]:
    """The three as plain numbers; else raise `DataError` or `SplitError` for what no data set can be loaded with."""
    pixels, share = whole_number(size), real_number(test)
    if size is not None and pixels not in SIZES:
        raise DataError(
            f"size={shown(size)} is no usable size; choose whole pixels from 8 to 512, such as 64"
        )
    if test is not None and (share is None or not 0 <= share <= 0.5):
        raise SplitError(
            f"test={shown(test)} is not a fraction of the images; choose a number from 0 to 0.5, such as 0.2"
        )
    return pixels, check_seed(seed), share


def _check_memory(memory: Any) -> None:
    number = whole_number(memory)
    if memory is not None and (number is None or number < 0):
        raise DataError(
            f"memory={shown(memory)} is no number of bytes; choose a whole number, such as 500_000_000"
        )


def _check_flip(flip: Any) -> bool | None:
    plain = plain_scalar(flip)  # numpy's True is one, too
    if plain is None or isinstance(plain, bool):
        return plain
    raise DataError(
        f"flip={shown(flip)} must be True or False: whether augmentation may mirror images"
    )


def _list(name: Location) -> tuple[DatasetCard, Listing]:
    """The card and the images behind a name, a path or a pair of paths."""
    if not isinstance(name, (str, os.PathLike)):
        return _list_pair(name)
    if isinstance(name, str) and name.strip() and not _is_path(name):
        about = card(name)
        folder = fetch(about.name)
        if folder is None:
            return about, sources.list_digits(about)
        if about.kind == "folder":
            return about, sources.list_folder(folder)
        return about, sources.list_torchvision(about, folder)
    folder = _path(name)
    listing = sources.list_folder(folder)
    return _folder_card(folder.resolve().name, listing), listing


def _is_path(name: str) -> bool:
    """A name with a separator is a path, and so is one that exists here and that no card has."""
    return (
        any(mark in name for mark in ("/", os.sep))
        or name.startswith(("~", "."))
        or (name not in cards() and os.path.lexists(name))
    )


def _list_pair(pair: Any) -> tuple[DatasetCard, Listing]:
    paths = isinstance(pair, (tuple, list)) and all(isinstance(p, (str, os.PathLike)) for p in pair)
    if not paths or len(pair) != 2:
        raise DataError(
            f"cannot load data from {shown(pair)}; give a name, the path of a folder, or a pair of paths (train, valid)"
        )
    train, valid = map(_path, pair)
    if train.resolve() == valid.resolve():
        raise SplitError(
            f"the pair names {str(train)!r} twice; nothing would be left to examine with"
        )
    listing = sources.list_parts({"train": train, "valid": valid}, None)
    return _folder_card(train.resolve().parent.name, listing), listing


def _path(name: str | os.PathLike[str]) -> Path:
    """The path, if this system can tell what lies there; else raise `DataError`."""
    given = os.fspath(name)
    if not given.strip():  # Python takes "" for the current folder
        raise DataError(
            f"{given!r} names nothing; give a name such as 'digits' or the path of a folder, or '.' for the folder "
            "you are in"
        )
    try:
        path = Path(given).expanduser()
        if path.is_dir():
            os.scandir(path).close()
        path.resolve().exists()
    except (OSError, ValueError, RuntimeError) as error:  # locked, too long, no such user
        raise DataError(
            f"{given[:200]!r} cannot be opened: {error!s:.200}; give the path of a folder that you may read"
        ) from None
    return path


def _folder_card(name: str, listing: Listing) -> DatasetCard:
    return DatasetCard(
        name or "folder",
        "A folder of images",
        classes=listing.classes,
        pictures=len(listing.images),
    )


def _shares(about: DatasetCard, listing: Listing, test: float | None) -> dict[str, float]:
    """Which parts to draw from the training images, and how much of them."""
    shares = {
        part: float(share) for part, share in about.splits.items() if not isinstance(share, str)
    }
    shares.pop("train", None)
    official = {image.part for image in listing.images}
    if "valid" not in official:
        shares.setdefault("valid", VALID_SHARE)
    if test is None:
        return shares
    if "test" in official:
        raise SplitError(
            f"test={shown(test)}, but {about.name!r} brings its own test split; leave test out"
        )
    shares["test"] = float(test)
    return {part: share for part, share in shares.items() if share > 0}


def _judge(
    about: DatasetCard, listing: Listing, notes: Sequence[ImageRecord]
) -> tuple[list[int], list[FileFinding]]:
    """Which images to keep, and everything there is to report."""
    findings, usable = list(listing.findings), []
    for index, (image, note) in enumerate(zip(listing.images, notes, strict=True)):
        if what := about.placeholders.get(note.digest):
            problem = f"{what}, which stands in for a photograph"
            findings.append(FileFinding(image.name, problem, "left out"))
            continue
        findings += [FileFinding(image.name, problem, action) for problem, action in note.problems]
        if note.usable:
            usable.append(index)
    duplicates = _duplicates(listing.images, notes, usable)
    return [index for index in usable if index not in duplicates], [*findings, *duplicates.values()]


def _duplicates(
    images: Sequence[ListedImage], notes: Sequence[ImageRecord], usable: Sequence[int]
) -> dict[int, FileFinding]:
    """The images to leave out because another one is the same, and what to say of each."""
    same = copies(
        [notes[index].pixels for index in usable],
        [images[index].part for index in usable],
        [images[index].label for index in usable],
    )
    found = {}
    for position, (other, disagree) in sorted(same.items()):
        problem = f"the same image as {images[usable[other]].name}"
        problem += ", under another class" if disagree else ""
        found[usable[position]] = FileFinding(images[usable[position]].name, problem, "left out")
    return found


def _split(
    listing: Listing, kept: list[int], shares: dict[str, float], seed: int, report: DataReport
) -> dict[str, torch.Tensor]:
    """The rows of each part, sorted, int64: official parts as they are, the others drawn from the training images."""
    rows = {
        part: _whole([index for index in kept if listing.images[index].part == part])
        for part in PARTS
    }
    labels = _whole([image.label for image in listing.images])
    official = [part for part in PARTS if any(image.part == part for image in listing.images)]
    for part in official:
        counts = labels[rows[part]].bincount(minlength=len(listing.classes))
        need = 1 + len(shares) if part == "train" else 1
        _check_counts(listing, counts.tolist(), part, need, report)
    if shares:
        drawn = stratified(labels[rows["train"]], shares, seed)
        rows |= {part: rows["train"][positions] for part, positions in drawn.items()}
    return rows


def _whole(numbers: list[int]) -> torch.Tensor:
    """Rows or labels as a tensor on the CPU, whatever torch's default device is: the images lie there."""
    return torch.tensor(numbers, dtype=torch.int64, device="cpu")


def _check_counts(
    listing: Listing, counts: list[int], part: str, need: int, report: DataReport
) -> None:
    for name, count in zip(listing.classes, counts, strict=True):
        if count < need:
            error = SplitError(
                f"class {name!r} has {count} usable image(s) to {'train' if part == 'train' else 'examine'} with "
                f"and needs at least {need}, one for each split"
                f"{_why_so_few(listing, part, name, report)}; add images or remove the folder"
            )
            error.report = report
            raise error


def _why_so_few(listing: Listing, part: str, name: str, report: DataReport) -> str:
    """How many files of a class were left out, and what most of them are."""
    if part not in listing.places:
        return ""
    place = f"{listing.places[part]}{name}/"
    reasons = Counter(
        finding.problem
        for finding in report
        if finding.action == "left out"
        and unicodedata.normalize("NFC", finding.file).startswith(place)
    )
    if not reasons:
        return ""
    ((reason, most),) = reasons.most_common(1)
    which = "" if most == reasons.total() else f" {most} of them"
    return f"; {reasons.total()} file(s) of it were left out,{which} because: {reason}"


def _part(
    store: torch.Tensor, rows: torch.Tensor, images: Sequence[ListedImage], flip: bool
) -> ImageSplit:
    chosen = [images[row] for row in rows.tolist()]
    labels = _whole([image.label for image in chosen])
    return ImageSplit(store, rows, labels, tuple(image.name for image in chosen), flip)


def _plain(name: Location) -> str | list[str]:
    if isinstance(name, (str, os.PathLike)):
        return os.fspath(name)
    return [os.fspath(path) for path in name]
