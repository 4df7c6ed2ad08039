"""A guess is committed once, before the result, and the learner's calibration is computed honestly."""

from pathlib import Path

import pytest

from labkit.learn import predict, reveal, score
from labkit.learn.predictions import PredictionError

CHOICES = ("low", "middle", "high")


@pytest.fixture(autouse=True)
def _own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


def test_the_first_guess_stands() -> None:
    predict("a", "Where?", CHOICES, guess="low", confidence=60)
    again = predict("a", "Where?", CHOICES, guess="high", confidence=99)
    assert (again.guess, again.confidence) == ("low", 60)


def test_a_card_waits_for_nobody_and_can_be_read_as_text() -> None:
    card = predict("a", "Where?", CHOICES)
    assert card.guess == ""
    assert all(choice in repr(card) for choice in CHOICES)
    assert "no guess" in str(reveal("a", "low"))


def test_the_browser_commits_by_message() -> None:
    card = predict("a", "Where?", CHOICES)
    card._on_message(card, {"kind": "commit", "guess": "middle", "confidence": 70}, [])
    assert predict("a", "Where?", CHOICES).guess == "middle"


@pytest.mark.parametrize(("guess", "confidence"), [("nowhere", 50), ("low", 10), ("low", 101)])
def test_a_guess_that_is_not_offered_is_refused(guess: str, confidence: int) -> None:
    with pytest.raises(PredictionError, match=r"Choose one|must lie"):
        predict("a", "Where?", CHOICES, guess=guess, confidence=confidence)
    assert predict("a", "Where?", CHOICES).guess == ""


@pytest.mark.parametrize(
    ("value", "right"), [(0.0, "low"), (0.29, "low"), (0.3, "middle"), (0.7, "high"), (1.0, "high")]
)
def test_a_number_is_sorted_into_the_choices(value: float, right: str) -> None:
    predict("a", "Where?", CHOICES, guess=right)
    assert "You saw it coming" in str(reveal("a", value, bounds=(0.3, 0.7)))


@pytest.mark.parametrize("bounds", [(), (0.1,), (0.7, 0.3)])
def test_bounds_must_fit_the_choices(bounds: tuple[float, ...]) -> None:
    predict("a", "Where?", CHOICES, guess="low")
    with pytest.raises(PredictionError, match="bounds"):
        reveal("a", 0.5, bounds=bounds)


def test_the_first_outcome_stands() -> None:
    predict("a", "Where?", CHOICES, guess="low")
    reveal("a", "low")
    reveal("a", "high")
    assert (score().right, score().count) == (1, 1)


def test_calibration_is_confidence_against_hits() -> None:
    for name, outcome in (("a", "low"), ("b", "high"), ("c", "high"), ("d", "high")):
        predict(name, "Where?", CHOICES, guess="low", confidence=80)
        reveal(name, outcome)
    kept = score()
    assert (kept.right, kept.count) == (1, 4)
    assert kept.brier == pytest.approx((0.2**2 + 3 * 0.8**2) / 4)
    assert "55 points too sure" in str(kept)
    assert list(kept.table()["right"]) == [True, False, False, False]


def test_a_score_of_nothing_says_so() -> None:
    assert "No prediction" in str(score())
    assert len(score().table()) == 0


def test_text_of_a_question_is_never_markup() -> None:
    predict("a", "<b>Where</b>?", ("<i>x</i>", "y"), guess="<i>x</i>")
    note = reveal("a", "<i>x</i>")
    assert "<i>" not in note._repr_html_()
    assert "<b>Where" not in score()._repr_html_()


def test_two_different_choices_are_the_least() -> None:
    with pytest.raises(PredictionError, match="two different"):
        predict("a", "Where?", ("x", "x"))
