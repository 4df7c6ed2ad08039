"""A backbone builds fresh networks from a seed, and takes no weights that are not its own."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import (
    GoogLeNetOutputs,
    VisionTransformer,
    get_model,
)

import labkit
from labkit import runtime
from labkit.errors import BackboneError, WeightsError
from labkit.models import ModelCard, cut, save_weights
from labkit.models.backbone import OFFICIAL
from labkit.models.files import read_weights
from labkit.models.vision import published
from labkit.models.vision.shipped import FOLDER, SHIPPED, sha256
from labkit.models.vision.staging import IMAGENET_MEAN, IMAGENET_STD

NAMES = tuple(SHIPPED)


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, yours = one.state_dict(), other.state_dict()
    return mine.keys() == yours.keys() and all(torch.equal(mine[key], yours[key]) for key in mine)


# ---------------------------------------------------------------- building


def test_each_build_is_fresh() -> None:
    net = labkit.load_backbone("resnet10")
    first, second = net.build(2), net.build(2)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert not same(first, second)
    assert same(second, net.build(2))


def test_building_is_decided_by_the_seed_and_leaves_global_chance_alone() -> None:
    net = labkit.load_backbone("resnet10")
    before = torch.random.get_rng_state()
    for pretrained in (True, False):
        assert same(
            net.build(4, seed=3, pretrained=pretrained), net.build(4, seed=3, pretrained=pretrained)
        )
        assert not same(
            net.build(4, seed=3, pretrained=pretrained), net.build(4, seed=4, pretrained=pretrained)
        )
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_seed_decides_the_head_alone_when_pretrained() -> None:
    net = labkit.load_backbone("resnet10")
    one, other = net.build(4, seed=0).state_dict(), net.build(4, seed=1).state_dict()
    assert {key for key in one if not torch.equal(one[key], other[key])} == {
        "head.fc.weight",
        "head.fc.bias",
    }


@pytest.mark.parametrize("name", [*NAMES, "resnet18", "mobilenet_v3_small"])
@pytest.mark.slow
def test_children_are_the_stages_and_the_head_has_the_classes(name: str) -> None:
    net = labkit.load_backbone(name, weights=None)
    module = net.build(7)
    assert tuple(child for child, _ in module.named_children()) == net.stages
    assert module.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 7)
    assert module.get_submodule("head")[-1].in_features == net.num_features
    assert net.head is None


def test_heads_start_as_plain_linear_layers() -> None:
    head = (
        labkit.load_backbone("mobilenet_v3_small", weights=None).build(10).get_submodule("head")[-1]
    )
    bound = head.in_features**-0.5
    assert 0.9 * bound < head.weight.abs().max() <= bound


def test_a_head_without_classes_is_refused() -> None:
    with pytest.raises(BackboneError, match="num_classes=0"):
        labkit.load_backbone("resnet10", weights=None).build(0)


# ---------------------------------------------------------------- names


def test_both_names_of_the_photographs_are_one_backbone() -> None:
    short, long = labkit.load_backbone("resnet10"), labkit.load_backbone("resnet10-photos")
    assert short.name == long.name == "resnet10"
    assert same(short.build(2), long.build(2))


def test_a_backbone_comes_back_from_its_spec() -> None:
    for net in (
        labkit.load_backbone("resnet10-glyphs"),
        labkit.load_backbone("resnet10", weights=None),
    ):
        again = labkit.load_backbone(**net.spec())
        assert (again.name, again.weights) == (net.name, net.weights)
        assert same(again.build(3), net.build(3))


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(BackboneError, match="Did you mean resnet18"):
        labkit.load_backbone("resnet_18")


def test_the_table_names_what_can_be_loaded() -> None:
    table = labkit.backbones()
    assert list(table.index[:2]) == ["resnet10", "resnet10-glyphs"]
    assert {
        "efficientnet-lite0",
        "resnet18",
        "resnet50",
        "mobilenet_v3_small",
        "convnext_tiny",
        "vit_b_16",
    } <= set(table.index)
    assert set(table["weights"]) <= {"shipped", "installed", "to install", "cached", "to fetch"}


# ---------------------------------------------------------------- shipped weights


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_the_ones_their_card_describes(name: str) -> None:
    path = FOLDER / f"{SHIPPED[name]}.safetensors"
    card = ModelCard.read(path.with_suffix(".json"))
    assert sha256(path) == card.sha256
    assert path.stat().st_size <= 10_000_000
    assert card.name == name
    assert card.parameters == sum(
        p.numel() for p in labkit.load_backbone(name).build(len(card.classes)).parameters()
    )
    assert card.recipe
    assert card.seconds
    assert card.machine
    assert card.data_licence
    assert card.made_with.startswith("labkit pretrain")
    assert card == ModelCard.read(path.with_suffix(".json"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_holds_the_shipped_numbers(name: str) -> None:
    shipped = load_file(FOLDER / f"{SHIPPED[name]}.safetensors")
    body = labkit.load_backbone(name).build(2).state_dict()
    for key, value in shipped.items():
        if not key.startswith("head."):
            assert torch.equal(body[key], value.to(body[key].dtype))


@pytest.mark.parametrize("name", NAMES)
def test_the_old_head_is_kept_for_the_old_task(name: str) -> None:
    net = labkit.load_backbone(name)
    assert net.card is not None
    assert net.head is not None
    assert net.head(torch.rand(2, net.num_features, 1, 1)).shape == (2, len(net.card.classes))
    assert not any(parameter.requires_grad for parameter in net.head.parameters())


def test_no_digit_is_among_the_glyphs() -> None:
    card = labkit.load_backbone("resnet10-glyphs").card
    assert card is not None
    assert all(name.isalpha() and name.isascii() for name in card.classes)


def test_a_shipped_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ending in (".safetensors", ".json"):
        content = (FOLDER / f"resnet10-photos{ending}").read_bytes()
        (tmp_path / f"resnet10-photos{ending}").write_bytes(
            content[:-1] + b" " if ending == ".safetensors" else content
        )
    monkeypatch.setattr("labkit.models.vision.shipped.FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="damaged"):
        labkit.load_backbone("resnet10")


# ---------------------------------------------------------------- weights from a file


def test_saved_weights_come_back_and_keep_their_classes(tmp_path: Path) -> None:
    net = labkit.load_backbone("resnet10", weights=None)
    module = net.build(3, seed=5)
    path = save_weights(module, tmp_path / "mine.safetensors", net.name, ("ant", "bee", "wasp"))
    again = labkit.load_backbone("resnet10", weights=path)
    for key, value in again.build(3).state_dict().items():
        if not key.startswith("head."):
            torch.testing.assert_close(value, module.state_dict()[key], atol=1e-3, rtol=1e-3)
    assert again.head is not None
    assert again.head[-1].out_features == 3
    assert labkit.load_backbone(**again.spec()).stages == net.stages


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = labkit.load_backbone("resnet18", weights=None).build(2)
    path = save_weights(other, tmp_path / "other.safetensors", "resnet18")
    with pytest.raises(WeightsError, match=r"another network.*shape"):
        labkit.load_backbone("resnet10", weights=path)
    with pytest.raises(WeightsError, match=r"another network.*lacks"):
        labkit.load_backbone("mobilenet_v3_small", weights=path)


# ---------------------------------------------------------------- weights of torchvision's own networks


def theirs(name: str, classes: int) -> nn.Module:
    """torchvision's network with numbers of its own, as somebody trained it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = get_model(name, weights=None, num_classes=classes)
        for key, value in net.state_dict().items():
            if key.endswith("running_var"):
                value.fill_(2.0)
    return net.eval()


@torch.no_grad()
def says_the_same(net: labkit.Backbone, other: nn.Module) -> bool:
    """Whether a backbone's trained network is the other, to the bit, which takes images that are normalised already."""
    staged, x = net.trained(), torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    seen = (x - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    if isinstance(other, VisionTransformer):  # the original reads one size of image only
        body = dict(staged.named_children())
        return torch.equal(body["block2"].mlp[0].weight, other.encoder.layers[1].mlp[0].weight)
    return torch.equal(staged(x), other(seen))


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.slow
def test_a_state_dict_of_torchvision_is_taken_for_what_it_is(name: str) -> None:
    other = theirs(name, 7)
    net = labkit.load_backbone(name, weights=other.state_dict())
    assert says_the_same(net, other)
    assert net.head is not None
    assert net.head[-1].out_features == 7
    assert net.build(3, seed=1).get_submodule("head")[-1].out_features == 3


def as_saved(state: dict[str, torch.Tensor], how: str, path: Path) -> Path:
    """A state dict in a file, as scripts save it."""

    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {prefix + key: value for key, value in state.items()}

    if how == "safetensors":
        save_file(state, path)
        return path
    saved: dict[str, Any] = {
        "torch": state,
        "DataParallel": under("module."),
        "compiled and DataParallel": under("module._orig_mod."),
        "averaged": under("module.") | {"n_averaged": torch.tensor(3)},
        "checkpoint": {"epoch": 3, "state_dict": under("module."), "optimizer": {"lr": 0.1}},
        "model": {"model": state, "epoch": 1},
        "Lightning": {"state_dict": under("model."), "epoch": 1, "hyper": {"lr": 0.1}},
    }
    old = {"_use_new_zipfile_serialization": False}
    torch.save(saved.get(how, state), path, **(old if how == "before torch 1.6" else {}))
    return path


@pytest.mark.parametrize(
    "how",
    [
        "torch",
        "before torch 1.6",
        "safetensors",
        "DataParallel",
        "compiled and DataParallel",
        "averaged",
        "checkpoint",
        "model",
        "Lightning",
    ],
)
@pytest.mark.slow
def test_weights_are_found_in_whatever_a_script_saved(how: str, tmp_path: Path) -> None:
    other = theirs("resnet18", 5)
    path = as_saved(other.state_dict(), how, tmp_path / "theirs.bin")
    assert says_the_same(labkit.load_backbone("resnet18", weights=path), other)


def test_a_head_that_is_not_torchvisions_own_is_left_out() -> None:
    for head in (
        nn.Sequential(nn.Dropout(), nn.Linear(512, 4)),
        nn.Identity(),
        nn.Linear(512, 4, False),
    ):
        other = theirs("resnet18", 4)
        other.fc = head
        net = labkit.load_backbone("resnet18", weights=other.state_dict())
        assert net.head is None
        body = net.build(2).state_dict()
        assert torch.equal(body["stem.conv1.weight"], other.conv1.weight)


def test_weights_from_before_batches_were_counted_are_taken() -> None:
    other = theirs("resnet18", 4)
    state = {k: v for k, v in other.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert says_the_same(labkit.load_backbone("resnet18", weights=state), other)


def test_a_state_dict_of_another_network_of_torchvision_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"another network.*lacks"):
        labkit.load_backbone("mobilenet_v3_small", weights=theirs("resnet18", 4).state_dict())
    with pytest.raises(WeightsError, match=r"another network.*lacks"):
        labkit.load_backbone("resnet50", weights=theirs("resnet18", 4).state_dict())


def test_weights_stay_as_they_were_handed_over() -> None:
    other = theirs("resnet18", 4)
    net = labkit.load_backbone("resnet18", weights=other.state_dict())
    before = other.conv1.weight.detach().clone()
    with torch.no_grad():
        other.conv1.weight.zero_()
    assert torch.equal(net.build(2).state_dict()["stem.conv1.weight"], before)


def test_a_checkpoint_that_holds_itself_is_refused() -> None:
    ring: dict[str, Any] = {"epoch": 1}
    ring["model"] = ring
    with pytest.raises(WeightsError, match="no state dict"):
        labkit.load_backbone("resnet18", weights=ring)


class Whole(nn.Linear):
    """A module that somebody saved whole."""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (Whole(2, 2), "model.state_dict"),
        ([torch.zeros(2)], "a list and no state dict"),
        ({"epoch": 3}, "a dict of epoch and no state dict"),
        ({}, "an empty dict"),
    ],
)
def test_a_file_of_torch_without_a_state_dict_is_refused(
    content: Any, said: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "theirs.pth")
    with pytest.raises(WeightsError, match=said):
        labkit.load_backbone("resnet18", weights=tmp_path / "theirs.pth")


def test_no_code_in_a_weights_file_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match="run code"):
        labkit.load_backbone("resnet18", weights=tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kept", [3, 200, 100_000])
def test_a_file_of_torch_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    path = as_saved(theirs("mobilenet_v3_small", 2).state_dict(), "torch", tmp_path / "cut.pth")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="damaged"):
        labkit.load_backbone("mobilenet_v3_small", weights=path)


@pytest.mark.parametrize("weights", [True, False, 3, nn.Linear(2, 2), ["a.safetensors"]])
def test_what_can_be_no_weights_is_refused_with_what_can(weights: Any) -> None:
    with pytest.raises(WeightsError, match=r"\"pretrained\", None.*state dict"):
        labkit.load_backbone("resnet10", weights=weights)


@pytest.mark.parametrize("name", [None, 3, nn.Linear(2, 2), Path("resnet18")])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(BackboneError, match="takes the name of a network"):
        labkit.load_backbone(name)


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    module = labkit.load_backbone("resnet10", weights=None).build(2, seed=3)
    save_weights(module, "~/ex/model.safetensors", "resnet10", exact=True)
    assert (tmp_path / "ex" / "model.safetensors").is_file()
    again = labkit.load_backbone("resnet10", weights="~/ex/model.safetensors")
    assert same(again.trained(), module)
    assert labkit.load_backbone(**again.spec()).weights == again.weights
    with pytest.raises(WeightsError, match=r"is a folder.*model\.safetensors"):
        labkit.load_backbone("resnet10", weights="~/ex")


def test_weights_handed_over_say_why_a_name_is_not_enough() -> None:
    net = labkit.load_backbone("resnet18", weights=theirs("resnet18", 2).state_dict())
    with pytest.raises(BackboneError, match="someone's program"):
        labkit.load_backbone(**net.spec())


# ---------------------------------------------------------------- weights that are none


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        labkit.load_backbone("resnet10", weights=path)


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes((FOLDER / "resnet10-glyphs.safetensors").read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="cut short"):
        labkit.load_backbone("resnet10", weights=path)


def test_weights_that_diverged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    save_file({"stem.conv1.weight": torch.full((2, 2), torch.nan)}, path)
    with pytest.raises(WeightsError, match="not finite"):
        read_weights(path)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file .*nowhere"):
        labkit.load_backbone("resnet10", weights=tmp_path / "nowhere.safetensors")


# ---------------------------------------------------------------- published weights


def test_offline_the_error_says_what_to_fetch_and_what_works_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        labkit.load_backbone("resnet18")
    message = str(caught.value)
    for part in (
        "resnet18-f37072fd.pth",
        str(tmp_path),
        "labkit doctor",
        'load_backbone("resnet10")',
        "weights=None",
    ):
        assert part in message


def test_a_cached_file_that_is_not_the_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    runtime.write_atomic(tmp_path / "checkpoints" / "resnet18-f37072fd.pth", b"something else")
    with pytest.raises(WeightsError, match="f37072fd"):
        labkit.load_backbone("resnet18")


# ---------------------------------------------------------------- any network


class Tagger(nn.Module):
    """A network that takes a tuple, as text does."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.head = nn.Linear(4, num_classes)

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        tokens, mask = batch
        return self.head((self.embed(tokens) * mask[..., None]).sum(1))


def test_any_module_becomes_a_backbone_with_its_own_weights() -> None:
    state = Tagger(5).state_dict()
    net = labkit.Backbone.from_module(Tagger, ("embed", "head"), name="tagger", state=state)
    module = net.build(3)
    assert torch.equal(module.embed.weight, state["embed.weight"])
    assert module((torch.zeros(2, 6, dtype=torch.long), torch.ones(2, 6))).shape == (2, 3)
    assert net.head is not None
    assert torch.equal(net.head.weight, state["head.weight"])
    assert net.num_features == 4


def test_stages_that_are_not_the_children_are_refused() -> None:
    with pytest.raises(BackboneError, match="exactly the stages"):
        labkit.Backbone.from_module(Tagger, ("embed", "body", "head"), name="tagger")


def test_a_last_stage_without_weights_is_no_head() -> None:
    def factory(num_classes: int) -> nn.Module:
        parts = {"body": nn.Linear(4, num_classes), "end": nn.Sequential(nn.Flatten(), nn.ReLU())}
        return nn.Sequential(OrderedDict(parts))

    with pytest.raises(BackboneError, match=r"last stage, end, is a Sequential without weights"):
        labkit.Backbone.from_module(factory, ("body", "end"), name="tagger")


@pytest.mark.parametrize("shared", ["module", "body", "weight", "storage"])
def test_a_factory_that_hands_out_the_same_weights_is_refused(shared: str) -> None:
    one = Tagger(2)

    def factory(num_classes: int) -> nn.Module:
        if shared == "module":  # as the tutorials do: the head is new, all else is the same
            one.head = nn.Linear(4, num_classes)
            return one
        net = Tagger(num_classes)
        if shared == "body":
            net.embed = one.embed
        elif shared == "weight":
            net.embed.weight = one.embed.weight
        else:
            net.embed.load_state_dict(one.embed.state_dict(), assign=True)
        return net

    with pytest.raises(BackboneError, match=r"share embed\.weight.*deepcopy"):
        labkit.Backbone.from_module(factory, ("embed", "head"), name="tagger")


def test_a_factory_that_copies_a_module_is_taken() -> None:
    one = Tagger(2)

    def factory(num_classes: int) -> nn.Module:
        net = copy.deepcopy(one)
        net.head = nn.Linear(4, num_classes)
        return net

    net = labkit.Backbone.from_module(factory, ("embed", "head"), name="tagger")
    assert torch.equal(net.build(3).get_parameter("embed.weight"), one.embed.weight)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (Tagger(2), "not a module, Tagger.*Backbone.wrap"),
        ("tagger", "not str"),
        (None, "not NoneType"),
        (lambda: Tagger(2), "does not take a number alone"),
        (lambda classes, width: Tagger(2), "does not take a number alone.*width"),
        (lambda classes: None, "gave NoneType, not a torch.nn.Module"),
    ],
)
def test_what_is_no_factory_is_refused_with_an_example(factory: Any, said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        labkit.Backbone.from_module(factory, ("embed", "head"), name="tagger")


def test_layers_without_a_size_are_refused() -> None:
    def lazy(num_classes: int) -> nn.Module:
        return nn.Sequential(OrderedDict(body=nn.LazyLinear(8), head=nn.Linear(8, num_classes)))

    def meta(num_classes: int) -> nn.Module:
        return Tagger(num_classes).to("meta")

    with pytest.raises(BackboneError, match=r"body\.weight has no size yet.*lazy"):
        labkit.Backbone.from_module(lazy, ("body", "head"), name="lazy")
    with pytest.raises(BackboneError, match=r"embed\.weight has no numbers yet.*meta"):
        labkit.Backbone.from_module(meta, ("embed", "head"), name="meta")


def test_a_head_with_another_number_of_scores_than_classes_is_refused() -> None:
    def always_ten(num_classes: int) -> nn.Module:
        return Tagger(10)

    ten = labkit.Backbone.from_module(always_ten, ("embed", "head"), name="ten")
    assert ten.build(10).get_submodule("head").out_features == 10
    with pytest.raises(BackboneError, match="for 11 classes the factory gave a head of 10"):
        ten.build(11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_module_in_another_precision_is_kept_in_float32(dtype: torch.dtype) -> None:
    net = labkit.Backbone.from_module(
        lambda classes: Tagger(classes).to(dtype), ("embed", "head"), name="tagger"
    )
    module = net.build(3)
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    assert module((torch.zeros(2, 6, dtype=torch.long), torch.ones(2, 6))).shape == (2, 3)


class Patches(nn.Module):
    """A network of images whose forward gives something else than scores while it trains, as GoogLeNet's does."""

    def __init__(self, num_classes: int, gives: str = "scores") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head, self.gives = nn.Linear(4, num_classes), gives

    def forward(self, x: torch.Tensor) -> Any:
        scores = self.head(self.body(x))
        if self.gives == "outputs" and self.training:
            return GoogLeNetOutputs(scores, scores, scores)
        return scores[:, :, None] if self.gives == "map" else scores


def run_of(factory: Any, stages: tuple[str, ...], precision: Any) -> labkit.Run:
    data = labkit.load_data("digits", size=8).subset(per_class=3)
    net = labkit.Backbone.from_module(factory, stages, name="patches")
    return labkit.Run(net, data, labkit.full(epochs=1), precision=precision)


@pytest.mark.parametrize(
    ("gives", "said"), [("outputs", "GoogLeNetOutputs"), ("map", r"a tensor of shape \(")]
)
@pytest.mark.parametrize("precision", ["auto", runtime.Precision()])
def test_a_network_that_gives_no_scores_is_told_so(
    gives: str, said: str, precision: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    with pytest.raises(BackboneError, match=f"gave {said}.*a row a sample"):
        run_of(partial(Patches, gives=gives), ("body", "head"), precision).fit()


def test_a_module_in_half_precision_trains() -> None:
    run = run_of(lambda classes: Patches(classes).half(), ("body", "head"), runtime.Precision())
    assert run.fit().evaluate("valid").count > 0


def test_a_transformer_says_what_size_of_image_it_needs() -> None:
    def transformer(classes: int) -> nn.Module:
        sizes = {"hidden_dim": 8, "mlp_dim": 8, "num_classes": classes}
        return cut(VisionTransformer(32, 16, num_layers=1, num_heads=1, **sizes))

    with pytest.raises(BackboneError, match="8 x 8 pixels, and this network needs 16 or more"):
        run_of(transformer, ("stem", "block1", "head"), runtime.Precision()).fit()


def test_a_head_of_another_shape_in_the_weights_says_so() -> None:
    state = Tagger(5).state_dict()
    state["head.weight"] = torch.zeros(5, 3)
    net = labkit.Backbone.from_module(Tagger, ("embed", "head"), name="tagger", state=state)
    with pytest.raises(WeightsError, match="does not belong"):
        net.trained()


def test_a_backbone_from_a_module_says_why_its_name_is_not_enough() -> None:
    net = labkit.Backbone.from_module(Tagger, ("embed", "head"), name="tagger")
    with pytest.raises(BackboneError, match="from_module"):
        labkit.load_backbone(**net.spec())


# ---------------------------------------------------------------- fetching


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """The address of a server that serves the folder `served`."""
    (tmp_path / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_published_weights_are_fetched_checked_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    net = get_model("mobilenet_v3_small", weights=None)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    digest = sha256(tmp_path / "net.pth")[:8]
    (tmp_path / "net.pth").rename(tmp_path / "served" / f"net-{digest}.pth")
    about = replace(published.weights_of("mobilenet_v3_small"), url=f"{host}/net-{digest}.pth")
    monkeypatch.setattr("labkit.models.vision.published.weights_of", lambda name: about)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    stem = (
        labkit.load_backbone("mobilenet_v3_small").build(2).state_dict()["stem.features.0.weight"]
    )
    assert torch.equal(stem, net.state_dict()["features.0.0.weight"])
    assert [file.name for file in (tmp_path / "hub" / "checkpoints").iterdir()] == [
        f"net-{digest}.pth"
    ]


def test_what_is_not_the_published_file_is_never_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    (tmp_path / "served" / "net-0123abcd.pth").write_bytes(b"something else")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    about = replace(published.weights_of("resnet18"), url=f"{host}/net-0123abcd.pth")
    with pytest.raises(WeightsError, match="not the published file"):
        published._fetch("resnet18", about)
    assert not list(about.path.parent.iterdir())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v3_small", "vit_b_16"])
@pytest.mark.slow
def test_a_published_file_from_before_batches_were_counted_is_taken_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = theirs(name, 1000)
    old = {k: v for k, v in other.state_dict().items() if not k.endswith("num_batches_tracked")}
    (tmp_path / "checkpoints").mkdir()
    torch.save(old, tmp_path / "checkpoints" / "net.pth")
    about = replace(published.weights_of(name), url="https://example.org/net.pth")
    monkeypatch.setattr(published, "weights_of", lambda name: about)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    before = torch.random.get_rng_state()
    net = labkit.load_backbone(name)
    assert torch.equal(before, torch.random.get_rng_state())
    assert says_the_same(net, other)
    assert not any(value.requires_grad for value in net.state.values())
