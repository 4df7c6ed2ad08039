"""Folders of images: which shapes are understood, and what is said of the others."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import labkit
from labkit.errors import DataError, SplitError


def paint(path: Path, number: int, size: tuple[int, int] = (24, 20)) -> Path:
    """A small image of its own, so that no two are copies."""
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


def test_images_are_the_middle_of_the_photograph_shrunk_with_antialiasing(tmp_path):
    album(tmp_path)
    stripes = np.zeros((64, 192, 3), np.uint8)
    stripes[:, 64:128:2] = 255  # every other column of the middle; red on both sides
    stripes[:, :64, 0] = stripes[:, 128:, 0] = 255
    Image.fromarray(stripes).save(tmp_path / "cats" / "stripes.png")
    data = labkit.load_data(tmp_path, size=8)
    split = data.train if "cats/stripes.png" in data.train.names else data.valid
    image = split.images[split.names.index("cats/stripes.png")].float()
    inner = image[:, :, 1:-1]
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


# ---------------------------------------------------------------- splits under other names


@pytest.mark.parametrize(
    "names",
    [
        ("training", "testing"),  # fastai's MNIST
        ("Training", "Test"),  # Fruits-360
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("TrainImages", "TestImages"),
        ("train2017", "val2017"),
        ("trainset", "valset"),
        ("train", "dev"),
        ("train", "eval"),
    ],
)
def test_splits_are_known_by_their_usual_names(tmp_path, names):
    album(tmp_path / names[0], 6)
    album(tmp_path / names[1], 3, first=100)
    data = labkit.load_data(tmp_path, size=8)
    assert data.classes == ("cats", "dogs")
    examiners = data.test if "est" in names[1] else data.valid
    assert sorted(examiners.names) == sorted(
        f"{names[1]}/{kind}/{number}.png" for kind in ("cats", "dogs") for number in range(3)
    )
    assert len(data.report) == 0


@pytest.mark.parametrize(
    "names",
    [
        ("train", "unlabelled"),
        ("train", "holdout", "more"),
        ("val", "test"),
        ("val", "test", "more"),
        ("first", "second"),
        ("clinic a", "clinic b", "clinic c"),
    ],
)
def test_folders_that_may_be_splits_are_never_learned_as_classes(tmp_path, names):
    for number, name in enumerate(names):
        album(tmp_path / name, 3, first=100 * number)
    with pytest.raises(DataError, match=r"not clear which are splits.*train and val") as caught:
        labkit.load_data(tmp_path, size=8)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("names", [("trainA", "testA"), ("train_cats", "train_dogs", "test_cats")])
def test_folders_that_are_all_named_after_splits_are_never_learned_as_classes(tmp_path, names):
    for number, name in enumerate(names):
        for image in range(4):
            paint(tmp_path / name / f"{image}.png", 10 * number + image)
    with pytest.raises(DataError, match="not clear which are splits"):
        labkit.load_data(tmp_path, size=8)


@pytest.mark.parametrize("names", [("images", "masks"), ("Images", "Annotations", "labels")])
def test_masks_are_not_learned_as_a_class_beside_their_images(tmp_path, names):
    for number, name in enumerate(names):
        for image in range(4):
            paint(tmp_path / name / f"{image}.png", 10 * number + image)
    with pytest.raises(DataError, match="one class for each image"):
        labkit.load_data(tmp_path, size=8)


def test_splits_within_each_class_are_not_mixed(tmp_path):
    for number, kind in enumerate(("cats", "dogs")):
        for part in ("train", "test"):
            for image in range(3):
                paint(tmp_path / kind / part / f"{image}.png", 10 * number + image)
    with pytest.raises(DataError, match="each of them holds 'test', 'train'"):
        labkit.load_data(tmp_path, size=8)


def test_a_class_may_have_folders_of_its_own(tmp_path):
    album(tmp_path, 4)
    for kind in ("cats", "dogs"):
        for place in ("indoors", "outdoors"):
            paint(tmp_path / kind / place / "a.png", hash((kind, place)) % 10_000 + 50)
    assert labkit.load_data(tmp_path, size=8).classes == ("cats", "dogs")


def test_one_folder_in_each_class_is_a_way_to_store_images(tmp_path):
    for number in range(4):
        paint(tmp_path / "cats" / "images" / f"{number}.png", number)
        paint(tmp_path / "dogs" / "images" / f"{number}.png", 50 + number)
    assert labkit.load_data(tmp_path, size=8).classes == ("cats", "dogs")


def test_a_lone_train_folder_beside_notes_is_the_data(tmp_path):
    album(tmp_path / "train", 5)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.txt").write_text("hello")
    data = labkit.load_data(tmp_path, size=8)
    assert data.classes == ("cats", "dogs")
    assert [finding.file for finding in data.report] == ["docs/"]


@pytest.mark.parametrize("inside", ["1.png", "unknown/1.png", "test/1.png"])
def test_an_unlabelled_test_folder_is_left_out_and_said_so(tmp_path, inside):
    album(tmp_path / "train", 4)
    album(tmp_path / "val", 2, first=100)
    paint(tmp_path / "test" / inside, 7)
    data = labkit.load_data(tmp_path, size=8)
    assert (len(data.train), len(data.valid), len(data.test)) == (8, 4, 0)
    (finding,) = data.report
    assert (finding.file, finding.action) == ("test/", "left out")
    assert "nothing says what its images show" in finding.problem


def test_a_test_folder_with_some_of_the_classes_is_a_mistake_and_not_unlabelled(tmp_path):
    album(tmp_path / "train", 4)
    paint(tmp_path / "test" / "cats" / "a.png", 7)
    paint(tmp_path / "test" / "emus" / "a.png", 8)
    with pytest.raises(DataError, match="differ in 'dogs', 'emus'"):
        labkit.load_data(tmp_path, size=8)


# ---------------------------------------------------------------- links


def test_a_linked_folder_inside_a_class_belongs_to_it(tmp_path):
    album(tmp_path / "pets", 4)
    for number in range(5):
        paint(tmp_path / "more" / "deep" / f"{number}.png", 700 + number)
    (tmp_path / "more" / "deep" / "circle").symlink_to(tmp_path / "more")
    (tmp_path / "pets" / "cats" / "more").symlink_to(tmp_path / "more")
    data = labkit.load_data(tmp_path / "pets", size=8)
    assert sum(name.startswith("cats/more/deep/") for name in everyone(data)) == 5
    assert [finding.file for finding in data.report] == ["cats/more/deep/circle"]


def test_a_link_back_into_the_data_set_is_not_followed_and_said_so(tmp_path):
    album(tmp_path, 4)
    (tmp_path / "cats" / "friends").symlink_to(tmp_path / "dogs")
    (tmp_path / "dogs" / "all").symlink_to(tmp_path)
    data = labkit.load_data(tmp_path, size=8)
    assert len(everyone(data)) == 8
    assert {finding.file for finding in data.report} == {"cats/friends", "dogs/all"}
    assert all("part of the data set already" in finding.problem for finding in data.report)


# ---------------------------------------------------------------- names of folders


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information", "__MACOSX", ".git"],
)
def test_folders_of_the_system_are_no_classes(tmp_path, name):
    album(tmp_path, 4)
    paint(tmp_path / name / "thumb.png", 7)
    paint(tmp_path / "cats" / name / "thumb.png", 8)
    data = labkit.load_data(tmp_path, size=8)
    assert data.classes == ("cats", "dogs")
    assert len(everyone(data)) == 8


def test_a_class_may_be_called_background_in_the_way_of_machines(tmp_path):
    album(tmp_path, 4)
    for number in range(4):
        paint(tmp_path / "__background__" / f"{number}.png", 80 + number)
    assert "__background__" in labkit.load_data(tmp_path, size=8).classes


def test_a_class_may_be_called_like_a_file(tmp_path):
    album(tmp_path, 4)
    for number in range(4):
        paint(tmp_path / "v1.png" / f"{number}.png", 80 + number)
    data = labkit.load_data(tmp_path, size=8)
    assert data.classes == ("cats", "dogs", "v1.png")
    assert len(data.report) == 0


def test_one_name_spelt_in_two_ways_is_one_class(tmp_path):
    one, other = "caf\u00e9", "cafe\u0301"  # as Linux writes it, and as macOS does
    for part, name in (("train", one), ("val", other)):
        album(tmp_path / part, 3, first=len(name) * 10)
        for number in range(3):
            paint(tmp_path / part / name / f"{number}.png", 800 + number + len(name) * 10)
    assert labkit.load_data(tmp_path, size=8).classes == (one, "cats", "dogs")
    if (tmp_path / "train" / other).exists():
        return  # this file system takes the two for one
    (tmp_path / "train" / other).mkdir()
    with pytest.raises(DataError, match="two folders whose names both read"):
        labkit.load_data(tmp_path, size=8)


def test_two_names_that_are_no_text_stay_two_classes(tmp_path):
    album(tmp_path, 3)
    for number, name in enumerate((b"caf\xe8", b"caf\xe9")):
        os.rename(
            paint(tmp_path / "x" / "a.png", 60 + number).parent, os.fsencode(tmp_path) + b"/" + name
        )
        for image in range(3):
            file = paint(tmp_path / "a.png", 70 + 10 * number + image)
            os.rename(file, os.fsencode(tmp_path) + b"/" + name + f"/{image}.png".encode())
    classes = labkit.load_data(tmp_path, size=8).classes
    assert classes == ("caf\\xe8", "caf\\xe9", "cats", "dogs")


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
    assert "the same image as cats/0.png" in str(data.report)


def test_a_training_image_that_also_examines_stays_with_the_examiners(tmp_path):
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


def test_the_same_image_under_two_classes_teaches_neither(tmp_path):
    album(tmp_path)
    (tmp_path / "dogs" / "cat.png").write_bytes((tmp_path / "cats" / "3.png").read_bytes())
    data = labkit.load_data(tmp_path, size=8)
    assert not {"dogs/cat.png", "cats/3.png"} & set(everyone(data))
    assert "another class" in str(data.report)


def test_the_same_photograph_saved_again_is_never_on_both_sides(tmp_path):
    album(tmp_path, 6)
    for path in sorted((tmp_path / "cats").iterdir()):
        about = PngInfo()
        about.add_text("Software", "saved again")
        Image.open(path).save(path.with_name(f"{path.stem}_again.png"), pnginfo=about)
        Image.open(path).save(path.with_name(f"{path.stem}_again.bmp"))
    data = labkit.load_data(tmp_path, size=16)
    cats = [name for name in everyone(data) if name.startswith("cats")]
    assert len(cats) == 6
    assert len({Path(name).stem.split("_")[0] for name in cats}) == 6
    assert data.report.left_out() == 12
    again = labkit.load_data(tmp_path, size=16)  # from the cache
    assert again.report == data.report


# ---------------------------------------------------------------- shapes that are not


@pytest.mark.parametrize("name", ["", " ", Path(), ("", "x"), ("x", " ")])
def test_no_name_is_not_the_folder_one_is_in(tmp_path, monkeypatch, name):
    album(tmp_path)
    monkeypatch.chdir(tmp_path)
    if name == Path():  # is spelt "." and says so
        assert labkit.load_data(name, size=8).classes == ("cats", "dogs")
        return
    with pytest.raises(DataError, match=r"names nothing.*'\.'"):
        labkit.load_data(name, size=8)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        labkit.load_data(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder_is_named(tmp_path):
    archive = tmp_path / "images.zip"
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


def test_a_class_with_one_image_is_named(tmp_path):
    album(tmp_path)
    paint(tmp_path / "emus" / "only.png", 5555)
    with pytest.raises(SplitError, match="'emus' has 1 usable image"):
        labkit.load_data(tmp_path)


def test_a_class_with_no_image_is_named(tmp_path):
    album(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    with pytest.raises(SplitError, match="'notes' has 0 usable"):
        labkit.load_data(tmp_path)


def test_a_class_without_usable_images_says_why_and_brings_the_report(tmp_path):
    album(tmp_path / "train", 4)
    album(tmp_path / "val", 4, first=100)
    for number, path in enumerate(sorted((tmp_path / "val" / "cats").iterdir())):
        path.unlink()
        heic = b"\0\0\0\x18ftypheic" + bytes(number + 50)
        path.with_suffix((".heic", ".jpg", ".HEIC", ".txt")[number]).write_bytes(heic)
    with pytest.raises(SplitError, match=r"4 file\(s\).*3 of them because: a HEIC.*JPEG") as caught:
        labkit.load_data(tmp_path)
    assert sorted(finding.file for finding in caught.value.report) == [
        "val/cats/0.heic",
        "val/cats/1.jpg",
        "val/cats/2.HEIC",
        "val/cats/3.txt",
    ]


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


@pytest.mark.parametrize(
    "name",
    ["x" * 5000, "./" + "x" * 5000, "~nobody_here/pets", ("a\0", "b")],
    ids=lambda name: name[0][:9],
)
def test_a_path_that_no_system_has_is_refused_in_words(name):
    with pytest.raises(DataError, match=r"cannot be opened|no data set named"):
        labkit.load_data(name)


def test_a_folder_that_may_not_be_read_is_refused_in_words(tmp_path):
    album(tmp_path / "theirs", 1).chmod(0)
    other = os.geteuid() == 0 if hasattr(os, "geteuid") else False
    try:
        if other:  # root may read everything
            os.seteuid(65534)
        with pytest.raises(DataError, match=r"cannot be opened: .*ermission denied.*may read"):
            labkit.load_data(tmp_path / "theirs")
    finally:
        if other:
            os.seteuid(0)
        (tmp_path / "theirs").chmod(0o700)


@pytest.mark.parametrize("name", [None, 5, ("one",), ("a", "b", "c"), (1, 2), b"ab"])
def test_what_is_neither_name_nor_path_nor_pair_is_refused(name):
    with pytest.raises(DataError, match="give a name, the path of a folder, or a pair"):
        labkit.load_data(name)
