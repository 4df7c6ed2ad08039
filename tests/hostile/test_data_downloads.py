"""Downloads over a bad line, from a real server on this machine: resumed, verified, never half believed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import labkit
from labkit import learn
from labkit.console.session import Session
from labkit.data import fetching
from labkit.data.cards import Archive, DatasetCard, cards
from labkit.data.fetching import download, fetch
from labkit.errors import AtlasError, DownloadError, FetchError, ShareError
from labkit.runtime import Precision
from labkit.sharing import PREFIX
from labkit.tuning import Run
from tests.small import Clouds, Small
from tests.waiting import wait_until

CONTENT = np.random.default_rng(0).bytes(1_500_000)


@dataclass
class Site:
    """What the server does: which bytes it has, after how many it hangs up, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=lambda: {"data.bin": CONTENT})
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def url(self, name: str = "data.bin") -> str:
        return f"{self.address}/{name}"


@pytest.fixture
def site() -> Iterator[Site]:
    """A real web server on 127.0.0.1."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = site.files.get(self.path.rsplit("/", 1)[-1])
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            if content is None:
                return self.send_error(404)
            start = int(wanted.split("=")[1].rstrip("-")) if wanted and site.ranges else 0
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = site.breaks.pop(0) if site.breaks else len(content)
            self.wfile.write(content[start:][:stop])
            return None

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


def archive(content: bytes = CONTENT, url: str = "https://example.org/data.bin") -> Archive:
    return Archive(url, len(content), hashlib.sha256(content).hexdigest())


def test_a_download_arrives_whole_under_its_name(site, tmp_path):
    path = download(site.url(), tmp_path / "data.bin", archive())
    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["data.bin"]


def test_a_broken_line_is_resumed_where_it_broke(site, tmp_path):
    site.breaks = [600_000, 300_000]
    assert download(site.url(), tmp_path / "data.bin", archive()).read_bytes() == CONTENT
    assert site.asked == [None, "bytes=600000-", "bytes=900000-"]


def test_a_download_given_up_is_resumed_by_the_next_call(site, tmp_path):
    site.breaks = [400_000, 100_000, 100_000]
    with pytest.raises(FetchError, match="broke off after 600000 of 1500000"):
        download(site.url(), tmp_path / "data.bin", archive())
    assert not (tmp_path / "data.bin").exists()
    assert download(site.url(), tmp_path / "data.bin", archive()).read_bytes() == CONTENT
    assert site.asked[-1] == "bytes=600000-"


def test_a_server_that_cannot_resume_is_asked_from_the_start(site, tmp_path):
    site.breaks, site.ranges = [600_000], False
    assert download(site.url(), tmp_path / "data.bin", archive()).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "rest", [b"the beginning of another file", CONTENT + b"too long", CONTENT[::-1]]
)
def test_a_part_of_another_file_does_not_spoil_the_download(site, tmp_path, rest):
    (tmp_path / "data.bin.part").write_bytes(rest)
    assert download(site.url(), tmp_path / "data.bin", archive()).read_bytes() == CONTENT


def test_a_file_that_is_not_the_published_one_is_refused(site, tmp_path):
    site.files["data.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(FetchError, match="not the published file"):
        download(site.url(), tmp_path / "data.bin", archive())
    assert not list(tmp_path.iterdir())


def test_a_file_longer_than_published_is_cut_off_at_once(site, tmp_path):
    site.files["data.bin"] = CONTENT * 3
    with pytest.raises(FetchError, match="larger than"):
        download(site.url(), tmp_path / "data.bin", archive())
    assert not (tmp_path / "data.bin").exists()
    assert (tmp_path / "data.bin.part").stat().st_size <= len(CONTENT)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/x", "data:,hello", "javascript:alert(1)", "/etc/passwd"]
)
def test_only_addresses_of_the_web_and_of_files_are_fetched(tmp_path, url):
    with pytest.raises(FetchError, match="no address to fetch from"):
        download(url, tmp_path / "x", archive())


# ---------------------------------------------------------------- whole data sets


def zipped_album() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(12):
            image = io.BytesIO()
            Image.new("RGB", (20, 20), (number * 20, 0, 0)).save(image, "PNG")
            file.writestr(f"album/{('ants', 'bees')[number % 2]}/{number}.png", image.getvalue())
    return buffer.getvalue()


@pytest.fixture
def album_card(site, tmp_path, monkeypatch) -> DatasetCard:
    """A data set named album that the server has, with an empty cache and nothing in LABKIT_DATA."""
    content = zipped_album()
    site.files["album.zip"] = content
    card = DatasetCard(
        "album",
        "Two colours",
        classes=("ants", "bees"),
        folder="album",
        archives=(archive(content, site.url("album.zip")),),
    )
    monkeypatch.setitem(cards(), "album", card)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LABKIT_DATA", raising=False)
    monkeypatch.delenv("LABKIT_MIRROR", raising=False)
    return card


def downloads(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "data").iterdir())


def test_a_data_set_is_fetched_once_and_leaves_only_its_folder(site, album_card, tmp_path):
    assert len(labkit.load_data("album", size=8).train) == 10
    assert labkit.load_data("album", size=8).classes == ("ants", "bees")
    assert len(site.asked) == 1
    assert downloads(tmp_path) == ["album"]


def test_a_mirror_is_asked_first_and_the_official_address_after_it(site, album_card, monkeypatch):
    monkeypatch.setenv("LABKIT_MIRROR", f"{site.address}/mirror/")
    site.files["other.zip"] = site.files.pop("album.zip")
    official = replace(album_card.archives[0], url=site.url("other.zip"))
    assert fetching.addresses(official) == [
        f"{site.address}/mirror/other.zip",
        site.url("other.zip"),
    ]
    monkeypatch.setitem(cards(), "album", replace(album_card, archives=(official,)))
    assert fetch("album").is_dir()


def test_a_folder_of_archives_serves_as_mirror(site, album_card, tmp_path, monkeypatch):
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "album.zip").write_bytes(site.files["album.zip"])
    monkeypatch.setenv("LABKIT_MIRROR", (tmp_path / "stick").as_uri())
    monkeypatch.setenv("LABKIT_OFFLINE", "1")
    assert fetch("album").is_dir()
    assert site.asked == []


def test_an_archive_that_lies_in_the_data_folder_is_verified_and_used(
    site, album_card, tmp_path, monkeypatch
):
    (tmp_path / "album.zip").write_bytes(site.files["album.zip"])
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert fetch("album").is_dir()
    assert site.asked == []
    assert (tmp_path / "album.zip").is_file()


def test_a_data_set_at_hand_is_not_fetched(site, album_card, tmp_path, monkeypatch):
    (tmp_path / "album").mkdir()
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert fetch("album") == tmp_path / "album"
    assert site.asked == []


def test_a_missing_file_on_the_server_says_what_to_do(site, album_card, tmp_path):
    del site.files["album.zip"]
    with pytest.raises(FetchError, match=r"404(.|\n)*looked for(.|\n)*LABKIT_DATA(.|\n)*digits"):
        fetch("album")


def test_an_archive_without_the_folder_it_should_hold_is_named(site, album_card, monkeypatch):
    monkeypatch.setitem(cards(), "album", replace(album_card, folder="other"))
    with pytest.raises(FetchError, match="hold no folder 'other'"):
        fetch("album")


def test_a_hostile_archive_leaves_nothing_behind(site, album_card, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("album/../../../evil.txt", "x")
    site.files["album.zip"] = buffer.getvalue()
    evil = archive(buffer.getvalue(), site.url("album.zip"))
    monkeypatch.setitem(cards(), "album", replace(album_card, archives=(evil,)))
    with pytest.raises(FetchError, match="leads out"):
        fetch("album")
    assert not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "cache" / "data" / "album").exists()


# ---------------------------------------------------------------- nothing is downloaded that nobody asked for by name


@pytest.fixture
def nothing_at_hand(site, tmp_path, monkeypatch):
    """A machine without photographs, and this server as the place where they are published."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    for name in ("LABKIT_DATA", "LABKIT_OFFLINE", "LABKIT_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    about = cards()["ants-bees"]
    here = replace(about.archives[0], url=site.url("hymenoptera_data.zip"))
    monkeypatch.setitem(cards(), "ants-bees", replace(about, archives=(here,)))


def line_of_photographs() -> str:
    content = {
        "net": {"name": "resnet10-glyphs"},
        "data": {"name": "ants-bees"},
        "plan": labkit.full().to_dict(),
        "seed": 0,
        "name": "shared",
        "log": [],
    }
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(json.dumps(content).encode())).decode()


def test_a_pasted_line_downloads_nothing_until_that_is_agreed_to(site, tmp_path, nothing_at_hand):
    line = line_of_photographs()
    with pytest.raises(DownloadError, match=r"ants-bees \(47 MB\).*Nothing was downloaded"):
        labkit.from_line(line)
    assert site.asked == []
    assert not (tmp_path / "cache").exists()
    site.files = {"hymenoptera_data.zip": b"not the published file"}
    with pytest.raises(ShareError, match=r"cannot be (fetched|made here)"):
        labkit.from_line(line, download=True)
    assert site.asked == [None]


def test_without_a_network_a_line_says_so_instead_of_asking(site, nothing_at_hand, monkeypatch):
    monkeypatch.setenv("LABKIT_OFFLINE", "1")
    with pytest.raises(ShareError, match="LABKIT_OFFLINE") as refusal:
        labkit.from_line(line_of_photographs())
    assert not isinstance(refusal.value, DownloadError)
    assert site.asked == []


def test_a_line_pasted_into_the_console_is_downloaded_at_a_second_press_only(site, nothing_at_hand):
    session = Session([Run(Small(), Clouds(), labkit.full(epochs=1), precision=Precision())])
    first = pasted(session, "a", line=line_of_photographs())
    assert first[3] == "download"
    assert "ants-bees (47 MB)" in first[2]
    assert "Press Download and open" in first[2]
    assert site.asked == []
    second = pasted(session, "b", line=line_of_photographs(), download=True)
    assert second[3:] == []
    assert len(site.asked) > 0
    assert len(session.runs) == 1


def pasted(session: Session, identity: str, **args: object) -> list:
    """What the console tells of a pasted line once it is done with it."""
    ask = {"kind": "command", "id": identity, "command": "paste", "args": args}
    assert session.answer(ask)["pending"]
    told: list = []

    def is_told() -> bool:
        points = session.answer({"kind": "poll", "since": 0})["points"]
        told[:] = [point for point in points if point[:2] == ["o", identity]]
        return bool(told)

    wait_until(is_told, 30)
    return told[0]


def test_a_click_in_the_atlas_downloads_nothing(site, nothing_at_hand):
    card = learn.atlas_card("ants-bees", "resnet10")
    asked = {"kind": "run", **card.start}
    assert "labkit data fetch ants-bees" in card.reply(asked)["problem"]
    with pytest.raises(AtlasError, match="labkit data fetch ants-bees"):
        card.run_it()
    assert site.asked == []


def test_a_set_without_an_address_says_where_to_put_it() -> None:
    """It was taken for the digits before."""
    with pytest.raises(FetchError, match=r"no address to fetch it from.*its folder, leaves"):
        fetching._make(DatasetCard(name="leaves", title="Leaves", folder="leaves"))
