"""Scripts and styles of pages: parts that import from those before them, one module without a bundler, one theme."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from labkit.console import assets

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "labkit").rglob("*.js"))
SHEETS = sorted((ROOT / "labkit").rglob("*.css"))
CARDS = [path for path in SCRIPTS if path not in assets.CONSOLE]
WIDTH = 100
IMPORTS = re.compile(r'^import \{([^}]*)\} from "([^"]+)";$', re.M)
DECLARES = re.compile(
    r"^(?:export )?(?:async )?(?:(?:class|function|let) (\w+)|const (?:(\w+)|\[(.*?)\] =))", re.M
)
OFFERS = re.compile(r"^export (?:async )?(?:class|function|const|let) (\w+)", re.M)
TESTS = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))
NO_NODE = "left out: no node of 18 or newer, which tests scripts. On Debian and Ubuntu: apt-get install nodejs"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="left out: no make here")
ENTRY = "render"  # what anywidget asks of every widget


def imports(part: Path) -> dict[Path, set[str]]:
    """What a script takes from which other script."""
    found = IMPORTS.findall(part.read_text("utf-8"))
    return {(part.parent / file).resolve(): set(re.findall(r"\w+", names)) for names, file in found}


def declares(text: str) -> list[str]:
    """The names that a script gives at its top level."""
    return re.findall(r"\w+", " ".join(" ".join(found) for found in DECLARES.findall(text)))


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "labkit").as_posix()


@pytest.mark.parametrize("part", SCRIPTS, ids=relative)
def test_a_script_imports_only_what_those_before_it_offer(part: Path) -> None:
    """Before a part of the console stand those named before it; before every other script, what all share."""
    console = part in assets.CONSOLE
    before = assets.CONSOLE[: assets.CONSOLE.index(part)] if console else (assets.UI,)
    for other, names in imports(part).items():
        assert other in before
        assert names <= set(OFFERS.findall(other.read_text("utf-8")))
    assert len(re.findall("^import ", part.read_text("utf-8"), re.M)) == len(imports(part))


def test_every_part_is_in_the_console() -> None:
    assert set(assets.CONSOLE) == set((assets.HERE / "js").glob("*.js"))


@pytest.mark.parametrize("last", [assets.CONSOLE[-1], *CARDS], ids=relative)
def test_scripts_become_one_module_with_one_thing_to_offer(last: Path) -> None:
    card = last not in assets.CONSOLE
    made = assets.script_beside(str(last), last.name) if card else assets.console_script()
    assert not re.findall("^import ", made, re.M)
    assert len(re.findall("^export ", made, re.M)) == 1
    assert len(re.findall("^export default {", made, re.M)) == 1
    names = declares(made)
    assert {"h", "themeOf"} < set(names)
    assert len(names) == len(set(names))


def test_no_helper_is_written_twice() -> None:
    places = defaultdict(list)
    for script in SCRIPTS:
        for name in declares(script.read_text("utf-8")):
            places[name].append(relative(script))
    twice = {name: found for name, found in places.items() if len(found) > 1 and name != ENTRY}
    assert twice == {}


def test_only_the_theme_names_a_colour() -> None:
    """Others may name one that stands in where the page has none."""
    for sheet in SHEETS:
        found = re.sub(r"var\(--jp-[\w-]+, #\w+\)", "", sheet.read_text("utf-8"))
        if sheet != assets.THEME and sheet.name != "book.css":  # the site's own looks
            assert not re.findall(r"#[0-9a-f]{3,8}\b|\brgb|\bhsl", found), sheet


def test_no_line_of_a_script_or_a_sheet_is_wider_than_the_code() -> None:
    for path in (*SCRIPTS, *SHEETS, *sorted((ROOT / "tests").rglob("*.*js"))):
        wide = [line for line in path.read_text("utf-8").splitlines() if len(line) > WIDTH]
        assert wide == [], path


def find_node() -> str | None:
    """A node that can run tests."""
    for name in ("node", "nodejs"):
        if path := shutil.which(name):
            said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if (version := re.match(r"v(\d+)", said)) and int(version[1]) >= 18:
                return path
    return None


@pytest.mark.parametrize("tests", TESTS, ids=lambda path: path.name)
def test_the_pure_functions_do_what_they_say(tests: Path) -> None:
    """`node --test` imports the parts as they are. Without node it is left out; in CI it fails."""
    if (node := find_node()) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(NO_NODE)
    command = [node, "--test", "--test-reporter=tap", str(tests)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.M)
    assert passed, done.stdout
    assert int(passed[1]) >= len(re.findall(r"^test\(", tests.read_text("utf-8"), re.M)) > 0


def test_the_formatter_keeps_to_the_same_width() -> None:
    assert json.loads((ROOT / ".oxfmtrc.json").read_text("utf-8")) == {"printWidth": WIDTH}


@needs_make
def test_make_lint_looks_after_every_script_and_every_sheet() -> None:
    plan = subprocess.run(
        ["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "oxlint labkit tests" in plan
    globs = re.findall(r"'((?:labkit|tests)/\*\*/\*\.\w+)'", plan.partition("oxfmt --check")[2])
    found = {path for each in globs for path in ROOT.glob(each)}
    assert found >= {*SCRIPTS, *SHEETS, *(ROOT / "tests").rglob("*.*js")}


@needs_make
def test_make_sees_to_node_before_the_unit_tests() -> None:
    plan = subprocess.run(
        ["make", "-n", "fast"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (
        0
        < plan.stdout.index("install --yes --quiet --quiet nodejs")
        < plan.stdout.index("tests/unit")
    )


def made_node(path: Path, ci: str = "") -> subprocess.CompletedProcess[str]:
    """`make node`, where this folder is all that the machine has."""
    make = [shutil.which("make") or "", "-s", "node"]
    env = {"PATH": str(path), "CI": ci}
    return subprocess.run(make, cwd=ROOT, capture_output=True, text=True, env=env, timeout=60)


@needs_make
@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 2)])
def test_where_node_cannot_be_had_make_says_so_and_ci_fails(
    ci: str, code: int, tmp_path: Path
) -> None:
    done = made_node(tmp_path, ci)
    assert done.returncode == code
    assert ("left out" in done.stdout) == (not ci)


@needs_make
@pytest.mark.parametrize("too_old", [0, 1])
def test_make_asks_a_node_that_is_there_whether_it_is_new_enough(
    too_old: int, tmp_path: Path
) -> None:
    js = tmp_path / "node"
    js.write_text(f"#!/bin/sh\nexit {too_old}\n")
    js.chmod(0o755)
    assert ("left out" in made_node(tmp_path).stdout) == bool(too_old)
