"""Bring a data set onto this machine: look where it may already lie, else download, verify and unpack it.

A download goes to a `.part` file, is resumed where it stopped, is checked against the published checksum and only
then gets its name. An archive is unpacked beside its place and renamed, so that a half-unpacked folder is never taken
for a data set. Nothing in an archive may leave the folder, be a link, or be far larger than announced.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO
from urllib.parse import urlsplit

from tqdm import tqdm

from labkit.data.cards import Archive, DatasetCard, card
from labkit.errors import FetchError
from labkit.runtime import cache_dir, data_dir, is_offline

BLOCK = 1 << 18
ATTEMPTS = 3
TIMEOUT = 30  # seconds without a byte
MOST_BYTES = 4 * 2**30  # no set of ours unpacks to more
MOST_FILES = 100_000
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


def fetch(name: str) -> Path | None:
    """The folder of a data set, fetched if it is not on this machine yet; None for a set that needs no fetching.

    It is looked for as the folder of its official archive under `LABKIT_DATA`, then in labkit's own cache, then as
    the archive itself under `LABKIT_DATA`. Raises `FetchError` when it is nowhere and cannot be fetched.
    """
    about = card(name)
    if about.ships:
        return None
    return at_hand(about) or _make(about)


def at_hand(about: DatasetCard) -> Path | None:
    """The folder of a data set where it lies on this machine, or None."""
    return next((place for place in _places(about) if place.is_dir()), None)


def to_download(about: DatasetCard) -> tuple[Archive, ...]:
    """The archives that `fetch` would have to download; none where the data set is at hand or can be unpacked."""
    if at_hand(about) is not None:
        return ()
    root = data_dir()
    return tuple(one for one in about.archives if not (root and (root / one.filename).is_file()))


def _places(about: DatasetCard) -> list[Path]:
    roots = [root for root in (data_dir(), _downloads()) if root]
    return [root / about.folder for root in roots]


def _downloads() -> Path:
    return cache_dir() / "data"


def _make(about: DatasetCard) -> Path:
    """Download and unpack all archives of a set into a new folder, which gets its name when it is complete."""
    target = _downloads() / about.folder
    if not about.archives:
        raise FetchError(
            f"{about.name!r} is not on this machine, and its card names no address to fetch it from. Put its folder, "
            f"{about.folder}, into a folder of data sets, and set LABKIT_DATA to that."
        )
    try:
        archives = [_archive(about, archive) for archive in about.archives]
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{about.folder}.", dir=target.parent) as place:
            for path in archives:
                unpack(path, _inside(about, Path(place)))
            _move_into_place(Path(place) / about.folder, target, about)
    except OSError as error:
        raise FetchError(f"{about.name!r} cannot be stored in {target.parent}: {error}") from error
    for path in archives:
        if path.parent == _downloads():
            path.unlink(missing_ok=True)
    return target


def _inside(about: DatasetCard, place: Path) -> Path:
    """Where the archives of a set are unpacked: torchvision's larger sets bring no folder of their own."""
    return place / about.folder if about.kind in ("flowers102", "pets") else place


def _move_into_place(folder: Path, target: Path, about: DatasetCard) -> None:
    if not folder.is_dir():
        raise FetchError(
            f"the archives of {about.name!r} hold no folder {about.folder!r}; is the mirror right?"
        )
    try:
        os.replace(folder, target)
    except OSError:
        if not target.is_dir():  # another process may have been faster, which is just as well
            raise


def _archive(about: DatasetCard, archive: Archive) -> Path:
    """The verified archive: from `LABKIT_DATA` if it lies there, else downloaded."""
    root = data_dir()
    if root and (local := root / archive.filename).is_file():
        verify(local, archive)
        return local
    offline = is_offline()
    problems = ["LABKIT_OFFLINE is set, so labkit does not try the network"] if offline else []
    for url in addresses(archive):
        if offline and not url.startswith("file:"):
            continue
        try:
            return download(url, _downloads() / archive.filename, archive)
        except FetchError as error:
            problems.append(str(error))
    raise FetchError(_explain(about, "; ".join(problems)))


def addresses(archive: Archive) -> list[str]:
    """Where to try: the mirror of `LABKIT_MIRROR` first, then the official address."""
    mirror = os.environ.get("LABKIT_MIRROR")
    return [*([f"{mirror.rstrip('/')}/{archive.filename}"] if mirror else []), archive.url]


def _explain(about: DatasetCard, reason: str) -> str:
    looked = "\n".join(f"  - {place}" for place in _places(about))
    files = "\n".join(f"  - {archive.url}{_megabytes(archive)}" for archive in about.archives)
    return (
        f"{about.name!r} is not on this machine and cannot be fetched: {reason}.\n"
        f"It was looked for as\n{looked}\n"
        f"What to do: on a machine with a network fetch\n{files}\n"
        "put it into a folder, unpacked or not, and set LABKIT_DATA to that folder; or set LABKIT_MIRROR to an address "
        "that has the same files. To go on without it: load_data('digits') needs no download."
    )


def _megabytes(archive: Archive) -> str:
    return f" ({archive.size / 1e6:.0f} MB)" if archive.size and archive.size > 1e6 else ""


# ---------------------------------------------------------------- downloading


def download(url: str, target: Path, archive: Archive) -> Path:
    """Download `url` to `target`, resuming what an earlier attempt left, and verify it against `archive`.

    Raises `FetchError` when the address cannot be reached, the transfer keeps breaking off (what came is kept for the
    next attempt), or the file is not the published one.
    """
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise FetchError(f"{url} is no address to fetch from; use http, https or file")
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    resumed = part.exists()
    _transfer_patiently(url, part, archive)
    try:
        verify(part, archive)
    except FetchError:
        part.unlink()
        if not resumed:
            raise
        # what was resumed may have been the beginning of another file
        return download(url, target, archive)
    os.replace(part, target)
    return target


def _transfer_patiently(url: str, part: Path, archive: Archive) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return _transfer(url, part, archive)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and part.exists():
                part.unlink()  # longer than the file it should become: begin again
                continue
            raise FetchError(f"{url} answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS - 1 or isinstance(error, urllib.error.URLError):
                reason = getattr(error, "reason", error) or type(error).__name__
                raise FetchError(f"{url} cannot be fetched ({reason})") from error
    raise FetchError(f"{url} cannot be resumed")


def _transfer(url: str, part: Path, archive: Archive) -> None:
    """One connection: from where `part` ends to the end of the file."""
    have = part.stat().st_size if part.exists() else 0
    if archive.size is not None and have == archive.size:
        return
    if archive.size is not None and have > archive.size:  # the beginning of something else
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "labkit"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:  # the server begins anew, and so do we
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else archive.size
        with part.open("ab" if have else "wb") as file:
            got = have + _pour(answer, file, have, total, archive)
    if total is not None and got < total:
        raise ConnectionError(f"the connection broke off after {got} of {total} bytes")


def _pour(
    answer: IO[bytes], file: IO[bytes], have: int, total: int | None, archive: Archive
) -> int:
    """Copy the answer into the file under a progress bar; returns the bytes that came."""
    most, got = archive.size or MOST_BYTES, 0
    with tqdm(
        total=total, initial=have, desc=archive.filename, unit="B", unit_scale=True, mininterval=0.5
    ) as bar:
        while block := answer.read(BLOCK):
            got += len(block)
            if have + got > most:
                raise FetchError(
                    f"{archive.filename} is larger than the {most} bytes it should have"
                )
            file.write(block)
            bar.update(len(block))
    return got


def verify(path: Path, archive: Archive) -> None:
    """Raise `FetchError` unless the file has the size and the checksum that were published."""
    if archive.size is not None and path.stat().st_size != archive.size:
        raise FetchError(f"{path.name} has {path.stat().st_size} bytes instead of {archive.size}")
    if archive.checksum is None:
        return
    algorithm, expected = archive.checksum
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise FetchError(
            f"{path.name} is not the published file: its {algorithm} is {found} and should be {expected}. "
            "Fetch it again, or ask whoever runs the mirror."
        )


# ---------------------------------------------------------------- unpacking


@dataclass(frozen=True)
class ArchiveMember:
    """One entry of an archive, as far as safety is concerned; `plain` is a regular file or a folder."""

    name: str
    size: int
    plain: bool


def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive into `folder`; a file that is not named as a zip or tar archive is copied there.

    Every entry is judged before the first is written. Raises `FetchError` for one that would leave the folder, is a
    link or a device, or when the whole is larger than any data set of ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if path.name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                _judge(path, _zip_members(archive))
                archive.extractall(folder)
        elif path.name.endswith((".tar", ".tar.gz", ".tgz")):
            with tarfile.open(path) as archive:
                _judge(path, _tar_members(archive))
                archive.extractall(folder, filter="data")
        else:
            shutil.copy2(path, folder / path.name)
    except DAMAGE as error:
        raise FetchError(f"{path.name} is damaged and cannot be unpacked: {error}") from error


def _zip_members(archive: zipfile.ZipFile) -> Iterator[ArchiveMember]:
    for entry in archive.infolist():
        kind = entry.external_attr >> 28  # the file type of Unix: 8 a file, 4 a folder, 0 not said
        yield ArchiveMember(entry.filename, entry.file_size, kind in (0, 4, 8))


def _tar_members(archive: tarfile.TarFile) -> Iterator[ArchiveMember]:
    for entry in archive:
        yield ArchiveMember(entry.name, entry.size, entry.isfile() or entry.isdir())


def _judge(path: Path, members: Iterator[ArchiveMember]) -> None:
    total = 0
    for count, member in enumerate(members, start=1):
        total += member.size
        if not member.plain:
            raise FetchError(
                f"{path.name} holds {member.name!r}, which is a link or a device; nothing was unpacked"
            )
        if _escapes(member.name):
            raise FetchError(
                f"{path.name} holds {member.name!r}, which leads out of its folder; nothing was unpacked"
            )
        if total > MOST_BYTES or count > MOST_FILES:
            raise FetchError(
                f"{path.name} unpacks to more than {MOST_BYTES / 1e9:.0f} GB or {MOST_FILES:,} files; "
                "nothing was unpacked"
            )


def _escapes(name: str) -> bool:
    windows = PureWindowsPath(name)  # understands both kinds of separators, drives and shares
    return bool(PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts)
