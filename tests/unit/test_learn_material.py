"""A lesson uses the photographs where they lie, and never starts a download in the middle of a class."""

from pathlib import Path

import pytest
from PIL import Image

from labkit.learn import photographs


def test_without_photographs_the_lesson_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    assert photographs() is None
    assert not (tmp_path / "cache").exists()


def test_photographs_at_hand_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    for part in ("train", "val"):
        for number, name in enumerate(("ants", "bees")):
            folder = tmp_path / "data" / "hymenoptera_data" / part / name
            folder.mkdir(parents=True)
            for shade in (40, 90):
                colour = (shade, 60 * number, 100 if part == "val" else 0)
                Image.new("RGB", (80, 70), colour).save(folder / f"{shade}.jpg")
    data = photographs(size=32)
    assert data is not None
    assert data.classes == ("ants", "bees")
    assert (len(data.train), len(data.valid), data.size) == (4, 4, 32)
