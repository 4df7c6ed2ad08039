"""The report: one page that loads nothing, tells what was done, and takes no name for markup."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.errors import FileError
from labkit.show.report import RunReport
from labkit.tuning import Run
from tests.small import Clouds, Small

HOSTILE = ("<script>alert(1)</script>", "$x^2$ & \"'", "{{ 7 * 7 }}", "</pre><b>c")


class Page(HTMLParser):
    """What stands on a page: its tags, its images' words, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.alts: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.alts.append(known.get("alt") or "")
        self.links += [known[name] for name in ("src", "href") if known.get(name)]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def run() -> Run:
    data = labkit.load_data("digits").subset(per_class=5)
    plan = labkit.feature_extraction(lr=1e-3, epochs=2, batch_size=10)
    return Run(labkit.load_backbone("resnet10-glyphs"), data, plan, seed=3, budget=100).fit()


def written(run: Run, path: Path, **options: Any) -> tuple[str, Page]:
    labkit.report(run, path, **options)
    text = path.read_text("utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def text(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the run, with its test split opened."""
    folder = tmp_path_factory.mktemp("report") / "deep"
    text, _ = written(run, folder / "report.html", test=run.evaluate("test"))
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return text


def test_a_report_tells_plan_data_intervals_cost_card_and_versions(run: Run, text: str) -> None:
    test = run.evaluate("test")
    said = re.sub(r"\s+", " ", Page(text).text)
    low, high = test.interval
    for words in (
        f"{test.correct} of {test.count} examples of the test split are right",
        f"from {low:.1%} to {high:.1%}",
        "This split has chosen nothing",
        f"by the plan {run.plan.name!r}",
        "seed 3",
        "CC BY 4.0",
        "Of a budget of 100 processor seconds",
        '"started_from"',
        "torchvision",
        labkit.__version__,
    ):
        assert words in said, words


def test_a_report_loads_nothing_and_each_figure_has_words(text: str) -> None:
    page = Page(text)
    assert len(page.alts) >= 4
    assert all(len(alt) > 30 for alt in page.alts)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text
    assert page.tags.count("h1") == 1


def test_without_a_test_split_the_report_says_what_it_judged_by_and_opens_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    evaluate = Run.evaluate

    def listening(self: Run, split: Any = "valid") -> Any:
        asked.append(split)
        return evaluate(self, split)

    monkeypatch.setattr(Run, "evaluate", listening)
    _, page = written(run, tmp_path / "report.html")
    assert "No test split was opened" in page.text
    assert set(asked) == {"train", "valid"}


def test_hostile_names_stay_text(run: Run, tmp_path: Path) -> None:
    data = replace(run.data, classes=(*HOSTILE, *run.data.classes[4:]), name=HOSTILE[0])
    hostile = Run(run.net, data, run.plan.with_(name=HOSTILE[3]), name=HOSTILE[0]).fit()
    text, page = written(hostile, tmp_path / "report.html")
    for name in HOSTILE:
        assert name in page.text
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "<script" not in text
    frame = RunReport(tmp_path / "report.html", HOSTILE[0])._repr_html_()
    assert "sandbox" in frame
    assert Page(frame).tags == ["iframe"]


def test_a_report_through_a_link_leaves_the_link_and_the_mode(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    page = tmp_path / "shared" / "page.html"
    page.write_text("old")
    page.chmod(0o640)
    (tmp_path / "report.html").symlink_to(page)
    written = labkit.report(run, tmp_path / "report.html")
    assert (tmp_path / "report.html").is_symlink()
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert page.stat().st_mode & 0o777 == 0o640
    assert "MB" in repr(written)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (".", r"is a folder.*report\.html"),
        ("/proc/report.html", "cannot be written"),
        ("/proc/none/report.html", "cannot be written"),
        ("a file/report.html", "cannot be written"),
        ("n" * 300 + ".html", "cannot be written"),
        ("null\0.html", "cannot be written"),
        ("pipe", "not a regular file"),
        ("", "is not a path"),
        (None, "None is not a path"),
        (3, "3 is not a path"),
    ],
)
@pytest.mark.slow
def test_where_no_report_can_be_written_it_is_said_and_nothing_is_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match=said):
        labkit.report(run, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a file", "pipe"]
    assert (tmp_path / "a file").read_text() == "mine"


def test_a_title_that_is_no_text_does_not_end_a_report(run: Run, tmp_path: Path) -> None:
    assert "ant?" in written(run, tmp_path / "report.html", title="ant\udcff")[0]


def test_a_report_of_something_else_than_figures_leaves_out_what_is_not_there(
    tmp_path: Path,
) -> None:
    run = Run(Small(), Clouds(), labkit.full(epochs=1))
    _, page = written(run, tmp_path / "before.html")
    assert "Nothing has been trained yet" in page.text
    run.fit()
    run.set(lr=1e-4)
    _, page = written(run, tmp_path / "after.html")
    assert "to the end of the plan" in page.text
    assert "lr 0.0001" in page.text
