"""Every place gets the command that works there, and no other text gives advice on installing labkit."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from labkit import hosts

PLACES = {
    "colab": {"COLAB_RELEASE_TAG": "release-colab"},
    "binder": {"BINDER_SERVICE_HOST": "10.0.0.1"},
}
# A command that installs labkit: the name alone is a stranger's on the index, and ours without an address may be.
BY_NAME = re.compile(r"pip3? install[^\n`]*(?<![\w./-])labkit(?:-finetuning)?(?![\w./-])(?! @ )")
OLD_EXTRA = re.compile(r"(?<![\w-])labkit\[[a-z]")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in PLACES.values():
        for name in variables:
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def in_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


def advice(root: Path) -> dict[str, str]:
    """All that a learner reads, by its path: the package, the README, the lessons, Binder's files."""
    places = ["labkit", "notebooks", "binder"]
    endings = {".py", ".md", ".js", ".json", ".toml", ".txt", ".ipynb", ""}
    files = [path for place in places for path in (root / place).rglob("*") if path.is_file()]
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in [root / "README.md", root / "Makefile", *files]
        if path.suffix in endings and ".ipynb_checkpoints" not in path.parts
    }


@pytest.mark.parametrize(
    "line",
    [
        'pip install "labkit[lab]"',
        "pip install labkit",
        "%pip install -q labkit-finetuning[lab]",
        "pip3 install --upgrade 'labkit-finetuning'",
    ],
)
def test_advice_by_name_would_be_found(line: str) -> None:
    assert BY_NAME.search(line)


def test_all_advice_on_installing_labkit_comes_from_one_function(root: Path) -> None:
    texts = advice(root)
    assert "binder/postBuild" in texts
    assert "notebooks/src/03_the_data.py" in texts
    for path, text in texts.items():
        found = [*BY_NAME.finditer(text), *OLD_EXTRA.finditer(text)]
        assert not found, f"{path}: {[match.group() for match in found]}"


def test_every_extra_that_advice_names_exists(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    asked = {
        extra
        for path, text in advice(root).items()
        if not path.endswith(".ipynb")
        for call in re.findall(r"how_to_install\(['\"]([\w,]+)", text)
        for extra in call.split(",")
    }
    assert asked >= {"lessons", "lab", "export", "scale", "book", "bench", "pretrain", "vision"}
    assert asked <= set(project["optional-dependencies"])
    assert project["name"] == hosts.DISTRIBUTION


def test_a_checkout_is_installed_from_its_folder(root: Path, in_a_shell: None) -> None:
    assert hosts.host() == "checkout"
    command = hosts.how_to_install("scale")
    assert command.endswith(f'-m pip install --editable "{root}[scale]"')
    assert sys.executable in command
    assert "make" in hosts.how_to_start_afresh()


@pytest.mark.parametrize("place", PLACES)
def test_a_host_is_told_from_its_environment_in_every_process(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for name, value in PLACES[place].items():
        monkeypatch.setenv(name, value)
    code = "from labkit import hosts; print(hosts.host(), hosts.how_to_start_afresh())"
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.startswith(place)
    assert "make" not in said
    assert "pip" not in said


def test_a_notebook_is_told_to_use_the_kernels_own_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert hosts.how_to_install("lab").startswith("%pip install ")


def test_a_python_in_a_folder_with_a_space_is_quoted(
    monkeypatch: pytest.MonkeyPatch, in_a_shell: None
) -> None:
    monkeypatch.setattr(sys, "executable", r"C:\Program Files\Python\python.exe")
    assert hosts.how_to_install().startswith('"C:\\Program Files\\Python\\python.exe" -m pip')


def test_another_projects_folder_is_no_checkout_of_ours(tmp_path: Path) -> None:
    (tmp_path / "labkit").mkdir()
    assert hosts.checkout(tmp_path / "labkit") is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "labkit"\n')
    assert hosts.checkout(tmp_path / "labkit") is None
