"""Similarity, feature maps, gradients, activations and Grad-CAM: each has properties that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import VisionTransformer

import labkit
from labkit.errors import (
    BackboneError,
    CommandError,
    DataError,
    EvidenceError,
    LabkitError,
    SplitError,
    StageError,
)
from labkit.insight import (
    activations,
    feature_map,
    filters,
    grad_cam,
    gradient_norms,
    linear_cka,
    similarity,
)
from labkit.insight.inside import as_map, drawn, features, looking_at
from labkit.insight.looking import centre
from labkit.insight.revisit import revisit
from labkit.models import cut
from labkit.runtime import Precision
from tests.small import Clouds, Small


@pytest.fixture(scope="module")
def data():
    return labkit.load_data("digits").subset(per_class=10)


@pytest.fixture(scope="module")
def net():
    return labkit.load_backbone("resnet10-glyphs")


@pytest.fixture(scope="module")
def run(net, data):
    """layer3 and above, and from step 7 on layer4 and above at another rate."""
    run = labkit.Run(net, data, labkit.partial("layer3", lr=1e-3, epochs=3), precision=Precision())
    for _ in range(7):
        run.step()
    run.set(trainable_from="layer4")
    run.set(lr=3e-4)
    return run.fit()


@pytest.fixture(scope="module")
def clouds():
    return labkit.Run(Small(), Clouds(), labkit.partial("middle", lr=1e-2, epochs=2)).fit()


@pytest.fixture(scope="module")
def transformer(data):
    def factory(classes):
        made = VisionTransformer(
            image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32,
            num_classes=classes,
        )  # fmt: skip
        torch.nn.init.normal_(made.heads[-1].weight)  # torchvision begins with zeros
        return cut(made)

    stages = ("stem", "block1", "block2", "block3", "head")
    backbone = labkit.Backbone.from_module(factory, stages, "small transformer")
    return labkit.Run(backbone, data, labkit.full(epochs=1), precision=Precision())


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# ---------------------------------------------------------------- similarity


def test_a_thing_is_like_itself_turned_shifted_and_scaled():
    x, (turn, _) = numbers(60, 20), torch.linalg.qr(numbers(20, 20))
    for debiased in (True, False):
        for other in (x, x @ turn, 7 * x, x + 3, (x @ turn) * 0.1 - 5):
            assert linear_cka(x, other, debiased) == pytest.approx(1, abs=1e-9)


def test_unlike_stretching_turning_is_no_change():
    x = numbers(60, 20)
    stretched = x * torch.linspace(0.1, 5, 20)
    assert linear_cka(x, stretched) < 0.95


def test_unrelated_features_have_nothing_in_common_and_the_papers_estimate_does_not_see_it():
    drawn_from = torch.Generator().manual_seed(2)
    x = torch.randn(100, 300, generator=drawn_from)
    y = torch.randn(100, 300, generator=drawn_from)
    assert abs(linear_cka(x, y)) < 0.05
    assert linear_cka(x, y, debiased=False) > 0.6


def test_the_papers_estimate_is_the_papers_formula():
    x, y = numbers(50, 8), numbers(50, 30)[:, 9:21].exp()
    x, y = x - x.mean(0), y - y.mean(0)
    formula = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert linear_cka(x, y, debiased=False) == pytest.approx(float(formula))
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))


def test_the_debiased_estimate_is_that_of_song_and_others():
    def hsic(one, two):  # their equation 5, for kernels without a diagonal
        n, ones = len(one), torch.ones(len(one), dtype=torch.float64)
        first = (one @ two).trace() + (ones @ one @ ones) * (ones @ two @ ones) / (n - 1) / (n - 2)
        return (first - 2 / (n - 2) * (ones @ one @ two @ ones)) / (n * (n - 3))

    x, y = numbers(30, 6), numbers(30, 40)[:, 3:12].square()
    kernels = [(z @ z.T).fill_diagonal_(0) for z in (x, y)]
    both, left, right = hsic(*kernels), hsic(kernels[0], kernels[0]), hsic(kernels[1], kernels[1])
    assert linear_cka(x, y) == pytest.approx(float(both / (left * right).sqrt()), rel=1e-9)


def test_features_of_different_samples_cannot_be_compared():
    with pytest.raises(DataError, match="same 4 or more samples"):
        linear_cka(numbers(10, 3), numbers(11, 3))


@pytest.mark.slow
def test_frozen_stages_see_exactly_what_they_saw_at_the_start(run):
    found = similarity(run, count=120)
    table = found.table.set_index("stage")
    assert list(table.index) == list(run.stages)
    for stage in ("stem", "layer1", "layer2"):
        assert table.loc[stage, "cka"] == pytest.approx(1, abs=1e-12)
        assert table.loc[stage, "low"] == pytest.approx(1, abs=1e-12)
    for stage in ("layer3", "layer4", "head"):
        assert table.loc[stage, "cka"] < 0.9999
    assert (table["low"] <= table["cka"]).all()
    assert (table["cka"] <= table["high"]).all()


def test_the_diagonal_of_all_pairs_is_the_table(run):
    found = similarity(run, count=80)
    diagonal = [found.matrix.loc[stage, stage] for stage in run.stages]
    assert diagonal == pytest.approx(list(found.table["cka"]))


def test_a_run_sees_as_its_replay_and_not_as_another_network(run, data):
    again = similarity(run, run.branch(), count=80).table
    assert (again["cka"] > 1 - 1e-12).all()
    photos = labkit.Run(labkit.load_backbone("resnet10"), data, run.plan, precision=Precision())
    assert (similarity(run, photos, count=80).table["cka"] < 0.95).all()


def test_similarity_needs_samples_and_stages_that_exist(run):
    with pytest.raises(DataError, match="too few"):
        similarity(run, count=10)
    with pytest.raises(StageError, match="layer9"):
        similarity(run, stages=["layer9"])


# ---------------------------------------------------------------- moments and feature maps


@pytest.mark.slow
def test_a_moment_is_the_run_as_it_was_to_the_bit(net, data):
    run = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=2), precision=Precision())
    seen = {0: weights(run)}
    for step in range(1, 7):
        run.step()
        if step == 3:
            run.set(lr=1e-2)
        seen[step] = weights(run)
    for step, clone in revisit(run, [0, 2, 3, 4, 6]):
        assert clone.step_number == step
        assert torch.equal(weights(clone), seen[step])
        assert clone.settings.lr == (1e-2 if step >= 3 else 1e-3)


def weights(run):
    return torch.cat([value.flatten().double() for value in run.model.state_dict().values()])


def test_all_frames_are_seen_along_the_same_two_axes(run):
    found = feature_map(run, "layer4", steps=[0, 5, 12], count=60)
    assert torch.allclose(found.axes @ found.axes.T, torch.eye(2, dtype=torch.float64), atol=1e-9)
    for frame in found.frames:
        clone = run.branch(frame.step)
        with looking_at(clone) as model:
            x = features(model, clone, run.data.valid, found.indices, ["layer4"])["layer4"]
        assert torch.allclose(frame.points, (x - found.centre) @ found.axes.T, atol=1e-6)
        if frame.step == found.fitted_at:
            shown = torch.linalg.svdvals(x - x.mean(0)).square()
            assert frame.shown == pytest.approx(float(shown[:2].sum() / shown.sum()))
    assert found.fitted_at == 12


def test_the_axes_are_those_of_the_step_that_was_asked_for(run):
    one = feature_map(run, "layer4", steps=[0, 12], fitted_at=0, count=60)
    two = feature_map(run, "layer4", steps=[6], fitted_at=0, count=60)
    assert torch.equal(one.axes, two.axes)
    assert torch.allclose(one.frames[0].points.mean(0), torch.zeros(2).double(), atol=1e-8)


def test_a_frozen_stage_does_not_move_on_the_map(run):
    frames = feature_map(run, "layer2", count=60).frames
    assert len(frames) >= 3
    assert all(torch.equal(frame.points, frames[0].points) for frame in frames)


def test_training_takes_the_classes_apart(run):
    table = feature_map(run, count=150).table
    assert table["epoch"].tolist()[0] == 0
    assert table["step"].tolist()[-1] == run.step_number
    assert table["apart"].iloc[-1] > table["apart"].iloc[0] + 0.05


def test_a_map_cannot_show_what_has_not_happened(run):
    with pytest.raises(CommandError, match="has not happened"):
        feature_map(run, steps=[10_000])
    with pytest.raises(StageError, match="this network has"):
        feature_map(run, "layer7")


# ---------------------------------------------------------------- gradients


@pytest.mark.slow
def test_the_steps_taken_again_are_the_steps_of_the_run(run):
    asked = [1, 4, 7, 8, 9, run.step_number]
    table = gradient_norms(run, asked)
    assert list(table["step"].unique()) == asked
    train = run.history.query("split == 'train'").set_index("step")
    for step, rows in table.groupby("step"):
        assert (rows["loss"] == train.loc[step, "loss"]).all()
        first = run.stages.index(train.loc[step, "trainable_from"])
        assert list(rows["trainable"]) == [depth >= first for depth in range(len(run.stages))]
        assert list(rows["norm"].isna()) == [not trains for trains in rows["trainable"]]


def test_a_plain_step_goes_as_far_as_the_gradient_is_long(net, data):
    plan = labkit.full(lr=1e-2, epochs=1, optimizer="sgd", weight_decay=0, schedule="constant")
    run = labkit.Run(net, data, plan, precision=Precision())
    rate = run.step().lr
    table = gradient_norms(run, steps=[1]).set_index("stage")
    start = run.branch(0)
    for stage in run.stages:
        before = dict(start.model.get_submodule(stage).named_parameters())
        after = dict(run.model.get_submodule(stage).named_parameters())
        gaps = [(after[name] - before[name]).detach().double() for name in before]
        moved = torch.cat([gap.flatten() for gap in gaps]).norm()
        # Nesterov's first step is 1.9 times the gradient: momentum 0.9 looks ahead
        assert float(moved) == pytest.approx(1.9 * rate * table.loc[stage, "norm"], rel=1e-3)


def test_a_run_that_has_not_trained_had_no_gradient(net, data):
    fresh = labkit.Run(net, data, labkit.full(epochs=1), precision=Precision())
    with pytest.raises(EvidenceError, match="not trained yet"):
        gradient_norms(fresh)


# ---------------------------------------------------------------- filters and activations


def test_filters_are_those_of_the_network_and_frozen_ones_stay(run):
    found = filters(run)
    assert torch.equal(found.weights, run.model.stem.conv1.weight.detach())
    assert torch.equal(found.weights, found.start)
    assert (found.moved == 0).all()
    assert len(found.table) == 32


def test_filters_that_train_move(net, data):
    run = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=1), precision=Precision())
    run.step()
    assert (filters(run).moved > 0).all()


def test_activations_are_what_the_stage_gives(run):
    found = activations(run, 5, "layer2")
    with looking_at(run) as model, torch.no_grad():
        pixels, _ = run.data.valid.batch([5])
        direct = model[:3](pixels)[0]
    assert torch.allclose(found.maps, direct, atol=1e-5)
    assert torch.equal(found.image, pixels[0])
    spread = found.table["spread"]
    assert found.strongest(3) == list(spread.sort_values(ascending=False).index[:3])


def test_tokens_lie_where_their_patches_lay(transformer):
    plain = torch.full((1, 3, 32, 32), 0.5)
    marked = plain.clone()
    marked[..., 8:16, 16:24] = 1.0  # the patch in row 1, column 2
    one, two = (activations(transformer, image, "stem").maps for image in (plain, marked))
    changed = (one - two).abs().sum(0) > 1e-6
    assert changed.nonzero().tolist() == [[1, 2]]


# ---------------------------------------------------------------- Grad-CAM


def test_below_an_averaging_head_grad_cam_is_the_heads_own_weights(run):
    """With global average pooling it can be worked out: relu(sum_k w_k A_k) / places (Selvaraju et al., section 3)."""
    found = grad_cam(run, [0, 1, 2, 3], "layer4", target="7")
    with looking_at(run) as model, torch.no_grad():
        maps = model[:5](run.data.valid.batch([0, 1, 2, 3])[0])
        weights = model.head.fc.weight[7]
    expected = (weights.view(1, -1, 1, 1) * maps).sum(1).relu() / maps[0, 0].numel()
    assert torch.allclose(found.maps, expected, atol=1e-6)
    assert found.heat.shape == (4, 32, 32)
    assert float(found.heat.max()) <= 1


def test_grad_cam_points_at_the_half_that_holds_the_digit(run):
    chosen = run.evaluate("valid")
    right = (chosen.predictions == chosen.targets).nonzero().squeeze(1)[:12]
    digits, labels = run.data.valid.batch(right)
    sides = {}
    for side in ("left", "right"):
        parts = [digits, torch.zeros_like(digits)]
        wide = torch.cat(parts if side == "left" else parts[::-1], dim=3)
        found = [
            grad_cam(run, image, "layer3", target=int(label))
            for image, label in zip(wide, labels, strict=True)
        ]
        sides[side] = torch.tensor([centre(one.heat[0])[0] for one in found if one.heat.any()])
    assert len(sides["left"]) >= 8
    assert float(sides["left"].mean()) < 0.42
    assert float(sides["right"].mean()) > 0.58


@pytest.mark.photos
@pytest.mark.slow
def test_grad_cam_of_an_ant_beside_a_bee_leans_to_the_one_that_is_asked_for(photos):
    data = labkit.load_data("ants-bees")
    net = labkit.load_backbone("resnet10")
    plan = labkit.feature_extraction(lr=1e-2, epochs=4)
    run = labkit.Run(net, data, plan, precision=Precision()).fit()
    seen = run.evaluate("valid")
    sure = seen.probabilities.max(1).values * (seen.predictions == seen.targets)
    pairs = []
    for number in (0, 1):
        of = (seen.targets == number).nonzero().squeeze(1)
        pairs.append(data.valid.batch(of[sure[of].argsort(descending=True)[:12]])[0])
    ants_left = torch.cat(pairs, dim=3)
    across = {
        name: grad_cam(run, ants_left, target=name).table["across"].mean() for name in data.classes
    }
    assert across["ants"] < 0.5 < across["bees"]


def test_the_default_is_the_deepest_stage_with_a_map_worth_drawing(run, transformer):
    assert grad_cam(run, 0).layer.stage == "layer3"  # layer4 leaves 2 x 2 of a digit
    assert grad_cam(transformer, 0).layer.stage == "block2"


def test_a_transformers_last_block_is_refused_with_a_word_on_what_to_take(transformer):
    with pytest.raises(StageError, match=r"one vector.*block2"):
        grad_cam(transformer, 0, "block3")
    assert grad_cam(transformer, [0, 1], "block1").heat.shape == (2, 32, 32)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
@pytest.mark.slow
def test_networks_of_torchvision_show_their_last_convolution(name):
    data = labkit.load_data("digits", size=64).subset(per_class=1)
    backbone = labkit.load_backbone(name, weights=None)
    run = labkit.Run(backbone, data, labkit.full(epochs=1), precision=Precision())
    deepest = run.stages[-2]
    layer = grad_cam(run, 0, deepest).layer
    assert layer.name.startswith(deepest)
    assert (layer.height, layer.width) == (2, 2)
    assert len(filters(run).weights) >= 16


def test_what_is_not_there_is_refused_by_name(run):
    with pytest.raises(DataError, match=r"target='cat' is no class of digits"):
        grad_cam(run, 0, target="cat")
    with pytest.raises(SplitError, match="not in this split"):
        grad_cam(run, [100_000])
    with pytest.raises(SplitError, match="elsewhere"):
        activations(run, 0, split="elsewhere")
    with pytest.raises(StageError, match="one vector"):
        activations(run, 0, "head")
    with pytest.raises(DataError, match="no images"):
        activations(run, torch.rand(1, 1, 8, 8))


# ---------------------------------------------------------------- other data than images


def test_probes_that_need_no_image_take_any_data(clouds):
    assert similarity(clouds).table.set_index("stage").loc["body", "cka"] == pytest.approx(1)
    assert feature_map(clouds, "middle", count=50).axes.shape == (2, 8)
    assert gradient_norms(clouds, steps=[2])["norm"].notna().sum() == 2


def test_probes_that_need_images_say_so(clouds):
    with pytest.raises(DataError, match="no images"):
        grad_cam(clouds, 0)
    with pytest.raises(BackboneError, match="no convolution"):
        filters(clouds)


def test_a_map_of_tokens_needs_as_many_tokens_as_patches():
    pixels = torch.rand(1, 3, 32, 32)
    assert as_map(torch.rand(1, 17, 5), pixels, (8, 8)).shape == (1, 5, 4, 4)
    assert as_map(torch.rand(1, 16, 5), pixels, (8, 8)) is None
    assert as_map((1, 2), pixels, (8, 8)) is None


def test_a_sample_is_drawn_by_its_seed(data):
    assert torch.equal(drawn(data.valid, 30, 1), drawn(data.valid, 30, 1))
    assert not torch.equal(drawn(data.valid, 30, 1), drawn(data.valid, 30, 2))
    with pytest.raises(LabkitError, match="count=1"):
        drawn(data.valid, 1, 0)
