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
from labkit import learn
from labkit.errors import LabkitError
from labkit.runtime import Precision
from tests.bounds import held


def noise(number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    chance = np.random.default_rng(number)
    return Image.fromarray(chance.integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.fixture
def album(tmp_path) -> Path:
    """Two classes of six sound images, to which each test adds an odd one."""
    for number in range(12):
        path = tmp_path / "album" / ("cats", "dogs")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(number).save(path)
    return tmp_path / "album"


def load(album: Path, size: int = 16):
    data = labkit.load_data(album, size=size)
    images = {}
    for split in (data.train, data.valid):
        images |= dict(zip(split.names, split.images, strict=True))
    return data, images


def only_finding(data, file: str):
    (finding,) = data.report
    assert finding.file == file
    return finding


# ---------------------------------------------------------------- left out


def png(side: int, bits: int, rows: bytes, colour: int = 2, clear: bytes = b"") -> bytes:
    """A PNG that claims side × side pixels, whatever `rows` holds; `clear` is the colour that is transparent."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    body = zlib.compress(rows)
    parts = [
        (b"IHDR", head),
        *([(b"tRNS", clear)] if clear else []),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, part) for kind, part in parts)


def _jpeg() -> bytes:
    import io

    buffer = io.BytesIO()
    noise(99, (200, 150)).save(buffer, "JPEG")
    return buffer.getvalue()


USELESS = {
    "zero bytes": (b"", "empty file"),
    "text": (b"<html>404 not found</html>", "not an image"),
    "random bytes": (np.random.default_rng(0).bytes(5000), "not an image"),
    "only a header": (_jpeg()[:30], "cannot be decoded: Trunc|a JPEG that is damaged"),
    "a damaged PNG": (png(8, 8, bytes(200))[:-20] + bytes(20), "cannot be decoded|damaged"),
    "truncated": (_jpeg()[:4000], "cannot be decoded.*truncated"),
    "a JPEG behind a blank line": (b"\r\n" + _jpeg(), "behind other bytes.*save it again"),
    "60 million pixels": (png(7800, 8, bytes(10_000)), "7800 × 7800 pixels"),
    "10,000 million pixels": (png(100_000, 8, bytes(10_000)), "million pixels"),
}


@pytest.mark.parametrize("kind", USELESS)
def test_a_file_that_cannot_be_used_is_left_out_by_name(album, kind):
    content, reason = USELESS[kind]
    (album / "cats" / "odd.jpg").write_bytes(content)
    data, images = load(album)
    finding = only_finding(data, "cats/odd.jpg")
    assert finding.action == "left out"
    assert re.search(reason, finding.problem)
    assert "cats/odd.jpg" not in images
    assert len(images) == 12


def boxes(*kinds: bytes) -> bytes:
    """The beginning of what phones and new programs write: a box that names the brand."""
    return b"".join(struct.pack(">I", 20) + b"ftyp" + kind + bytes(8) for kind in kinds) + bytes(99)


def remark_with_a_wrong_checksum() -> bytes:
    """A PNG that browsers show: only the checksum of a text in it is wrong."""
    sound = png(8, 8, bytes(8 * 25))
    remark = b"tEXtSoftware\0x"
    return sound[:33] + struct.pack(">I", len(remark) - 4) + remark + bytes(4) + sound[33:]


def tiff(bits: int, bands: int = 1, kind: int = 1, value: bytes = b"", meaning: int = 1) -> bytes:
    """An uncompressed TIFF of 8 × 8 pixels; `value` is one pixel, `kind` and `meaning` are its tags 339 and 262."""
    pixels = (value or bytes(bands * bits // 8)) * 64
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: meaning, 273: 200, 277: bands, 278: 8}
    tags |= {279: len(pixels), 339: kind}
    body = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags))
    body += b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in tags.items())
    return body.ljust(200, b"\0") + pixels


NAMED = {
    "avif": (boxes(b"avif"), "an AVIF, .*save it as JPEG"),
    "heic": (boxes(b"heic"), "a HEIC photograph, .*save it as JPEG"),
    "heif": (boxes(b"mif1"), "a HEIF photograph, .*save it as JPEG"),
    "jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), "a JPEG 2000, .*save it as JPEG"),
    "jxl": (b"\xff\x0a" + bytes(50), "a JPEG XL, .*save it as JPEG"),
    "checksum": (remark_with_a_wrong_checksum(), "a PNG that is damaged .*save it again"),
    "five bands": (tiff(8, bands=5), "a TIFF of 5 channels of 8 bits, .*8 bits"),
    "float16": (tiff(16, kind=3), "a TIFF of 1 channel of 16 bits as floating-point .*8 bits"),
    "half a tiff": (tiff(16, kind=3)[:40], "a TIFF that is damaged .*8 bits"),
    "zip": (b"PK\3\4" + bytes(50), ".* a ZIP archive; unpack it"),
}


@pytest.mark.parametrize("suffix", [".jpg", ".heic"])
@pytest.mark.parametrize("kind", NAMED)
def test_an_image_that_cannot_be_read_is_called_what_it_is_with_the_way_out(album, kind, suffix):
    content, reason = NAMED[kind]
    (album / "cats" / f"odd{suffix}").write_bytes(content)
    finding = only_finding(load(album)[0], f"cats/odd{suffix}")
    assert finding.action == "left out"
    assert re.match(reason, finding.problem)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPEG"])
def test_every_usual_suffix_of_a_jpeg_is_one(album, suffix):
    (album / "cats" / f"photo{suffix}").write_bytes(_jpeg())
    data, images = load(album)
    assert f"cats/photo{suffix}" in images
    assert len(data.report) == 0


def test_a_jpeg_that_was_not_renamed_from_heic_is_read_as_what_it_is(album):
    (album / "cats" / "IMG_1.HEIC").write_bytes(_jpeg())
    data, images = load(album)
    assert "a JPEG named .HEIC" in only_finding(data, "cats/IMG_1.HEIC").problem
    assert "cats/IMG_1.HEIC" in images


@pytest.mark.parametrize(
    ("name", "way"), [("a.nef", "develop it"), ("a.DNG", "develop it"), ("a.psd", "JPEG or PNG")]
)
def test_a_photograph_that_is_never_opened_is_told_the_way_out_by_its_name(album, name, way):
    (album / "cats" / name).write_bytes(b"anything")
    assert way in only_finding(load(album)[0], f"cats/{name}").problem


def test_what_was_found_is_told_again_when_the_pixels_come_from_the_cache(album):
    (album / "cats" / "odd.jpg").write_bytes(b"")
    first, second = load(album)[0], load(album)[0]
    assert list(first.report) == list(second.report)
    assert list(first.report.table().columns) == ["file", "problem", "action"]


def test_a_gif_is_left_out_as_torchvision_does(album):
    noise(50).save(album / "cats" / "drawing.gif")
    data, images = load(album)
    assert "GIF" in only_finding(data, "cats/drawing.gif").problem
    assert "cats/drawing.gif" not in images


@pytest.mark.parametrize(
    "name", ["notes.txt", "Thumbs.db", "run.sh", "drawing.svg", "no-suffix", "page.eps"]
)
def test_a_file_that_is_no_image_by_its_name_is_never_opened(album, name):
    (album / "dogs" / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    data, _ = load(album)
    assert only_finding(data, f"dogs/{name}").action == "left out"


def test_postscript_in_disguise_is_not_run(album):
    (album / "dogs" / "odd.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    )
    assert "not an image" in only_finding(load(album)[0], "dogs/odd.png").problem


def test_a_pipe_does_not_keep_the_lesson_waiting(album):
    if not hasattr(os, "mkfifo"):
        pytest.skip("left out: this system has no named pipes")
    os.mkfifo(album / "cats" / "pipe.png")
    assert "regular file" in only_finding(load(album)[0], "cats/pipe.png").problem


def test_a_link_to_nowhere_and_a_link_to_itself_are_left_out(album):
    (album / "cats" / "gone.png").symlink_to(album / "nowhere.png")
    (album / "cats" / "loop.png").symlink_to("loop.png")
    data, images = load(album)
    assert [finding.file for finding in data.report] == ["cats/gone.png", "cats/loop.png"]
    assert len(images) == 12


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


def colours(image: torch.Tensor) -> list[float]:
    return image.float().mean(dim=(1, 2)).tolist()


def test_cmyk_is_brought_to_rgb(album):
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(album / "cats" / "print.jpg", quality=95)
    data, images = load(album)
    finding = only_finding(data, "cats/print.jpg")
    assert finding.action == "converted"
    assert "CMYK" in finding.problem
    red, green, blue = colours(images["cats/print.jpg"])
    assert red > 200
    assert green < 60
    assert blue < 60


def test_16_bits_keep_their_brightness(album):
    Image.fromarray(np.full((20, 30), 32896, np.uint16)).save(album / "cats" / "deep.png")
    data, images = load(album)
    finding = only_finding(data, "cats/deep.png")
    assert finding.action == "converted"
    assert "16 bits" in finding.problem
    assert colours(images["cats/deep.png"]) == [128, 128, 128]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_cameras_that_use_fewer_than_16_bits_come_out_as_bright_as_they_are(album, bits):
    half, white = 1 << (bits - 1), (1 << bits) - 1
    for name, value in (("mid", half), ("bright", white), ("dim", white // 8)):
        Image.fromarray(np.full((20, 30), value, np.uint16)).save(album / "cats" / f"{name}.png")
    data, images = load(album)
    assert {finding.problem for finding in data.report} == {
        f"16 bits a channel, of which {bits} are used, brought to 8"
    }
    assert colours(images["cats/mid.png"]) == [128, 128, 128]
    assert colours(images["cats/bright.png"]) == [255, 255, 255]
    assert colours(images["cats/dim.png"]) == [
        32,
        32,
        32,
    ]  # as its neighbours are, not its own white


def test_one_bright_deep_file_keeps_the_others_comparable_and_is_named_as_the_reason(album):
    for name, value in (("dim", 3000), ("dimmer", 1500), ("bright", 60000)):
        Image.fromarray(np.full((20, 30), value, np.uint16)).save(album / "cats" / f"{name}.png")
    data, images = load(album)
    dim, dimmer = (colours(images[f"cats/{name}.png"])[0] for name in ("dim", "dimmer"))
    assert (dim, dimmer) == (12, 6)  # twice as bright, as the files say
    told = {finding.file: finding.problem for finding in data.report if "black" in finding.problem}
    assert told.keys() == {"cats/dim.png", "cats/dimmer.png"}
    assert "65535 is white in all grey files of more than 8 bits here" in told["cats/dim.png"]


def test_dark_deep_colours_are_told_with_what_to_do(album):
    (album / "cats" / "deep.png").write_bytes(png(8, 16, (b"\0" + b"\x0f\xff" * 24) * 8))
    data, images = load(album)
    assert colours(images["cats/deep.png"]) == [15, 15, 15]
    told = [finding.problem for finding in data.report]
    assert told[0] == "16 bits a channel, brought to 8"
    assert "only the upper 8 bits are read, so save it with 8" in told[1]


def test_a_deep_file_of_ones_own_is_judged_by_the_white_that_was_learned_from(album, tmp_path):
    for name, value in (("dim", 500), ("bright", 4000)):
        Image.fromarray(np.full((20, 30), value, np.uint16)).save(album / "cats" / f"{name}.png")
    data, images = load(album)
    run = labkit.Run(
        labkit.load_backbone("resnet10"),
        data,
        labkit.feature_extraction(epochs=1),
        precision=Precision(),
    )
    Image.fromarray(np.full((20, 30), 500, np.uint16)).save(tmp_path / "own.png")
    seen = learn.classify(run, tmp_path / "own.png")
    with torch.no_grad():
        given = images["cats/dim.png"].float().div(255).unsqueeze(0)
        wanted = run.model(given).float().softmax(1)[0]
    shares = seen.table.set_index("class")["probability"]
    assert [shares[name] for name in data.classes] == pytest.approx(wanted.tolist(), abs=1e-5)
    assert seen.remarks[0].endswith("16 bits a channel, of which 12 are used, brought to 8.")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (np.int32, (0, 255), (0, 255)),
        (np.int32, (-1000, 255), (0, 255)),
        (np.int32, (0, 2**20 - 1), (0, 255)),
        (np.uint32, (0, 2**32 - 1), (0, 255)),
        (np.uint32, (2**31, 2**32 - 1), (128, 255)),
        (np.uint16, (257, 65535), (1, 255)),
    ],
)
def test_deep_values_of_any_type_use_the_whole_range(album, kind, values, expected):
    for name, value in zip(("low", "high"), values, strict=True):
        number = np.array(value, kind)
        content = tiff(8 * number.nbytes, kind=2 if kind is np.int32 else 1, value=number.tobytes())
        (album / "cats" / f"{name}.tiff").write_bytes(content)
    data, images = load(album)
    found = [colours(images[f"cats/{name}.tiff"])[0] for name in ("low", "high")]
    assert found == list(expected)
    assert ("negative values to black" in str(data.report)) == (values[0] < 0)


def test_a_16_bit_tiff_that_counts_from_white_is_not_inverted(album):
    for name, value in (("white", 0), ("grey", 0x8080), ("black", 0xFFFF)):
        content = tiff(16, value=struct.pack("<H", value), meaning=0)
        (album / "cats" / f"{name}.tiff").write_bytes(content)
    _, images = load(album)
    found = [colours(images[f"cats/{name}.tiff"])[0] for name in ("white", "grey", "black")]
    assert found == [255, 127, 0]


def test_16_bit_grey_with_a_transparent_colour_is_laid_on_white(album):
    pixels = np.full((20, 20), 40_000, np.uint16)
    pixels[:, :10] = 1000
    Image.fromarray(pixels).save(album / "cats" / "glass.png", transparency=1000)
    data, images = load(album)
    assert "transparent, laid on white" in str(data.report)
    assert images["cats/glass.png"][:, :, :6].min() == 255
    assert images["cats/glass.png"][:, :, 10:].max() == round(40_000 / 257)


@pytest.mark.parametrize(
    ("bits", "colour", "row", "clear"),
    [
        (1, 0, b"\xf0", 1),
        (2, 0, b"\xaa\0", 2),
        (4, 0, b"\x99\x99\0\0", 9),
        (8, 0, b"\x99" * 4 + bytes(4), 0x99),
        (8, 2, b"\x20" * 12 + bytes(12), 0x20),
        (16, 0, b"\x20\x40" * 4 + bytes(8), 0x2040),
        (16, 2, b"\x20\x40" * 12 + bytes(24), 0x2040),
    ],
)
def test_a_transparent_colour_of_any_depth_is_laid_on_white(album, bits, colour, row, clear):
    known = struct.pack(">H", clear) * (3 if colour else 1)
    (album / "cats" / "glass.png").write_bytes(png(8, bits, (b"\0" + row) * 8, colour, known))
    data, images = load(album, 8)
    assert "transparent, laid on white" in str(data.report)
    assert images["cats/glass.png"][:, :, :4].min() == 255
    assert images["cats/glass.png"][:, :, 4:].max() == 0


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_an_image_that_is_almost_black_is_reported(album, suffix):
    Image.new("RGB", (20, 20), (9, 9, 9)).save(album / "cats" / f"night.{suffix}")
    finding = only_finding(load(album)[0], f"cats/night.{suffix}")
    assert (finding.action, finding.problem) == ("kept", "almost black: no value above 9 of 255")


def bmp(row: bytes) -> bytes:
    """A BMP of 20 × 20 pixels that names a mask for alpha, with the same row of 4 bytes a pixel everywhere."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 124, 20, 20, 1, 32, 3, 0, 2835, 2835, 0, 0) + masks + b"BGRs"
    body = head.ljust(124, b"\0") + row * 20
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 138) + body


def test_a_bmp_whose_fourth_byte_is_unused_keeps_its_colours(album):
    (album / "cats" / "screen.bmp").write_bytes(bmp(bytes((32, 64, 96, 0)) * 20))
    data, images = load(album)
    assert colours(images["cats/screen.bmp"]) == [96, 64, 32]
    assert len(data.report) == 0


def test_a_bmp_that_uses_its_fourth_byte_is_laid_on_white(album):
    row = bytes((32, 64, 96, 0)) * 10 + bytes((32, 64, 96, 255)) * 10
    (album / "cats" / "cut.bmp").write_bytes(bmp(row))
    data, images = load(album)
    assert "transparent" in only_finding(data, "cats/cut.bmp").problem
    assert images["cats/cut.bmp"][:, :, :6].min() == 255
    assert images["cats/cut.bmp"][:, :, 10:].float().mean(dim=(1, 2)).tolist() == [96, 64, 32]


def test_a_colour_space_with_a_band_a_is_not_transparent(album):
    pytest.importorskip("PIL.ImageCms")
    Image.new("LAB", (20, 20), (200, 128, 128)).save(album / "cats" / "lab.tiff")
    data, images = load(album)
    assert only_finding(data, "cats/lab.tiff").problem == "LAB, brought to RGB"
    assert max(colours(images["cats/lab.tiff"])) - min(colours(images["cats/lab.tiff"])) < 8


def test_16_bits_in_colour_are_reported_too(album):
    pixels = struct.pack(">HHH", 32896, 0, 65535) * 20
    (album / "cats" / "deep.png").write_bytes(png(20, 16, (b"\0" + pixels) * 20))
    data, images = load(album)
    assert "16 bits" in only_finding(data, "cats/deep.png").problem
    assert colours(images["cats/deep.png"]) == [128, 0, 255]


def test_of_an_animation_the_first_frame_is_taken(album):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(album / "cats" / "moving.png", save_all=True, append_images=frames[1:])
    data, images = load(album)
    assert "several frames" in only_finding(data, "cats/moving.png").problem
    assert colours(images["cats/moving.png"]) == [255, 0, 0]


def test_the_preview_inside_a_camera_file_is_no_animation(album):
    noise(61, (64, 48)).save(
        album / "cats" / "camera.jpg", "MPO", save_all=True, append_images=[noise(62)]
    )
    data, images = load(album)
    assert len(data.report) == 0
    assert "cats/camera.jpg" in images


def test_an_image_under_the_wrong_suffix_is_read_as_what_it_is(album):
    Image.new("RGB", (20, 20), "lime").save(album / "cats" / "liar.jpg", "PNG")
    data, images = load(album)
    finding = only_finding(data, "cats/liar.jpg")
    assert finding.action == "kept"
    assert "a PNG named .jpg" in finding.problem
    assert colours(images["cats/liar.jpg"]) == [0, 255, 0]


@pytest.mark.parametrize("value", [0, 1, 9, 77])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_a_tag_that_asks_for_no_turn_is_nothing_to_report(album, suffix, value):
    tags = Image.Exif()
    tags[0x0112] = value
    noise(90, (40, 40)).save(album / "cats" / f"straight.{suffix}", exif=tags)
    assert len(load(album)[0].report) == 0


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_a_photograph_is_turned_as_its_camera_says(album, suffix):
    half = Image.new("RGB", (40, 40), "black")
    half.paste("white", (0, 0, 40, 20))  # bright above
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned a quarter clockwise: bright on the right
    half.save(album / "cats" / f"turned.{suffix}", exif=tags)
    data, images = load(album)
    finding = only_finding(data, f"cats/turned.{suffix}")
    assert finding.action == "converted"
    assert "EXIF" in finding.problem
    image = images[finding.file].float()
    assert image[:, :, 10:].mean() > 220
    assert image[:, :, :6].mean() < 30


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_images_are_laid_on_white(album, mode):
    layer = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    if mode == "P":
        Image.new("P", (20, 20), 0).save(album / "cats" / "glass.png", transparency=0)
    else:
        layer.convert(mode).save(album / "cats" / "glass.png")
    data, images = load(album)
    assert "transparent" in only_finding(data, "cats/glass.png").problem
    assert colours(images["cats/glass.png"]) == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_images_are_nothing_to_report(album, mode):
    noise(60).convert(mode).save(album / "cats" / "plain.png")
    data, images = load(album)
    assert len(data.report) == 0
    assert images["cats/plain.png"].shape == (3, 16, 16)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (17, 16)])
def test_images_of_any_shape_come_out_square(album, size):
    Image.new("RGB", size, "blue").save(album / "cats" / "shape.png")
    assert colours(load(album)[1]["cats/shape.png"]) == [0, 0, 255]


def test_a_large_photograph_takes_little_memory_because_it_is_decoded_small(album):
    resource = pytest.importorskip("resource", reason="left out: only Unix counts memory so")
    Image.new("RGB", (8000, 6000), "teal").save(album / "cats" / "large.jpg")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, images = load(album)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert "cats/large.jpg" in images
    held("decoding a photograph of 48 million pixels", grown, 100, "MB")  # whole it would take 144


@pytest.mark.parametrize("size", [(8192, 6144), (12_000, 9000), (16_320, 12_240)])
def test_a_photograph_of_a_phones_finest_mode_is_used(album, size):
    Image.new("L", size, 128).save(album / "cats" / "large.jpg", quality=10)
    data, images = load(album)
    assert colours(images["cats/large.jpg"]) == [128, 128, 128]
    assert len(data.report) == 0


def test_a_progressive_photograph_is_used_up_to_what_it_takes_in_memory(album):
    Image.new("L", (8192, 6144), 128).save(
        album / "cats" / "fine.jpg", quality=10, progressive=True
    )
    Image.new("L", (12_000, 11_000), 128).save(
        album / "cats" / "huge.jpg", quality=10, progressive=True
    )
    data, images = load(album)
    assert colours(images["cats/fine.jpg"]) == [128, 128, 128]
    assert "12000 × 11000 pixels, more than 120" in only_finding(data, "cats/huge.jpg").problem


def test_what_is_decoded_is_bounded_and_not_what_is_stored(album):
    Image.new("L", (60_000, 1000), 128).save(album / "cats" / "strip.jpg", quality=10)
    assert "cats/strip.jpg" in load(album, 64)[1]  # decoded at a quarter
    data, images = load(album, 512)  # would be decoded whole
    assert "to decode, more than 52 million" in only_finding(data, "cats/strip.jpg").problem
    assert "cats/strip.jpg" not in images


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
    _, images = load(album)
    (name,) = (name for name in images if "caf" in name)
    assert name.encode("utf-8").decode() == "cats/caf\\xe9.png"


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
