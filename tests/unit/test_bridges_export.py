"""What leaves the lab is what was in it: weights to the bit, ONNX checked on real pictures, files whole or none."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import labkit
from labkit.bridges import onnx
from labkit.bridges.export import Exported, plain_model
from labkit.errors import ExportError, WeightsError
from labkit.models import Card
from labkit.runtime import Precision
from labkit.tuning import Run
from tests.small import Clouds, Small

HAS_ONNX = all(importlib.util.find_spec(name) for name in onnx.NEEDED)
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason='left out: pip install "labkit[export]"')


@pytest.fixture(scope="module")
def run() -> Run:
    data = labkit.load_data("digits").subset(per_class=5)
    plan = labkit.partial("layer4", lr=1e-3, epochs=1, batch_size=10)
    net = labkit.load_backbone("resnet10-glyphs")
    return Run(net, data, plan, seed=0, name="mine", precision=Precision()).fit()


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The run as ONNX; made once, because that takes seconds."""
    return labkit.export(run, tmp_path_factory.mktemp("onnx"), formats=["onnx"])


def test_exported_weights_come_back_to_the_bit_with_their_card(run: Run, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    test = run.evaluate("test")
    out = labkit.export(run, tmp_path / "new" / "folder", formats=["safetensors"], test=test)
    path = tmp_path / "new" / "folder" / "model.safetensors"
    back = labkit.load_backbone("resnet10-glyphs", weights=path)
    found = back.trained().state_dict()
    assert found.keys() == before.keys()
    assert all(torch.equal(found[key], before[key]) for key in before)
    assert back.card == Card.read(path.with_suffix(".json"))
    assert back.card is not None
    assert back.card.classes == run.data.classes
    assert [measure.what for measure in back.card.measures] == ["test split", "validation split"]
    assert back.card.accuracy == test.accuracy
    assert back.card.recipe["plan"] == json.loads(json.dumps(run.plan.to_dict()))
    assert back.card.recipe["steps"] == run.step_number
    assert "CC BY 4.0" in str(back.card)
    assert "(n, 3, 32, 32)" in back.card.recipe["input"]
    assert sorted(file.name for file in out.files) == ["model.json", "model.safetensors"]
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "model.json",
        "model.safetensors",
    ]
    after = run.model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_without_an_opened_test_split_the_card_speaks_of_validation_only(run: Run) -> None:
    card = labkit.tuning.card.model_card(run)
    assert [measure.what for measure in card.measures] == ["validation split"]
    assert str(Path.home()) not in card.to_json()


def test_what_is_exported_is_a_copy_in_evaluation_mode(run: Run) -> None:
    model = plain_model(run)
    assert not model.training
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert torch.any(next(run.model.parameters()) != 0)


@needs_onnx
def test_an_onnx_file_says_what_torch_says_on_pictures_it_was_not_checked_on(
    run: Run, exported: Exported
) -> None:
    import onnxruntime

    out, folder = exported, exported.files[0].parent
    assert out.checked == 64
    assert out.difference is not None
    assert out.difference <= onnx.TOLERANCE
    assert "no class differs" in repr(out)
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.onnx"]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    judged = run.evaluate("test")
    for count in (1, 7, len(run.data.test)):
        pictures, _ = run.data.test.batch(range(count))
        (scores,) = session.run(["scores"], {"pictures": pictures.numpy()})
        shares = torch.from_numpy(scores).softmax(1)
        assert (shares - judged.probabilities[:count]).abs().max() < 1e-3


@needs_onnx
def test_an_onnx_file_that_says_otherwise_is_refused_and_nothing_is_written(
    run: Run, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = exported.files[0].read_bytes()
    monkeypatch.setattr(onnx, "to_onnx", lambda model, pictures: content)
    untrained = Run(run.net, run.data, run.plan, seed=9)
    with pytest.raises(ExportError, match="does not say what the network says"):
        labkit.export(untrained, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_extra_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "NEEDED", ("torch", "no_such_runtime"))
    with pytest.raises(ExportError, match=r"no_such_runtime, not installed.*labkit\[export\]"):
        labkit.export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"formats": ["onnx", "pickle"]}, "safetensors, onnx"),
        ({"formats": "onnx"}, "Give a list"),
        ({"formats": []}, "one or more"),
        ({"name": "../model"}, "without its ending"),
        ({"name": ""}, "without its ending"),
    ],
)
def test_bad_wishes_are_refused_at_the_door(
    run: Run, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ExportError, match=said):
        labkit.export(run, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ExportError, match="is a file"):
        labkit.export(run, tmp_path / "out", formats=["safetensors"])
    assert (tmp_path / "out").read_text() == "mine"


def test_any_network_gives_its_weights_and_only_one_of_pictures_its_onnx(tmp_path: Path) -> None:
    run = Run(Small(), Clouds(), labkit.full(epochs=1)).fit()
    out = labkit.export(run, tmp_path, formats=["safetensors"])
    found = labkit.models.read_weights(out.files[0])
    assert all(torch.equal(value, found[key]) for key, value in run.model.state_dict().items())
    assert "as the batches of the data" in out.card.recipe["input"]
    if HAS_ONNX:
        with pytest.raises(ExportError, match="no pictures"):
            labkit.export(run, tmp_path)


def test_a_network_without_a_head_of_its_own_is_no_trained_one() -> None:
    with pytest.raises(WeightsError, match="no head"):
        labkit.load_backbone("resnet10", weights=None).trained()
