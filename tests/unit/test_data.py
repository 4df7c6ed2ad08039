"""The data room's promises about named sets, splits, batches and augmentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import labkit
from labkit.data import LEVELS, card, cards, datasets
from labkit.data.images.augment import draw
from labkit.data.splits import copies, stratified
from labkit.errors import DataError, SplitError
from labkit.runtime import generator


@pytest.fixture(scope="module")
def digits():
    return labkit.load_data("digits")


# ---------------------------------------------------------------- cards


def test_every_card_says_whose_data_it_is_and_where_it_comes_from():
    for about in cards().values():
        assert about.licence
        assert about.citation
        assert about.homepage.startswith("https://")
        assert about.pictures > 0
        assert len(set(about.classes)) == len(about.classes) >= 2


def test_every_archive_has_a_published_checksum():
    lengths = {"sha256": 64, "md5": 32}
    for about in cards().values():
        for archive in about.archives:
            algorithm, digest = archive.checksum
            assert re.fullmatch("[0-9a-f]+", digest)
            assert len(digest) == lengths[algorithm]


def test_checksums_and_classes_are_the_ones_that_torchvision_publishes():
    from torchvision.datasets import CIFAR10, Flowers102

    if hasattr(Flowers102, "classes"):  # the oldest torchvision that is allowed has no names
        assert list(card("flowers102").classes) == Flowers102.classes
    assert {archive.md5 for archive in card("flowers102").archives} == {
        md5 for _, md5 in Flowers102._file_dict.values()
    }
    assert card("cifar10").archives[0].url == CIFAR10.url


def test_the_table_of_data_sets_names_them_all():
    table = datasets()
    assert set(table.name) == {"digits", "ants-bees", "cifar10", "flowers102", "pets"}
    assert bool(table.set_index("name").at_hand["digits"])


def test_an_unknown_name_is_answered_with_the_nearest_known_one():
    with pytest.raises(DataError, match="ants-bees"):
        labkit.load_data("ant-bees")


# ---------------------------------------------------------------- what comes out


def test_digits_come_in_three_stratified_splits(digits):
    assert (len(digits.train), len(digits.valid), len(digits.test)) == (1079, 359, 359)
    for split in (digits.train, digits.valid, digits.test):
        shares = split.labels.bincount(minlength=10) / len(split)
        assert shares.min() > 0.09
        assert shares.max() < 0.11


def test_images_labels_and_names_fit_together(digits):
    for split in (digits.train, digits.valid, digits.test):
        assert split.images.shape == (len(split), 3, 32, 32)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert len(split.names) == len(set(split.names)) == len(split)


def test_every_digit_is_the_one_that_scikit_learn_ships_in_its_order(digits):
    from sklearn.datasets import load_digits

    shipped = load_digits()
    small = labkit.load_data("digits", size=8)
    pixels = torch.tensor(shipped.images * 255 / 16).round().to(torch.uint8)
    assert torch.equal(small.train.store, pixels[:, None].expand(-1, 3, -1, -1))
    for split in (small.train, small.valid, small.test):
        assert split.names == tuple(f"digit-{row:04d}" for row in split.rows.tolist())
        assert split.labels.tolist() == shipped.target[split.rows].tolist()


@pytest.mark.slow
def test_loading_digits_imports_nothing_that_digits_do_not_need():
    code = (
        "import sys, labkit; assert len(labkit.load_data('digits').train) == 1079; "
        "print(*({name.split('.')[0] for name in sys.modules} & "
        "{'sklearn', 'scipy', 'pandas', 'torchvision', 'matplotlib', 'IPython', 'ipywidgets', 'fastai'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_image_is_in_two_splits(digits):
    names = [*digits.train.names, *digits.valid.names, *digits.test.names]
    assert len(names) == len(set(names)) == 1797


def test_the_same_seed_gives_the_same_splits_and_another_gives_others():
    one, same, other = (labkit.load_data("digits", seed=seed) for seed in (3, 3, 4))
    assert one.valid.names == same.valid.names
    assert torch.equal(one.valid.images, same.valid.images)
    assert one.valid.names != other.valid.names


def test_loading_data_leaves_the_global_random_state_alone(digits):
    before = torch.random.get_rng_state()
    data = labkit.load_data("digits", seed=9)
    data.train.batch(torch.arange(4), "strong", generator(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_test_share_is_set_aside_from_the_training_images():
    assert len(labkit.load_data("digits", test=0).test) == 0
    data = labkit.load_data("digits", test=0.4)
    assert abs(len(data.test) - 0.4 * 1797) < 10
    assert not set(data.test.names) & set(data.train.names)


@pytest.mark.parametrize("test", [-0.1, 0.9, True, "some", float("nan")])
def test_a_test_share_out_of_range_is_refused(test):
    with pytest.raises(SplitError, match="from 0 to"):
        labkit.load_data("digits", test=test)


@pytest.mark.parametrize("size", [0, 7, 513, 64.0, True, "64"])
def test_a_size_that_cannot_be_used_is_refused(size):
    with pytest.raises(DataError, match="8 to 512"):
        labkit.load_data("digits", size=size)


@pytest.mark.parametrize("seed", [0.5, "1", None, True, np.True_])
def test_a_seed_that_is_no_whole_number_is_refused(digits, seed):
    for ask in (
        lambda: labkit.load_data("digits", seed=seed),
        lambda: digits.subset(3, seed=seed),
        lambda: digits.mislabel(0.1, seed=seed),
        lambda: digits.shift("dark", seed=seed),
    ):
        with pytest.raises(DataError, match="whole number"):
            ask()


def test_numbers_out_of_an_array_are_numbers():
    asked = {"size": np.int64(8), "seed": np.uint8(2), "test": np.float32(0.25), "flip": np.True_}
    asked |= {"per_class": np.int32(5), "subset_seed": torch.tensor(4)}
    asked |= {"mislabelled": np.float64(0.5), "mislabel_seed": np.int16(3)}
    asked |= {"shifted": "noise", "strength": np.float32(0.5), "shift_seed": np.int8(6)}
    plain = {
        name: getattr(value, "item", lambda value=value: value)() for name, value in asked.items()
    }
    data, again = labkit.load_data("digits", **asked), labkit.load_data("digits", **plain)
    assert json.loads(json.dumps(data.spec())) == again.spec()
    assert torch.equal(data.train.store, again.train.store)
    assert torch.equal(data.train.labels, again.train.labels)


@pytest.mark.parametrize("strength", [np.float64(1.5), np.nan, np.True_, "much"])
def test_a_number_out_of_an_array_is_held_to_the_same_limits(digits, strength):
    with pytest.raises(DataError, match="from 0"):
        digits.shift("noise", strength)
    with pytest.raises(DataError, match="from 0 to 1"):
        digits.mislabel(strength)
    with pytest.raises(SplitError, match="from 0 to"):
        labkit.load_data("digits", test=strength)


# ---------------------------------------------------------------- what a notebook did to torch before


def everything() -> list[torch.Tensor]:
    """What the data room computes, all of it."""
    data = labkit.load_data("digits", size=16).subset(6).mislabel(0.3)
    tensors = [data.mislabelled, data.train.rows, data.train.labels]
    tensors += [data.shift(kind, 0.7).train.images for kind in labkit.data.KINDS]
    for level in LEVELS:
        tensors += data.train.batch([3, 1, 3], level, generator(0, "augment"))
    return tensors


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (lambda: torch.set_default_device("meta"), lambda: torch.set_default_device(None)),
        (
            lambda: torch.set_default_dtype(torch.float64),
            lambda: torch.set_default_dtype(torch.float32),
        ),
    ],
    ids=["device", "dtype"],
)
@pytest.mark.slow
def test_data_come_out_alike_whatever_defaults_torch_was_given(change, back):
    expected = everything()
    change()
    try:
        found = everything()
    finally:
        back()
    for one, other in zip(found, expected, strict=True):
        assert one.device.type == "cpu"
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_a_bad_value_is_refused_before_anything_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_OFFLINE", "1")
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match="8 to 512"):
        labkit.load_data("pets", size=1)


def test_spec_is_json_and_gives_the_same_data_again():
    data = labkit.load_data("digits", size=16, seed=5, test=0.1).subset(per_class=3, seed=2)
    spec = json.loads(json.dumps(data.spec()))
    again = labkit.load_data(**spec)
    assert again.spec() == data.spec()
    for part in ("train", "valid", "test"):
        one, other = getattr(data, part), getattr(again, part)
        assert one.names == other.names
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_a_subset_keeps_the_same_number_of_every_class_and_all_of_valid(digits):
    few = digits.subset(per_class=3)
    assert few.train.labels.bincount().tolist() == [3] * 10
    assert set(few.train.names) <= set(digits.train.names)
    assert few.valid.names == digits.valid.names
    assert digits.subset(per_class=3, seed=1).train.names != few.train.names


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_a_subset_that_cannot_be_drawn_is_refused(digits, count):
    with pytest.raises(SplitError, match="per_class"):
        digits.subset(per_class=count)


def test_data_says_what_it_is_in_one_line(digits):
    assert str(digits) == (
        "digits: 1079 train, 359 valid, 359 test images at 32 px; 10 classes (0, 1, 2, 3 …)"
    )


# ---------------------------------------------------------------- batches


def test_a_batch_is_what_was_asked_for_in_the_order_it_was_asked(digits):
    indices = torch.tensor([5, 0, 5, 1078])
    images, labels = digits.train.batch(indices)
    assert images.dtype == torch.float32
    assert torch.equal(images, digits.train.images[indices].float() / 255)
    assert torch.equal(labels, digits.train.labels[indices])


def test_an_empty_test_split_gives_empty_batches():
    split = labkit.load_data("digits", test=0).test
    images, labels = split.batch(torch.arange(0))
    assert images.shape == (0, 3, 32, 32)
    assert len(labels) == len(split) == len(split.images) == 0


@pytest.mark.parametrize("level", ["light", "strong"])
def test_augmentation_is_decided_by_its_generator_alone(digits, level):
    indices = torch.arange(16)
    one, _ = digits.train.batch(indices, level, generator(0, "augment"))
    torch.rand(100)
    same, _ = digits.train.batch(indices, level, generator(0, "augment"))
    other, _ = digits.train.batch(indices, level, generator(1, "augment"))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("level", ["light", "strong"])
def test_every_image_is_changed_its_own_way_and_stays_in_range(level):
    data = labkit.load_data("digits")
    data.train.store[data.train.rows[:32]] = data.train.store[data.train.rows[0]].clone()
    images, _ = data.train.batch(torch.arange(32), level, generator(0))
    assert len({image.numpy().tobytes() for image in images}) == 32
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("level", ["light", "strong"])
def test_how_an_image_is_changed_does_not_depend_on_the_rest_of_the_batch(digits, level):
    many, _ = digits.train.batch(torch.arange(64), level, generator(3))
    few, _ = digits.train.batch(torch.tensor([40, 7]), level, generator(3))
    assert torch.equal(few, many[[40, 7]])


def test_a_crop_that_is_not_turned_stays_inside_the_image():
    maps = draw(500, "light", True, (32, 32), generator(0, "augment")).maps
    corners = maps[:, :, :2].abs().sum(2) + maps[:, :, 2].abs()  # 1 is the edge
    assert corners.max() <= 1 + 1e-6
    assert corners.max() > 0.99  # and every place in it is reached


def test_no_augmentation_draws_no_random_number(digits):
    chance = generator(0)
    before = chance.get_state()
    digits.train.batch(torch.arange(4), "none", chance)
    assert torch.equal(chance.get_state(), before)


@pytest.mark.parametrize("flip", [True, False])
def test_images_are_mirrored_only_where_the_card_allows_it(flip):
    data = labkit.load_data("digits", flip=flip)
    ramp = torch.arange(32, dtype=torch.uint8).mul(8).expand(1, 3, 32, 32)  # brighter to the right
    data.train.store[data.train.rows[:200]] = ramp
    images, _ = data.train.batch(torch.arange(200), "light", generator(0))
    mirrored = (images[:, 0, 16, 4] > images[:, 0, 16, 28]).float().mean()
    assert (0.35 < mirrored < 0.65) if flip else mirrored == 0


def test_digits_are_never_mirrored_unless_someone_insists(digits):
    assert digits.card.flip is False
    assert digits.train.flip is False


def test_an_unknown_augmentation_is_refused_with_the_known_ones(digits):
    with pytest.raises(DataError, match=", ".join(LEVELS)):
        digits.train.batch(torch.arange(2), "extreme", generator(0))


def test_augmentation_without_a_generator_is_refused(digits):
    with pytest.raises(DataError, match="generator"):
        digits.train.batch(torch.arange(2), "light")


# ---------------------------------------------------------------- splitting


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(3, 40), min_size=2, max_size=6),
    valid=st.floats(0.01, 0.5),
    test=st.floats(0.01, 0.5),
    seed=st.integers(0, 1000),
)
def test_splits_are_disjoint_complete_and_blind_to_no_class(counts, valid, test, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    parts = stratified(labels, {"valid": valid, "test": test}, seed)
    everything = torch.cat(list(parts.values()))
    assert torch.equal(everything.sort().values, torch.arange(len(labels)))
    for positions in parts.values():
        assert (labels[positions].bincount(minlength=len(counts)) > 0).all()
        assert torch.equal(positions, positions.sort().values)


def test_of_two_copies_the_one_that_examines_stays():
    assert copies("aab", ["train", "valid", "train"], [0, 0, 1]) == {0: (1, False)}


def test_copies_that_disagree_on_their_class_all_go():
    assert copies("aa", ["train", "train"], [0, 1]) == {0: (1, True), 1: (0, True)}
