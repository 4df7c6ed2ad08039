"""On a machine that has never seen labkit, nothing heavy stands before the first step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, ResNet, resnet18

import labkit
from labkit import runtime
from labkit.models.vision import published
from labkit.models.vision.resnet import RESNETS
from labkit.models.vision.resnet10 import WIDTHS, ResNet10
from labkit.runtime import Precision
from labkit.tuning.optimizer import new_optimizer, without_compiler
from labkit.tuning.precision import usual

HEAVY = ("torch._dynamo", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "fastai")
FIRST_STEP = """
import json, sys, labkit
data = labkit.load_data("digits").subset(per_class=3)
run = labkit.Run(labkit.load_backbone("resnet10-glyphs"), data, labkit.{plan})
run.step()
run.rewind(0)
run.fit(1)
print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""


@pytest.mark.parametrize("plan", ["feature_extraction()", "full(optimizer='sgd')"])
@pytest.mark.slow
def test_a_first_step_imports_nothing_but_torch(plan: str, tmp_path: Path) -> None:
    code = FIRST_STEP.format(plan=plan, heavy=HEAVY)
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert json.loads(said) == []


AT_224 = """
import json, shutil, sys, torch, labkit
from dataclasses import replace
from pathlib import Path
from labkit.models.vision import published
from labkit.models.vision.shipped import sha256

folder, given, plan, *heavy = sys.argv[1:]
file = Path(folder, "net.pth")
if given == "pretrained":  # torchvision's own file is not here: this one stands in torch's cache as if it were
    about = replace(published.weights_of("resnet18"), url=f"https://example.org/net-{sha256(file)}.pth")
    published._kept()["resnet18"] = about
    torch.hub.set_dir(folder)
    about.path.parent.mkdir()
    shutil.copyfile(file, about.path)
weights = {"pretrained": "pretrained", "file": file, "none": None}[given]
data = labkit.load_data(Path(folder, "photographs"), size=224)
net = labkit.load_backbone("resnet18", weights=weights)
run = labkit.Run(net, data, eval("labkit." + plan), precision="auto")
run.fit()
run.evaluate("valid").accuracy
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs of noise, and the file of a trained ResNet-18 of torchvision's beside them."""
    folder = tmp_path_factory.mktemp("photographs")
    for part in ("train", "val"):
        for name in ("ants", "bees"):
            (folder / "photographs" / part / name).mkdir(parents=True)
            for number in range(2):
                pixels = torch.randint(256, (240, 300, 3), dtype=torch.uint8).numpy()
                Image.fromarray(pixels).save(folder / "photographs" / part / name / f"{number}.jpg")
    torch.save(resnet18().state_dict(), folder / "net.pth")
    return folder


@pytest.mark.parametrize(
    ("weights", "plan"),
    [
        ("pretrained", "feature_extraction(epochs=2)"),
        ("file", "partial('layer4', augment='light', epochs=1)"),
        ("none", "full(epochs=1, optimizer='sgd')"),
    ],
)
@pytest.mark.slow
def test_a_resnet_at_224_pixels_imports_nothing_but_torch(
    weights: str, plan: str, photographs: Path
) -> None:
    """With and without the frozen prefix kept, with augmentation, decoding and judging."""
    command = [sys.executable, "-c", AT_224, str(photographs), weights, plan, *HEAVY]
    assert json.loads(subprocess.check_output(command, text=True)) == []


# ---------------------------------------------------------------- precision


class Counted(nn.Sequential):
    """A network that counts how often it is run."""

    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.runs += 1
        return super().forward(x)


def test_a_run_is_made_without_running_its_network() -> None:
    def factory(count: int) -> nn.Module:
        body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8))
        return Counted(body, nn.Linear(8, count))

    net = labkit.Backbone.from_module(factory, ["0", "1"], "counted")
    data = labkit.load_data("digits", size=16, per_class=3)
    Counted.runs = 0
    run = labkit.Run(net, data, labkit.full(epochs=1))
    assert Counted.runs == 0
    run.step()
    assert Counted.runs > 0  # it does count


class Images:
    """A split of images of one size."""

    def __init__(self, *shape: int) -> None:
        self.inputs = torch.zeros(4, *shape)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[rows], torch.zeros(len(rows), dtype=torch.long)


@pytest.mark.parametrize(
    ("bf16", "net", "shape", "expected"),
    [
        (True, ResNet10(2), (3, 32, 32), Precision("bf16", "channels_last")),
        (False, ResNet10(2), (3, 32, 32), Precision("fp32", "contiguous")),
        (False, resnet18(), (3, 224, 224), Precision("fp32", "channels_last")),
        (True, nn.Linear(8, 2), (8,), Precision("fp32", "contiguous")),
        (True, nn.Linear(2000, 2000), (2000,), Precision("bf16", "contiguous")),
    ],
)
def test_the_usual_precision_follows_processor_network_and_images(
    monkeypatch: pytest.MonkeyPatch,
    bf16: bool,
    net: nn.Module,
    shape: tuple[int, ...],
    expected: Precision,
) -> None:
    monkeypatch.setattr(runtime, "has_bf16", lambda: bf16)
    assert usual(net, Images(*shape)) == expected


def test_a_processor_is_believed_until_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime.device().type != "cpu":
        pytest.skip("left out: a graphics card says itself what it can do")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(runtime, "_processor_flags", lambda: {"avx2", "avx512_bf16"})
    assert runtime.has_bf16()
    monkeypatch.setattr(runtime, "_processor_flags", lambda: {"avx2"})
    assert not runtime.has_bf16()
    measured = runtime.confirm_bf16()
    assert runtime.has_bf16() == (measured * runtime.CLEARLY > 1)


# ---------------------------------------------------------------- the optimizer without torch's compiler


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_without_the_compiler_moves_weights_to_the_same_bits(kind: type) -> None:
    options = {"lr": 0.1, "weight_decay": 0.01, **({"momentum": 0.9} if "SGD" in str(kind) else {})}
    plain, ours = nn.Linear(5, 3), nn.Linear(5, 3)
    ours.load_state_dict(plain.state_dict())
    optimizers = (
        kind(plain.parameters(), **options),
        without_compiler(kind)(ours.parameters(), **options),
    )
    for step in range(4):
        for net, optimizer in zip((plain, ours), optimizers, strict=True):
            optimizer.zero_grad()
            net(torch.full((2, 5), 0.5 + step)).square().sum().backward()
            optimizer.step()
    assert torch.equal(plain.weight, ours.weight)
    optimizers[1].load_state_dict(optimizers[0].state_dict())
    assert not ours.weight.grad_fn  # gradients are off while weights move


def test_a_hook_on_the_optimizer_still_runs() -> None:
    net, seen = nn.Linear(2, 2), []
    groups = [{"params": list(net.parameters())}]
    optimizer = new_optimizer("adamw", groups, lr=0.1, device=torch.device("cpu"))
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert seen == ["before"]


# ---------------------------------------------------------------- residual networks without torchvision


class TorchvisionsResNet10(ResNet):
    """The shipped network as it was when its weights and the runs on record were made: derived from torchvision's."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
        self.inplanes = WIDTHS[0]
        self.conv1 = nn.Conv2d(3, WIDTHS[0], kernel_size=3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.maxpool = nn.Identity()
        for number, (width, stride) in enumerate(zip(WIDTHS, (1, 2, 2, 2), strict=True), start=1):
            setattr(self, f"layer{number}", self._make_layer(BasicBlock, width, 1, stride=stride))
        self.fc = nn.Linear(WIDTHS[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def drawn(kind: Callable[[], nn.Module]) -> tuple[nn.Module, Tensor]:
    """A network made with one seed, and the next random numbers after it."""
    torch.manual_seed(3)
    return kind(), torch.rand(2)


def assert_same_to_the_bit(theirs: nn.Module, ours: nn.Module) -> None:
    assert [name for name, _ in theirs.named_modules()] == [
        name for name, _ in ours.named_modules()
    ]
    assert str(theirs).split("(", 1)[1] == str(ours).split("(", 1)[1]  # every layer as it prints
    state = ours.state_dict()
    assert list(theirs.state_dict()) == list(state)
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, state[name]), name
    x = torch.rand(4, 3, 32, 32)
    for net in (theirs, ours):
        net(x).square().sum().backward()  # moves the statistics of every BatchNorm, too
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine.grad, yours.grad)
    assert torch.equal(theirs.eval()(x), ours.eval()(x))


@pytest.mark.parametrize("num_classes", [2, 10, 200])
def test_the_shipped_network_is_torchvisions_to_the_bit(num_classes: int) -> None:
    theirs, then = drawn(lambda: TorchvisionsResNet10(num_classes))
    ours, now = drawn(lambda: ResNet10(num_classes))
    assert torch.equal(then, now)  # as many random numbers were drawn
    assert_same_to_the_bit(theirs, ours)


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_written_out_is_torchvisions_to_the_bit(name: str) -> None:
    theirs, then = drawn(lambda: get_model(name, weights=None, num_classes=7))
    ours, now = drawn(lambda: published._network(name, 7))
    assert type(ours) is not type(theirs)
    assert torch.equal(then, now)  # as many random numbers were drawn
    assert_same_to_the_bit(theirs, ours)


def test_what_is_kept_of_torchvisions_weights_is_what_it_publishes() -> None:
    written = published.FILE.read_text("utf-8")
    assert written == published.to_keep(), "write it anew: python -m labkit.models.vision.published"
    for name in RESNETS:
        assert published.weights_of(name) == published._torchvisions(name)


def test_every_resnet_that_is_written_out_is_one_that_torchvision_lists() -> None:
    assert set(RESNETS) <= set(published.names())
