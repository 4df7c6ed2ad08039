"""The pictures of the course as the learner walks it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from labkit.learn.lessons import LESSONS
from labkit.learn.scoring import ELSEWHERE, GROUPS, Score
from labkit.show.picture import CARD, FAINT, INK, Marked, Picture, dress, legend, look

SHARES = (-4, 104)  # per cent, with room for what is drawn on the edge


def calibration(found: Score) -> Picture:
    """How sure the learner was against how often they were right, and both over the course.

    Above, a point is the predictions of about equal confidence; on the dashed line the two agree. Below are all
    predictions up to each lesson. Bars and band are 95 % intervals (Wilson, 1927) of the share that is right.
    """
    picture = Picture(6.8, 6.6)
    upper, lower = picture.subplots(2, 1, height_ratios=(3, 2))
    groups = {name: part for name, part in found.by_confidence().items() if part.count}
    course = found.over_the_course()
    entries = [*_reliability(upper, groups), *_course(lower, course)]
    if not found.count:
        upper.text(60, 30, str(found), color=INK, ha="center", fontsize=10)
    legend(picture, entries, columns=2)
    return picture.told(_calibration_alt(found, groups), _calibration_table(groups, course))


def _reliability(axes: Axes, groups: Mapping[str, Score]) -> list[Marked]:
    """The upper panel; its entries for the legend."""
    title = "Above the dashed line: too modest. Below it: too sure.\nA bar that crosses the line tells neither."
    dress(axes, "how sure (% confidence given)", "how often right (%)", title)
    agree = axes.plot([0, 100], [0, 100], color=FAINT, linestyle="--", linewidth=1.2)[0]
    for edge in list(GROUPS.values())[:-1]:
        axes.axvline(edge, color=FAINT, linestyle=":", linewidth=0.8)
    axes.set_xticks([20, *list(GROUPS.values())[:-1], 100])
    axes.set(xlim=(20, 106), ylim=SHARES)
    entries = [Marked(agree, "as sure as right")]
    shade = look(0)
    for part in groups.values():
        x, y, (low, high) = 100 * part.confidence, _share(part), part.interval
        reach = [[max(0.0, y - 100 * low)], [max(0.0, 100 * high - y)]]
        drawn = axes.errorbar(x, y, yerr=reach, color=shade.colour, marker=shade.marker, capsize=4)
        axes.annotate(
            f"{part.right} of {part.count}", (x, y), xytext=(7, 5),
            textcoords="offset points", fontsize=9, color=INK,
            bbox={"facecolor": CARD, "edgecolor": "none", "pad": 1},
        )  # fmt: skip
        entries = [entries[0], Marked(drawn.lines[0], "about equally sure, 95 % interval")]
    return entries


def _course(axes: Axes, course: Mapping[str, Score]) -> list[Marked]:
    """The lower panel; its entries for the legend."""
    places = [lesson.number for lesson in LESSONS]
    places += [ELSEWHERE] if ELSEWHERE in course else []
    dress(axes, "all predictions up to lesson", "so far (%)")
    axes.set_xticks(range(len(places)), places)
    axes.set(xlim=(-0.5, len(places) - 0.5), ylim=SHARES)
    if not course:
        return []
    x = [places.index(number) for number in course]
    low, high = zip(*(part.interval for part in course.values()), strict=True)
    right, sure = look(0), look(1)
    axes.fill_between(
        x, [100 * v for v in low], [100 * v for v in high], color=right.colour, alpha=0.15
    )
    lines = [
        axes.plot(x, values, color=way.colour, marker=way.marker, linestyle=way.style, markersize=5)
        for way, values in (
            (right, [_share(part) for part in course.values()]),
            (sure, [100 * part.confidence for part in course.values()]),
        )
    ]
    words = ("how often right, band: 95 % interval", "how sure, on average")
    return [Marked(line[0], said) for line, said in zip(lines, words, strict=True)]


def _share(part: Score) -> float:
    """Right ones in per cent."""
    return 100 * part.right / part.count


def _calibration_alt(found: Score, groups: Mapping[str, Score]) -> str:
    if not found.count:
        return f"Your calibration. {found}"
    said = "; ".join(
        f"{name} sure, {part.right} of {part.count} right" for name, part in groups.items()
    )
    low, high = (100 * end for end in found.interval)
    return (
        f"Your calibration. {found} The 95 % interval of the share that is right goes from {low:.0f} to {high:.0f} %. "
        f"By how sure you were: {said}. The Brier score is {found.brier:.2f}."
    )


def _calibration_table(groups: Mapping[str, Score], course: Mapping[str, Score]) -> pd.DataFrame:
    """Both panels, one below the other; shares in per cent."""
    parts = {f"{name} sure": part for name, part in groups.items()}
    parts |= {
        f"with all {ELSEWHERE}s" if number == ELSEWHERE else f"up to lesson {number}": part
        for number, part in course.items()
    }
    return pd.DataFrame(
        [
            {
                "predictions": name,
                "right": f"{part.right} of {part.count}",
                "right (%)": round(_share(part)),
                "low (%)": round(100 * part.interval[0]),
                "high (%)": round(100 * part.interval[1]),
                "sure (%)": round(100 * part.confidence),
                "Brier score": round(part.brier, 2),
            }
            for name, part in parts.items()
        ]
    )
