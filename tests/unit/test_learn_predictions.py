"""A guess is committed once, before the result, and the learner's calibration is computed honestly."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.learn import predict, progress, reveal, score
from labkit.learn.predictions import PredictionError
from labkit.learn.scoring import Score

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


@pytest.mark.parametrize(("outcome", "bounds"), [(0.07, (0.01, 0.05)), ("high", ())])
def test_who_made_no_guess_reads_the_outcome_in_the_words_of_the_question(
    outcome: float | str, bounds: tuple[float, ...]
) -> None:
    predict("b", "How much?", CHOICES)
    assert "It came out as: high." in str(reveal("b", outcome, bounds))


def test_an_outcome_that_nobody_asked_for_is_still_told() -> None:
    assert "It came out as: 0.07." in str(reveal("never asked", 0.07, (0.01, 0.05)))


def test_the_browser_commits_by_message() -> None:
    card = predict("a", "Where?", CHOICES)
    card._handle_custom_msg({"kind": "commit", "guess": "middle", "confidence": 70}, [])
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


# ---------------------------------------------------------------- calibration, drawn


def scored(*guesses: tuple[str, int, bool]) -> Score:
    """A score of (id, confidence, whether it came true)."""
    return Score(
        {
            id: {"question": "Where?", "guess": "low", "confidence": sure, "outcome": "low" if right else "high"}
            for id, sure, right in guesses
        }
    )  # fmt: skip


def many(count: int, sure: int, right: int) -> Score:
    return scored(*((f"00-{place}", sure, place < right) for place in range(count)))


def test_nothing_is_said_of_calibration_while_chance_alone_would_do_it() -> None:
    assert "too few to tell" in str(many(1, 95, 0))
    assert "too few to tell" in str(many(2, 95, 0))
    assert "too few to tell" in str(many(3, 80, 2))
    assert "well calibrated, as far as 50 predictions can tell" in str(many(50, 80, 37))


def test_a_gap_that_chance_would_not_make_is_said() -> None:
    assert "20 points too sure" in str(many(50, 80, 30))
    assert "20 points too modest" in str(many(50, 60, 40))
    assert "95 points too sure" in str(many(3, 95, 0))


def test_who_is_certain_and_always_right_is_well_calibrated() -> None:
    assert "well calibrated" in str(many(12, 100, 12))


def test_groups_and_lessons_lose_no_prediction() -> None:
    found = scored(
        ("07-knob", 34, True), ("00-x", 50, True), ("mine", 69, False), ("00-y", 70, True),
        ("16-z", 90, False), ("03-leak", 100, True),
    )  # fmt: skip
    assert [part.count for part in found.by_confidence().values()] == [1, 2, 1, 2]
    assert {name: part.count for name, part in found.by_lesson().items()} == {
        "00": 2, "03": 1, "07": 1, "16": 1, "other": 1,
    }  # fmt: skip
    so_far = found.over_the_course()
    assert [part.count for part in so_far.values()] == [2, 3, 4, 5, 6]
    assert so_far["other"].brier == pytest.approx(found.brier)


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_calibration_is_drawn_however_few_predictions_there_are(count: int) -> None:
    found = many(count, 80, count // 2)
    figure = found.figure()
    assert str(found) in figure.alt
    assert figure.png().startswith(b"\x89PNG")
    if count:
        assert f"70 to 89 % sure, {count // 2} of {count} right" in figure.alt
        assert set(figure.table["right"]) == {f"{count // 2} of {count}"}


def test_the_intervals_are_those_of_wilson() -> None:
    row = many(50, 80, 30).figure().table.iloc[0]
    assert (row["low (%)"], row["right (%)"], row["high (%)"]) == (46, 60, 72)


def test_a_figure_is_shown_from_three_predictions_on() -> None:
    assert "<img" not in many(2, 80, 1)._repr_html_()
    page = many(3, 80, 2)._repr_html_()
    assert page.count("<img") == 1
    assert page.count("<summary>") == 2


@pytest.mark.slow
def test_the_score_loads_matplotlib_only_to_draw() -> None:
    code = (
        "import sys; from labkit.learn import score; print(score()._repr_html_());"
        "print('matplotlib' in sys.modules)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    page, drawn = said.splitlines()
    assert "<p>No prediction has met its outcome yet.</p>" in page
    assert drawn == "False"


def test_entries_that_are_not_whole_do_not_count_and_hostile_ones_stay_text() -> None:
    whole = {
        "question": "<b>?</b>",
        "guess": "$<i>x</i>$",
        "confidence": 60,
        "outcome": "$<i>x</i>$",
    }
    with progress.entry("predictions", "<script>") as kept:
        kept.update(whole)
    for name, value in (
        ("guess", 1),
        ("outcome", None),
        ("confidence", "60"),
        ("confidence", 900),
        ("question", []),
    ):
        with progress.entry("predictions", f"bad {name} {value}") as kept:
            kept.update({**whole, name: value})
    with progress.entry("predictions", "bad, nearly empty") as kept:
        kept["outcome"] = "x"
    found = score()
    assert (found.right, found.count) == (1, 1)
    page = found._repr_html_() + found.figure().html()
    assert not re.search(r"<(script|b|i)\b", page)
