"""CONTRIBUTING.md says what has to be touched to add something, and nothing else has to be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

LISTS = re.compile(r"^### … an? ([a-z ]+)\n(.*?)(?=^##|\Z)", re.M | re.S)
PLACE = re.compile(r"^- `([^`]+)`: ", re.M)
COPIED = ("labkit", "datasets", "notebooks/src", "README.md", "pyproject.toml")

CARD = """
name = "leaves"
title = "Two kinds of leaves"
classes = ["oak", "elm"]
pictures = 24
size = 16
licence = "ours"
"""
PROBE = '''"""How bright the validation images are."""

from labkit.insight.kinds import images_of
from labkit.tuning import Run


def brightness(run: Run) -> float:
    """The mean of all pixels, from 0 to 1."""
    return float(images_of(run).valid.images.float().mean()) / 255
'''
CHECKS = '''"""Checks of lesson 17."""

from labkit.learn.exercises import exercise


@exercise("17-two", title="two", difficulty=1, minutes=1, hints=("One and one.",))
def two(answer):
    """The answer is 2."""
    if answer != 2:
        yield "One and one is another number."
'''
CLAIMS = '''"""What lesson 17 has on record."""

from labkit.records.evidence.setting import Experiment, Condition, digits
from labkit.tuning import feature_extraction

EXPERIMENTS = (
    Experiment("seventeen", "Is there one more?", (Condition(**digits(3), plan=feature_extraction()),)),
)
'''
QUESTION = """
[[question]]
text = "Question {0}?"
option = [
  {{ text = "one", reason = "First {0}.", right = true }},
  {{ text = "two", reason = "Second {0}." }},
  {{ text = "six", reason = "Third {0}." }},
]
"""
TEXT = """# %% [markdown]
# # 17 · One more
#
# - **You will be able to:** see that a lesson is a folder, a source and a row.

# %% [markdown]
# ## Exercise: two
#
# {exercise:17-two}

# %% tags=["stub"]
answer = ...

# %% tags=["solution"]
answer = 2

# %%
from labkit import learn

learn.check("17-two", answer)
"""
ROW = """    Lesson("17_one_more", "One more", "Is that all?", ()),
)
"""
TASK = '''

class Backwards(Classify):
    """Classification by the smallest output."""

    name = "backwards"

    def right(self, outputs: Tensor, targets: Targets) -> int:
        return int((outputs.argmin(1) == targets).sum())


TASKS["backwards"] = Backwards()
'''
FOUND = """
import labkit
from labkit.course import evidence
from labkit.data import ImageData
from labkit.learn import check, course_map
from labkit.learn.questions import load

leaves = labkit.load_data("leaves")
assert leaves.classes == ("elm", "oak"), leaves.classes
assert "leaves" in str(labkit.data.describe())
run = labkit.Run(labkit.load_backbone("resnet10-glyphs"), leaves, labkit.feature_extraction(epochs=1)).fit()
assert 0 < labkit.insight.brightness(run) < 1 and "brightness" in dir(labkit.insight)

assert "Right" in str(check("17-two", 2)) and "Not yet" in str(check("17-two", 3))
assert len(load("17")) == 3 and "17 One more" in str(course_map())
assert "seventeen" in evidence.names()

class Data(ImageData):
    task = "backwards"

backwards = Data(**{name: getattr(leaves, name) for name in ImageData.__dataclass_fields__})
labkit.testing.check_task(labkit.tuning.task.task_of(backwards), labkit.load_backbone("resnet10-glyphs"), backwards)
"""


def lists(root: Path) -> dict[str, list[str]]:
    """What has to be touched to add each kind of thing."""
    text = (root / "CONTRIBUTING.md").read_text("utf-8")
    return {kind: PLACE.findall(places) for kind, places in LISTS.findall(text)}


def test_every_list_names_files_and_folders_that_are_there(root: Path) -> None:
    found = lists(root)
    assert set(found) == {
        "setting", "task", "data set", "backbone", "adapter", "probe", "figure", "card", "exercise", "lesson",
        "command", "test",
    }  # fmt: skip
    for kind, places in found.items():
        assert places, kind
        for place in places:
            assert (root / place).exists(), f"{kind}: {place}"
            assert (root / place).is_dir() == place.endswith("/"), f"{kind}: {place}"


def test_every_room_stands_on_its_floor(root: Path) -> None:
    """The table has the rooms of the import contract, lowest first."""
    contract = (
        (root / "pyproject.toml").read_text("utf-8").partition("layers = [")[2].partition("]")[0]
    )
    floors = [re.findall(r"labkit\.(\w+)", line) for line in contract.split("\n") if line.strip()]
    text = (root / "CONTRIBUTING.md").read_text("utf-8")
    told: dict[str, set[str]] = {}
    for number, rooms in re.findall(r"^\| (\d+) \| (.*?) \|", text, re.M):
        told.setdefault(number, set()).update(re.findall(r"`(\w+)(?:/|\.py)`", rooms))
    assert list(told.values()) == [set(rooms) for rooms in reversed(floors)]


@pytest.fixture(scope="module")
def with_one_of_each(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A copy of the package with a data set, a probe, a task and a lesson more; and the places that were touched."""
    copy = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        source, target = root / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    added = {
        "datasets/leaves.toml": CARD,
        "labkit/insight/brightness.py": PROBE,
        "labkit/course/lesson_17/__init__.py": '"""Lesson 17."""\n',
        "labkit/course/lesson_17/checks.py": CHECKS,
        "labkit/course/lesson_17/claims.py": CLAIMS,
        "labkit/course/lesson_17/quiz.toml": "".join(map(QUESTION.format, "abc")),
        "notebooks/src/17_one_more.py": TEXT,
    }
    for name, text in added.items():
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(text, "utf-8")
    changed = {
        "labkit/insight/__init__.pyi": lambda text: text.replace(
            "\n__all__ = [",
            '\nfrom labkit.insight.brightness import brightness\n__all__ = [\n    "brightness",',
            1,
        ),
        "labkit/learn/lessons.py": lambda text: text.rstrip().removesuffix(")") + ROW,
        "labkit/tuning/task.py": lambda text: text + TASK,
    }
    for name, change in changed.items():
        before = (copy / name).read_text("utf-8")
        after = change(before)
        assert after != before, name
        (copy / name).write_text(after, "utf-8")
    photographs = copy / "photographs"
    for kind, shade in (("oak", 90), ("elm", 160)):
        (photographs / "leaves" / kind).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (20, 20), (shade + number, 100 + 5 * number, 60)).save(
                photographs / "leaves" / kind / f"{number}.png"
            )
    return copy, {*added, *changed}


def run_in(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    own = {
        "PYTHONPATH": str(copy),
        "LABKIT_DATA": str(copy / "photographs"),
        "LABKIT_CACHE": str(copy / "cache"),
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=copy, capture_output=True, text=True, timeout=120,
        env={**os.environ, **own, "LABKIT_PROGRESS": str(copy / "progress.json")},
    )  # fmt: skip


def test_only_what_the_lists_say_was_touched(
    root: Path, with_one_of_each: tuple[Path, set[str]]
) -> None:
    allowed = tuple(
        place for kind in ("data set", "probe", "task", "lesson") for place in lists(root)[kind]
    )
    assert not [name for name in with_one_of_each[1] if not name.startswith(allowed)]


@pytest.mark.slow
def test_what_is_added_by_the_lists_is_found_wherever_it_belongs(
    with_one_of_each: tuple[Path, set[str]],
) -> None:
    done = run_in(with_one_of_each[0], "-c", FOUND)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_added_lesson_becomes_a_notebook_and_a_row_of_the_readme(
    with_one_of_each: tuple[Path, set[str]],
) -> None:
    copy, _ = with_one_of_each
    done = run_in(copy, "-m", "labkit", "build-lessons")
    assert done.returncode == 0, done.stderr
    assert (copy / "notebooks/17_one_more.ipynb").is_file()
    assert (copy / "notebooks/solutions/17_one_more.ipynb").is_file()
    assert "| [17 One more](notebooks/17_one_more.ipynb) | Is that all? |" in (
        copy / "README.md"
    ).read_text("utf-8")
