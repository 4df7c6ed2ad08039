"""Archives from strangers: nothing leaves the folder, nothing is a link, nothing unpacks without end."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from labkit.data import fetching
from labkit.data.fetching import unpack
from labkit.errors import FetchError

ESCAPES = [
    "../evil.txt",
    "data/../../evil.txt",
    "/tmp/evil.txt",
    "C:\\evil.txt",
    "..\\evil.txt",
    "\\\\host\\evil",
]


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data/good.txt", *names):
            archive.writestr(name, "content")
    return path


def tarred(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        good = tarfile.TarInfo("data/good.txt")
        good.size = 7
        archive.addfile(good, io.BytesIO(b"content"))
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def assert_nothing_was_unpacked(folder: Path) -> None:
    assert not list(folder.rglob("*"))
    assert not list(folder.parent.rglob("evil*"))


@pytest.mark.parametrize("name", ESCAPES)
def test_a_zip_cannot_write_outside_its_folder(tmp_path, name):
    with pytest.raises(FetchError, match="leads out of its folder"):
        unpack(zipped(tmp_path / "a.zip", name), tmp_path / "out")
    assert_nothing_was_unpacked(tmp_path / "out")


@pytest.mark.parametrize("name", ESCAPES)
def test_a_tar_cannot_write_outside_its_folder(tmp_path, name):
    with pytest.raises(FetchError, match="leads out of its folder"):
        unpack(tarred(tmp_path / "a.tgz", tarfile.TarInfo(name)), tmp_path / "out")
    assert_nothing_was_unpacked(tmp_path / "out")


def test_a_zip_with_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("data/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(FetchError, match="link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert_nothing_was_unpacked(tmp_path / "out")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_a_tar_with_a_link_or_a_device_is_refused(tmp_path, kind):
    entry = tarfile.TarInfo("data/link")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with pytest.raises(FetchError, match="link or a device"):
        unpack(tarred(tmp_path / "a.tgz", entry), tmp_path / "out")
    assert_nothing_was_unpacked(tmp_path / "out")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_BYTES", 1_000_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/zeros", bytes(2_000_000))
    assert (tmp_path / "a.zip").stat().st_size < 5000
    with pytest.raises(FetchError, match="unpacks to more than"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert_nothing_was_unpacked(tmp_path / "out")


def test_an_archive_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_FILES", 10)
    with pytest.raises(FetchError, match="10 files"):
        unpack(zipped(tmp_path / "a.zip", *map(str, range(20))), tmp_path / "out")


def test_a_zip_that_lies_about_its_size_cannot_grow_beyond_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/zeros", bytes(1_000_000))
    content = (tmp_path / "a.zip").read_bytes()
    small = content.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(small)
    with pytest.raises(FetchError, match="damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (
        sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) <= 10
    )


@pytest.mark.parametrize(("make", "name"), [(zipped, "a.zip"), (tarred, "a.tgz")])
@pytest.mark.parametrize("damage", ["overwritten", "cut", "not an archive"])
def test_a_damaged_archive_is_named(tmp_path, make, name, damage):
    path = make(tmp_path / name)
    content = path.read_bytes()
    spoilt = {
        "overwritten": content[:30] + bytes(30) + content[60:],
        "cut": content[:-40],
        "not an archive": b"<html>please log in</html>",
    }
    path.write_bytes(spoilt[damage])
    with pytest.raises(FetchError, match=f"{name} is damaged"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(("make", "name"), [(zipped, "a.zip"), (tarred, "a.tgz")])
def test_an_honest_archive_is_unpacked(tmp_path, make, name):
    unpack(make(tmp_path / name), tmp_path / "out")
    assert (tmp_path / "out" / "data" / "good.txt").read_text() == "content"
