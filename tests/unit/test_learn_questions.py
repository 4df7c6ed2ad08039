"""Every quiz of the course keeps the rules of a fair one, and a quiz that breaks a rule is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.course import evidence
from labkit.learn.questions import Question, QuizError, lessons, load, read
from labkit.publish.build import sources

COURSE = [(lesson, question) for lesson in lessons() for question in load(lesson)]


# ---------------------------------------------------------------- the quizzes of the course


def test_every_lesson_has_a_quiz(root: Path) -> None:
    assert lessons() == tuple(source.stem[:2] for source in sources(root))


@pytest.mark.parametrize("extreme", [max, min], ids=["longest", "shortest"])
def test_the_right_option_is_not_given_away_by_its_length(
    extreme: Callable[[list[int]], int],
) -> None:
    def gives_away(question: Question) -> bool:
        lengths = [len(option.text) for option in question.options]
        return lengths[question.right] == extreme(lengths)

    assert sum(gives_away(question) for _, question in COURSE) <= len(COURSE) / 2


def test_the_right_option_has_no_place_of_its_own() -> None:
    places = Counter(question.right for _, question in COURSE)
    assert max(places.values()) <= len(COURSE) / 2
    assert all(places[place] >= len(COURSE) / 6 for place in range(3))
    for lesson in lessons():
        assert len({question.right for question in load(lesson)}) > 1, lesson


def test_no_question_is_asked_twice() -> None:
    assert len({question.text for _, question in COURSE}) == len(COURSE)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        pytest.param(*pair, id=f"{lesson}-claim-{pair[0]}")
        for lesson, question in COURSE
        for pair in question.claims.items()
    ],
)
def test_what_a_quiz_says_of_a_claim_is_what_the_record_says(claim: int, said: str) -> None:
    assert evidence.verdict(claim) == said


# ---------------------------------------------------------------- quizzes as data


def toml(rights: str = "001", texts: str = "abc", reasons: str = "xyz", count: int = 3) -> str:
    """A quiz of questions with an option for each letter."""
    options = "".join(
        f'[[question.option]]\ntext = "{text}"\nreason = "{reason}"\nright = {right == "1"}\n'.lower()
        for right, text, reason in zip(rights, texts, reasons, strict=True)
    )
    return "".join(f'[[question]]\ntext = "Number {at}?"\n{options}\n' for at in range(count))


def test_a_quiz_that_keeps_the_rules_is_read() -> None:
    first, *_ = read(toml())
    assert (first.text, first.right, len(first.options)) == ("Number 0?", 2, 3)


def test_a_line_break_in_a_text_is_a_space() -> None:
    assert read(toml().replace('"Number 0?"', '"""\nNumber\n 0?"""'))[0].text == "Number 0?"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (toml(count=2), "3 or more questions"),
        (toml().replace("Number 1", "Number 0"), "no two alike"),
        (toml("01", "ab", "xy"), "3 to 4 options"),
        (toml("00001", "abcde", "vwxyz"), "3 to 4 options"),
        (toml("000"), "exactly one right"),
        (toml("011"), "exactly one right"),
        (toml(texts="aba"), "options that differ"),
        (toml().replace('"b"', '"A"'), "options that differ"),
        (toml(reasons="xyx"), "a reason of its own"),
        (toml().replace('"y"', '" "'), "a reason of its own"),
        (toml().replace('"b"', '"far longer than the others"'), "similar length"),
        (toml().replace('"b"', '""'), "similar length"),
        (toml().replace("Number 1?", ""), "a text of its own"),
        (toml().replace("reason", "raison"), "raison"),
        ("lesson = 1\n" + toml(), "lesson means nothing"),
        ("question = 3", "int"),
        ("[[question", "array declaration"),
        ("", "3 or more questions"),
    ],
)
def test_a_quiz_that_breaks_a_rule_is_refused(text: str, rule: str) -> None:
    with pytest.raises(QuizError, match=re.escape(rule)):
        read(text)


def test_a_lesson_without_a_quiz_says_which_have_one() -> None:
    for lesson in ("99", "5", "../05", ""):
        with pytest.raises(QuizError, match="There is one for each of 00, 01"):
            load(lesson)
