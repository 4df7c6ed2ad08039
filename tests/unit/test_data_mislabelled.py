"""Labels that were made wrong: as many as asked for, where it says, told by the recipe, and in training only."""

from __future__ import annotations

import pytest
import torch

import labkit
from labkit.data.mislabel import where
from labkit.errors import DataError, SplitError
from labkit.records import atlas


@pytest.fixture(scope="module")
def data():
    return labkit.load_data("digits", size=16).subset(per_class=10)


def test_exactly_the_share_is_wrong_and_data_says_where(data):
    noisy = data.mislabel(0.2, seed=3)
    moved = (noisy.train.labels != data.train.labels).nonzero().flatten()
    assert len(moved) == 20
    assert torch.equal(moved, noisy.mislabelled)
    assert len(data.mislabelled) == 0
    assert set(noisy.train.labels.tolist()) <= set(range(10))


def test_what_examines_stays_right_and_so_do_the_images(data):
    noisy = data.mislabel(0.5)
    for part in ("valid", "test"):
        assert torch.equal(getattr(noisy, part).labels, getattr(data, part).labels)
    assert noisy.train.fingerprint == data.train.fingerprint
    assert noisy.train.names == data.train.names


def test_a_larger_share_makes_the_same_labels_wrong_and_more(data):
    fifth, half = data.mislabel(0.2, seed=1), data.mislabel(0.5, seed=1)
    assert set(fifth.mislabelled.tolist()) < set(half.mislabelled.tolist())
    same = fifth.mislabelled
    assert torch.equal(fifth.train.labels[same], half.train.labels[same])


def test_runs_on_record_had_wrong_labels_at_these_places():
    assert where(20, 0.25, seed=0).tolist() == [1, 6, 15, 17, 19]
    assert where(20, 0.25, seed=1).tolist() == [0, 4, 5, 10, 19]


def test_every_other_class_is_as_likely(data):
    whole = labkit.load_data("digits", size=16)
    shift = (whole.mislabel(1.0).train.labels - whole.train.labels) % 10
    counts = shift.bincount(minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 80  # about 120 of 1,079 each


def test_another_seed_makes_others_wrong(data):
    one, other = (data.mislabel(0.2, seed=seed).mislabelled.tolist() for seed in (0, 1))
    assert one != other
    assert one == data.mislabel(0.2, seed=0).mislabelled.tolist()


def test_the_recipe_gives_the_same_wrong_labels_again(data):
    noisy = data.mislabel(0.3, seed=2)
    again = labkit.load_data(**noisy.spec())
    assert torch.equal(again.train.labels, noisy.train.labels)
    assert torch.equal(again.mislabelled, noisy.mislabelled)


@pytest.mark.parametrize("share", [-0.1, 1.5, "a fifth", None, True])
def test_a_share_that_is_none_is_refused(data, share):
    with pytest.raises(DataError, match="from 0 to 1"):
        data.mislabel(share)


def test_wrong_labels_are_neither_thinned_nor_spoilt_again(data):
    noisy = data.mislabel(0.2)
    with pytest.raises(SplitError, match="subset first"):
        noisy.subset(per_class=5)
    with pytest.raises(SplitError, match="as they were loaded"):
        noisy.mislabel(0.2)


def test_the_atlas_knows_that_its_labels_were_right():
    data = labkit.load_data("digits").subset(per_class=10)
    net = labkit.load_backbone("resnet10-glyphs")
    run = labkit.Run(net, data.mislabel(0.2), labkit.full(lr=1e-3))
    expected = atlas.expect_run(labkit.Run(net, data, labkit.full(lr=1e-3)))
    assert any(
        "the share of wrong labels is 0.2" in one for one in atlas.differences(expected, run)
    )
