"""A link that leads nowhere is named, with the page it stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.publish import links


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "index.html").write_text('<h2 id="batch norm">x</h2><a name="old"></a>')
    (tmp_path / "a picture.png").write_bytes(b"")
    return tmp_path


def check(site: Path, html: str) -> list[str]:
    (site / "page.html").write_text(html)
    return [str(each) for each in links.check(site).broken]


@pytest.mark.parametrize(
    "link",
    [
        "words/index.html",
        "words/",
        "words/index.html#batch%20norm",
        "words/#old",
        "#here",
        "#",
        "#top",
        "page.html?digest=1#here",
        "/words/index.html",
        "https://example.org/nowhere",
        "//example.org/nowhere",
        "mailto:someone@example.org",
        "data:text/plain,x",
    ],
)
def test_a_link_that_leads_somewhere_is_left_alone(site: Path, link: str) -> None:
    assert check(site, f'<p id="here"><a href="{link}">x</a>') == []


def test_a_broken_link_is_found_and_named(site: Path) -> None:
    page = '<a href="gone.html">x</a> <a href="words/index.html#gone">x</a> <a href="#not-here">'
    assert check(site, page) == [
        "page.html: gone.html (gone.html is missing)",
        "page.html: words/index.html#gone (#gone is missing)",
        "page.html: #not-here (#not-here is missing)",
    ]


def test_pictures_scripts_and_recordings_are_followed_too(site: Path) -> None:
    page = '<img src="a%20picture.png"><img src="b.png"><script src="c.js"></script>'
    page += '<div class="labkit-replay" data-recording="d.js" data-notebook="e.ipynb"></div>'
    assert [each.split()[1] for each in check(site, page)] == ["b.png", "c.js", "d.js", "e.ipynb"]


def test_the_templates_that_a_theme_keeps_are_no_pages(site: Path) -> None:
    (site / "_static").mkdir()
    (site / "_static" / "macros.html").write_text('<a href="{{ gone }}">')
    assert links.check(site).broken == ()
