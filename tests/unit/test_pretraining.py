"""The recipes run again to the same weights, go on where they were interrupted, and their cards tell the truth."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit
from labkit.errors import DataError, WeightsError
from labkit.models import Measure, ModelCard
from labkit.models.vision.shipped import FOLDER
from labkit.models.vision.staging import Staged
from labkit.pretraining import (
    PHOTOS,
    PretrainingRecipe,
    Progress,
    letters,
    pretrain_glyphs,
    pretrain_photos,
)
from labkit.pretraining.glyphs import correct_letters
from labkit.pretraining.loop import Pretraining
from labkit.pretraining.photos import augment, normalise, read_photos
from labkit.pretraining.transfer import features, few_digits, probe

TINY = PretrainingRecipe(epochs=2, steps_per_epoch=2, batch_size=4)
WNIDS = ("n002", "n001")  # the archive's order, not the alphabet's
NAMES = ("zebra", "ant, emmet")


# ---------------------------------------------------------------- the loop


def random_batches(
    epoch: int, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for _ in range(2):
        yield torch.randn(4, 3, 16, 16, generator=generator), torch.arange(4)


def trained(recipe: PretrainingRecipe, checkpoint: Path) -> dict[str, torch.Tensor]:
    return Pretraining(recipe, 4, 2, checkpoint).run(random_batches).state_dict()


def test_an_interrupted_training_ends_at_the_same_weights(tmp_path: Path) -> None:
    whole = trained(TINY, tmp_path / "whole")

    def pull_the_plug(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pretraining(TINY, 4, 2, tmp_path / "cut").run(random_batches, watch=pull_the_plug)
    resumed = Pretraining(TINY, 4, 2, tmp_path / "cut")
    assert resumed.epoch == 1
    again = resumed.run(random_batches).state_dict()
    assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    trained(TINY, tmp_path / "checkpoint")
    with pytest.raises(WeightsError, match="another recipe"):
        Pretraining(replace(TINY, seed=1), 4, 2, tmp_path / "checkpoint")


def test_the_learning_rate_warms_up_once_and_ends_near_zero() -> None:
    rates = [PHOTOS.lr(step, 625) for step in range(38 * 625)]
    assert rates[0] == pytest.approx(0.1 / 625)
    assert rates[624] == pytest.approx(0.1)
    assert max(rates) <= 0.1
    assert rates[625:] == sorted(rates[625:], reverse=True)
    assert rates[-1] < 1e-5


# ---------------------------------------------------------------- photographs


def jpeg(label: int, number: int, size: int = 64) -> bytes:
    rng = np.random.default_rng(100 * label + number)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of the official archive: 2 classes, 4 photographs each to learn from, 2 each to judge by."""
    root = tmp_path_factory.mktemp("tiny-imagenet-200")
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (root / "words.txt").write_text("n001\tant, emmet\nn002\tzebra\nn003\tnobody\n")
    (root / "val" / "images").mkdir(parents=True)
    rows = []
    for label, wnid in enumerate(WNIDS):
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{wnid}_{number}.JPEG").write_bytes(jpeg(label, number))
        for number in (4, 5):
            name = f"val_{label}_{number}.JPEG"
            (root / "val" / "images" / name).write_bytes(jpeg(label, number))
            rows.append(f"{name}\t{wnid}\t0\t0\t63\t63")
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photographs as a hub keeps them."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    root = tmp_path_factory.mktemp("parquet")
    for split, numbers in (("train", range(4)), ("valid", (4, 5))):
        rows = [(label, number) for label in range(2) for number in numbers]
        images = [{"bytes": jpeg(*row), "path": None} for row in rows]
        table = pa.table({"image": images, "label": [label for label, _ in rows]})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")
    lines = [
        f"{i}\t{wnid}\t{name}" for i, (wnid, name) in enumerate(zip(WNIDS, NAMES, strict=True))
    ]
    (root / "classes.tsv").write_text("\n".join(["label\twnid\tname", *lines]) + "\n")
    return root


def test_archive_and_parquet_hold_the_same_photographs(archive: Path, parquet: Path) -> None:
    one, other = read_photos(archive), read_photos(parquet)
    assert one.classes == other.classes == NAMES
    assert one.images.shape == (8, 3, 64, 64)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.valid_images, other.valid_images)
    assert torch.equal(one.valid_labels, other.valid_labels)


def test_a_folder_that_is_not_tiny_imagenet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"wnids\.txt"):
        read_photos(tmp_path)


def test_the_photographs_recipe_writes_weights_that_load_with_a_card(
    archive: Path, tmp_path: Path
) -> None:
    told: list[Progress] = []
    path = pretrain_photos(archive, tmp_path, TINY, told.append)
    net = labkit.load_backbone("resnet10", weights=path)
    assert net.card is not None
    assert net.card.classes == NAMES
    assert net.card.measures[0].count == 4
    assert net.head is not None
    assert [progress.epoch for progress in told] == [1, 2]
    assert told[-1].accuracy is not None
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_the_same_recipe_makes_the_same_file(archive: Path, tmp_path: Path) -> None:
    one, other = (pretrain_photos(archive, tmp_path / name, TINY) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_recipe_that_only_warms_up_is_refused() -> None:
    with pytest.raises(labkit.LabkitError, match="warmup_epochs=2"):
        PretrainingRecipe(epochs=2, warmup_epochs=2)


def test_augmentation_draws_for_each_image_and_keeps_its_range() -> None:
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8).expand(8, -1, -1, -1)
    crops = augment(images, 48, torch.Generator().manual_seed(0))
    assert crops.shape == (8, 3, 48, 48)
    assert not any(torch.equal(crops[0], crop) for crop in crops[1:])
    assert crops.abs().max() <= 1.2 * normalise(images).abs().max() + 0.21
    assert torch.equal(crops, augment(images, 48, torch.Generator().manual_seed(0)))


# ---------------------------------------------------------------- glyphs


@pytest.fixture(scope="module")
def alphabet() -> letters.Letters:
    return letters.draw_letters()


def test_every_letter_is_drawn_in_every_font_and_no_digit_is(alphabet: letters.Letters) -> None:
    drawn = "".join(letters.CLASSES)
    assert sorted(drawn) == sorted("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert len(alphabet) == 52 * len(letters.fonts())
    assert not any(character.isdigit() for character in drawn)
    assert alphabet.images.flatten(1).amax(1).min() > 0  # no font lacks a letter


def test_fonts_without_letters_are_left_out() -> None:
    names = [path.name for path in letters.fonts()]
    assert "DejaVuSans.ttf" in names
    assert not {"cmsy10.ttf", "cmex10.ttf", "STIXSizOneSymReg.ttf"} & set(names)


def test_distorted_letters_look_like_the_digits_they_shall_prepare_for(
    alphabet: letters.Letters,
) -> None:
    drawn = letters.distort(alphabet.images[:500], torch.Generator().manual_seed(0))
    digits = few_digits(10, seed=0).test_x
    assert drawn.shape == (500, 3, 32, 32)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    # Bright ink on a dark ground, as much of it.
    assert abs(float(drawn.mean() - digits.mean())) < 0.15
    assert (drawn < 0.1).float().mean() > 0.25


def test_the_glyphs_recipe_writes_weights_that_load_with_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.pretraining.glyphs.JUDGED", 250)
    monkeypatch.setattr("labkit.pretraining.glyphs.measure_transfer", lambda net: [])  # minutes
    net = labkit.load_backbone("resnet10-glyphs", weights=pretrain_glyphs(tmp_path, TINY))
    assert net.card is not None
    assert net.card.classes == letters.CLASSES
    assert net.card.recipe["steps_per_epoch"] == 2


# ---------------------------------------------------------------- the cards of the shipped weights


def shipped(name: str) -> tuple[Staged, ModelCard]:
    net = labkit.load_backbone(name)
    assert net.card is not None
    module = net.build(len(net.card.classes))
    assert isinstance(module, Staged)
    assert net.head is not None
    module.head = net.head
    return module.eval(), net.card


def agrees(correct: int, count: int, card: Measure) -> bool:
    """Whether a smaller sample could have come from what the card says: their 95 % intervals meet."""
    sample = Measure.of("sample", correct, count)
    return sample.low <= card.high and card.low <= sample.high


def test_the_glyphs_card_tells_the_truth_about_letters(alphabet: letters.Letters) -> None:
    net, card = shipped("resnet10-glyphs")
    assert agrees(correct_letters(net, alphabet, 1000, seed=1), 1000, card.measures[0])


@pytest.mark.slow
def test_the_glyphs_card_tells_the_truth_about_digits() -> None:
    net, card = shipped("resnet10-glyphs")
    measured = {measure.what: measure for measure in card.measures}
    claimed = measured["digits, 3 labels a class: linear probe"]
    task = [few_digits(3, seed) for seed in range(5)]
    mean = sum(probe(one, lambda x: features(net, x)) for one in task) / 5
    assert mean == pytest.approx(claimed.accuracy, abs=0.01)
    assert claimed.accuracy >= 0.88
    assert (
        claimed.accuracy
        > measured["digits, 3 labels a class: raw pixels, logistic regression"].accuracy
    )
    assert claimed.accuracy >= measured["digits, 3 labels a class: from scratch"].accuracy + 0.08


def test_the_photographs_card_reports_the_whole_validation_split() -> None:
    card = ModelCard.read(FOLDER / "resnet10-photos.json")
    assert card.measures[0].count == 10_000
    assert len(card.classes) == 200
    assert card.measures[0].low < card.measures[0].accuracy < card.measures[0].high


@torch.no_grad()
@pytest.mark.slow
def test_the_photographs_card_tells_the_truth_about_photographs() -> None:
    data = labkit.runtime.data_dir()
    folder = data / "tiny-imagenet-200" if data else None
    if folder is None or not list(folder.glob("valid*.parquet")):
        pytest.skip("Tiny ImageNet is not at hand (LABKIT_DATA)")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(next(folder.glob("valid*.parquet"))).slice(0, 1000)
    files = [io.BytesIO(cell["bytes"]) for cell in table["image"].to_pylist()]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    net, card = shipped("resnet10")
    answers = torch.cat([net(part).argmax(1) for part in x.split(250)])
    correct = int((answers == torch.tensor(table["label"].to_pylist())).sum())
    assert agrees(correct, 1000, card.measures[0])


def test_intervals_are_those_of_the_textbook() -> None:
    wilson = Measure.of("example", 81, 263)  # Newcombe, 1998, table I: 0.2553 to 0.3662
    assert (wilson.low, wilson.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    mean = Measure.mean("example", [1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean.accuracy - mean.low == pytest.approx(2.776 * math.sqrt(2.5 / 5), abs=1e-3)
