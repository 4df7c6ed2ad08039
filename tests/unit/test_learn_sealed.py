"""A test split behind a seal opens once, for one run, in every notebook of a learner."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import labkit
from labkit import learn
from labkit.errors import SealError, SplitError
from labkit.learn import progress


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(path))
    return path


@pytest.fixture(scope="module")
def digits():
    return labkit.load_data("digits", size=16).subset(per_class=2)


def _run(data, seed=0, name=None, **plan):
    chosen = labkit.feature_extraction(lr=0.01, epochs=1, batch_size=10, **plan)
    return labkit.Run(labkit.load_backbone("resnet10-glyphs"), data, chosen, seed, name).fit()


def test_what_is_trained_behind_a_seal_has_no_test_split_to_look_at(digits) -> None:
    sealed = learn.seal(digits)
    assert len(sealed) == len(digits.test) > 0
    assert len(sealed.data.test) == 0
    assert torch.equal(sealed.data.valid.rows, digits.valid.rows)
    with pytest.raises(SplitError, match="no 'test' samples"):
        _run(sealed.data).evaluate("test")


def test_the_first_run_is_judged_by_exact_counts_and_every_other_is_refused(digits) -> None:
    sealed = learn.seal(digits)
    assert sealed.opened is None
    chosen = _run(sealed.data, name="chosen")
    found = sealed.open(chosen)
    assert found.split == "test"
    assert found.correct == _run(digits).evaluate("test").correct
    assert sealed.opened["run"] == "chosen"
    assert (sealed.opened["correct"], sealed.opened["count"]) == (found.correct, found.count)
    with pytest.raises(SealError, match=f"'chosen', and {found.correct} of {found.count}"):
        sealed.open(_run(sealed.data, seed=1))
    with pytest.raises(SealError):
        sealed.open(chosen.branch(lr=1e-3, epochs=2).fit())


def test_the_same_run_may_be_asked_again_whatever_it_is_called(digits) -> None:
    first = learn.seal(digits).open(_run(digits, name="chosen"))
    when = learn.seal(digits).opened
    again = learn.seal(digits).open(_run(digits, name="once more"))
    assert again.correct == first.correct
    assert learn.seal(digits).opened == when


def test_another_notebook_and_another_name_find_the_seal_broken(digits, file: Path) -> None:
    learn.seal(digits).open(_run(digits))
    assert len(json.loads(file.read_text())["seals"]) == 1
    fewer = learn.seal(replace(digits.subset(per_class=1), name="mine"))
    assert fewer.opened is not None
    with pytest.raises(SealError):
        fewer.open(_run(fewer.data))
    other = learn.seal(labkit.load_data("digits", size=16, seed=1))
    assert other.opened is None, "other test samples have a seal of their own"


def test_a_run_that_fails_to_be_judged_leaves_the_seal_whole(digits) -> None:
    sealed = learn.seal(digits)
    stranger = _run(digits)
    stranger.data = replace(digits, classes=tuple("abcdefghij"))
    with pytest.raises(SplitError, match="trained on the same data"):
        sealed.open(stranger)
    assert sealed.opened is None
    assert progress.read("seals") == {}


def test_a_seal_needs_something_to_seal_and_tells_its_state(digits) -> None:
    sealed = learn.seal(digits)
    assert "never opened" in repr(sealed)
    sealed.open(_run(sealed.data, name="chosen"))
    assert "for the run 'chosen'" in repr(sealed)
    with pytest.raises(SplitError, match=r"test=0\.2"):
        learn.seal(sealed.data)


def test_progress_from_before_there_were_seals_is_kept(file: Path) -> None:
    file.write_text('{"version": 1, "predictions": {"x": {"guess": "a"}}, "exercises": {}}')
    with progress.entry("seals", "some split") as kept:
        kept["run"] = "chosen"
    assert progress.read("predictions") == {"x": {"guess": "a"}}
    assert progress.read("seals") == {"some split": {"run": "chosen"}}
