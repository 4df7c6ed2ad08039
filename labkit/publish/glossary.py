"""The glossary: one honest paragraph a term, and the links that lead a lesson's reader to it.

`notebooks/src/glossary.md` holds a heading for each term, and below it, where people say it in
other ways too, a comment `<!-- also: ... -->`. The first time a lesson uses a term, in whatever
form, the builder links it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TERM = re.compile(
    r"^## (?P<name>.+?)\n+(?:<!-- also: (?P<also>.*?) -->\n+)?(?P<text>.*?)(?=^## |\Z)",
    re.M | re.S,
)
# Parts of Markdown in which a link would be wrong.
_UNTOUCHED = re.compile(
    r"```.*?```|`[^`\n]*`"  # code
    r"|!?\[[^\]]*\]\([^)]*\)"  # links and images
    r"|<details.*?</details>|<[^>]+>"  # folded text and tags
    r"|^## References.*|^#+ .*?$|\$[^$\n]+\$",  # references, headings, formulas
    re.M | re.S,
)


@dataclass(frozen=True)
class Term:
    """A word of the field: its name, the other forms it is used in, what it means."""

    name: str
    also: tuple[str, ...]
    text: str

    @property
    def anchor(self) -> str:
        """The fragment that JupyterLab and GitHub both give to the heading."""
        return self.name.replace(" ", "-")

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches any form of the term as a whole word, longest form first."""
        forms = sorted((self.name, *self.also), key=len, reverse=True)
        spaced = [re.escape(form).replace(r"\ ", r"\s+") for form in forms]
        return re.compile(rf"(?<![\w-])(?:{'|'.join(spaced)})(?![\w-])", re.I)


def read(text: str) -> tuple[Term, ...]:
    """The terms of a glossary's Markdown, in its order."""
    return tuple(
        Term(found["name"], _forms(found["also"] or ""), found["text"].strip())
        for found in _TERM.finditer(text)
    )


def link_first_uses(texts: Sequence[str], terms: Sequence[Term], target: str) -> list[str]:
    """The Markdown cells of a lesson with the first use of each term linked to `target#anchor`.

    Longer forms go first, so that "learning rate" is never linked as "rate".
    """
    cells = [list(_pieces(text)) for text in texts]
    for term in sorted(terms, key=lambda term: len(term.name), reverse=True):
        _link_once(cells, term, target)
    return ["".join(piece for piece, _ in cell) for cell in cells]


def _forms(listed: str) -> tuple[str, ...]:
    return tuple(form.strip() for form in listed.split(",") if form.strip())


def _link_once(cells: list[list[tuple[str, bool]]], term: Term, target: str) -> None:
    for cell in cells:
        for place, (piece, is_prose) in enumerate(cell):
            match = term.pattern.search(piece) if is_prose else None
            if match:
                link = f"[{match[0]}]({target}#{term.anchor})"
                before, after = piece[: match.start()], piece[match.end() :]
                cell[place : place + 1] = [(before, True), (link, False), (after, True)]
                return


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text cut into (piece, whether it is prose)."""
    end = 0
    for match in _UNTOUCHED.finditer(text):
        yield text[end : match.start()], True
        yield match[0], False
        end = match.end()
    yield text[end:], True
