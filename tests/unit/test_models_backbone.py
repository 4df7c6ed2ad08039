"""A backbone builds fresh networks from a seed, and takes no weights that are not its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import get_model, get_model_weights

import labkit
from labkit import runtime
from labkit.errors import BackboneError, WeightsError
from labkit.models import Card, published, save_weights
from labkit.models.backbone import FOLDER, SHIPPED
from labkit.models.files import read_weights, sha256

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
    assert {"resnet18", "resnet50", "mobilenet_v3_small", "convnext_tiny", "vit_b_16"} <= set(
        table.index
    )
    assert set(table["weights"]) <= {"shipped", "cached", "to fetch"}


# ---------------------------------------------------------------- shipped weights


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_the_ones_their_card_describes(name: str) -> None:
    path = FOLDER / f"{SHIPPED[name]}.safetensors"
    card = Card.read(path.with_suffix(".json"))
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
    assert card == Card.read(path.with_suffix(".json"))


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
    monkeypatch.setattr("labkit.models.backbone.FOLDER", tmp_path)
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
    description = SimpleNamespace(
        url=f"{host}/net-{digest}.pth",
        meta=get_model_weights("mobilenet_v3_small").DEFAULT.meta,
        transforms=get_model_weights("mobilenet_v3_small").DEFAULT.transforms,
    )
    monkeypatch.setattr("labkit.models.published.weights_of", lambda name: description)
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
    meta = get_model_weights("resnet18").DEFAULT.meta
    description = SimpleNamespace(url=f"{host}/net-0123abcd.pth", meta=meta)
    path = tmp_path / "hub" / "net-0123abcd.pth"
    with pytest.raises(WeightsError, match="not the published file"):
        published._fetch("resnet18", description, path)
    assert not list(path.parent.iterdir())
