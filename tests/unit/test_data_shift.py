"""Shifted images: the same every time, as strong as asked for, told by the recipe, and nothing else is changed."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import labkit
from labkit import runtime
from labkit.data import KINDS
from labkit.data.images.shift import DONE, shifted
from labkit.errors import DataError
from labkit.records import atlas


@pytest.fixture(scope="module")
def data():
    return labkit.load_data("digits", size=16)


@pytest.fixture(scope="module")
def coloured():
    """Images with colour and shape, so that every kind has something to do."""
    blocks = torch.rand(4, 3, 6, 6, generator=runtime.generator(0, "blocks"))
    return (255 * blocks).round().byte().repeat_interleave(10, 2).repeat_interleave(10, 3)


def far(one, other):
    return float((one.float() - other.float()).abs().mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stronger_shift_changes_more_and_none_changes_nothing(coloured, kind):
    steps = [far(shifted(coloured, kind, s), coloured) for s in (0, 0.25, 0.5, 0.75, 1)]
    assert steps[0] == 0
    assert min(steps[1:]) > 0.5
    assert steps[4] > 5
    if kind != "negative":  # that comes in steps of its own
        assert all(more > 1.05 * less for less, more in pairwise(steps))


@pytest.mark.parametrize("kind", KINDS)
def test_images_keep_their_form_and_those_that_came_in_stay(coloured, kind):
    before = coloured.clone()
    made = shifted(coloured, kind, 0.7)
    assert (made.shape, made.dtype) == (coloured.shape, torch.uint8)
    assert torch.equal(coloured, before)


def test_noise_is_drawn_from_the_seed_anew_for_each_image(coloured):
    made = shifted(coloured, "noise", 1, seed=3)
    assert torch.equal(made, shifted(coloured, "noise", 1, seed=3))
    assert not torch.equal(made, shifted(coloured, "noise", 1, seed=4))
    assert not torch.equal(made[0], made[1])


def test_each_kind_looks_as_it_says(coloured):
    full = {kind: shifted(coloured, kind, 1).float() for kind in KINDS}
    was = coloured.float()
    assert full["dark"].mean() == pytest.approx(0.3 * float(was.mean()), rel=0.02)
    assert full["contrast"].std() < 0.3 * was.std()
    assert abs(full["contrast"].mean() - was.mean()) < 3
    assert (full["negative"] - full["negative"].mean(1, keepdim=True)).abs().max() == 0  # grey
    red, green, blue = full["stain"].mean((0, 2, 3))
    assert green < red < blue  # violet
    edges = [images.diff(dim=3).abs().amax() for images in (full["blur"], was)]
    assert edges[0] <= edges[1]
    assert set(DONE) == set(KINDS)


def test_a_full_negative_is_the_grey_image_inverted(data):
    image = data.test.images[:8]  # digits are grey already
    assert torch.equal(shifted(image, "negative", 1), 255 - image)


def test_only_the_images_change(data):
    there = data.shift("stain", 0.5)
    for part in ("train", "valid", "test"):
        ours, theirs = getattr(data, part), getattr(there, part)
        assert torch.equal(ours.labels, theirs.labels)
        assert ours.names == theirs.names
        assert ours.fingerprint != theirs.fingerprint  # nothing kept of one is taken for the other


def test_the_recipe_gives_the_same_shift_again_also_of_a_subset(data):
    there = data.shift("noise", 0.5, seed=2).subset(per_class=5, seed=1)
    again = labkit.load_data(**there.spec())
    assert again.train.fingerprint == there.train.fingerprint
    first_few = data.subset(per_class=5, seed=1).shift("noise", 0.5, seed=2)
    assert first_few.train.fingerprint == there.train.fingerprint


@pytest.mark.parametrize(
    ("kind", "strength", "said"),
    [("fog", 1, "noise, blur"), ("blur", 1.5, "from 0"), ("blur", -1, "from 0"), ("blur", "much", "from 0"),
     (3, 1, "no shift"), ("blur", True, "from 0")],
)  # fmt: skip
def test_what_is_no_shift_is_refused(data, kind, strength, said):
    with pytest.raises(DataError, match=said):
        data.shift(kind, strength)


def test_images_are_not_shifted_twice(data):
    with pytest.raises(DataError, match="shifted already"):
        data.shift("blur").shift("noise")


def test_the_atlas_knows_that_its_images_were_not_shifted():
    data = labkit.load_data("digits").subset(per_class=10)
    net = labkit.load_backbone("resnet10-glyphs")
    expected = atlas.expect_run(labkit.Run(net, data, labkit.full(lr=1e-3)))
    shifted_run = labkit.Run(net, data.shift("dark"), labkit.full(lr=1e-3))
    assert any(
        "the shift of the images is" in one for one in atlas.differences(expected, shifted_run)
    )
