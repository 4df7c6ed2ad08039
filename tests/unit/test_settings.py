"""One table of settings: a new one is a line in it and its use, and everything else knows of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import labkit
from labkit import settings
from labkit.errors import LabkitError
from labkit.settings import LIVE, OF_PHASE, OF_PLAN, SETTINGS

ROW = """
    made_up: float = row(
        real(0, 9, "a number for a test"), "made-up number", 0.5, real=True, control="real", added=True
    )
"""
USE = "        self.seen = self.at.settings.made_up\n"
KNOWN = """
import json, sys, subprocess
import matplotlib.text
import pytest
import labkit
from labkit.errors import PlanError
from labkit.show import figures
from labkit.console.session import Session
from labkit.sweeps.jobs import jobs_of

assert "made_up" not in labkit.full().to_dict()
plan = labkit.full(made_up=2)
assert plan.made_up == 2.0 and labkit.tuning.Plan.from_dict(plan.to_dict()) == plan
with pytest.raises(PlanError, match="made_up=10 must be a number from 0 to 9: a number for a test"):
    labkit.full(made_up=10)

net, data = labkit.load_backbone("resnet10-glyphs"), labkit.load_data("digits").subset(per_class=3)
run = labkit.Run(net, data, plan)
run.step()
assert run.trainer.seen == 2.0
run.set(made_up=3)
run.step()
assert run.trainer.seen == 3.0
with pytest.raises(PlanError, match="made_up=-1"):
    run.set(made_up=-1)

again = labkit.from_line(labkit.to_line(run))
for _ in range(2):
    again.step()
assert again.trainer.seen == 3.0 and again.replay().settings.made_up == 3.0

session = Session([run])
told = json.dumps(session.answer({"kind": "poll", "seq": 0}))
assert '"name": "made_up", "label": "Made-up number", "kind": "real"' in told
drawn = figures.plot_history(run)
assert any("made-up number 3" in text.get_text() for text in drawn.findobj(matplotlib.text.Text))

jobs = jobs_of(run, {"made_up": [1, 2]})
assert [job.plan.made_up for job in jobs] == [1.0, 2.0]
shown = subprocess.check_output([sys.executable, "-m", "labkit", "sweep", "--help"], text=True)
assert "made_up" in shown
"""


@pytest.fixture(scope="module")
def with_a_row_more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with a setting more: one row, and its use in the trainer."""
    root = tmp_path_factory.mktemp("copy")
    package = Path(labkit.__file__).parent
    for folder in (package, package.parent / "datasets"):
        shutil.copytree(folder, root / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, after, line in (
        ("settings.py", "    accumulate: int = row(", ROW),
        ("tuning/trainer.py", "        lr = self._set_learning_rates()\n", USE),
    ):
        path = root / "labkit" / file
        before, mark, rest = path.read_text().partition(after)
        assert mark
        path.write_text(before + (line + mark if line is ROW else mark + line) + rest)
    return root


@pytest.mark.slow
def test_a_new_setting_is_a_row_and_its_use(with_a_row_more: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(with_a_row_more)}
    done = subprocess.run(
        [sys.executable, "-c", KNOWN],
        capture_output=True, text=True, timeout=240, env=env, cwd=with_a_row_more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_row_has_words_and_a_default_that_it_allows() -> None:
    for name, row in SETTINGS.items():
        assert row.name == name
        assert row.label
        assert row.axis
        if row.default is not None:
            assert row.check(row.default, name) == row.default
    assert SETTINGS.keys() == OF_PHASE.keys() | OF_PLAN.keys()
    assert LIVE.keys() <= SETTINGS.keys()


def test_plans_and_phases_have_the_fields_of_the_table_and_no_others() -> None:
    assert {f.name for f in fields(labkit.Plan)} == OF_PLAN.keys() | {"name", "phases"}
    assert {f.name for f in fields(labkit.Phase)} == OF_PHASE.keys()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "augment"])
def test_a_value_that_is_none_is_refused_by_name(name: str) -> None:
    for nonsense in (None, [], object(), float("nan"), -1):
        with pytest.raises(LabkitError, match=name):
            settings.checked(name, nonsense)


@pytest.mark.parametrize("typed", ["1,5", " 0,001 ", "-2,5E-3"])
def test_a_number_with_a_comma_is_answered_with_how_to_write_it(typed: str) -> None:
    point = typed.strip().replace(",", ".")
    for ask in (
        lambda: settings.learning_rate(typed),
        lambda: settings.SETTINGS["weight_decay"].check(typed, "x"),
    ):
        with pytest.raises(LabkitError, match=f"Write {re.escape(point)}\\."):
            ask()


@pytest.mark.parametrize("typed", ["ten", "1,2,3", "1,", ",5", None])
def test_what_is_no_number_at_all_gets_no_such_hint(typed: object) -> None:
    with pytest.raises(LabkitError) as refused:
        settings.learning_rate(typed)
    assert "Write" not in str(refused.value)
