"""The promises of the house: quick to import, nothing where it does not belong, everything inside the wheel."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections import defaultdict
from graphlib import TopologicalSorter
from importlib.metadata import distributions, requires
from pathlib import Path

import grimp
import pytest

from tests.bounds import held

TOP_LEVEL = {
    "pyproject.toml", "README.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
    "notebooks", "labkit", "datasets", "tests", "binder", ".ci",
}  # fmt: skip
HEAVY = ("torch", "fastai", "matplotlib", "ipywidgets", "anywidget", "pandas", "numpy", "IPython")
IMPORT_BUDGET = 0.3  # seconds of the processor: the clock on the wall also counts what else runs

# Written in pieces, so that this file does not contain what it forbids.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry.npm" + "js.org",
    "deb.deb" + "ian.org",
]
MACHINE_PATHS = [
    r"/ro" + r"ot/",
    r"/wo" + r"rk/",
    r"/opt/ve" + r"nv",
    r"/ho" + r"me/\w+/",
    r"C:\\Use" + r"rs",
]


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="left out: no make here")


def tracked(root: Path) -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("left out: this is no git checkout")
    return [root / name for name in listing.stdout.split("\0") if name and (root / name).exists()]


def texts(root: Path) -> dict[str, str]:
    """Every tracked text file, by its path."""
    found = {}
    for path in tracked(root):
        try:
            found[path.relative_to(root).as_posix()] = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
    return found


def test_import_loads_nothing_heavy():
    code = f"import sys, labkit; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_import_takes_less_than_its_budget():
    code = "import time; start = time.process_time(); import labkit; print(time.process_time() - start)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    held("import labkit", min(times), IMPORT_BUDGET, "s")


OFFERED = """
import ast, sys
from importlib import import_module
from pathlib import Path
stubs, heavy = ast.literal_eval(sys.argv[1]), sys.argv[2:]
modules = {package: import_module(package) for package in stubs}
said = {}
for package, stub in stubs.items():
    lines = ast.parse(Path(stub).read_text(encoding="utf-8")).body
    public = ast.literal_eval(next(line.value for line in lines if isinstance(line, ast.Assign)))
    imports = [line for line in lines if isinstance(line, ast.ImportFrom)]
    said[package] = [name.asname or name.name for line in imports for name in line.names]
    assert sorted(public) == modules[package].__all__, package
    assert set(said[package]) <= set(dir(modules[package])), package
loaded = [name for name in heavy if name in sys.modules]
assert not loaded, loaded
for package, module in modules.items():
    for name in said[package]:
        getattr(module, name)
    told = {}
    exec(f"from {package} import *", told)
    assert told.keys() - {"__builtins__"} == set(module.__all__), package
"""


@pytest.mark.slow
def test_a_lazy_package_offers_what_its_stub_says_and_loads_it_when_asked(root):
    stubs = sorted((root / "labkit").rglob("__init__.pyi"))
    assert root / "labkit" / "__init__.pyi" in stubs
    packages = {".".join(stub.parent.relative_to(root).parts): str(stub) for stub in stubs}
    code = [sys.executable, "-c", OFFERED, repr(packages), *HEAVY]
    done = subprocess.run(code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_top_level_holds_only_what_the_house_allows(root):
    top = {path.relative_to(root).parts[0] for path in tracked(root)}
    assert {name for name in top - TOP_LEVEL if not name.startswith(".")} == set()


def test_no_file_names_a_package_registry_except_binders(root):
    for path, text in texts(root).items():
        lines = [line for line in text.splitlines() if any(host in line for host in REGISTRIES)]
        assert not lines, f"{path} names a registry: {lines}"
    binder = (root / "binder" / "requirements.txt").read_text()
    assert binder.startswith("--extra-index-url https://download.pytorch.org/whl/cpu\n")


def test_pins_hold_exact_versions_and_nothing_else(root):
    for line in (root / "tests" / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.!]+", line), line


def test_binder_pins_what_the_tests_pin(root):
    tested = dict(_pins(root / "tests" / "constraints.txt"))
    for name, number in _binders_pins(root):
        assert number.removesuffix("+cpu") == tested[name], name


def _pins(path: Path) -> list[tuple[str, ...]]:
    return [tuple(line.split("==")) for line in path.read_text().splitlines() if "==" in line]


def test_binder_has_all_that_the_package_and_the_lessons_need(root):
    from packaging.requirements import Requirement

    pinned = {name for name, _ in _binders_pins(root)}
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["lessons"], *extras["export"]]
    assert {Requirement(line).name for line in wanted} <= pinned


def test_what_binder_installs_alone_has_all_it_needs_but_what_is_left_out_on_purpose(root):
    """fastai comes without its dependencies, because one of them is spaCy; the others are pinned."""
    from packaging.requirements import Requirement

    pinned = dict(_binders_pins(root))["fastai"]
    if {each.version for each in distributions(name="fastai")} != {pinned}:
        pytest.skip(f"left out: fastai {pinned} is not what is installed here")
    needed = [Requirement(line) for line in requires("fastai") or []]
    wanted = {each.name.lower() for each in needed if each.marker is None}
    assert wanted - {name for name, _ in _binders_pins(root)} == {"spacy"}


def _binders_pins(root: Path) -> list[tuple[str, ...]]:
    """Of the requirements and of what postBuild adds to them."""
    added = re.findall(r"([\w-]+)==([\d.]+)", (root / "binder" / "postBuild").read_text())
    return [*_pins(root / "binder" / "requirements.txt"), *added]


def test_no_file_knows_the_machine_it_was_written_on(root):
    for path, text in texts(root).items():
        for pattern in MACHINE_PATHS:
            assert not re.search(pattern, text), f"{path} names a place on one machine: {pattern}"


def test_no_notebook_carries_saved_widgets(root):
    for path in (root / "notebooks").rglob("*.ipynb"):
        assert "widgets" not in json.loads(path.read_text("utf-8"))["metadata"], path.name


def test_the_readme_names_files_and_targets_that_exist(root):
    readme = (root / "README.md").read_text("utf-8")
    makefile = (root / "Makefile").read_text("utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (root / link).exists(), link
    for target in re.findall(r"`?make ([a-z]+)", readme):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, as a stranger's `pip install` would build it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(
        build, cwd=root, check=True, capture_output=True, env={**os.environ, "NO_COLOR": "1"}
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_carries_cards_weights_and_what_the_page_needs(root, wheel):
    names = set(wheel.namelist())
    for path in (root / "labkit").rglob("*"):
        if path.is_file() and path.suffix in {
            ".py",
            ".js",
            ".css",
            ".json",
            ".npz",
            ".safetensors",
            ".toml",
            ".typed",
        }:
            assert path.relative_to(root).as_posix() in names
    for card in (root / "datasets").glob("*.toml"):
        assert f"labkit/_datasets/{card.name}" in names
    assert any(name.endswith(".safetensors") for name in names)


def test_the_wheel_stays_small_enough_to_hand_round(wheel):
    assert sum(entry.compress_size for entry in wheel.infolist()) <= 25_000_000


def test_an_installed_wheel_finds_its_cards_without_the_checkout(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = (
        "from labkit.data.cards import cards; import labkit; print(labkit.__file__, len(cards()))"
    )
    said = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    place, count = said.split()
    assert place.startswith(str(tmp_path))
    assert int(count) >= 5


def test_an_installed_wheel_knows_where_it_came_from_and_says_so(wheel, tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*pip, str(tmp_path), wheel.filename], check=True, capture_output=True)
    code = "from labkit import hosts; print(hosts.host(), hosts.how_to_install('export'))"
    said = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert said.startswith("wheel ")
    assert f'labkit-finetuning[export] @ {Path(wheel.filename).as_uri()}"' in said


@pytest.mark.slow
def test_the_tests_are_collected_where_fastai_is_not_installed(root):
    """fastai is an extra; with the lowest versions of what is needed it need not be there."""
    files = [
        path for path in (root / "tests" / "unit").glob("*.py") if "fastai" in path.read_text()
    ]
    assert len(files) > 5
    code = "import sys, pytest; sys.modules['fastai'] = None; sys.exit(pytest.main(sys.argv[1:]))"
    options = ["--collect-only", "--quiet", "-p", "no:cacheprovider", *map(str, files)]
    said = subprocess.run(
        [sys.executable, "-c", code, *options], cwd=root, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout


def test_no_file_of_the_tests_needs_a_module_that_windows_lacks(root):
    """The README's lines for Windows collect every file, and the promises ask a kernel there, too."""
    unix = re.compile(r"^(import|from) (resource|fcntl|pwd|grp)\b", re.M)
    for path in (root / "tests").rglob("*.py"):
        at_the_top = re.sub(r'"""(?s:.*?)"""', "", path.read_text("utf-8"))
        assert not unix.search(at_the_top), path.name
    promises = runpy.run_path(str(root / "tests" / "notebooks" / "promises.py"))
    windows = "import sys, psutil; sys.modules['resource'] = None\n"
    windows += "psutil.Process.memory_info = lambda self: type('', (), {'peak_wset': 7})\n"
    said = subprocess.check_output([sys.executable, "-c", windows + promises["MEASURE"]], text=True)
    assert json.loads(said)["bytes"] == 7


@needs_make
def test_make_test_runs_every_layer(root):
    plan = subprocess.run(["make", "-n", "test"], cwd=root, capture_output=True, text=True)
    layers = {path.parent.name for path in (root / "tests").glob("*/test_*.py")}
    assert plan.returncode == 0, plan.stderr
    for part in [
        *(f"tests/{layer}" for layer in layers),
        "ruff check",
        "mypy",
        "lint-imports",
        "--nbval-lax",
    ]:
        assert part in plan.stdout, part


@needs_make
def test_an_installation_says_first_what_it_takes_and_the_readme_says_the_same(root):
    plan = subprocess.run(
        ["make", "-n", "install", "VENV=none/yet", "PYTHON=python"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    readme = " ".join((root / "README.md").read_text("utf-8").split())
    said = re.findall(r"about [\d.]+ GB to download and [\d.]+ GB of disk", plan)
    assert len(said) == 2
    for size in said:
        assert plan.index(size) < plan.index("--editable")
        assert size in readme


@needs_make
def test_where_the_cpu_build_of_torch_cannot_be_had_the_default_one_is_taken(root, tmp_path):
    """`uv` is the real one, in an environment of its own, without a network."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not Path(uv).exists():
        pytest.skip("left out: uv is not installed")
    venv.create(tmp_path / "venv", symlinks=True)
    (tmp_path / "venv" / "bin" / "uv").symlink_to(uv)
    said = subprocess.run(
        ["make", "-s", "backend", f"VENV={tmp_path / 'venv'}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")},
    )
    assert said.stdout == "default\n"


def test_continuous_integration_runs_make_test_and_nothing_else(root):
    script = (root / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line.startswith("exec")] == ["exec make test"]
    assert "export CI=true" in script
    assert os.name == "nt" or os.access(root / ".ci" / "run", os.X_OK)


def test_no_module_needs_one_that_needs_it():
    """Imports within functions count, those for types alone do not. A circle raises CycleError, which names it."""
    graph = grimp.build_graph("labkit", exclude_type_checking_imports=True)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imported) > 250
    TopologicalSorter(imported).prepare()


def test_nothing_but_the_table_of_contents_names_a_lesson(root):
    """So a lesson is one folder, one source and one row; and what several lessons need stands in none of them."""
    named = re.compile(r"lesson_\d\d")
    for path in sorted((root / "labkit").rglob("*.py")):
        home = named.findall(str(path.relative_to(root)))
        strangers = set(named.findall(path.read_text("utf-8"))) - set(home)
        assert not strangers or path == root / "labkit/course/__init__.py", (path, strangers)


WITHOUT_A_LESSON = """
from labkit.course import evidence
from labkit.learn import course_map
from labkit.learn.lessons import LESSONS
assert [lesson.number for lesson in LESSONS][-2:] == ["14", "16"]
assert "fine-tune" not in evidence.names() and "types" in evidence.names()
assert "15" not in str(course_map())
"""


def test_a_lesson_goes_with_its_folder_and_its_row(root, tmp_path):
    shutil.copytree(
        root / "labkit", tmp_path / "labkit", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(root / "datasets", tmp_path / "datasets")
    shutil.rmtree(tmp_path / "labkit/course/lesson_15")
    contents = tmp_path / "labkit/learn/lessons.py"
    row = re.compile(r'    Lesson\(\n        "15_.*?\n    \),\n', re.S)
    text, count = row.subn("", contents.read_text("utf-8"))
    assert count == 1
    contents.write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_LESSON],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "LABKIT_PROGRESS": str(tmp_path / "p.json")},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_no_two_public_classes_have_one_name(root):
    """Who reads `Card` or `Row` knows whose it is."""
    homes = defaultdict(list)
    for path in sorted((root / "labkit").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(path.relative_to(root).as_posix())
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_what_is_drawn_is_not_named_as_what_is_read(root):
    """`insight.confusion` gives numbers, `show.plot_confusion` a figure of them."""
    read, drawn = (
        {
            node.name
            for path in (root / "labkit" / room).rglob("*.py")
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        }
        for room in ("insight", "show")
    )
    assert read & drawn == set()
