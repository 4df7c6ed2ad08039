"""The heat map of a sweep: every cell in words, readable on any page, complete at every moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import labkit
from labkit.runtime import Precision
from labkit.show import heatmap
from labkit.show.figure import SHADES, ink_on
from labkit.show.heatmap import heat_map
from labkit.sweeps import Job, Sweep, SweepRow, jobs_of
from labkit.sweeps.rows_on_disk import RowsOnDisk
from tests.small import Clouds, Small


class Told:
    """Gives rows that are made up: accuracy by learning rate and seed; the largest rate diverges."""

    lanes = 1

    def __init__(self, most: int) -> None:
        self.most = most

    def rows(self, groups: Sequence[Sequence[Job]]) -> Iterator[list[SweepRow]]:
        for job in [job for group in groups for job in group][: self.most]:
            lr = job.plan.phases[0].lr
            if lr == 1.0:
                yield [SweepRow.of(job, "diverged", reason="the loss is nan")]
            else:
                yield [SweepRow.of(job, "done", correct=int(40 + 4000 * lr + job.seed), count=100)]

    def stop(self) -> None: ...


def prepared(folder: Path, most: int = 1000, **axes: Any) -> Sweep:
    plan = labkit.partial("head", epochs=1)
    base = labkit.Run(Small(), Clouds(), plan, precision=Precision())
    jobs = jobs_of(base, axes)
    return Sweep(jobs, Told(most), RowsOnDisk(folder), base.stages)


def swept(folder: Path, most: int = 1000, **axes: Any) -> Sweep:
    return prepared(folder, most, **axes).run(progress=False)


AXES: dict[str, Any] = {"trainable_from": ["head", "body"], "lr": [1e-3, 1e-2, 1.0]}


def texts(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_cell_says_its_mean_and_of_how_many_seeds(tmp_path: Path) -> None:
    figure = heat_map(swept(tmp_path, **AXES, seed=range(3)))
    assert sorted(texts(figure)) == sorted(
        ["45.0\nn = 3", "81.0\nn = 3", "3 diverged"] * 2,
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.01", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["body", "head"]


def test_what_is_not_finished_is_said_to_come(tmp_path: Path) -> None:
    figure = heat_map(swept(tmp_path, most=2, **AXES, seed=range(3)))
    assert texts(figure).count("to come") == 4
    assert "2 of 18 runs" in figure.get_suptitle()
    assert "2 of 18 runs" in figure.alt
    nothing = heat_map(swept(tmp_path / "empty", most=0, **AXES))
    assert "nothing is finished yet." in nothing.alt
    assert nothing.png()


def test_the_words_and_the_table_hold_what_the_figure_shows(tmp_path: Path) -> None:
    figure = heat_map(swept(tmp_path, **AXES, seed=range(3)))
    assert "best 81.0 % (trainable_from head, lr 0.01, 3 seeds)" in figure.alt
    assert "worst 45.0 %" in figure.alt
    assert figure.alt.endswith(".")
    assert list(figure.table["mean (%)"].round(6))[:2] == [45, 81]
    assert list(figure.table.diverged) == [0, 0, 3] * 2


def light(colour: Any) -> float:
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def test_letters_stand_out_on_every_colour_and_more_is_lighter() -> None:
    shades = [SHADES(share) for share in np.linspace(0, 1, 101)]
    for shade in shades:
        bright, dark = sorted((light(shade), light(ink_on(shade))), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5
    assert all(light(a) < light(b) for a, b in zip(shades[:-10:5], shades[5::5], strict=False))


@pytest.mark.parametrize(
    ("axes", "panels"),
    [
        ({"seed": range(2)}, 1),
        ({"lr": [1e-3, 1e-2]}, 1),
        ({"trainable_from": ["head", "body"]}, 1),
        ({"per_class": [4, 8], "epochs": [1, 2]}, 1),
        ({**AXES, "per_class": [4, 8]}, 2),
    ],
)
def test_any_axes_can_be_drawn(tmp_path: Path, axes: dict[str, Any], panels: int) -> None:
    made = swept(tmp_path, **axes)
    figure = heat_map(made)
    assert figure.png()
    assert len([a for a in figure.axes if a.axison]) == panels
    assert len(texts(figure)) == len(made.summary())


def test_a_live_heat_map_ends_with_every_row(tmp_path: Path) -> None:
    shown: list[Any] = []

    class Handle:
        def update(self, figure: Any) -> None:
            shown.append(figure)

    heatmap._follow(swept(tmp_path, **AXES), Handle())
    assert "6 of 6 runs" in shown[-1].alt


def test_a_run_ends_after_its_last_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    class Handle:
        def update(self, figure: Any) -> None:
            time.sleep(0.3)  # a page far away
            shown.append(figure)

    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Handle())
    made = prepared(tmp_path, **AXES)
    heatmap.show_live(made)
    made.run(progress=False)
    assert "6 of 6 runs" in shown[-1].alt
