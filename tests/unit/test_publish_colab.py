"""Colab's own packages stay as they are, and the badges lead where the one setting says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from labkit.errors import LabkitError
from labkit.hosts import DISTRIBUTION
from labkit.publish.colab import badges, bootstrap_cell, with_badges


def brought(root):
    """What Colab brings, as far as it matters here: the versions that `make colab` installs."""
    lines = (root / "tests" / "colab.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        pin.name: str(pin.specifier).removeprefix("==").replace("*", "0")
        for pin in pins
        if "==" in str(pin)
    }


def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_what_colab_brings_is_enough_for_us(root):
    settings = project(root)
    assert "3.13" in SpecifierSet(settings["requires-python"])
    wanted = [Requirement(line) for line in settings["dependencies"]]
    bounds = {requirement.name: requirement.specifier for requirement in wanted}
    lessons = map(Requirement, settings["optional-dependencies"]["lessons"])
    bounds |= {requirement.name: requirement.specifier for requirement in lessons}
    on_colab = brought(root)
    assert on_colab.keys() & bounds.keys() >= {"torch", "ipywidgets", "anywidget", "fastai"}
    for name, number in on_colab.items():
        assert number in bounds.get(name, SpecifierSet()), name


def test_core_bounds_are_lower_bounds_only(root):
    for line in project(root)["dependencies"]:
        assert {part.operator for part in Requirement(line).specifier} == {">="}, line


def pip_line(cell: str) -> list[str]:
    return shlex.split(re.search(r"%pip (install .*)", cell).group(1))


def test_the_colab_cell_would_install_labkit_and_touch_nothing_else(root):
    """pip's own plan for the cell's own options, with this checkout in place of the published archive."""
    options = [
        word for word in pip_line(bootstrap_cell("owner/name")) if not word.startswith("labkit")
    ]
    plan = [
        *options,
        "--dry-run",
        "--ignore-installed",
        "--no-build-isolation",
        "--report",
        "-",
        str(root),
    ]
    said = subprocess.run(
        [sys.executable, "-m", "pip", *plan], capture_output=True, text=True, check=True
    )
    assert [item["metadata"]["name"] for item in json.loads(said.stdout)["install"]] == [
        DISTRIBUTION
    ]


def test_the_colab_cell_does_nothing_elsewhere():
    code = TransformerManager().transform_cell(bootstrap_cell("owner/name"))
    assert "get_ipython().run_line_magic('pip'" in code
    exec(code, {})  # there is no get_ipython here: reaching for pip would be a NameError


def test_the_colab_cell_installs_on_colab_once(monkeypatch):
    asked = []
    shell = SimpleNamespace(run_line_magic=lambda *line: asked.append(line))
    code = TransformerManager().transform_cell(bootstrap_cell("owner/name"))
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    exec(code, {"get_ipython": lambda: shell})
    assert asked == []  # labkit is here already
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(code, {"get_ipython": lambda: shell})
    assert [magic for magic, _ in asked] == ["pip"]


def test_the_address_comes_from_the_setting():
    assert (
        pip_line(bootstrap_cell("owner/name"))[-1]
        == "labkit-finetuning @ https://github.com/owner/name/archive/HEAD.zip"
    )
    markdown = badges("owner/name", "notebooks/05.ipynb")
    assert "/github/owner/name/blob/HEAD/notebooks/05.ipynb" in markdown
    assert "/v2/gh/owner/name/HEAD?urlpath=lab/tree/notebooks/05.ipynb" in markdown


@pytest.mark.parametrize(
    "wrong", ["", "name", "owner/name/more", 'a/b" --upgrade "torch', "https://a/b"]
)
def test_a_setting_that_would_install_something_else_is_refused(wrong):
    with pytest.raises(LabkitError, match=r"tool\.labkit"):
        bootstrap_cell(wrong)


def test_the_readme_shows_the_badges_of_the_setting(root):
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["labkit"]
    readme = (root / "README.md").read_text("utf-8")
    assert with_badges(readme, settings["repository"], "notebooks/00_start_here.ipynb") == readme
    assert "someone/else" in with_badges(readme, "someone/else", "notebooks/00_start_here.ipynb")
