"""The features of a stage as points that move: the same samples on the same two axes, frame by frame."""

from __future__ import annotations

import html
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

from labkit import insight
from labkit.insight.feature_map import FeatureMap, Frame
from labkit.insight.inside import split_of
from labkit.insight.kinds import has_images
from labkit.show.figure import FAINT, INK, Figure, Marked, dress, folded, legend, look, shorten
from labkit.tuning.contracts import Split
from labkit.tuning.given import a, a_run, maybe, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

ABREAST = 3  # frames side by side
NAMED = 12  # classes that the legend can tell; others share one faint dot
THUMBNAIL = 26  # points of a figure: the side of a thumbnail
WIDTH, LARGE, SMALL = 9.0, 5.6, 2.2  # inches


class FramesFigure(Figure):
    """All frames in one figure; on a page, frame after frame in one place, moved by the arrow keys.

    A choice of frames needs no script and no kernel, so it works in a static page too, and nothing moves unasked.
    """

    frames: Sequence[Figure] = ()

    def _html(self, data: str) -> str:
        if len(self.frames) < 2:
            return super()._html(data)
        name = f"frames-{blake2b(data.encode(), digest_size=6).hexdigest()}"
        numbers = range(1, len(self.frames) + 1)
        rules = "".join(
            f"#{name} input:nth-of-type({n}):checked ~ img:nth-of-type({n}) {{display: block}}"
            for n in numbers
        )
        return (
            f"<style>#{name} img {{display: none; max-width: 100%; height: auto}} {rules}</style>"
            f'<fieldset id="{name}" style="border: 0; padding: 0; margin: 0">'
            "<legend>Frames: choose one, then go on with the arrow keys</legend>"
            f"{''.join(self._choice(name, n) for n in numbers)}"
            f"{''.join(frame.image() for frame in self.frames)}</fieldset>"
            "<details><summary>All frames beside one another</summary>"
            f"{self.image(data)}</details>{folded(self.table)}"
        )

    def _choice(self, name: str, number: int) -> str:
        chosen = " checked" if number == len(self.frames) else ""
        words = html.escape(str(self.table["step"].iloc[number - 1]))
        return (
            f'<input type="radio" name="{name}" id="{name}-{number}"{chosen}>'
            f'<label for="{name}-{number}" style="margin-right: 1em"> step {words}</label>'
        )


@takes(run=a_run, found=maybe(a(FeatureMap, source="insight.feature_map(run)")))
def plot_feature_map(run: Run, found: FeatureMap | None = None, **how: Any) -> FramesFigure:
    """Small frames of a stage's features as training goes on, then the last one again, large and with thumbnails.

    A notebook shows the large frames one at a time, so that the points move. `how` is passed on to
    `insight.feature_map`: stage, steps, fitted_at, count, split, seed. A map that was made already is drawn with
    `found`; the run then only gives the images.
    """
    found = insight.feature_map(run, **how) if found is None else found
    several = found.frames if len(found.frames) > 1 else ()
    rows = -(-len(several) // ABREAST)
    figure = FramesFigure(WIDTH, LARGE + SMALL * rows)
    limits = _limits(found)
    layout = figure.add_gridspec(rows + 1, ABREAST, height_ratios=[*[SMALL] * rows, LARGE])
    for number, frame in enumerate(several):
        axes = figure.add_subplot(layout[divmod(number, ABREAST)])
        _points(_small_axes(axes, frame, limits), found, frame, 12)
    split = split_of(run, how.get("split", "valid") if found.split == "sample" else found.split)
    _large(figure.add_subplot(layout[rows, :]), found, found.frames[-1], split, limits)
    legend(figure, _entries(found), columns=6)
    figure.frames = [_alone(found, frame, split, limits) for frame in several]
    return figure.told(_words(found), found.table)


@takes(run=a_run)
def feature_map_now(run: Run) -> Figure:
    """Where the samples lie now, large, on the axes of step 0: those hold for every later look and every branch."""
    with run.paused():
        now = run.step_number
    drawn = plot_feature_map(run, steps=(0, now), fitted_at=0)
    return drawn.frames[-1] if drawn.frames else drawn


def _alone(found: FeatureMap, frame: Frame, split: Split, limits: Tensor) -> Figure:
    figure = Figure(WIDTH, LARGE)
    _large(figure.subplots(), found, frame, split, limits)
    legend(figure, _entries(found), columns=12)
    alt = f"{found.stage} after step {frame.step}: {100 * frame.apart:.0f} % of the variance lies between the classes."
    return figure.told(alt, found.table)


def _large(axes: Axes, found: FeatureMap, frame: Frame, split: Split, limits: Tensor) -> None:
    """A frame with numbers on its axes, and with thumbnails where the samples are images."""
    title = f"Step {frame.step}: {100 * frame.apart:.0f} % of the variance lies between the classes"
    dress(axes, "first axis (feature units)", "second axis (feature units)", title)
    _within(axes, limits)
    _points(axes, found, frame, 22)
    if has_images(split):
        _thumbnails(axes, found, frame, split, limits)


def _small_axes(axes: Axes, frame: Frame, limits: Tensor) -> Axes:
    """A panel on the axes that all share; only the large one has room for their numbers."""
    dress(axes, "", "")
    title = f"step {frame.step}, epoch {frame.epoch:.3g}: {100 * frame.apart:.0f} % apart"
    axes.set_title(title, color=INK, fontsize=9, loc="left")
    axes.tick_params(labelbottom=False, labelleft=False, length=0)
    return _within(axes, limits)


def _within(axes: Axes, limits: Tensor) -> Axes:
    (left, bottom), (right, top) = limits.tolist()
    axes.set(xlim=(left, right), ylim=(bottom, top))
    return axes


def _points(axes: Axes, found: FeatureMap, frame: Frame, size: float) -> None:
    for label in found.labels.unique().tolist():
        colour, marker = _look(label)
        x, y = frame.points[found.labels == label].T.tolist()
        axes.scatter(x, y, s=size, color=colour, marker=marker, linewidths=0.4, alpha=0.85)


def _look(label: int) -> tuple[str, str]:
    return look(label)[:2] if label < NAMED else (FAINT, ".")


def _entries(found: FeatureMap) -> list[Marked]:
    present = found.labels.unique().tolist()
    entries = []
    for label in [label for label in present if label < NAMED]:
        colour, marker = _look(label)
        dot = Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6)
        entries.append(Marked(dot, shorten(found.classes[label], 16)))
    if present[-1] >= NAMED:
        colour, marker = _look(NAMED)
        dot = Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6)
        entries.append(Marked(dot, "other classes"))
    return entries


def _limits(found: FeatureMap) -> Tensor:
    """The corners that all frames fit into, (2, 2), with a margin."""
    every = torch.cat([frame.points for frame in found.frames])
    low, high = every.amin(0), every.amax(0)
    room = 0.07 * (high - low).clamp(min=1e-9)
    return torch.stack([low - room, high + room])


def _thumbnails(axes: Axes, found: FeatureMap, frame: Frame, split: Split, limits: Tensor) -> None:
    """Images in place of some points: in every frame of the same samples, so that they can be followed."""
    room = torch.tensor([WIDTH, LARGE]) * 72 * 0.8 / (1.25 * THUMBNAIL)
    places = (found.frames[-1].points - limits[0]) / (limits[1] - limits[0]) * room
    for number in _apart(places):
        pixels, _ = split.batch(found.indices[number : number + 1])
        image = OffsetImage(_square(pixels[0]), zoom=THUMBNAIL / max(pixels.shape[-2:]))
        image.image.axes = axes
        colour, _ = _look(int(found.labels[number]))
        frame_of: dict[str, Any] = {"edgecolor": colour, "linewidth": 1.8}
        x, y = frame.points[number].tolist()
        axes.add_artist(AnnotationBbox(image, (x, y), pad=0.05, bboxprops=frame_of))


def _apart(places: Tensor, most: int = 60) -> list[int]:
    """Points, one after the other, that lie at least one thumbnail from all chosen before."""
    chosen: list[int] = []
    for number in range(len(places)):
        gaps = (places[chosen] - places[number]).abs().amax(1)
        if len(chosen) < most and (not chosen or float(gaps.min()) >= 1):
            chosen.append(number)
    return chosen


def _square(pixels: Tensor) -> Any:
    return np.ascontiguousarray(pixels.clamp(0, 1).permute(1, 2, 0).numpy())


def _words(found: FeatureMap) -> str:
    first, last = found.frames[0], found.frames[-1]
    said = (
        f"{len(found.labels)} samples of {found.split} by what {found.stage} makes of them, on two axes fitted at step "
        f"{found.fitted_at}, after steps {', '.join(str(frame.step) for frame in found.frames)}. "
        f"The axes show {100 * last.shown:.0f} % of the variance at step {last.step}."
    )
    if first is last:
        return f"{said} The share of the variance that lies between classes is {100 * last.apart:.0f} %."
    return (
        f"{said} The share of the variance that lies between classes goes from {100 * first.apart:.0f} % to "
        f"{100 * last.apart:.0f} %."
    )
