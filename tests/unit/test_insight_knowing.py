"""What a network knows before it is taught: nearest neighbours, and the old head in the words of a new task."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

import labkit
from labkit import insight
from labkit.course.lesson_02 import claims as lesson_02
from labkit.errors import BackboneError, DataError, SplitError, StageError
from labkit.insight.zero_shot import BY_HAND
from labkit.show.figure import Figure
from tests.small import Clouds, Small


@pytest.fixture(scope="module")
def data():
    return labkit.load_data("digits").subset(per_class=3)


@pytest.fixture(scope="module")
def letters():
    return labkit.load_backbone("resnet10-glyphs")


@pytest.fixture(scope="module")
def run(letters, data):
    return labkit.Run(letters, data, labkit.feature_extraction(epochs=1), name="letters")


def pixel_row(num_classes):
    stages = OrderedDict(pixels=nn.Flatten(), head=nn.Linear(3 * 32 * 32, num_classes))
    return nn.Sequential(stages)


@pytest.fixture(scope="module")
def pixels(data):
    net = labkit.Backbone.from_module(pixel_row, ("pixels", "head"), "bare pixels")
    return labkit.Run(net, data, labkit.feature_extraction(epochs=1))


# ---------------------------------------------------------------- neighbours


def test_neighbours_are_those_a_loop_over_all_pairs_finds(pixels, data):
    found = insight.neighbours(pixels, images=[0, 7, 200], count=4)
    images = data.valid.batch(range(len(data.valid)))[0].double().flatten(1)
    for row, place in enumerate([0, 7, 200]):
        cosines = torch.cosine_similarity(images, images[place : place + 1])
        others = sorted((i for i in range(len(images)) if i != place), key=lambda i: -cosines[i])
        assert found.found[row].tolist() == others[:4]
        assert found.alike[row].tolist() == pytest.approx(cosines[others[:4]].tolist())


def test_nothing_is_its_own_neighbour_and_all_are_asked_unless_some_are_named(run, data):
    found = insight.neighbours(run, count=3)
    assert found.asked.tolist() == list(range(len(data.valid)))
    assert not (found.found == found.asked.unsqueeze(1)).any()
    assert (found.alike <= 1 + 1e-9).all()
    assert (found.alike.diff(dim=1) <= 0).all()


def test_agreement_counts_right_neighbours_and_has_an_interval(run, data):
    found = insight.neighbours(run, count=1)
    labels = data.valid.labels
    same = (labels[found.found[:, 0]] == labels).double().mean()
    assert found.agreement == pytest.approx(float(same))
    assert found.interval[0] < found.agreement < found.interval[1]
    assert (found.table["class"] == found.table["class of neighbour"]).mean() == pytest.approx(
        found.agreement
    )


def test_looking_for_neighbours_leaves_no_trace(letters, data):
    one, other = (
        labkit.Run(letters, data, labkit.partial("layer4", epochs=1), seed=3) for _ in range(2)
    )
    one.step()
    insight.neighbours(one, "layer2", images=[1])
    other.step()
    one.fit()
    other.fit()
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_samples_that_are_no_figures_have_neighbours_too():
    clouds = labkit.Run(Small(), Clouds(), labkit.partial("middle", lr=1e-2, epochs=1))
    assert insight.neighbours(clouds, count=2).found.shape[1] == 2


def test_what_is_not_there_cannot_be_asked_about(run, data):
    with pytest.raises(StageError, match="layer4"):
        insight.neighbours(run, "layer9")
    with pytest.raises(SplitError, match=f"0 to {len(data.valid) - 1}"):
        insight.neighbours(run, images=[len(data.valid)])
    with pytest.raises(SplitError):
        insight.neighbours(run, split="none")
    with pytest.raises(DataError, match="count=0"):
        insight.neighbours(run, count=0)


def test_neighbours_and_the_journey_are_drawn_with_words_and_numbers(run, data):
    shown = labkit.neighbours(run, images=[0, 1], count=3)
    way = labkit.journey(run, 0)
    for figure in (shown, way):
        assert isinstance(figure, Figure)
        assert figure.alt.endswith(".")
        assert figure.png().startswith(b"\x89PNG")
    assert len(shown.table) == 6
    assert list(way.table["channels"]) == [32, 32, 64, 192, 384]
    assert list(way.table["places down"]) == [16, 16, 8, 4, 2]
    found = insight.neighbours(run, images=[0, 1], count=3)
    assert labkit.neighbours(found, data).table.equals(shown.table)


# ---------------------------------------------------------------- the old head


def test_new_classes_get_the_sum_of_their_old_ones(letters, data):
    meanings = BY_HAND["digits"]
    found = insight.zero_shot(letters, data.valid, meanings)
    model = letters.build(len(letters.card.classes)).eval()
    model.head = letters.head
    with torch.no_grad():
        shares = model(data.valid.batch(range(len(data.valid)))[0]).softmax(1)
    names = letters.card.classes
    sums = torch.stack(
        [shares[:, [names.index(name) for name in some]].sum(1) for some in meanings.values()], 1
    )
    wanted = sums / sums.sum(1, keepdim=True)
    assert torch.allclose(found.probabilities, wanted, atol=1e-4)
    assert found.correct == int((wanted.argmax(1) == data.valid.labels).sum())


def test_the_meanings_that_ship_name_every_class_and_no_old_one_twice(letters):
    for data, net in (("digits", letters), ("ants-bees", labkit.load_backbone("resnet10"))):
        meanings = BY_HAND[data]
        assert tuple(meanings) == labkit.data.card(data).classes
        old = {name.split(",")[0] for name in net.card.classes}
        asked = [name for names in meanings.values() for name in names]
        assert set(asked) <= old
        assert len(set(asked)) == len(asked)


def test_meanings_that_make_no_sense_are_refused(letters, data):
    with pytest.raises(DataError, match="'0'"):
        insight.zero_shot(letters, data.valid, {"zero": ("0",)})
    with pytest.raises(DataError, match="one new class at most"):
        insight.zero_shot(letters, data.valid, {"0": ("oO",), "1": ("oO",)})
    with pytest.raises(DataError, match="at least one"):
        insight.zero_shot(letters, data.valid, {"0": ("oO",), "1": ()})
    with pytest.raises(DataError, match="labels go up to 9"):
        insight.zero_shot(letters, data.valid, {"0": ("oO",), "1": ("l",)})
    bare = labkit.load_backbone("resnet10", weights=None)
    with pytest.raises(BackboneError, match="no old head"):
        insight.zero_shot(bare, data.valid, BY_HAND["digits"])


# ---------------------------------------------------------------- what the evidence begins with


def test_what_is_kept_comes_from_the_source_and_the_rest_from_the_seed(letters):
    kept = lesson_02.KeepUpTo("layer2")(letters)
    one, other, fresh, whole = (
        dict(net.build(10, seed=seed, pretrained=pretrained).named_parameters())
        for net, seed, pretrained in (
            (kept, 1, True), (kept, 2, True), (letters, 1, False), (letters, 1, True)
        )
    )  # fmt: skip
    for name, tensor in one.items():
        below = name.partition(".")[0] in ("stem", "layer1", "layer2")
        assert torch.equal(tensor, (whole if below else fresh)[name])
        if tensor.ndim > 1:
            assert torch.equal(tensor, other[name]) == below


def test_bare_pixels_are_the_figure_itself_and_learn(data):
    net = lesson_02.BarePixels(32)(labkit.load_backbone("resnet10-glyphs"))
    plan = labkit.feature_extraction(lr=1e-2, epochs=6, batch_size=6)
    run = labkit.Run(net, data, plan).fit()
    assert insight.layers_drift(run) == 0
    assert run.evaluate("valid").accuracy > 0.4


def test_prototypes_are_class_means_of_what_was_there_before_training(letters, data):
    plan = labkit.full(lr=1e-2, epochs=1, batch_size=10)
    untouched, spoiled = labkit.Run(letters, data, plan), labkit.Run(letters, data, plan).fit()
    assert lesson_02._prototypes(untouched) == lesson_02._prototypes(spoiled) > 0.5
    assert lesson_02._zero_shot(untouched) == lesson_02._zero_shot(spoiled)
