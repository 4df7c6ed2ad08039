"""Of a lesson, exactly the lines that its console's run depends on are run again."""

from __future__ import annotations

import nbformat
import pytest

from labkit.errors import LabkitError
from labkit.publish import rehearsal

CONSOLE = "playground = labkit.Run(net, few, seed=0)\nspoil(playground)\nlabkit.console(playground)"


def test_only_what_the_run_depends_on_is_kept_and_in_order() -> None:
    cells = [
        "%pip install something",
        "import labkit\nfrom labkit import learn\nlearn.predict('x')",
        "net = labkit.load_backbone('first')",
        "data = labkit.load_data('digits')\nrun = labkit.Run(net, data).fit()",
        "def spoil(run):\n    for group in run.groups:\n        group.clear()",
        "net = load()\nfew = data.subset(3)",
        CONSOLE,
        "few = 'too late'",
    ]
    assert rehearsal.script(cells, 6).splitlines() == [
        "import labkit",
        "data = labkit.load_data('digits')",
        "def spoil(run):",
        "    for group in run.groups:",
        "        group.clear()",
        "net = load()",
        "few = data.subset(3)",
        "playground = labkit.Run(net, few, seed=0)",
        "spoil(playground)",
    ]


def test_what_is_done_to_what_the_run_depends_on_is_done_again() -> None:
    cells = [
        "import labkit",
        "run = labkit.Run()\nprint(run)\nrun.fit()\nlabkit.compare(run)",
        "playground = labkit.Run(run)\nlabkit.console(playground)",
    ]
    assert rehearsal.script(cells, 2).splitlines() == [
        "import labkit",
        "run = labkit.Run()",
        "run.fit()",
        "playground = labkit.Run(run)",
    ]


def test_what_a_branch_may_have_left_alone_is_kept() -> None:
    opened = "run = R(net)\nlabkit.console(run)"
    cells = ["net = 1", "mine = None\nif mine:\n    net = 2", opened]
    assert rehearsal.script(cells, 2).splitlines() == [
        "net = 1",
        "mine = None",
        "if mine:",
        "    net = 2",
        "run = R(net)",
    ]


def test_a_cell_that_opens_the_console_is_told_from_one_that_names_it() -> None:
    assert rehearsal.shows_console(CONSOLE)
    assert not rehearsal.shows_console("# labkit.console(playground)\nprint('labkit.console(x)')")
    assert not rehearsal.shows_console("%pip install labkit")


def test_a_console_without_a_named_run_and_lines_without_a_run_are_refused() -> None:
    with pytest.raises(LabkitError, match="has a name"):
        rehearsal.script(["labkit.console([a, b])"], 0)
    with pytest.raises(LabkitError, match=r"make no labkit\.Run 'playground'"):
        rehearsal.rehearse("playground = 3", CONSOLE, rehearsal.ruin_and_save)
    with pytest.raises(LabkitError, match="do not run: NameError"):
        rehearsal.rehearse("playground = nothing", CONSOLE, rehearsal.ruin_and_save)


def test_every_lesson_with_a_console_has_lines_that_python_can_read(root) -> None:
    for path in sorted((root / "notebooks" / "solutions").glob("*.ipynb")):
        code = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        consoles = [i for i, source in enumerate(code) if rehearsal.shows_console(source)]
        for console in consoles[:1]:
            lines = rehearsal.script(code, console)
            compile(lines, path.name, "exec")
            assert "playground = " in lines
