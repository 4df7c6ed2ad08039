"""Decoded once: the cache is quick, found by content, and never believed when it is damaged."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit
from labkit.errors import DataError
from tests.bounds import held


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> Path:
    """Where this test's own cache keeps decoded images."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def album(tmp_path) -> Path:
    """Two classes of ten noisy images."""
    chance = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "album" / ("cats", "dogs")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (30, 40, 3), np.uint8)).save(path)
    return tmp_path / "album"


def same(one, other) -> bool:
    return all(
        torch.equal(getattr(one, part).images, getattr(other, part).images)
        for part in ("train", "valid", "test")
    )


def test_the_second_load_decodes_nothing(fresh, album, monkeypatch):
    first = labkit.load_data(album, size=16)
    (pixels,) = fresh.glob("*.npy")
    written = pixels.stat().st_mtime_ns
    second = labkit.load_data(album, size=16)
    assert same(first, second)
    assert pixels.stat().st_mtime_ns == written


def test_images_are_known_by_content_so_a_changed_file_is_decoded_anew(fresh, album):
    first = labkit.load_data(album, size=16)
    path = album / first.valid.names[0]
    Image.new("RGB", (30, 40), "red").save(path)
    second = labkit.load_data(album, size=16)
    assert second.valid.names == first.valid.names
    assert second.valid.images[0].float().mean(dim=(1, 2)).tolist() == [255, 0, 0]


def test_a_renamed_folder_still_finds_its_pixels(fresh, album):
    labkit.load_data(album, size=16)
    labkit.load_data(album.rename(album.with_name("renamed")), size=16)
    assert len(list(fresh.glob("*.npy"))) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "no json", "odd json", "swapped"])
def test_a_damaged_cache_is_made_again(fresh, album, damage):
    sound = labkit.load_data(album, size=16)
    (pixels,) = fresh.glob("*.npy")
    notes = pixels.with_suffix(".json")
    content = bytearray(pixels.read_bytes())
    content[-100] ^= 255
    actions = {
        "cut": lambda: pixels.write_bytes(pixels.read_bytes()[:-50]),
        "flipped": lambda: pixels.write_bytes(content),
        "emptied": lambda: pixels.write_bytes(b""),
        "no json": notes.unlink,
        "odd json": lambda: notes.write_text('{"sha256": 3, "notes": [{}]}'),
        "swapped": lambda: pixels.write_bytes(notes.read_bytes()),
    }
    actions[damage]()
    assert same(labkit.load_data(album, size=16), sound)
    assert same(labkit.load_data(album, size=16), sound)


def test_images_beyond_the_memory_stay_on_disk_and_are_the_same(fresh, album):
    inside = labkit.load_data(album, size=16)
    outside = labkit.load_data(album, size=16, memory=0)
    assert same(inside, outside)
    if (maps := Path("/proc/self/maps")).exists():  # where the system tells what is mapped
        (pixels,) = fresh.glob("*.npy")
        assert str(pixels) in maps.read_text()
    indices = torch.tensor([3, 1, 3])
    assert torch.equal(outside.train.batch(indices)[0], inside.train.batch(indices)[0])


def test_writing_to_mapped_images_does_not_reach_the_disk(fresh, album):
    mapped = labkit.load_data(album, size=16, memory=0)
    (pixels,) = fresh.glob("*.npy")
    written = pixels.read_bytes()
    mapped.train.store.zero_()
    assert pixels.read_bytes() == written


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(album, tmp_path, monkeypatch):
    (tmp_path / "blocked").write_text("a file where the cache folder should be")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "blocked"))
    assert len(labkit.load_data(album, size=16).train) == 16
    with pytest.raises(DataError, match=r"smaller size.*LABKIT_CACHE"):
        labkit.load_data(album, size=16, memory=0)


def test_a_broken_off_decoding_leaves_no_half_file(fresh, album, monkeypatch):
    from labkit.data.images import store

    def stop(source, size, white):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", stop)
        with pytest.raises(KeyboardInterrupt):
            labkit.load_data(album, size=16)
    assert not list(fresh.glob("*"))
    assert len(labkit.load_data(album, size=16).train) == 16


# ---------------------------------------------------------------- real photographs


@pytest.mark.photos
def test_ants_and_bees_come_in_their_official_numbers(photos):
    data = labkit.load_data("ants-bees")
    assert data.classes == ("ants", "bees")
    assert data.train.labels.bincount().tolist() == [123, 121]
    assert data.valid.labels.bincount().tolist() == [70, 83]
    assert len(data.test) == 0
    assert data.train.images.shape == (244, 3, 64, 64)


@pytest.mark.photos
def test_image_not_found_is_not_learned_as_an_ant(photos):
    data = labkit.load_data("ants-bees")
    (finding,) = data.report
    assert finding.file == "train/ants/imageNotFound.gif"
    assert finding.action == "left out"
    assert "image not found" in finding.problem
    assert finding.file not in data.train.names


@pytest.mark.photos
def test_a_placeholder_is_known_by_its_content_under_any_name(photos, tmp_path, monkeypatch):
    import shutil

    copy = tmp_path / "hymenoptera_data"
    for part in ("train", "val"):
        for name in ("ants", "bees"):
            (copy / part / name).mkdir(parents=True)
            for path in sorted((photos / copy.name / part / name).glob("*.jpg"))[:3]:
                shutil.copy(path, copy / part / name)
    placeholder = photos / copy.name / "train" / "ants" / "imageNotFound.gif"
    shutil.copy(placeholder, copy / "val" / "bees" / "bee.jpg")
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    data = labkit.load_data("ants-bees")
    assert "val/bees/bee.jpg" not in data.valid.names
    assert "image not found" in str(data.report)


@pytest.mark.photos
def test_no_photograph_of_ants_and_bees_is_on_both_sides(photos):
    data = labkit.load_data("ants-bees")
    sides = [
        {image.numpy().tobytes() for image in split.images} for split in (data.train, data.valid)
    ]
    assert not sides[0] & sides[1]
    assert [len(side) for side in sides] == [244, 153]


@pytest.mark.photos
def test_the_second_load_of_ants_and_bees_takes_less_than_a_fifth_of_a_second(photos):
    labkit.load_data("ants-bees")
    times = []
    for _ in range(5):  # processor time, for others may use this machine too
        start = time.process_time()
        labkit.load_data("ants-bees")
        times.append(time.process_time() - start)
    held("the second load of ants and bees", min(times), 0.2, "s")


@pytest.mark.photos
def test_a_strong_batch_of_ants_and_bees_takes_a_few_milliseconds(photos):
    from labkit.runtime import generator

    train, chance = labkit.load_data("ants-bees").train, generator(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for _ in range(20):
        start = time.thread_time()
        train.batch(torch.arange(32), "strong", chance)
        times.append(time.thread_time() - start)
    torch.set_num_threads(threads)
    held("a strong batch of ants and bees", min(times), 0.03, "s")
