"""What every check of the course promises of right and wrong answers; each lesson's tests bring theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest

from labkit.learn import exercises

WHATEVER = [None, 3, "x", object(), lambda: 1, lambda *a: 1 / 0]


class Answers:
    """A lesson's tests inherit it as `TestAnswers`, with `right`: exercise -> answers, and `wrong`: rows of exercise,
    answer and a part of what is said of it.
    """

    right: Mapping[str, Sequence[Any]]
    wrong: Sequence[tuple[str, Any, str]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        cases: dict[tuple[str, ...], list[Any]] = {
            ("id", "good"): [(id, one) for id, answers in self.right.items() for one in answers],
            ("id", "bad", "named"): list(self.wrong),
            ("id", "odd"): list(product(sorted(self.right), WHATEVER)),
        }
        for names, values in cases.items():
            if set(names) <= set(metafunc.fixturenames):
                metafunc.parametrize(names, values)

    def test_a_right_answer_is_accepted(self, id: str, good: Any) -> None:
        assert exercises.find(id).problems(good) == []

    def test_a_wrong_answer_is_refused_with_its_reason(self, id: str, bad: Any, named: str) -> None:
        said = " ".join(exercises.find(id).problems(bad))
        assert named in said
        assert "Your code stopped" not in said.replace(named, "")  # wrong, not broken

    def test_no_answer_whatever_raises(self, id: str, odd: Any) -> None:
        assert exercises.find(id).problems(odd)
