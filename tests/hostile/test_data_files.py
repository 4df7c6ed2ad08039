"""Files that were not made for learning: none stops a lesson, each is reported by name, none is learned wrongly."""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit
from labkit.errors import LabkitError
from tests.bounds import held


def noise(number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    chance = np.random.default_rng(number)
    return Image.fromarray(chance.integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.fixture
def album(tmp_path) -> Path:
    """Two classes of six sound pictures, to which each test adds an odd one."""
    for number in range(12):
        path = tmp_path / "album" / ("cats", "dogs")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(number).save(path)
    return tmp_path / "album"


def load(album: Path, size: int = 16):
    data = labkit.load_data(album, size=size)
    pictures = {}
    for split in (data.train, data.valid):
        pictures |= dict(zip(split.names, split.images, strict=True))
    return data, pictures


def only_finding(data, file: str):
    (finding,) = data.report
    assert finding.file == file
    return finding


# ---------------------------------------------------------------- left out


def png(side: int, bits: int, rows: bytes) -> bytes:
    """A colour PNG that claims side × side pixels, whatever `rows` holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", side, side, bits, 2, 0, 0, 0)
    body = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _jpeg() -> bytes:
    import io

    buffer = io.BytesIO()
    noise(99, (200, 150)).save(buffer, "JPEG")
    return buffer.getvalue()


USELESS = {
    "zero bytes": (b"", "empty file"),
    "text": (b"<html>404 not found</html>", "not a picture"),
    "random bytes": (np.random.default_rng(0).bytes(5000), "not a picture"),
    "only a header": (_jpeg()[:30], "cannot be decoded|not a picture"),
    "truncated": (_jpeg()[:4000], "cannot be decoded.*truncated"),
    "60 million pixels": (png(7800, 8, bytes(10_000)), "7800 × 7800 pixels"),
    "10,000 million pixels": (png(100_000, 8, bytes(10_000)), "million pixels"),
}


@pytest.mark.parametrize("kind", USELESS)
def test_a_file_that_cannot_be_used_is_left_out_by_name(album, kind):
    content, reason = USELESS[kind]
    (album / "cats" / "odd.jpg").write_bytes(content)
    data, pictures = load(album)
    finding = only_finding(data, "cats/odd.jpg")
    assert finding.action == "left out"
    assert re.search(reason, finding.problem)
    assert "cats/odd.jpg" not in pictures
    assert len(pictures) == 12


def test_what_was_found_is_told_again_when_the_pixels_come_from_the_cache(album):
    (album / "cats" / "odd.jpg").write_bytes(b"")
    first, second = load(album)[0], load(album)[0]
    assert list(first.report) == list(second.report)
    assert list(first.report.table().columns) == ["file", "problem", "action"]


def test_a_gif_is_left_out_as_torchvision_does(album):
    noise(50).save(album / "cats" / "drawing.gif")
    data, pictures = load(album)
    assert "GIF" in only_finding(data, "cats/drawing.gif").problem
    assert "cats/drawing.gif" not in pictures


@pytest.mark.parametrize(
    "name", ["notes.txt", "Thumbs.db", "run.sh", "drawing.svg", "no-suffix", "page.eps"]
)
def test_a_file_that_is_no_picture_by_its_name_is_never_opened(album, name):
    (album / "dogs" / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    data, _ = load(album)
    assert only_finding(data, f"dogs/{name}").action == "left out"


def test_postscript_in_disguise_is_not_run(album):
    (album / "dogs" / "odd.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    )
    assert "not a picture" in only_finding(load(album)[0], "dogs/odd.png").problem


def test_a_pipe_does_not_keep_the_lesson_waiting(album):
    if not hasattr(os, "mkfifo"):
        pytest.skip("left out: this system has no named pipes")
    os.mkfifo(album / "cats" / "pipe.png")
    assert "regular file" in only_finding(load(album)[0], "cats/pipe.png").problem


def test_a_link_to_nowhere_and_a_link_to_itself_are_left_out(album):
    (album / "cats" / "gone.png").symlink_to(album / "nowhere.png")
    (album / "cats" / "loop.png").symlink_to("loop.png")
    data, pictures = load(album)
    assert [finding.file for finding in data.report] == ["cats/gone.png", "cats/loop.png"]
    assert len(pictures) == 12


def test_values_of_unknown_range_are_not_guessed_at(album):
    Image.fromarray(np.linspace(0, 3, 600, dtype=np.float32).reshape(20, 30)).save(
        album / "cats" / "f.tiff"
    )
    assert "floating-point" in only_finding(load(album)[0], "cats/f.tiff").problem


def test_a_folder_of_nothing_but_rubbish_ends_in_one_clear_error(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.jpg").write_bytes(b"rubbish")
    with pytest.raises(LabkitError, match="'cats' has 0 usable"):
        labkit.load_data(tmp_path)


# ---------------------------------------------------------------- converted


def colours(picture: torch.Tensor) -> list[float]:
    return picture.float().mean(dim=(1, 2)).tolist()


def test_cmyk_is_brought_to_rgb(album):
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(album / "cats" / "print.jpg", quality=95)
    data, pictures = load(album)
    finding = only_finding(data, "cats/print.jpg")
    assert finding.action == "converted"
    assert "CMYK" in finding.problem
    red, green, blue = colours(pictures["cats/print.jpg"])
    assert red > 200
    assert green < 60
    assert blue < 60


def test_16_bits_keep_their_brightness(album):
    Image.fromarray(np.full((20, 30), 32896, np.uint16)).save(album / "cats" / "deep.png")
    data, pictures = load(album)
    finding = only_finding(data, "cats/deep.png")
    assert finding.action == "converted"
    assert "16 bits" in finding.problem
    assert colours(pictures["cats/deep.png"]) == [128, 128, 128]


def test_16_bits_in_colour_are_reported_too(album):
    pixels = struct.pack(">HHH", 32896, 0, 65535) * 20
    (album / "cats" / "deep.png").write_bytes(png(20, 16, (b"\0" + pixels) * 20))
    data, pictures = load(album)
    assert "16 bits" in only_finding(data, "cats/deep.png").problem
    assert colours(pictures["cats/deep.png"]) == [128, 0, 255]


def test_of_an_animation_the_first_frame_is_taken(album):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(album / "cats" / "moving.png", save_all=True, append_images=frames[1:])
    data, pictures = load(album)
    assert "several frames" in only_finding(data, "cats/moving.png").problem
    assert colours(pictures["cats/moving.png"]) == [255, 0, 0]


def test_the_preview_inside_a_camera_file_is_no_animation(album):
    noise(61, (64, 48)).save(
        album / "cats" / "camera.jpg", "MPO", save_all=True, append_images=[noise(62)]
    )
    data, pictures = load(album)
    assert len(data.report) == 0
    assert "cats/camera.jpg" in pictures


def test_a_picture_under_the_wrong_suffix_is_read_as_what_it_is(album):
    Image.new("RGB", (20, 20), "lime").save(album / "cats" / "liar.jpg", "PNG")
    data, pictures = load(album)
    finding = only_finding(data, "cats/liar.jpg")
    assert finding.action == "kept"
    assert "a PNG named .jpg" in finding.problem
    assert colours(pictures["cats/liar.jpg"]) == [0, 255, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_a_photograph_is_turned_as_its_camera_says(album, suffix):
    half = Image.new("RGB", (40, 40), "black")
    half.paste("white", (0, 0, 40, 20))  # bright above
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned a quarter clockwise: bright on the right
    half.save(album / "cats" / f"turned.{suffix}", exif=tags)
    data, pictures = load(album)
    finding = only_finding(data, f"cats/turned.{suffix}")
    assert finding.action == "converted"
    assert "EXIF" in finding.problem
    picture = pictures[finding.file].float()
    assert picture[:, :, 10:].mean() > 220
    assert picture[:, :, :6].mean() < 30


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pictures_are_laid_on_white(album, mode):
    layer = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    if mode == "P":
        Image.new("P", (20, 20), 0).save(album / "cats" / "glass.png", transparency=0)
    else:
        layer.convert(mode).save(album / "cats" / "glass.png")
    data, pictures = load(album)
    assert "transparent" in only_finding(data, "cats/glass.png").problem
    assert colours(pictures["cats/glass.png"]) == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_pictures_are_nothing_to_report(album, mode):
    noise(60).convert(mode).save(album / "cats" / "plain.png")
    data, pictures = load(album)
    assert len(data.report) == 0
    assert pictures["cats/plain.png"].shape == (3, 16, 16)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (17, 16)])
def test_pictures_of_any_shape_come_out_square(album, size):
    Image.new("RGB", size, "blue").save(album / "cats" / "shape.png")
    assert colours(load(album)[1]["cats/shape.png"]) == [0, 0, 255]


def test_a_large_photograph_takes_little_memory_because_it_is_decoded_small(album):
    resource = pytest.importorskip("resource", reason="left out: only Unix counts memory so")
    Image.new("RGB", (8000, 6000), "teal").save(album / "cats" / "large.jpg")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, pictures = load(album)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert "cats/large.jpg" in pictures
    held("decoding a photograph of 48 million pixels", grown, 100, "MB")  # whole it would take 144


# ---------------------------------------------------------------- names


def test_markup_in_names_stays_text(album):
    evil = "<img src=x onerror=alert(1)>"
    for number in range(3):
        path = album / evil / f"<b>{number}</b>.png".replace("/", "∕")
        path.parent.mkdir(exist_ok=True)
        noise(70 + number).save(path)
    (album / evil / "<script>.png").write_bytes(b"")
    data, _ = load(album)
    assert evil in data.classes
    assert only_finding(data, f"{evil}/<script>.png").problem == "empty file"
    assert not hasattr(data, "_repr_html_")
    assert not hasattr(data.report, "_repr_html_")


def test_names_that_are_no_text_can_still_be_shown(album):
    noise(80).save(album / "cats" / "plain.png")
    os.rename(album / "cats" / "plain.png", os.fsencode(album / "cats") + b"/caf\xe9.png")
    _, pictures = load(album)
    (name,) = (name for name in pictures if "caf" in name)
    assert name.encode("utf-8").decode() == "cats/caf\ufffd.png"


def test_names_in_any_script_survive(album):
    for name in (
        "蜜蜂.png",
        "муравей.png",
        "🐝 bee.png",
        "'; DROP TABLE ants;--.png",
        "line\nbreak.png",
    ):
        noise(hash(name) % 1000 + 100).save(album / "cats" / name)
        assert f"cats/{name}" in load(album)[1]
