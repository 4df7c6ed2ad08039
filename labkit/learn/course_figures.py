"""The figures of the course as the learner walks it: their calibration, and the path with what is done."""

from __future__ import annotations

from collections.abc import Mapping
from math import sin
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from labkit.learn.groups import ELSEWHERE, GROUPS
from labkit.learn.lessons import LESSONS
from labkit.show.figure import CARD, EDGE, FAINT, INK, Figure, Marked, dress, legend, look

if TYPE_CHECKING:
    from labkit.learn.course_map import CourseMap, State
    from labkit.learn.scoring import Score

SHARES = (-4, 104)  # per cent, with room for what is drawn on the edge


def calibration(found: Score) -> Figure:
    """How sure the learner was against how often they were right, and both over the course.

    Above, a point is the predictions of about equal confidence; on the dashed line the two agree. Below are all
    predictions up to each lesson. Bars and band are 95 % intervals (Wilson, 1927) of the share that is right.
    """
    figure = Figure(6.8, 6.6)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 2))
    groups = {name: part for name, part in found.by_confidence().items() if part.count}
    course = found.over_the_course()
    entries = [*_reliability(upper, groups), *_course(lower, course)]
    if not found.count:
        upper.text(60, 30, str(found), color=INK, ha="center", fontsize=10)
    legend(figure, entries, columns=2)
    return figure.told(_calibration_alt(found, groups), _calibration_table(groups, course))


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


# ---------------------------------------------------------------- the path

FILLS: Mapping[State, Any] = {"done": "full", "begun": "left", "not begun": "none"}
DOT: Mapping[str, Any] = {
    "marker": "o",
    "linestyle": "",
    "markersize": 15,
    "markerfacecoloralt": CARD,
}


def path(found: CourseMap) -> Figure:
    """The lessons along a path: a dot that is full, half full or empty, and an arrow where to go on."""
    figure = Figure(7, 1.9)
    axes = figure.subplots()
    axes.set_axis_off()
    heights = [0.5 * sin(0.75 * place) for place in range(len(found.steps))]
    axes.plot(range(len(heights)), heights, color=EDGE, linewidth=5, zorder=1)
    entries: dict[str, Marked | None] = dict.fromkeys([*FILLS, "next"])
    for place, (step, height) in enumerate(zip(found.steps, heights, strict=True)):
        way = {"color": look(0).colour, "fillstyle": FILLS[step.state], **DOT}
        axes.plot(place, height, color=CARD, **DOT)  # the path does not shine through
        dot = axes.plot(place, height, **way)[0]
        entries[step.state] = Marked(dot, step.state)
        axes.text(
            place, height - 0.42, step.lesson.number, ha="center", va="top", fontsize=9, color=INK
        )
        if step is found.next:
            arrow = axes.plot(place, height + 0.55, "v", color=look(1).colour, markersize=10)[0]
            entries["next"] = Marked(arrow, "go on here")
    axes.set(xlim=(-0.6, len(heights) - 0.4), ylim=(-1.3, 1.3))
    legend(figure, [entry for entry in entries.values() if entry], columns=4)
    return figure.told(_path_alt(found), _path_table(found))


def _path_alt(found: CourseMap) -> str:
    by_state: dict[str, list[str]] = {}
    for step in found.steps:
        by_state.setdefault(step.state, []).append(step.lesson.number)
    said = "; ".join(f"{state}: {', '.join(numbers)}" for state, numbers in by_state.items())
    way = f" Go on with {found.next.lesson.number}." if found.next else ""
    return f"The path through the lessons. {said[0].upper()}{said[1:]}.{way}"


def _path_table(found: CourseMap) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "lesson": str(step.lesson),
                "state": step.state,
                "predictions": step.predictions,
                "exercises": step.exercises,
            }
            for step in found.steps
        ]
    )
