"""On a machine that has never seen labkit, nothing heavy stands before the first step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet, resnet18

import labkit
from labkit import runtime
from labkit.models.resnet10 import WIDTHS, ResNet10
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
def test_a_first_step_imports_nothing_but_torch(plan: str, tmp_path: Path) -> None:
    code = FIRST_STEP.format(plan=plan, heavy=HEAVY)
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert json.loads(said) == []


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


# ---------------------------------------------------------------- the shipped network without torchvision


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


@pytest.mark.parametrize("num_classes", [2, 10, 200])
def test_the_shipped_network_is_torchvisions_to_the_bit(num_classes: int) -> None:
    made = []
    for kind in (TorchvisionsResNet10, ResNet10):
        torch.manual_seed(3)
        made.append((kind(num_classes), torch.rand(2)))
    (theirs, then), (ours, now) = made
    assert torch.equal(then, now)  # as many random numbers were drawn
    assert list(theirs.state_dict()) == list(ours.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name]), name
    x = torch.rand(4, 3, 32, 32)
    assert torch.equal(theirs(x), ours(x))
