"""What a figure is given: anything but a run is told in a sentence, and a handful of images is enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labkit
from labkit.errors import DataError, RunError
from labkit.runtime import Precision
from labkit.show import figures
from labkit.tuning import Run

OF_ONE_RUN: dict[str, Callable[[Any], Any]] = {
    "activations": labkit.activations,
    "calibration": labkit.calibration,
    "confusion": labkit.confusion,
    "feature_map": labkit.feature_map,
    "filters": labkit.filters,
    "find_lr": labkit.find_lr,
    "grad_cam": labkit.grad_cam,
    "gradient_norms": labkit.gradient_norms,
    "journey": labkit.journey,
    "neighbours": labkit.neighbours,
    "similarity": labkit.similarity,
    "suspect_labels": labkit.suspect_labels,
    "uncertain_images": labkit.uncertain_images,
    "worst_images": labkit.worst_images,
    "compare": labkit.compare,
    "history": figures.plot_history,
    "drift": figures.plot_drift,
    "audit": figures.plot_audit,
    "report": lambda run: labkit.report(run, "report.html"),
}


def folder(root: Path, count: int) -> Path:
    chance = np.random.default_rng(0)
    for name in ("ants", "bees", "wasps"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = chance.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def trained(root: Path) -> Run:
    data = labkit.load_data(root, size=32)
    net = labkit.load_backbone("resnet10")
    return Run(net, data, labkit.feature_extraction(epochs=1), precision=Precision()).fit()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on four images a class, one of them for validation."""
    return trained(folder(tmp_path_factory.mktemp("few"), 4))


@pytest.mark.parametrize("name", OF_ONE_RUN)
def test_what_is_no_run_is_told_in_a_sentence(
    name: str, few: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"takes a run.*not .*the run itself instead of its model"):
        OF_ONE_RUN[name](few.model)
    for wrong in ("x", None, 3, few.net, few.data, Run, {"run": few}):
        with pytest.raises(RunError, match="takes a run"):
            OF_ONE_RUN[name](wrong)
    assert list(tmp_path.iterdir()) == []


def test_one_wrong_run_among_several_is_told(few: Run) -> None:
    with pytest.raises(RunError, match="not 'x'"):
        labkit.compare([few, "x"])
    assert len(labkit.compare(one for one in [few, few]).table) == 2


@pytest.mark.parametrize("name", sorted({*OF_ONE_RUN} - {"report", "find_lr", "similarity"}))
@pytest.mark.slow
def test_a_handful_of_images_is_enough_for_a_figure(name: str, few: Run) -> None:
    shown = OF_ONE_RUN[name](few)
    assert getattr(shown, "figure", shown).png()


def test_with_few_images_those_there_are_are_looked_at(few: Run) -> None:
    assert len(few.data.valid) == 3
    assert len(labkit.grad_cam(few).table) == 3
    table = labkit.neighbours(few).table
    assert table["sample"].nunique() == 3
    assert table["rank"].max() == 2


def test_the_split_is_named_where_there_are_too_few_to_compare_networks(few: Run) -> None:
    with pytest.raises(DataError, match=r"3 samples in valid.*40 or more"):
        labkit.similarity(few)


def test_networks_are_compared_on_training_images_where_validation_has_too_few(
    tmp_path: Path,
) -> None:
    run = trained(folder(tmp_path, 20))
    assert len(run.data.valid) < 40 <= len(run.data.train)
    assert "of train" in labkit.similarity(run).alt
    with pytest.raises(DataError, match=f"{len(run.data.valid)} samples in valid"):
        labkit.similarity(run, split="valid")
