"""Every option answers with its reason, the first choice counts and is kept, and no message can do more than choose."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from labkit.learn import progress, quiz
from labkit.learn.questions import Option, Question, QuizError, load
from labkit.learn.quiz_card import Quiz, folded

LESSON = "05"
ASKED = load(LESSON)
RIGHT = "".join("abcd"[question.right] for question in ASKED)
WRONG = "".join("abcd"[question.right - 1] if question.right else "b" for question in ASKED)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("LABKIT_PROGRESS", str(path))
    return path


# ---------------------------------------------------------------- answers


def test_the_first_choice_counts_and_a_second_card_shows_it_again() -> None:
    card = quiz(LESSON, answers=WRONG)
    assert card.right == 0
    card.answer(RIGHT)
    assert (card.right, card.latest) == (0, [question.right for question in ASKED])
    again = quiz(LESSON)
    assert again.first == again.latest == card.first
    assert ASKED[0].options[again.first[0]].reason in repr(again)
    assert f"First choices: 0 of {len(ASKED)} right." in repr(again)


def test_one_question_can_be_answered_by_its_number() -> None:
    card = quiz(LESSON, answers={2: RIGHT[1].upper()})
    assert card.first == [-1, ASKED[1].right] + [-1] * (len(ASKED) - 2)
    assert card.right == 1


@pytest.mark.parametrize(
    "answers", ["", "a", RIGHT + "a", 5, {0: "a"}, {9: "a"}, {True: "a"}, {1: "d"}, {1: 2}, {1: ""}]
)
def test_an_answer_that_is_not_on_offer_is_refused_and_nothing_kept(answers: Any) -> None:
    with pytest.raises(QuizError, match=r"Give a letter|Count from 1|has the options a, b, c"):
        quiz(LESSON, answers=answers)
    assert progress.read("quizzes") == {}


def test_of_several_answers_none_is_kept_where_one_is_refused() -> None:
    with pytest.raises(QuizError):
        quiz(LESSON, answers={1: "a", 2: "z"})
    assert progress.read("quizzes") == {}


def test_a_choice_that_the_quiz_no_longer_offers_is_forgotten() -> None:
    with progress.entry("quizzes", LESSON) as kept:
        kept |= {ASKED[0].text: "An option of old", "A question of old": "b", ASKED[1].text: ["b"]}
    assert quiz(LESSON).first == [-1] * len(ASKED)


def test_progress_of_before_there_were_quizzes_still_loads(file: Path) -> None:
    old = {"version": 1, "predictions": {"a": {"guess": "b"}}, "exercises": {}, "seals": {}}
    file.write_text(json.dumps(old))
    quiz(LESSON, answers=RIGHT)
    assert progress.read("predictions") == old["predictions"]
    assert len(progress.read("quizzes")[LESSON]) == len(ASKED)


# ---------------------------------------------------------------- the page's messages


def test_the_page_chooses_by_message() -> None:
    card = quiz(LESSON)
    card._handle_custom_msg({"kind": "choose", "question": 0, "option": 1}, [])
    card._handle_custom_msg({"kind": "choose", "question": 0, "option": 2}, [])
    assert (card.first[0], card.latest[0]) == (1, 2)
    assert progress.read("quizzes") == {LESSON: {ASKED[0].text: ASKED[0].options[1].text}}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "choose",
        {"question": 0, "option": 0},
        {"kind": "commit", "question": 0, "option": 0},
        {"kind": "choose"},
        {"kind": "choose", "question": 0, "option": 99},
        {"kind": "choose", "question": -1, "option": 0},
        {"kind": "choose", "question": 10**30, "option": 0},
        {"kind": "choose", "question": 0, "option": True},
        {"kind": "choose", "question": 0.0, "option": 0},
        {"kind": "choose", "question": "0", "option": "<script>"},
        {"kind": "choose", "question": {"a": []}, "option": None},
    ],
)
def test_a_message_that_is_no_choice_is_nobodys_choice(content: Any, file: Path) -> None:
    card = quiz(LESSON)
    card._handle_custom_msg(content, [])
    assert card.first == card.latest == [-1] * len(ASKED)
    assert not file.exists()


# ---------------------------------------------------------------- where there is no front-end


def reasons(question: Question) -> list[str]:
    return [option.reason for option in question.options]


def test_as_text_it_offers_the_options_and_keeps_the_reasons_back() -> None:
    shown = repr(quiz(LESSON))
    for question in ASKED:
        assert all(option.text in shown for option in question.options)
        assert not any(reason in shown for reason in reasons(question))
    chosen = repr(quiz(LESSON, answers=RIGHT))
    assert all(reasons(question)[question.right] in chosen for question in ASKED)
    assert "✓ Right." in chosen


def test_without_scripts_each_option_unfolds_into_its_own_reason() -> None:
    data, _ = quiz(LESSON)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    folds = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", data["text/html"])
    assert len(folds) == sum(len(question.options) for question in ASKED)
    assert "reason" not in re.sub(r"<details>.*?</details>", "", data["text/html"])
    assert sum("✓ Right." in inside for _, inside in folds) == len(ASKED)


def test_text_of_a_quiz_is_never_markup() -> None:
    options = [Option(f"<b{at}", f"<u{at}>", right=at == 2) for at in range(3)]
    shown = folded([Question("`<i>`?", tuple(options))])
    assert "<code>&lt;i&gt;</code>" in shown
    assert not re.search(r"<b|<i|<u", shown)


def test_a_card_holds_what_its_page_needs_and_no_more() -> None:
    card = Quiz(LESSON)
    option = card.get_state()["questions"][0]["options"][0]
    assert set(option) == {"text", "verdict", "reason", "right"}
