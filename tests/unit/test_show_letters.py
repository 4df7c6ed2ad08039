"""Names in any script are drawn without a word of warning, or with one hint where no font has the letters."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from labkit.show import letters
from labkit.show.figure import Figure

CAT, DOG, BEE = "猫", "犬", "🐝"


@pytest.fixture(autouse=True)
def as_in_a_new_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No hint was given yet, and no font was looked for."""

    def forget() -> None:
        letters._family_with.cache_clear()
        letters._installed.cache_clear()

    monkeypatch.setattr(letters, "_hinted", False)
    forget()
    yield
    forget()


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none of the families."""
    monkeypatch.setattr(letters, "FAMILIES", ())


def drawn(*names: str) -> tuple[np.ndarray, list[str]]:
    """A figure with these names, as pixels, and what was warned of while it was drawn."""
    figure = Figure(4, 2)
    axes = figure.subplots()
    axes.set_xticks(range(len(names)), names, parse_math=False)
    axes.set_title(names[0], parse_math=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        content = figure.png()
    assert [label.get_text() for label in axes.get_xticklabels()] == list(names)
    # An old matplotlib calls its parser by names that a new one has given up.
    told = [str(one.message) for one in said if not issubclass(one.category, DeprecationWarning)]
    return np.asarray(Image.open(io.BytesIO(content)).convert("L")), told


def font_with(letter: str, path: Path) -> None:
    """A font of one letter, a filled square, in a family of its own."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(letter): "square"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "One Letter", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def test_letters_that_no_font_has_are_hinted_at_once(no_fonts: None) -> None:
    _, said = drawn(CAT, DOG, f"{BEE} bee", "ant")
    assert len(said) == 1
    for part in (CAT, "Noto Sans CJK", "This is said once"):
        assert part in said[0]
    assert drawn(CAT, "کتاب", "ไทย")[1] == []


@pytest.mark.parametrize(
    "name",
    [
        "café",
        "Ωmega",
        "пчела",
        "tab\tbed",
        "bell\x07",
        "ant\nbee",
        "e\u0301",
        "zero\u200dwidth",
        "",
    ],
)
def test_names_that_can_be_drawn_are_drawn_without_a_hint(no_fonts: None, name: str) -> None:
    assert drawn("ant", name)[1] == []


def test_a_name_that_is_no_text_is_drawn(no_fonts: None) -> None:
    _, said = drawn("ant\udcff")  # a file name in another encoding
    assert len(said) == 1


def test_a_font_of_the_machine_lends_its_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font_with(CAT, tmp_path / "one.ttf")
    fonts = font_manager.fontManager.ttflist
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(fonts))
    font_manager.fontManager.addfont(tmp_path / "one.ttf")
    monkeypatch.setattr(letters, "FAMILIES", ("No Such Family", "One Letter"))
    with_font, said = drawn(CAT, "ant")
    assert said == []
    letters._family_with.cache_clear()
    letters._installed.cache_clear()
    monkeypatch.setattr(letters, "FAMILIES", ())
    boxes, _ = drawn(CAT, "ant")
    dark = [int((figure < 60).sum()) for figure in (with_font, boxes)]
    assert dark[0] > dark[1] + 150  # two filled squares have more ink than two empty boxes
