"""The figures of lesson 11 replay what is on record, and the lesson says of them what they show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from labkit.course import evidence
from labkit.course.lesson_11 import figures as judging
from labkit.course.lesson_11.claims import PAIRS
from labkit.insight import paired_difference

OURS = dict(enumerate((0.95, 0.91, 0.97, 0.93, 0.96)))
THEIRS = dict(enumerate((0.93, 0.90, 0.94, 0.92, 0.93)))


def test_what_knows_of_no_pairs_is_welchs_interval() -> None:
    found = judging.unpaired_difference(OURS, THEIRS)
    wanted = ttest_ind(list(OURS.values()), list(THEIRS.values()), equal_var=False)
    interval = wanted.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(paired_difference(OURS, THEIRS).mean)
    same = judging.unpaired_difference({0: 0.9, 1: 0.9}, {0: 0.8, 1: 0.8})
    assert (same.low, same.high) == pytest.approx((0.1, 0.1))


def test_an_image_of_pairs_tells_both_intervals() -> None:
    figure = judging.pairs(OURS, THEIRS, ("new way", "old way"))
    together, apart = paired_difference(OURS, THEIRS), judging.unpaired_difference(OURS, THEIRS)
    assert f"in pairs {together.points()}" in figure.alt
    assert f"not in pairs {apart.points()}" in figure.alt
    assert list(figure.table["low"]) == [round(100 * e.low, 2) for e in (together, apart)]


@pytest.mark.parametrize("place", sorted(PAIRS))
def test_answers_are_those_that_were_counted(place: str) -> None:
    counted = evidence.rows("is-it-better").set_index(["key", "seed"])["valid_correct"]
    valid = 359 if place == "digits-10" else 153
    for name, found in judging.answers(place).items():
        assert found[:, :valid].sum(1).tolist() == counted[f"{place}/{name}"].tolist()


def test_a_replayed_comparison_is_drawn_alike_and_ends_with_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = ((20, 1), (100_000, 10))
    monkeypatch.setattr(judging, "DRAWS", 50)
    table, again = (judging.comparisons("digits-10", looks) for _ in range(2))
    assert table.equals(again)
    assert table[["first", "nobody", "second"]].sum(axis=1).to_numpy() == pytest.approx(1)
    ways = (judging.answers("digits-10")[name].mean(1) for name in PAIRS["digits-10"])
    known = paired_difference(*(dict(enumerate(way)) for way in ways))
    who = "first" if known.low > 0 else "second" if known.high < 0 else "nobody"
    assert table.iloc[1][who] == 1


def test_the_luck_of_the_best_grows_with_candidates_and_falls_with_images() -> None:
    few, many = (judging.choices("digits-10", images, (1, 10)) for images in (20, 100))
    assert abs(few["looked"][0] - few["was"][0]) < 0.005, "one candidate is no choice"
    luck = [(table["looked"] - table["was"])[1] for table in (few, many)]
    assert luck[0] > luck[1] > 0
    whole = np.concatenate(list(judging.answers("digits-10").values()))
    assert few["was"][0] == pytest.approx(whole.mean(), abs=0.002)


def _widths(place: str) -> tuple[float, float]:
    ours, theirs = (dict(enumerate(judging.answers(place)[n].mean(1))) for n in PAIRS[place])
    ways = (paired_difference, judging.unpaired_difference)
    return tuple(way(ours, theirs).half_width for way in ways)


def test_the_lesson_says_of_pairs_what_the_record_says() -> None:
    together, apart = _widths("digits-10")
    assert together < apart, "where seeds draw labels, pairing helps"
    together, apart = _widths("ants-bees")
    assert together >= apart, "where seeds share nothing, it does not"
    assert list(judging.pairing()["correlation over seeds"] > 0) == [True, False]


def test_the_lesson_says_of_comparisons_what_the_record_says() -> None:
    digits, photos = (
        judging.comparisons(place).set_index(["pictures", "seeds"]) for place in PAIRS
    )
    ours, theirs = (
        dict(enumerate(judging.answers("digits-10")[n].mean(1))) for n in PAIRS["digits-10"]
    )
    assert paired_difference(ours, theirs).low > 0, "on digits the better way is known"
    for images in (20, 50, 200):
        assert digits.loc[(images, 1), "second"] > 0.1, "one seed often names the worse one"
    for images in (50, 200, 800):
        assert digits.loc[(images, 5), "second"] < 0.02, "five seeds hardly ever do"
        assert photos.loc[(images, 5), "nobody"] > 0.5, "and are silent where nothing is known"
    assert photos.loc[(200, 1), "nobody"] < 0.1, "where one seed names somebody all the same"


@pytest.mark.parametrize("place", sorted(PAIRS))
@pytest.mark.slow
def test_the_lesson_says_of_the_best_of_many_what_the_record_says(place: str) -> None:
    tables = {images: judging.choices(place, images) for images in judging.WATCHED}
    for table in tables.values():
        assert (table["looked"] - table["was"]).iloc[1:].min() > 0.005
        assert table["was"].iloc[-1] > table["was"].iloc[0], "choosing gains a little all the same"
    ends = [
        tables[images]["looked"].iloc[-1] - tables[images]["was"].iloc[-1]
        for images in judging.WATCHED
    ]
    assert ends == sorted(ends, reverse=True), "more images leave less room for luck"


def test_the_lesson_says_of_confidence_what_the_record_says() -> None:
    def gap(place: str, way: str, confidence: str) -> float:
        key = f"is-it-better/{place}/{way}"
        return evidence.estimate(f"{key}/{confidence}", f"{key}/right")

    for way in PAIRS["ants-bees"]:
        assert gap("ants-bees", way, "confidence").low > 0, "too sure of photographs"
    for way in PAIRS["digits-10"]:
        assert gap("digits-10", way, "confidence").high < 0, "and not sure enough of digits"
    for place, ways in PAIRS.items():
        for way in ways:
            before, after = (gap(place, way, f"confidence{end}").mean for end in ("", "-scaled"))
            assert abs(after) < abs(before), "a temperature mends most of it"
