"""What every figure of the lab is drawn on: a white card that carries its own text alternative and
table.

A transparent figure cannot be read on both a white and a black page, so a card brings its own
background; every colour on it has a contrast of at least 3:1 and every letter of at least 4.5:1
(WCAG 2.2). Lines also differ in style and marker, so that nothing is told by colour alone. Names
are drawn as text, never as markup or mathematics.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import matplotlib.figure
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from labkit.show.letters import legible

CARD = "#FFFFFF"
INK = "#222222"
FAINT = "#5B6068"
EDGE = "#C8CCD2"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")  # Okabe and Ito's, those ≥ 3:1
SHADES = colormaps["cividis"]  # monotone in lightness, and made for eyes that confuse red and green
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)))
DPI = 100
MARGIN = 0.09  # inches that stay free around each panel, so that no letter touches the card's edge


class Look(NamedTuple):
    """How one of several things is drawn: told apart by colour, by marker and by line."""

    colour: str
    marker: str
    style: Any


def look(number: int) -> Look:
    """The look of thing `number`; the first 105 all differ."""
    return Look(
        COLOURS[number % len(COLOURS)],
        MARKERS[number % len(MARKERS)],
        STYLES[number % len(STYLES)],
    )


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure with a text alternative and the table of what it shows.

    Jupyter shows it as an image with that text, a table that unfolds beneath it, and as plain text
    where neither can be drawn. `width` and `height` are in inches.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(
            figsize=(width, height),
            dpi=DPI,
            layout=ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN),
            facecolor=CARD,
            edgecolor=EDGE,
        )
        self.patch.set_linewidth(1)
        self.alt = ""
        self.table = pd.DataFrame()

    def told(self, alt: str, table: pd.DataFrame) -> Self:
        """Give the figure its words and its numbers; returns itself."""
        self.alt, self.table = alt, table
        return self

    def draw(self, renderer: RendererBase) -> None:
        """As matplotlib's, in letters that there are."""
        with legible(self):
            super().draw(renderer)

    def png(self) -> bytes:
        """The figure as a PNG file."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DPI, edgecolor=EDGE)
        return buffer.getvalue()

    def html(self) -> str:
        """An `<img>` with its text alternative, and the table folded away below it."""
        return self._html(self._base64())

    def text(self, *args: Any, **keywords: Any) -> Text:
        """As matplotlib's, but a dollar sign stays a dollar sign."""
        return super().text(*args, **{"parse_math": False} | keywords)

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        data = self._base64()
        bundle = {"text/plain": self.alt, "text/html": self._html(data), "image/png": data}
        return bundle, {"image/png": {"alt": self.alt}}

    def _base64(self) -> str:
        return base64.b64encode(self.png()).decode()

    def image(self, data: str = "") -> str:
        """An `<img>` with its text alternative; `data` is the PNG in base 64, if it is at hand."""
        return (
            f'<img src="data:image/png;base64,{data or self._base64()}" alt="{html.escape(self.alt)}" '
            'style="max-width:100%;height:auto">'
        )

    def _html(self, data: str) -> str:
        return f"{self.image(data)}{folded(self.table)}"


def folded(table: pd.DataFrame, title: str = "The same as a table") -> str:
    """A table as HTML that unfolds on a click or a key; every cell is text."""
    if table.empty:
        return ""
    return f"<details><summary>{html.escape(title)}</summary>{table_html(table)}</details>"


def table_html(table: pd.DataFrame) -> str:
    """A table as HTML in which every cell, name and heading is text; headings in words, not names of columns."""
    worded = table.rename(columns=lambda name: str(name).replace("_", " "))
    return str(
        worded.to_html(index=False, escape=True, border=0, na_rep="", float_format="{:.4g}".format)
    )


@dataclass(frozen=True)
class Marked:
    """A line for the legend: what is drawn, and the text beside it."""

    artist: Artist
    label: str


def legend(figure: Figure, entries: Sequence[Marked], columns: int = 3) -> None:
    """A legend below the figure; labels are text even where they start with `_` or hold a `$`."""
    if not entries:
        return
    drawn = figure.legend(
        [entry.artist for entry in entries],
        [f"entry {number}" for number, _ in enumerate(entries)],
        loc="outside lower center",
        ncols=min(columns, len(entries)),
        frameon=False,
        fontsize=9,
    )
    for text, entry in zip(drawn.get_texts(), entries, strict=True):
        text.set(text=entry.label, parse_math=False, color=INK)


def dress(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> Axes:
    """Labels, a light grid and no box: the same for every panel."""
    axes.set_xlabel(xlabel, color=INK, parse_math=False)
    axes.set_ylabel(ylabel, color=INK, parse_math=False)
    if title:
        axes.set_title(title, color=INK, fontsize=11, loc="left", parse_math=False)
    axes.set_facecolor(CARD)
    axes.tick_params(colors=FAINT, labelcolor=INK)
    axes.grid(True, color=EDGE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)
    return axes


def headline(figure: Figure, text: str, size: float = 10) -> None:
    """A line over all panels of a figure, at its left edge."""
    figure.suptitle(text, color=INK, fontsize=size, x=0.01, ha="left", parse_math=False)


def cell(
    axes: Axes, x: int, y: int, colour: Any, text: str = "", size: float = 8.5
) -> tuple[Rectangle, Text]:
    """A coloured square around (x, y) and the text in it, in the ink that stands out on it."""
    square = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor=EDGE, linewidth=0.6)
    axes.add_patch(square)
    place: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
    return square, axes.text(x, y, text, fontsize=size, color=ink_on(colour), **place)


def colour_bar(figure: Figure, drawn: ScalarMappable, axes: Any, label: str) -> None:
    """What the colours of one panel or several mean, beside them; `label` with the unit."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.75, pad=0.015)
    bar.set_label(label, color=INK, parse_math=False)
    bar.ax.tick_params(colors=FAINT, labelcolor=INK)
    bar.outline.set_edgecolor(EDGE)  # type: ignore[operator]


def ink_on(colour: Any) -> str:
    """Black or white, whichever stands out more; on any colour the better of the two has 4.5:1 or more."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    light = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#FFFFFF"


def shorten(text: str, length: int = 40) -> str:
    """A long name, cut in the middle so that both ends can be told."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"
