"""What every widget of ours promises of its life: closed and held by nobody, it goes with all that it showed."""

from __future__ import annotations

import gc
import pkgutil
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import anywidget
import pytest
from IPython.core.formatters import DisplayFormatter
from torch import nn

import labkit
from labkit import learn, runtime
from labkit.console.looks import looks_of
from labkit.console.panel import Panel
from labkit.console.widget import Console
from labkit.course.lesson_14.clinic import Clinic
from labkit.learn.atlas_panel import AtlasCard
from labkit.tuning import Run
from tests.small_atlas import SHEET, write_made_up


def tiny(classes: int) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    return nn.Sequential(OrderedDict(stem=stem, head=head))


def made_run() -> Run:
    data = labkit.load_data("digits", size=16).subset(per_class=8)
    net = labkit.Backbone.from_module(tiny, ("stem", "head"), "tiny")
    plan = labkit.full(lr=1e-3, epochs=2, batch_size=16)
    return Run(net, data, plan, precision=runtime.Precision())


def atlas(folder: Path) -> AtlasCard:
    return AtlasCard(SHEET, write_made_up(folder))


SHOWS = {
    "Console": lambda run, _: labkit.console(run),
    "PredictCard": lambda run, _: learn.predict_panel(run),
    "Prediction": lambda _, __: learn.predict("x", "Is it?", ("yes", "no")),
    "Quiz": lambda _, __: learn.quiz("00"),
    "ClinicCard": lambda _, __: Clinic(seed=5).card(),
    "AtlasCard": lambda _, folder: atlas(folder),
}


def every_widget() -> dict[str, type]:
    for module in pkgutil.walk_packages(labkit.__path__, "labkit."):
        if module.name.rpartition(".")[2] in ("child", "__main__"):  # programs, not modules
            continue
        try:
            import_module(module.name)
        except ImportError:  # an extra that is not installed
            continue
    found = {}
    for kind in _below(anywidget.AnyWidget):
        # anywidget makes a class a widget, of the same name, when it adds the traits for script and style
        if kind.__module__.startswith("labkit.") and kind is not Panel and "_esm" in vars(kind):
            found[kind.__name__] = kind
    return found


def _below(kind: type) -> list[type]:
    return [each for child in kind.__subclasses__() for each in (child, *_below(child))]


@pytest.fixture(autouse=True)
def _progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


@pytest.mark.parametrize("name", SHOWS)
@pytest.mark.slow
def test_a_widget_that_is_closed_and_held_by_nobody_goes_with_its_run(
    name: str, tmp_path: Path
) -> None:
    run = made_run()
    panel = SHOWS[name](run, tmp_path)
    panel._repr_mimebundle_()
    born = {"widget": weakref.ref(panel), "run": weakref.ref(run), "model": weakref.ref(run.model)}
    panel.close()
    del panel, run
    gc.collect()
    assert [name for name, ref in born.items() if ref() is not None] == []


def test_every_widget_is_tried_here_and_holds_its_script_as_text() -> None:
    found = every_widget()
    assert set(found) == set(SHOWS)
    for kind in found.values():
        assert issubclass(kind, Panel)
        for source in (kind._esm, kind._css):
            # of a path anywidget makes an object that never lets go of a widget
            assert type(getattr(source, "default_value", source)) is str


def test_every_widget_answers_and_is_shown_as_the_panel_says() -> None:
    """What it does at a message, what a reply carries and what stands in for it are its own; the rest is not."""
    for kind in every_widget().values():
        own = {name for each in kind.__mro__[: kind.__mro__.index(Panel)] for name in vars(each)}
        assert own & {"obey", "reply"}
        assert "_repr_mimebundle_" not in own


@pytest.mark.parametrize("name", sorted(set(SHOWS) - {"Console"}))
def test_a_message_without_sense_is_answered_with_a_sentence(name: str, tmp_path: Path) -> None:
    panel = SHOWS[name](made_run(), tmp_path)
    told = []
    panel.send = told.append
    for nonsense in (None, [], {}, {"kind": []}, {"kind": "run", "client": "c"}):
        panel._handle_custom_msg(nonsense, [])
        assert told[-1]["problem"].endswith((".", "?"))
    assert told[-1].get("client", "c") == "c"
    panel.close()


class Player:
    """Somebody who uses a console."""

    def __init__(self, panel: Console) -> None:
        self.panel, self.session, self.count = panel, panel._session, 0

    def until(self, true: Callable[[], object]) -> None:
        """Ask until something is so."""
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            self.session.answer({"kind": "poll", "client": "t", "n": 1, "since": 0})
            time.sleep(0.02)

    def do(self, command: str, **args: object) -> None:
        """Give a command."""
        self.count += 1
        told = {"kind": "command", "id": f"c{self.count}", "command": command, "args": args}
        assert self.session.answer(told)["ok"]

    def play(self) -> None:
        """A step, every look, a range test and a branch."""
        self.do("step")
        self.until(lambda: self.panel.run.step_number == 1)
        for name, _ in looks_of(self.panel.run):
            self.do("look", name=name)
            self.until(lambda name=name: (self._seen or {}).get("name") == name)
        self.do("find_lr")
        self.until(lambda: self.session.rate_search.result)
        self.do("branch")
        self.until(lambda: len(self.panel.runs) == 2)

    @property
    def _seen(self) -> dict[str, object] | None:
        return self.session.prober.looks.result


@pytest.mark.slow
def test_a_console_that_was_played_with_can_go_with_its_whole_family() -> None:
    panel = labkit.console(made_run())
    Player(panel).play()
    born = [weakref.ref(each) for each in (panel, *panel.runs, *(r.model for r in panel.runs))]
    panel.close()
    for run in panel.runs:
        run.stop()
    del panel, run
    deadline = time.monotonic() + 20  # for the look that is being drawn
    while any(ref() is not None for ref in born):
        assert time.monotonic() < deadline, [ref() for ref in born]
        time.sleep(0.1)
        gc.collect()


def test_a_closed_console_can_still_be_asked_for_its_runs_and_shown_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = made_run()
    panel = labkit.console(run)
    panel.close()
    panel.close()
    assert panel.runs == (run,)
    data, _ = DisplayFormatter().format(panel)  # as a cell shows it
    assert data.get("text/plain") or capsys.readouterr().out
