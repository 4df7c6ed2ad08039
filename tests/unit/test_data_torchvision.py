"""The sets that torchvision reads, from small stand-ins in the official layout: torchvision's own code reads them."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit
from labkit.data import Archive, card, cards
from labkit.errors import DataError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty LABKIT_DATA and a cache of the test's own."""
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def photograph(number: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (20, 26, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def pet_files() -> dict[str, bytes]:
    """Two photographs of each of the 37 breeds to train on and one to examine with."""
    files, lists = {}, {"trainval": "", "test": ""}
    for label, breed in enumerate(card("pets").classes, start=1):
        for number in range(3):
            name = f"{breed.replace(' ', '_')}_{number}"
            files[f"images/{name}.jpg"] = photograph(len(files))
            lists["test" if number == 2 else "trainval"] += f"{name} {label} 1 1\n"
    files |= {f"annotations/{part}.txt": text.encode() for part, text in lists.items()}
    return files


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def packed(path: Path, files: dict[str, bytes], top: str) -> Archive:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            if name.startswith(top):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    content = path.read_bytes()
    url = f"https://example.org/{path.name}"
    return Archive(url, len(content), md5=hashlib.md5(content).hexdigest())


def test_pets_come_in_their_official_parts(here):
    write(here / "oxford-iiit-pet", pet_files())
    data = labkit.load_data("pets", size=16)
    assert data.classes == card("pets").classes
    assert (len(data.train), len(data.valid), len(data.test)) == (74, 37, 0)
    assert data.train.labels.bincount().tolist() == [2] * 37
    assert len(labkit.load_data("pets", size=16, memory=0).train) == 74


def test_pets_are_unpacked_to_where_torchvision_looks(here, monkeypatch):
    files = pet_files()
    archives = tuple(
        packed(here / f"{top}.tar.gz", files, top) for top in ("images", "annotations")
    )
    monkeypatch.setitem(cards(), "pets", replace(card("pets"), archives=archives))
    assert len(labkit.load_data("pets", size=16).train) == 74
    assert (here / "cache" / "data" / "oxford-iiit-pet" / "images").is_dir()


def test_a_damaged_photograph_of_a_torchvision_set_is_reported(here):
    files = pet_files()
    files["images/Beagle_0.jpg"] = files["images/Beagle_0.jpg"][:300]
    write(here / "oxford-iiit-pet", files)
    data = labkit.load_data("pets", size=16)
    (finding,) = data.report
    assert finding.action == "left out"
    assert finding.file.startswith("trainval/")
    assert len(data.train) == 73


def test_flowers_come_in_their_official_parts(here, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import Flowers102

    folder = here / "flowers-102"
    labels = np.repeat(np.arange(1, 103), 3)
    write(folder, {f"jpg/image_{n:05d}.jpg": photograph(n) for n in range(1, 307)})
    savemat(folder / "imagelabels.mat", {"labels": labels})
    parts = {
        part: np.arange(start, 307, 3) for start, part in enumerate(("trnid", "valid", "tstid"), 1)
    }
    savemat(folder / "setid.mat", parts)
    # These are not the official files.
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)
    data = labkit.load_data("flowers102", size=16)
    assert (len(data.train), len(data.valid), len(data.test)) == (102, 102, 102)
    assert torch.equal(data.valid.labels, torch.arange(102))


def test_cifar_pixels_arrive_unchanged_at_their_own_size(here, monkeypatch):
    from torchvision.datasets import CIFAR10

    pixels = np.random.default_rng(0).integers(0, 256, (120, 3072), np.uint8)
    folder = here / "cifar-10-batches-py"
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    for index, name in enumerate(names):
        rows = {"data": pixels[index * 20 :][:20], "labels": [i % 10 for i in range(20)]}
        write(folder, {name: pickle.dumps(rows)})
    meta = pickle.dumps({"label_names": list(card("cifar10").classes)})
    write(folder, {"batches.meta": meta})
    # These are not the official files.
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setitem(CIFAR10.meta, "md5", hashlib.md5(meta).hexdigest())
    data = labkit.load_data("cifar10")
    assert (len(data.train), len(data.valid)) == (100, 20)
    assert np.array_equal(data.train.images[0].numpy(), pixels[0].reshape(3, 32, 32))
    assert np.array_equal(data.valid.images[-1].numpy(), pixels[119].reshape(3, 32, 32))


def test_a_folder_that_is_not_the_official_one_is_named(here):
    (here / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="torchvision cannot read 'cifar10'"):
        labkit.load_data("cifar10")
