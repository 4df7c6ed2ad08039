"""Letters for every name: fonts of the machine where matplotlib's own has none, and one hint where no font has them.

matplotlib draws an empty box for a letter that its font lacks, and warns at each, in each figure. Names of classes are
names of folders, so they come in any script.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

# Families with outlines that systems bring along; fonts of coloured bitmaps are none that matplotlib can draw.
FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR"),
    *("Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC", "Source Han Sans"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAGothic"),
    *("Microsoft YaHei", "SimHei", "SimSun", "Yu Gothic", "Meiryo", "MS Gothic", "Malgun Gothic"),
    *("PingFang SC", "PingFang HK", "Heiti TC", "STHeiti", "Hiragino Sans", "AppleGothic"),
    *("Apple SD Gothic Neo", "NanumGothic", "Noto Sans Arabic", "Noto Naskh Arabic"),
    *("Geeza Pro", "Segoe UI", "Tahoma", "Noto Sans", "Noto Sans Hebrew", "Noto Sans Devanagari"),
    *("Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Sans Ethiopic"),
    *(
        "Nirmala UI",
        "Leelawadee UI",
        "Ebrima",
        "Kohinoor Devanagari",
        "Thonburi",
        "Lohit Devanagari",
    ),
    *("Segoe UI Emoji", "Segoe UI Symbol", "Noto Emoji", "Apple Symbols", "Symbola"),
    *("Noto Sans Symbols", "Noto Sans Symbols 2", "Arial Unicode MS", "FreeSans", "Unifont"),
)
BOX = "\u25af"  # what stands for a letter that no font has


@contextmanager
def legible(figure: Figure) -> Iterator[None]:
    """Inside, every text of a figure has only letters that its fonts have, so that it is drawn without a warning."""
    with ExitStack() as after:
        for axis in figure.findobj(Axis):
            _make_ticks_legible(axis, after)
        for text in figure.findobj(Text):
            said, family = text.get_text(), text.get_fontfamily()
            if not _is_plain(said):
                drawn, families = _drawable(said, text)
                text.set(text=drawn, fontfamily=[*family, *families])
                after.callback(text.set, text=said, fontfamily=family)
        yield


def _make_ticks_legible(axis: Any, after: ExitStack) -> None:
    """Names at ticks are asked for anew when they are drawn, so whoever gives them must give drawable ones."""
    names = axis.get_major_formatter()
    if not isinstance(names, FuncFormatter | FixedFormatter):
        return
    labels = axis.get_majorticklabels()
    if all(_is_plain(label.get_text()) for label in labels):
        return
    first = labels[0]
    axis.set_major_formatter(FuncFormatter(lambda x, at: _drawable(names(x, at), first)[0]))
    after.callback(axis.set_major_formatter, names)


def _is_plain(said: str) -> bool:
    return said.isascii() and said.replace("\n", "").isprintable()


def _drawable(said: str, text: Text) -> tuple[str, list[str]]:
    """What can be drawn of a name in the font of a text, and the families to draw the rest of its letters with."""
    base = font_manager.findfont(text.get_fontproperties())
    missing = sorted({letter for letter in said if letter != "\n" and not _has(base, letter)})
    families = {letter: _family_with(letter) for letter in missing}
    instead = {letter: _instead_of(letter) for letter, family in families.items() if not family}
    if BOX in instead.values():
        _hint("".join(letter for letter, drawn in instead.items() if drawn == BOX))
    drawn = "".join(instead.get(letter, letter) for letter in said)
    return drawn, list(dict.fromkeys(filter(None, families.values())))


def _instead_of(letter: str) -> str:
    """Nothing for a sign that only joins others or gives them a look, a space for other controls, else a box."""
    kind = unicodedata.category(letter)
    if kind == "Cc":
        return " "
    return "" if kind in ("Cf", "Mn") else BOX


@lru_cache(maxsize=4096)
def _family_with(letter: str) -> str:
    """The first of the families that is on this machine and has a letter, or nothing."""
    return next((name for name, path in _installed() if _has(path, letter)), "")


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    """Of the families, those on this machine, and where."""
    here = {font.name for font in font_manager.fontManager.ttflist}
    known = [name for name in FAMILIES if name in here]
    return tuple((name, font_manager.findfont(FontProperties(family=name))) for name in known)


def _has(path: str, letter: str) -> bool:
    try:
        return bool(font_manager.get_font(path).get_char_index(ord(letter)))
    except (OSError, RuntimeError):  # a font that cannot be read is none
        return False


_hinted = False


def _hint(letters: str) -> None:
    """Say once, not in each figure, that letters are missing, and how to have them."""
    global _hinted
    if _hinted:
        return
    _hinted = True
    some = "".join(letter for letter in letters if letter.isprintable())[:5] or ascii(letters[:1])
    warnings.warn(
        f"No font on this machine has {some}, so figures draw a box for it; tables and descriptions have the letters. "
        "To see them: install a font, such as Noto Sans CJK or Noto Emoji (on Debian and Ubuntu: apt-get install "
        "fonts-noto-cjk fonts-symbola), delete the folder that matplotlib.get_cachedir() names, restart the kernel. "
        "This is said once.",
        stacklevel=2,
    )
