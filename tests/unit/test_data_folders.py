"""Folders of pictures: which shapes are understood, and what is said of the others."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit
from labkit.errors import DataError, SplitError


def paint(path: Path, number: int, size: tuple[int, int] = (24, 20)) -> Path:
    """A small picture of its own, so that no two are copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def album(root: Path, count: int = 10, first: int = 0) -> Path:
    for number in range(count):
        paint(root / "cats" / f"{number}.png", first + number)
        paint(root / "dogs" / f"{number}.png", first + 1000 + number)
    return root


def everyone(data) -> list[str]:
    return [*data.train.names, *data.valid.names, *data.test.names]


# ---------------------------------------------------------------- shapes that are understood


def test_a_folder_with_one_subfolder_a_class_loads(tmp_path):
    data = labkit.load_data(album(tmp_path / "pets"), size=16)
    assert data.name == "pets"
    assert data.classes == ("cats", "dogs")
    assert (len(data.train), len(data.valid), len(data.test)) == (16, 4, 0)
    assert data.valid.labels.tolist() == [0, 0, 1, 1]
    assert all(name.startswith("cats/") for name in data.train.names[:8])
    assert len(data.report) == 0


def test_a_path_is_known_by_its_separator_and_by_lying_there(tmp_path, monkeypatch):
    album(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    for name in ("pictures", "./pictures", str(tmp_path / "pictures")):
        assert labkit.load_data(name, size=8).classes == ("cats", "dogs")


def test_a_folder_with_train_and_val_keeps_its_own_splits(tmp_path):
    album(tmp_path / "train", 5)
    album(tmp_path / "val", 3, first=100)
    data = labkit.load_data(tmp_path, size=8)
    assert (len(data.train), len(data.valid)) == (10, 6)
    assert all(name.startswith("val/") for name in data.valid.names)


def test_a_pair_of_folders_is_train_and_valid(tmp_path):
    pair = (album(tmp_path / "a", 5), album(tmp_path / "b", 3, first=100))
    data = labkit.load_data(pair, size=8)
    assert (len(data.train), len(data.valid)) == (10, 6)
    again = labkit.load_data(**json.loads(json.dumps(data.spec())))
    assert everyone(again) == everyone(data)


def test_a_test_share_comes_out_of_the_folder(tmp_path):
    data = labkit.load_data(album(tmp_path), size=8, test=0.2)
    assert (len(data.train), len(data.valid), len(data.test)) == (12, 4, 4)
    assert len(set(everyone(data))) == 20


def test_nested_and_upper_case_files_count_and_hidden_ones_do_not(tmp_path):
    album(tmp_path)
    paint(tmp_path / "cats" / "indoors" / "deep.PNG", 77)
    paint(tmp_path / "cats" / ".hidden.png", 78)
    paint(tmp_path / ".thumbnails" / "x.png", 79)
    paint(tmp_path / "cats" / ".thumbnails" / "x.png", 80)
    names = everyone(labkit.load_data(tmp_path, size=8))
    assert "cats/indoors/deep.PNG" in names
    assert len(names) == 21


def test_a_folder_of_linked_folders_loads_and_a_circle_does_no_harm(tmp_path):
    album(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "real" / "cats" / "again").symlink_to(tmp_path / "real")
    assert len(everyone(labkit.load_data(tmp_path / "linked", size=8))) == 20


def test_pictures_are_the_middle_of_the_photograph_shrunk_with_antialiasing(tmp_path):
    album(tmp_path)
    stripes = np.zeros((64, 192, 3), np.uint8)
    stripes[:, 64:128:2] = 255  # every other column of the middle; red on both sides
    stripes[:, :64, 0] = stripes[:, 128:, 0] = 255
    Image.fromarray(stripes).save(tmp_path / "cats" / "stripes.png")
    data = labkit.load_data(tmp_path, size=8)
    split = data.train if "cats/stripes.png" in data.train.names else data.valid
    picture = split.images[split.names.index("cats/stripes.png")].float()
    inner = picture[:, :, 1:-1]
    assert (inner - 127.5).abs().max() < 12  # grey: neither aliased to black or white nor red
    assert torch.equal(inner[0], inner[1])


def test_what_lies_beside_the_classes_or_the_splits_is_reported(tmp_path):
    album(tmp_path / "train", 3)
    album(tmp_path / "valid", 3, first=50)
    paint(tmp_path / "extra" / "cats" / "a.png", 9)
    paint(tmp_path / "train" / "loose.png", 10)
    data = labkit.load_data(tmp_path, size=8)
    assert {finding.file for finding in data.report} == {"train/loose.png", "extra/"}
    assert data.report.left_out() == 2


def test_a_class_may_be_called_train(tmp_path):
    for number in range(5):
        paint(tmp_path / "train" / f"{number}.png", number)
        paint(tmp_path / "tram" / f"{number}.png", 100 + number)
    assert labkit.load_data(tmp_path, size=8).classes == ("train", "tram")


def test_a_folder_with_train_and_test_gets_its_validation_split_from_train(tmp_path):
    album(tmp_path / "train", 10)
    album(tmp_path / "test", 3, first=50)
    data = labkit.load_data(tmp_path, size=8)
    assert (len(data.train), len(data.valid), len(data.test)) == (16, 4, 6)
    with pytest.raises(SplitError, match="its own test split"):
        labkit.load_data(tmp_path, size=8, test=0.1)


def test_two_validation_folders_are_one_too_many(tmp_path):
    for number, part in enumerate(("train", "val", "valid")):
        album(tmp_path / part, 2, first=50 * number)
    with pytest.raises(DataError, match="both 'val' and 'valid'"):
        labkit.load_data(tmp_path, size=8)


# ---------------------------------------------------------------- copies


def test_identical_files_are_never_on_both_sides(tmp_path):
    album(tmp_path)
    original = (tmp_path / "cats" / "0.png").read_bytes()
    for number in range(20):
        (tmp_path / "cats" / f"copy{number}.png").write_bytes(original)
    data = labkit.load_data(tmp_path, size=8)
    digests = [
        {hashlib.sha256((tmp_path / name).read_bytes()).digest() for name in split.names}
        for split in (data.train, data.valid)
    ]
    assert not digests[0] & digests[1]
    assert data.report.left_out() == 20
    assert "the same picture as cats/0.png" in str(data.report)


def test_a_training_picture_that_also_examines_stays_with_the_examiners(tmp_path):
    album(tmp_path / "train", 4)
    album(tmp_path / "val", 3, first=100)
    copy = tmp_path / "train" / "cats" / "leak.png"
    copy.write_bytes((tmp_path / "val" / "cats" / "1.png").read_bytes())
    data = labkit.load_data(tmp_path, size=8)
    assert "train/cats/leak.png" not in data.train.names
    assert "val/cats/1.png" in data.valid.names
    (finding,) = data.report
    assert finding.file == "train/cats/leak.png"
    assert "val/cats/1.png" in finding.problem


def test_the_same_picture_under_two_classes_teaches_neither(tmp_path):
    album(tmp_path)
    (tmp_path / "dogs" / "cat.png").write_bytes((tmp_path / "cats" / "3.png").read_bytes())
    data = labkit.load_data(tmp_path, size=8)
    assert not {"dogs/cat.png", "cats/3.png"} & set(everyone(data))
    assert "another class" in str(data.report)


# ---------------------------------------------------------------- shapes that are not


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        labkit.load_data(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder_is_named(tmp_path):
    archive = tmp_path / "pictures.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"is a file.*Unpack it first"):
        labkit.load_data(archive)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        labkit.load_data(tmp_path)


def test_a_flat_folder_is_told_how_to_say_the_classes(tmp_path):
    paint(tmp_path / "a.png", 1)
    with pytest.raises(DataError, match=r"no subfolders.*at least two subfolders"):
        labkit.load_data(tmp_path)


def test_a_single_class_is_named(tmp_path):
    paint(tmp_path / "cats" / "a.png", 1)
    with pytest.raises(DataError, match="single class, 'cats'"):
        labkit.load_data(tmp_path)


def test_a_class_with_one_picture_is_named(tmp_path):
    album(tmp_path)
    paint(tmp_path / "emus" / "only.png", 5555)
    with pytest.raises(SplitError, match="'emus' has 1 usable picture"):
        labkit.load_data(tmp_path)


def test_a_class_with_no_picture_is_named(tmp_path):
    album(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    with pytest.raises(SplitError, match="'notes' has 0 usable"):
        labkit.load_data(tmp_path)


def test_classes_that_differ_between_train_and_valid_are_named(tmp_path):
    album(tmp_path / "train", 3)
    album(tmp_path / "val", 3, first=50)
    paint(tmp_path / "val" / "emus" / "a.png", 9)
    with pytest.raises(DataError, match="differ in 'emus'"):
        labkit.load_data(tmp_path)


def test_the_same_folder_on_both_sides_is_refused(tmp_path):
    album(tmp_path)
    with pytest.raises(SplitError, match="twice"):
        labkit.load_data((tmp_path, f"{tmp_path}{os.sep}."))


@pytest.mark.parametrize("name", [None, 5, ("one",), ("a", "b", "c"), (1, 2), b"ab"])
def test_what_is_neither_name_nor_path_nor_pair_is_refused(name):
    with pytest.raises(DataError, match="give a name, the path of a folder, or a pair"):
        labkit.load_data(name)
