"""What leaves the lab is what was in it: weights to the bit, ONNX and fastai checked on images, files whole."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import VisionTransformer

import labkit
from labkit.bridges import onnx
from labkit.bridges.export import TOLERANCE, Exported, plain_model
from labkit.data.images import decode
from labkit.errors import ExportError, FileError, WeightsError
from labkit.models import ModelCard
from labkit.models.backbone import OFFICIAL
from labkit.models.vision import efficientnet_lite, staging
from labkit.models.vision.shipped import SHIPPED
from labkit.runtime import Precision
from labkit.tuning import Run
from tests.small import Clouds, Small

HAS_ONNX = all(importlib.util.find_spec(name) for name in onnx.NEEDED)
needs_onnx = pytest.mark.skipif(
    not HAS_ONNX, reason="left out: onnx or onnxruntime is not installed"
)


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
    assert back.card == ModelCard.read(path.with_suffix(".json"))
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
    card = labkit.run_card.model_card(run)
    assert [measure.what for measure in card.measures] == ["validation split"]
    assert str(Path.home()) not in card.to_json()


def test_what_is_exported_is_a_copy_in_evaluation_mode(run: Run) -> None:
    model = plain_model(run)
    assert not model.training
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert torch.any(next(run.model.parameters()) != 0)


@needs_onnx
def test_an_onnx_file_says_what_torch_says_on_images_it_was_not_checked_on(
    run: Run, exported: Exported
) -> None:
    import onnxruntime

    out, folder = exported, exported.files[0].parent
    assert out.checked == 64
    assert out.difference is not None
    assert out.difference <= TOLERANCE
    assert "no class differs" in repr(out)
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.onnx"]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    judged = run.evaluate("test")
    for count in (1, 7, len(run.data.test)):
        images, _ = run.data.test.batch(range(count))
        (scores,) = session.run(["scores"], {"pictures": images.numpy()})
        shares = torch.from_numpy(scores).softmax(1)
        assert (shares - judged.probabilities[:count]).abs().max() < 1e-3


@needs_onnx
def test_an_onnx_file_that_says_otherwise_is_refused_and_nothing_is_written(
    run: Run, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = exported.files[0].read_bytes()
    monkeypatch.setattr(onnx, "to_onnx", lambda model, images: content)
    untrained = Run(run.net, run.data, run.plan, seed=9)
    with pytest.raises(ExportError, match="does not say what the network says"):
        labkit.export(untrained, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_extra_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "NEEDED", ("torch", "no_such_runtime"))
    with pytest.raises(
        ExportError, match=r"no_such_runtime, not installed.*pip install.*\[export\]"
    ):
        labkit.export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"formats": ["onnx", "pickle"]}, "safetensors, onnx, fastai"),
        ({"formats": "onnx"}, "Give a list"),
        ({"formats": []}, "one or more"),
        ({"name": "../model"}, "without its ending"),
        ({"name": ""}, "without its ending"),
        ({"name": None}, "without its ending"),
        ({"formats": None}, "Give a list"),
        ({"formats": [["onnx"]]}, "one or more"),
    ],
)
def test_bad_wishes_are_refused_before_anything_runs(
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


def test_any_network_gives_its_weights_and_only_one_of_images_its_onnx(tmp_path: Path) -> None:
    run = Run(Small(), Clouds(), labkit.full(epochs=1)).fit()
    out = labkit.export(run, tmp_path, formats=["safetensors"])
    found = labkit.models.read_weights(out.files[0])
    assert all(torch.equal(value, found[key]) for key, value in run.model.state_dict().items())
    assert "as the batches of the data" in out.card.recipe["input"]
    if HAS_ONNX:
        with pytest.raises(ExportError, match="no images"):
            labkit.export(run, tmp_path)


SMALLEST = {"vit_b_16": 16, "convnext_tiny": 32}  # pixels on a side; all others take any image


@needs_onnx
@pytest.mark.parametrize("name", [*SHIPPED, efficientnet_lite.NAME, *OFFICIAL])
@pytest.mark.slow
def test_every_official_backbone_is_exported_to_onnx(name: str) -> None:
    model = labkit.load_backbone(name, weights=None).build(3).eval()
    if name == "vit_b_16":  # twelve blocks alike: two of them say the same in a sixth of the memory
        kept = [
            (key, part)
            for key, part in model.named_children()
            if key[5:] not in map(str, range(2, 12))
        ]
        model = staging.Staged(kept).eval()
    side = SMALLEST.get(name, 8)
    for width in (side, 3 * side):
        images = torch.rand(3, 3, side, width)
        with torch.no_grad():
            ours = model(images).softmax(1)
        theirs = onnx.probabilities(onnx.to_onnx(model, images), images)
        assert (ours - theirs).abs().max() < TOLERANCE


@needs_onnx
def test_a_transformer_is_exported_and_takes_any_number_of_images(tmp_path: Path) -> None:
    run = tiny_run(of_patches, ("stem", "block1", "head"))
    out = labkit.export(run, tmp_path)
    assert out.checked > 2
    assert out.difference is not None
    images, _ = run.data.valid.batch(range(7))
    content = (tmp_path / "model.onnx").read_bytes()
    for count in (1, 7):
        assert onnx.probabilities(content, images[:count]).shape == (count, 10)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/proc", "cannot be written"),
        ("/proc/none/out", "cannot be written"),
        ("a file/out", "cannot be written"),
        ("null\0", "cannot be written"),
        ("blocked", "folder"),
        ("", "is not a path"),
        (None, "None is not a path"),
        (3, "3 is not a path"),
    ],
)
@pytest.mark.slow
def test_where_nothing_can_be_exported_it_is_said_and_nothing_is_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").write_text("mine")
    (tmp_path / "blocked" / "model.json").mkdir(parents=True)  # the weights would find room
    with pytest.raises(FileError, match=said):
        labkit.export(run, folder, formats=["safetensors"])
    found = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*"))
    assert found == ["a file", "blocked", "blocked/model.json"]


def test_a_class_whose_name_is_no_text_is_exported(run: Run, tmp_path: Path) -> None:
    data = replace(run.data, classes=("ant\udcff", *run.data.classes[1:]))
    odd = Run(run.net, data, run.plan, seed=0, precision=Precision())
    labkit.export(odd, tmp_path, formats=["safetensors"])
    assert ModelCard.read(tmp_path / "model.json").classes[0] == "ant\udcff"


def test_a_network_without_a_head_of_its_own_is_no_trained_one() -> None:
    with pytest.raises(WeightsError, match="no head"):
        labkit.load_backbone("resnet10", weights=None).trained()


# ---------------------------------------------------------------- a fastai learner

HAS_FASTAI = bool(importlib.util.find_spec("fastai"))
needs_fastai = pytest.mark.skipif(not HAS_FASTAI, reason="left out: fastai is not installed")

SOMEWHERE_ELSE = """
import json, sys, warnings

class NoLabkit:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "labkit":
            raise ImportError("labkit is not here")

sys.meta_path.insert(0, NoLabkit())
warnings.simplefilter("ignore")
from fastai.learner import load_learner

learn = load_learner(sys.argv[1])
files = sys.argv[2:]
with learn.no_bar(), learn.no_logging():
    together, _ = learn.get_preds(dl=learn.dls.test_dl(files, num_workers=0))
    name, number, alone = learn.predict(files[0])
said = {"classes": list(learn.dls.vocab), "all": together.tolist(), "name": str(name)}
print(json.dumps(said | {"first": alone.tolist(), "number": int(number)}))
"""


def elsewhere(learner: Path, files: Sequence[Path]) -> dict[str, Any]:
    """What a fresh process without labkit is told of some files by a learner."""
    command = [sys.executable, "-c", SOMEWHERE_ELSE, str(learner), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=learner.parent)
    assert not done.returncode, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def as_files(split: Any, count: int, folder: Path) -> list[Path]:
    files = [folder / f"{number}.png" for number in range(count)]
    for file, image in zip(files, split.images[:count], strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
    return files


NAMES = ("<img src=x>", "['a', 'b']", "#na#", "nan", "ant\nbee", "🐜", "None", "0", "a/b", " ")


@dataclass(frozen=True)
class Learner:
    """A run whose classes have unfriendly names, as a learner, and what that says elsewhere: of 40 digits, and of the
    first again, on its side, with a note in the file to turn it.
    """

    run: Run
    exported: Exported
    file: Path
    said: dict[str, Any]


@pytest.fixture(scope="module")
def learner(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Learner:
    """Made and opened once, because a fresh process with fastai takes seconds."""
    folder, images = tmp_path_factory.mktemp("fastai"), tmp_path_factory.mktemp("pictures")
    data = replace(run.data, classes=NAMES)
    named = Run(run.net, data, run.plan, seed=0, precision=Precision()).fit()
    out = labkit.export(named, folder, formats=["fastai"])
    files = as_files(named.data.test, 40, images)
    tag = Image.Exif()
    tag[0x0112] = 6
    with Image.open(files[0]) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(images / "side.png", exif=tag)
    said = elsewhere(folder / "model.pkl", [*files, images / "side.png"])
    return Learner(named, out, folder / "model.pkl", said)


@needs_fastai
@pytest.mark.slow
def test_a_learner_opens_where_labkit_is_not_and_says_what_the_run_says(learner: Learner) -> None:
    files = sorted(file.name for file in learner.file.parent.iterdir())
    assert files == ["model.json", "model.pkl"]
    assert learner.exported.checked == 64
    assert "fastai against torch on 64 images" in repr(learner.exported)
    judged, said = learner.run.evaluate("test"), learner.said
    shares = torch.tensor(said["all"])[:40]
    assert (shares - judged.probabilities[:40]).abs().max() < 1e-3
    assert torch.equal(shares.argmax(1), judged.predictions[:40])
    assert said["classes"] == list(NAMES)
    assert said["name"] == NAMES[said["number"]] == NAMES[int(judged.predictions[0])]
    assert torch.allclose(torch.tensor(said["first"]), shares[0], atol=1e-5)


@needs_fastai
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.slow
def test_a_resnet_goes_into_a_learner_in_torchvisions_own_classes(
    name: str, run: Run, tmp_path: Path
) -> None:
    net = labkit.load_backbone(name, weights=None)
    out = labkit.export(Run(net, run.data, run.plan), tmp_path, formats=["fastai"])
    assert "labkit" not in out.card.recipe["fastai"]["needs"]


@needs_fastai
@pytest.mark.slow
def test_a_photograph_on_its_side_is_turned_as_labkit_turns_it(learner: Learner) -> None:
    assert learner.said["all"][40] == pytest.approx(learner.said["all"][0], abs=1e-6)


@needs_fastai
@pytest.mark.slow
def test_the_card_says_what_a_learner_needs_and_that_it_is_a_pickle(learner: Learner) -> None:
    about = learner.exported.card.recipe["fastai"]
    assert ModelCard.read(learner.file.with_suffix(".json")).recipe["fastai"] == about
    assert about["file"] == "model.pkl"
    assert about["sha256"] == hashlib.sha256(learner.file.read_bytes()).hexdigest()
    assert about["needs"]["fastai"] == version("fastai")
    assert {"torch", "torchvision"} < about["needs"].keys()
    assert "labkit" not in about["needs"]
    assert "trust whoever made it" in about["beware"]


@needs_fastai
@pytest.mark.slow
def test_a_learner_holds_no_compiled_code_no_path_and_no_image(learner: Learner) -> None:
    with zipfile.ZipFile(learner.file) as parts:
        (pickled,) = [name for name in parts.namelist() if name.endswith("data.pkl")]
        names = parts.read(pickled)
    for foreign in (b"cloudpickle", b"PosixPath", b"WindowsPath", str(Path.cwd()).encode()):
        assert foreign not in names
    weights = sum(value.nbytes for value in learner.run.model.state_dict().values())
    assert learner.file.stat().st_size < weights + 100_000


@needs_fastai
@pytest.mark.photos
@pytest.mark.slow
def test_a_learner_says_of_photographs_what_the_run_says(photos: Path, tmp_path: Path) -> None:
    data = labkit.load_data("ants-bees", size=64)
    plan = labkit.feature_extraction(lr=0.01, epochs=2)
    net = labkit.load_backbone("resnet10")
    run = Run(net, data, plan, seed=0, precision=Precision()).fit()
    labkit.export(run, tmp_path, formats=["fastai"])
    files = [next(photos.rglob(Path(name).name)) for name in data.valid.names[:40]]
    said = torch.tensor(elsewhere(tmp_path / "model.pkl", files)["all"])
    judged = run.evaluate("valid")
    apart = (said - judged.probabilities[:40]).abs().max(dim=1).values
    assert apart.median() < 0.02  # a JPEG is decoded at full size there, and cut at whole pixels
    assert int((said.argmax(1) != judged.predictions[:40]).sum()) <= 1


def odd_files(folder: Path) -> list[Path]:
    """Files of every kind that programs open each in their own way, larger than what the network takes."""
    chance = np.random.default_rng(0)
    colours = chance.integers(0, 256, (90, 120, 3), np.uint8)
    photo, ramp = Image.fromarray(colours), np.linspace(0, 1, 90 * 120).reshape(90, 120)
    clear = photo.copy()
    clear.putalpha(Image.fromarray((ramp * 255).astype(np.uint8)))
    drawn = photo.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    tag = Image.Exif()
    tag[0x0112] = 8
    bright = (ramp * 65535).astype(np.uint16)
    images: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "grey16.tiff": (Image.fromarray(bright), {}),
        "grey16.png": (Image.fromarray(bright), {}),
        "grey12.png": (Image.fromarray((ramp * 4095).astype(np.uint16)), {}),
        "int32.tiff": (Image.fromarray((ramp * 255).astype(np.int32)), {}),
        "glass.png": (Image.new("RGBA", (70, 50), (255, 0, 0, 0)), {}),
        "fading.png": (clear, {}),
        "fading.webp": (clear, {"lossless": True}),
        "grey_alpha.png": (clear.convert("LA"), {}),
        "drawn.png": (drawn, {"transparency": 3}),
        "one_clear.png": (photo.convert("L"), {"transparency": 7}),
        "print.jpg": (photo.convert("CMYK"), {}),
        "bits.png": (photo.convert("1"), {}),
        "turned.jpg": (photo.resize((600, 400)), {"exif": tag}),
        "large.jpg": (photo.resize((1500, 1100)), {}),
        "no_suffix": (photo, {"format": "PNG"}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    return [folder / name for name in images]


SEEN_ELSEWHERE = (
    SOMEWHERE_ELSE.partition("files = ")[0]
    + """
import hashlib
import numpy as np

opened = [learn.dls.valid_ds.tls[0].tfms(path) for path in sys.argv[2:]]
at_hand = [learn.dls.valid_ds.tls[0].tfms(open(path, "rb").read()) for path in sys.argv[2:]]
files = [hashlib.sha256(np.asarray(image).tobytes()).hexdigest() for image in opened + at_hand]
print(json.dumps({"pixels": files, "labkit": "labkit" in sys.modules}))
"""
)


@needs_fastai
@pytest.mark.slow
def test_a_learner_sees_of_any_file_the_pixels_that_labkit_learns_from(tmp_path: Path) -> None:
    labkit.export(tiny_run(), tmp_path, formats=["fastai"])
    files = odd_files(tmp_path)
    command = [sys.executable, "-c", SEEN_ELSEWHERE, str(tmp_path / "model.pkl"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert not done.returncode, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert not said["labkit"]
    wanted = []
    for file in files:
        known = file if file.suffix else file.rename(file.with_suffix(".png"))
        reading = decode.read(known, 16)
        assert reading.pixels is not None, file
        wanted.append(hashlib.sha256(reading.pixels.transpose(1, 2, 0).tobytes()).hexdigest())
    wrong = [
        file.name
        for file, seen, right in zip(files * 2, said["pixels"], wanted * 2, strict=True)
        if seen != right
    ]
    assert wrong == []


@needs_fastai
def test_an_image_at_hand_is_opened_as_its_file_is(tmp_path: Path) -> None:
    from labkit.bridges.fastai.opening import opening

    opens = pickle.loads(pickle.dumps(opening(16, None)))
    for file in odd_files(tmp_path)[:-1]:
        with Image.open(file) as image:
            if image.format != "JPEG":  # which is decoded at a smaller size where it is a file
                assert np.array_equal(np.asarray(opens.open(image)), np.asarray(opens.open(file)))
    deep = np.full((20, 20), 32896, np.uint16)
    assert np.asarray(opens.open(deep)).max() == 128
    with pytest.raises(ValueError, match=r"none\.png: not a regular file"):
        opens.open(tmp_path / "none.png")


@needs_fastai
def test_a_learner_sees_deep_images_as_bright_as_their_folder_made_them(tmp_path: Path) -> None:
    from labkit.bridges.fastai.opening import opening
    from labkit.data.images.decode import white_of

    chance = np.random.default_rng(0)
    for name in ("cells", "dust"):
        (tmp_path / name).mkdir()
        for number, top in enumerate((4096, 4096, 3000, 700)):  # 12 bits, the last one dark
            grey = chance.integers(0, top, (24, 20)).astype(np.uint16)
            Image.fromarray(grey).save(tmp_path / name / f"{number}.png")
    data = labkit.load_data(tmp_path, size=16)
    opens = pickle.loads(pickle.dumps(opening(16, white_of(data.report))))
    for split in (data.train, data.valid):
        for name, image in zip(split.names, split.images, strict=True):
            seen = torch.from_numpy(np.array(opens.open(tmp_path / name))).permute(2, 0, 1)
            assert torch.equal(seen, image), name


@needs_fastai
def test_a_learner_that_sees_other_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labkit.bridges.fastai import opening

    text = opening.source_text()
    assert text.count("'white'), layer") == 1
    monkeypatch.setattr(
        opening, "source_text", lambda: text.replace("'white'), layer", "'black'), layer")
    )
    with pytest.raises(ExportError, match="fastai file does not say"):
        labkit.export(tiny_run(), tmp_path / "out", formats=["fastai"])
    assert not (tmp_path / "out").exists()


NO_ROOM = """
import resource, sys
import labkit
from tests.unit.test_bridges_export import tiny_run

resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
try:
    labkit.export(tiny_run(), sys.argv[1], formats=["fastai"])
except OSError as full:
    print("full:", full)
"""


def tiny(classes: int) -> nn.Module:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, classes))
    return nn.Sequential(OrderedDict(body=nn.Conv2d(3, 3, 3), head=head))


def tiny_run(factory: Any = tiny, stages: Sequence[str] = ("body", "head")) -> Run:
    data = labkit.load_data("digits", size=16).subset(per_class=2)
    net = labkit.Backbone.from_module(factory, stages, "tiny")
    return Run(net, data, labkit.full(epochs=1, batch_size=10), precision=Precision()).fit()


@pytest.mark.slow
@needs_fastai
@pytest.mark.skipif(sys.platform == "win32", reason="left out: no limit on files there")
def test_a_learner_that_there_is_no_room_for_leaves_the_old_one_whole(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"the old one")
    command = [sys.executable, "-W", "ignore", "-c", NO_ROOM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "full:" in done.stdout, done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["model.pkl"]
    assert (tmp_path / "model.pkl").read_bytes() == b"the old one"


@needs_fastai
def test_a_network_made_within_a_function_is_refused_with_what_to_do(tmp_path: Path) -> None:
    def within(classes: int) -> nn.Module:
        class Head(nn.Sequential):
            pass

        model = tiny(classes)
        model.head = Head(*model.get_submodule("head"))
        return model

    with pytest.raises(ExportError, match=r"(?s)Head.*a file of their own"):
        labkit.export(tiny_run(within), tmp_path / "out", formats=["fastai"])
    assert not (tmp_path / "out").exists()


def of_patches(classes: int) -> nn.Module:
    sizes = {"hidden_dim": 8, "mlp_dim": 8, "num_classes": classes}
    return staging.cut(VisionTransformer(16, 8, num_layers=1, num_heads=1, **sizes))


@needs_fastai
@pytest.mark.slow
def test_a_network_of_patches_says_in_its_card_that_it_needs_labkit(tmp_path: Path) -> None:
    run = tiny_run(of_patches, ("stem", "block1", "head"))
    about = labkit.export(run, tmp_path, formats=["fastai"]).card.recipe["fastai"]
    assert about["needs"]["labkit"] == labkit.__version__


def test_without_fastai_the_extra_is_named_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastai", None)  # as Python keeps what cannot be imported
    with pytest.raises(ExportError, match=r"fastai, not installed here.*pip install.*\[lessons\]"):
        labkit.export(run, tmp_path / "out", formats=["safetensors", "fastai"])
    assert not (tmp_path / "out").exists()


@needs_fastai
def test_a_run_without_images_and_a_learner_are_refused(run: Run, tmp_path: Path) -> None:
    from labkit.bridges import fastai as bridge

    clouds = Run(Small(), Clouds(), labkit.full(epochs=1)).fit()
    with pytest.raises(ExportError, match="no images"):
        labkit.export(clouds, tmp_path / "out", formats=["fastai"])
    theirs: Any = bridge.Steered(bridge.learner(run.net, run.data), lambda learn: learn.fit(1))
    with pytest.raises(ExportError, match=r"learn\.export"):
        labkit.export(theirs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
