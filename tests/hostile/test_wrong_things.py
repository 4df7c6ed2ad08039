"""Whatever a public function is given in place of what it asks for, the answer is a sentence: never a raw error.

`DOORS` has a row a function: how it is called rightly, and of what kind each argument is. Each argument in turn is
then replaced by each of `THINGS`. What `FITS` lists for a kind may be answered; all else has to be refused in words.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import isfunction
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
import torch
from torch import nn

import labkit
from labkit import insight, learn, runtime, sweeps
from labkit.course.lesson_14.clinic import Clinic
from labkit.errors import LabkitError
from labkit.insight.zero_shot import LETTERS_FOR_DIGITS
from labkit.show import (
    cost as cost_figures,
    feature_map as feature_figures,
    figures,
    finder,
    forgotten,
)
from labkit.tuning import Run
from tests.nonsense import HUGE, TOO_LONG, nested

PRECISION = runtime.Precision()


def tiny(classes: int) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    body = nn.Sequential(nn.Conv2d(4, 4, 3, 2), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    return nn.Sequential(OrderedDict(stem=stem, body=body, head=head))


@dataclass
class World:
    """A small lab: a trained run, one that is yet to train, one that was given up, and what they are made of."""

    run: Run
    fresh: Run
    discarded: Run
    letters: Run  # its weights came with their old head
    old: insight.OldTask
    folder: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    data = labkit.load_data("digits", size=8).subset(per_class=6)
    net = labkit.Backbone.from_module(tiny, ("stem", "body", "head"), "tiny")
    plan = labkit.full(epochs=1)
    run = Run(net, data, plan, precision=PRECISION).fit()
    discarded = Run(net, data, plan, precision=PRECISION).fit()
    discarded.discard()
    small = labkit.load_data("digits", size=16).subset(per_class=2)
    glyphs = labkit.load_backbone("resnet10-glyphs")
    letters = Run(glyphs, small, labkit.feature_extraction(epochs=1), precision=PRECISION).fit()
    images = torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
    old = insight.OldTask("old", images, torch.arange(4))
    folder = tmp_path_factory.mktemp("written")
    return World(run, Run(net, data, plan, precision=PRECISION), discarded, letters, old, folder)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not painted: what is refused is refused before that."""
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda *_, **__: None)


# ---------------------------------------------------------------- what is given

THINGS: dict[str, Callable[[World], Any]] = {
    "none": lambda w: None,
    "a word": lambda w: "no such",
    "no word": lambda w: "",
    "bytes": lambda w: b"valid",
    "three": lambda w: 3,
    "minus one": lambda w: -1,
    "a half": lambda w: 0.5,
    "true": lambda w: True,
    "nan": lambda w: float("nan"),
    "infinity": lambda w: float("inf"),
    "huge": lambda w: HUGE,
    "too long": lambda w: TOO_LONG,
    "no list": lambda w: [],
    "nones": lambda w: [None],
    "words": lambda w: ["no such"],
    "numbers": lambda w: [1, 2],
    "fractions": lambda w: [0.5, float("nan")],
    "a deep list": lambda w: nested(),
    "no dict": lambda w: {},
    "a dict": lambda w: {"a": 1},
    "an object": lambda w: object(),
    "a tensor": lambda w: torch.zeros(2),
    "an image": lambda w: torch.zeros(3, 8, 8),
    "an array": lambda w: np.zeros(3),
    "a net": lambda w: w.run.net,
    "data": lambda w: w.run.data,
    "a split": lambda w: w.run.data.valid,
    "a module": lambda w: w.run.model,
    "another module": lambda w: nn.Linear(2, 2),
    "a plan": lambda w: w.run.plan,
    "a class": lambda w: Run,
    "an evaluation": lambda w: w.run.evaluate("valid"),
    "a run": lambda w: w.run,
    "a fresh run": lambda w: w.fresh,
    "a discarded run": lambda w: w.discarded,
    "runs": lambda w: [w.run],
}

RUNS = {"a run", "a fresh run", "a discarded run"}
FITS: dict[str, set[str]] = {
    "run": RUNS,
    "runs": {*RUNS, "runs"},
    "seen": {*RUNS, "an evaluation"},
    "evaluation": {"an evaluation"},
    "count": {"three", "huge", "too long"},
    "split": {"a split"},
    "stage": set(),
    "stages": {"no list"},
    "position": {"three", "numbers", "an image"},
    "seed": {"three", "huge", "too long"},
    "steps": {"numbers"},
    "depth": {"three"},
    "depths": {"numbers"},
    "seeds": {"three", "numbers"},
    "answers": {"no dict"},
    "outcome": {"three", "minus one", "a half"},
    "bounds": set(),
    "numbers": {"numbers", "a tensor", "an array"},
    "share": {"three", "a half"},
    "rate": {"three", "a half"},
    "net": {"a net"},
    "task": set(),
    "text": {"a word", "no word"},
    "flag": {"true"},
    "data": {"data"},
    "plan": {"a plan"},
    "depth_name": {"a word", "no word", "three", "huge", "too long"},  # judged with the network
    "whole": {"three", "minus one", "huge", "too long"},
    "part": {"a half"},
    "gradual": {"three", "words", "numbers"},
    "plain": set(),
}


@dataclass(frozen=True)
class Door:
    """A function, its right arguments, and the kind of each of them that is to be tried; "?" takes None as well."""

    call: Callable[..., Any]
    right: Callable[[World], dict[str, Any]]
    kinds: dict[str, str]


def of_run(call: Callable[..., Any], run: str = "run", /, **kinds: str) -> Door:
    """A function of a run whose other arguments have defaults."""
    return Door(call, lambda w: {run: w.run}, {run: "run", **kinds})


def starred(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda seen, **how: call(seen, **how)


_numbers = count()  # of predictions: only the first guess of each is heard

DOORS: dict[str, Door] = {
    # ------------------------------------------------------------ labkit
    "labkit.activations": of_run(
        labkit.activations, "seen", image="position", stage="stage?", split="split", count="count"
    ),
    "labkit.calibration": of_run(
        starred(labkit.calibration), "seen", split="split", temperature="plain?"
    ),
    "labkit.compare": Door(labkit.compare, lambda w: {"runs": [w.run]}, {"runs": "runs"}),
    "labkit.confusion": of_run(labkit.confusion, "seen", split="split"),
    "labkit.console": Door(
        labkit.console, lambda w: {"run": w.fresh}, {"run": "runs", "autostart": "flag"}
    ),
    "labkit.export": Door(
        labkit.export,
        lambda w: {"run": w.run, "folder": w.folder, "formats": ["safetensors"]},
        {"run": "run", "folder": "text", "formats": "plain", "test": "evaluation?", "name": "text"},
    ),
    "labkit.feature_map": of_run(
        labkit.feature_map,
        found="plain?",
        stage="stage?",
        steps="steps?",
        fitted_at="plain?",
        count="count",
        split="split",
        seed="seed",
    ),
    "labkit.from_line": Door(
        labkit.from_line,
        lambda w: {"line": labkit.to_line(w.letters)},
        {"line": "plain", "download": "flag"},
    ),
    "labkit.to_line": Door(labkit.to_line, lambda w: {"run": w.letters}, {"run": "run"}),
    "labkit.filters": of_run(labkit.filters, "seen"),
    "labkit.find_lr": Door(
        labkit.find_lr,
        lambda w: {"run": w.fresh, "steps": 10},
        {"run": "run", "low": "rate", "high": "rate", "steps": "plain", "seconds": "rate?"},
    ),
    "labkit.grad_cam": of_run(
        labkit.grad_cam,
        "seen",
        images="position?",
        stage="stage?",
        target="position?",
        split="split",
    ),
    "labkit.gradient_norms": of_run(labkit.gradient_norms, "seen", relative="flag", count="count"),
    "labkit.heat_map": Door(labkit.heat_map, lambda w: {"made": None}, {"made": "plain"}),
    "labkit.journey": of_run(labkit.journey, image="position", split="split"),
    "labkit.neighbours": of_run(
        labkit.neighbours,
        "seen",
        stage="stage?",
        images="position?",
        count="count?",
        split="split",
    ),
    "labkit.report": Door(
        labkit.report,
        lambda w: {"run": w.run, "path": w.folder / "report.html"},
        {"run": "run", "path": "text", "test": "evaluation?", "title": "text?"},
    ),
    "labkit.similarity": of_run(
        labkit.similarity,
        "seen",
        other="run?",
        stages="stages?",
        count="count",
        split="split?",
        seed="seed",
    ),
    "labkit.suspect_labels": of_run(
        labkit.suspect_labels, count="count", split="split", seen="plain?"
    ),
    "labkit.sweep": Door(  # which starts what this one makes
        sweeps.sweep,
        lambda w: {"base": w.run, "lr": [1e-3], "workers": 1},
        {
            "base": "run",
            "client": "plain?",
            "out": "text?",
            "workers": "count?",
            "test": "flag",
            "lr": "rate",
            "seed": "seeds",
            "per_class": "seeds",
            "trainable_from": "seeds",
            "nothing": "plain",
        },
    ),
    "labkit.uncertain_images": of_run(labkit.uncertain_images, count="count", split="split"),
    "labkit.worst_images": of_run(labkit.worst_images, count="count", split="split"),
    "labkit.Run": Door(
        Run,
        lambda w: {
            "net": w.run.net,
            "data": w.run.data,
            "plan": w.run.plan,
            "precision": PRECISION,
        },
        {
            "net": "net",
            "data": "data",
            "plan": "plan",
            "seed": "seed",
            "name": "text?",
            "precision": "plain",
            "budget": "rate?",
        },
    ),
    "labkit.load_backbone": Door(
        labkit.load_backbone,
        lambda w: {"name": "resnet10-glyphs"},
        {"name": "plain", "weights": "plain?"},
    ),
    "labkit.load_data": Door(
        labkit.load_data,
        lambda w: {
            "name": _album(w.folder / "album"),
            "size": 8,
        },  # a few files: it is loaded a hundred times
        {
            "name": "plain",
            "size": "plain?",
            "seed": "whole",
            "test": "part?",
            "flip": "flag?",
            "per_class": "depth?",
            "subset_seed": "whole",
            "mislabelled": "part?",
            "mislabel_seed": "whole",
            "shifted": "plain?",
            "memory": "count?",
        },
    ),
    "labkit.Budget": Door(labkit.Budget, lambda w: {"seconds": 3}, {"seconds": "rate"}),
    "labkit.full": Door(
        labkit.full, lambda w: {}, {"lr": "rate", "epochs": "depth", "batch_size": "depth"}
    ),
    "labkit.partial": Door(
        labkit.partial, lambda w: {"trainable_from": "head"}, {"trainable_from": "depth_name"}
    ),
    "labkit.gradual": Door(
        labkit.gradual,
        lambda w: {},
        {"stages": "gradual", "lr": "rate", "epochs": "depth", "lr_decay": "rate"},
    ),
    "labkit.feature_extraction": Door(
        labkit.feature_extraction, lambda w: {}, {"lr": "rate", "epochs": "depth"}
    ),
    "labkit.from_scratch": Door(
        labkit.from_scratch, lambda w: {}, {"lr": "rate", "epochs": "depth"}
    ),
    # ------------------------------------------------------------ labkit.insight
    "insight.activations": of_run(
        insight.activations, image="position", stage="stage?", split="split"
    ),
    "insight.adapt": of_run(
        insight.adapt, split="split", count="count", prior="share", seed="seed"
    ),
    "insight.between": Door(
        insight.between,
        lambda w: {"run": w.letters, "shares": (0, 1), "task": w.old},
        {"run": "run", "shares": "plain", "task": "task?", "split": "split"},
    ),
    "insight.calibration": of_run(
        insight.calibration,
        "seen",
        seen="seen",
        split="split",
        temperature="plain?",
        bins="count",
        seed="seed",
    ),
    "insight.carried_on": of_run(insight.carried_on),
    "insight.confusion": of_run(
        insight.confusion, "seen", seen="seen", split="split", classes="plain?"
    ),
    "insight.cost": of_run(insight.cost),
    "insight.cost_table": Door(
        insight.cost_table,
        lambda w: {"costs": [insight.cost(w.run)]},
        {"costs": "plain", "machine": "plain?", "runs": "count"},
    ),
    "insight.count_step": of_run(insight.count_step, trainable_from="depth?"),
    "insight.diagnose": of_run(insight.diagnose),
    "insight.drift_table": of_run(insight.drift_table),
    "insight.epoch_seconds": of_run(insight.epoch_seconds),
    "insight.feature_map": of_run(
        insight.feature_map,
        stage="stage?",
        steps="steps?",
        fitted_at="plain?",
        count="count",
        split="split",
        seed="seed",
    ),
    "insight.filters": of_run(insight.filters),
    "insight.fit_temperature": of_run(insight.fit_temperature, "seen", seen="seen", split="split"),
    "insight.forgetting": Door(
        insight.forgetting,
        lambda w: {"run": w.letters, "task": w.old},
        {"run": "run", "task": "task?", "moments_at_most": "count"},
    ),
    "insight.grad_cam": Door(
        insight.grad_cam,
        lambda w: {"run": w.run, "images": [0]},
        {
            "run": "run",
            "images": "position",
            "stage": "stage?",
            "target": "position?",
            "split": "split",
        },
    ),
    "insight.gradient_norms": of_run(insight.gradient_norms, steps="steps?", count="count"),
    "insight.layers_drift": of_run(insight.layers_drift),
    "insight.linear_cka": Door(
        insight.linear_cka,
        lambda w: {"x": torch.eye(5), "y": torch.eye(5)},
        {"x": "plain", "y": "plain"},
    ),
    "insight.machines": Door(insight.machines, lambda w: {}, {"path": "plain?"}),
    "insight.mean_interval": Door(
        insight.mean_interval, lambda w: {"values": [0.5]}, {"values": "numbers"}
    ),
    "insight.neighbours": of_run(
        insight.neighbours, stage="stage?", images="position?", count="count?", split="split"
    ),
    "insight.old_examples": Door(
        insight.old_examples,
        lambda w: {"net": w.letters.net, "count": 3},
        {"net": "net", "count": "count", "seed": "seed", "folder": "text?"},
    ),
    "insight.old_task": Door(
        insight.old_task,
        lambda w: {"net": w.letters.net, "count": 3},
        {"net": "net", "count": "count", "seed": "seed", "folder": "text?"},
    ),
    "insight.paired_difference": Door(
        insight.paired_difference,
        lambda w: {"ours": {0: 0.5, 1: 0.6}, "theirs": {0: 0.4, 1: 0.7}},
        {"ours": "plain", "theirs": "plain"},
    ),
    "insight.price_table": Door(
        insight.price_table, lambda w: {"rows": insight.machines()}, {"rows": "plain"}
    ),
    "insight.remembered": Door(
        insight.remembered,
        lambda w: {"run": w.letters, "task": w.old},
        {"run": "run", "task": "task?"},
    ),
    "insight.sentence": of_run(insight.sentence),
    "insight.similarity": of_run(
        insight.similarity,
        other="run?",
        stages="stages?",
        count="count",
        split="split?",
        seed="seed",
    ),
    "insight.statistics_gap": of_run(
        insight.statistics_gap, split="split", count="count", seed="seed"
    ),
    "insight.step_costs": of_run(insight.step_costs, depths="depths?"),
    "insight.step_seconds": Door(
        insight.step_seconds,
        lambda w: {"run": w.run, "turns": 1},
        {"run": "run", "depths": "depths?", "turns": "count", "clock": "plain"},
    ),
    "insight.step_table": Door(
        insight.step_table, lambda w: {"steps": insight.step_costs(w.run)}, {"steps": "plain"}
    ),
    "insight.suspect_labels": of_run(
        insight.suspect_labels, split="split", folds="count", seed="seed"
    ),
    "insight.uncertain": Door(
        insight.uncertain,
        lambda w: {"evaluation": w.run.evaluate("valid")},
        {"evaluation": "evaluation", "count": "count"},
    ),
    "insight.worst": Door(
        insight.worst,
        lambda w: {"evaluation": w.run.evaluate("valid")},
        {"evaluation": "evaluation", "count": "count"},
    ),
    "insight.zero_shot": Door(
        insight.zero_shot,
        lambda w: {
            "net": w.letters.net,
            "split": w.letters.data.train,
            "meanings": LETTERS_FOR_DIGITS,
        },
        {"net": "net", "split": "split", "meanings": "plain", "name": "text"},
    ),
    # ------------------------------------------------------------ what a figure or a lesson's page offers
    "show.audit": of_run(figures.plot_audit),
    "show.drift": of_run(figures.plot_drift),
    "show.epochs_table": Door(figures.epochs_table, lambda w: {"runs": [w.run]}, {"runs": "runs"}),
    "show.evidence": Door(
        figures.evidence,
        lambda w: {"table": _table(), "value": "accuracy", "by": "plan"},
        {"table": "plain", "value": "plain", "by": "plain", "panel": "plain?"},
    ),
    "show.guess_table": Door(
        figures.guess_table,
        lambda w: {"guesses": insight.worst(w.run.evaluate(), 2), "classes": w.run.data.classes},
        {"guesses": "stages", "classes": "plain"},
    ),
    "show.history": Door(figures.plot_history, lambda w: {"runs": [w.run]}, {"runs": "runs"}),
    "show.images": Door(
        figures.images,
        lambda w: {
            "split": w.run.data.valid,
            "guesses": insight.worst(w.run.evaluate(), 2),
            "classes": w.run.data.classes,
        },
        {"split": "split", "guesses": "stages", "classes": "plain", "columns": "count"},
    ),
    "show.step_bars": Door(
        cost_figures.step_bars,
        lambda w: {"steps": insight.step_costs(w.run)},
        {"steps": "plain"},
    ),
    "show.cost_bars": Door(
        cost_figures.cost_bars,
        lambda w: {"costs": [insight.cost(w.run)]},
        {"costs": "plain", "machine": "plain?", "runs": "count"},
    ),
    "show.feature_map_now": of_run(feature_figures.feature_map_now),
    "show.learning_rates": Door(
        finder.learning_rates,
        lambda w: {"test": labkit.find_lr(w.fresh, steps=10)},
        {"test": "plain"},
    ),
    "show.forgetting": Door(
        forgotten.plot_forgetting,
        lambda w: {"runs": w.letters, "task": w.old},
        {"runs": "runs", "task": "task?", "moments_at_most": "count"},
    ),
    "show.between": Door(
        forgotten.plot_between,
        lambda w: {"runs": w.letters, "shares": (0, 1), "task": w.old},
        {"runs": "runs", "shares": "plain", "task": "task?"},
    ),
    "show.frontier": Door(
        forgotten.frontier,
        lambda w: {"ways": _ways(), "by": "way"},
        {"ways": "plain", "by": "plain"},
    ),
    # ------------------------------------------------------------ labkit.learn
    "learn.atlas_card": Door(
        learn.atlas_card, lambda w: {}, {"data": "plain", "net": "plain", "out": "plain?"}
    ),
    "learn.check": Door(
        learn.check, lambda w: {"id": "05-freeze", "answer": None}, {"id": "plain"}
    ),
    "learn.classify": Door(
        learn.classify,
        lambda w: {"run": w.run, "file": _image(w.folder)},
        {"run": "run", "file": "plain", "top": "count"},
    ),
    "Clinic": Door(Clinic, lambda w: {}, {"seed": "seed?"}),
    "learn.hint": Door(learn.hint, lambda w: {"id": "05-freeze"}, {"id": "plain"}),
    "learn.photographs": Door(learn.photographs, lambda w: {}, {"size": "plain?"}),
    "learn.predict": Door(
        learn.predict,
        lambda w: {
            "id": f"99-{next(_numbers)}",
            "question": "Which?",
            "choices": ["a", "b"],
            "guess": "a",
        },
        {
            "id": "text",
            "question": "text",
            "choices": "plain",
            "guess": "plain?",
            "confidence": "plain?",
        },
    ),
    "learn.predict_panel": of_run(learn.predict_panel),
    "learn.quiz": Door(
        learn.quiz, lambda w: {"lesson": "05"}, {"lesson": "plain", "answers": "answers?"}
    ),
    "learn.reveal": Door(
        learn.reveal,
        lambda w: {"id": _asked(), "outcome": 0.5, "bounds": [1]},
        {"id": "text", "outcome": "outcome", "bounds": "bounds"},
    ),
    "learn.seal": Door(learn.seal, lambda w: {"data": w.run.data}, {"data": "data"}),
    "learn.warm_up": Door(
        lambda module: learn.warm_up(module), lambda w: {"module": "json"}, {"module": "text"}
    ),
    "learn.Sealed.open": Door(
        lambda run: learn.seal(run_data()).open(run), lambda w: {"run": w.run}, {"run": "run"}
    ),
    # ------------------------------------------------------------ methods that learners call
    "Run.evaluate": Door(
        lambda split, w: w.run.evaluate(split),
        lambda w: {"split": "valid", "w": w},
        {"split": "split"},
    ),
    "Adapted.evaluate": Door(
        lambda split, w: insight.adapt(w.run).evaluate(split),
        lambda w: {"split": "valid", "w": w},
        {"split": "split"},
    ),
    "Diary.ask": Door(insight.Diary().ask, lambda w: {"run": w.letters}, {"run": "run"}),
    "SuspectLabels.worst": Door(
        lambda count, w: insight.suspect_labels(w.run).worst(count),
        lambda w: {"count": 3, "w": w},
        {"count": "count"},
    ),
    "Temperature.apply": Door(
        lambda evaluation, w: insight.fit_temperature(w.run).apply(evaluation),
        lambda w: {"evaluation": w.run.evaluate(), "w": w},
        {"evaluation": "evaluation"},
    ),
}


def run_data() -> Any:
    return labkit.load_data("digits", size=8).subset(per_class=6)


def _table() -> Any:
    import pandas as pd

    return pd.DataFrame({"plan": ["a", "b"], "accuracy": [0.5, 0.6]})


def _ways() -> Any:
    import pandas as pd

    return pd.DataFrame({"way": ["a"], "old": [0.5], "new": [0.6]})


def _album(folder: Path) -> str:
    """A folder of two classes, sixteen images each."""
    from PIL import Image

    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(16):
            place = folder / name / f"{number}.png"
            if not place.exists():
                shade = number + (100 if name == "light" else 0)
                Image.new("RGB", (9, 9), (shade, shade, shade)).save(place)
    return str(folder)


def _image(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (9, 9)).save(folder / "photo.png")
    return folder / "photo.png"


def _asked() -> str:
    learn.predict("99-y", "Which?", ["a", "b"], guess="a")
    return "99-y"


# ---------------------------------------------------------------- the promise


def outcomes(door: Door, world: World) -> Iterator[tuple[str, str, BaseException | None]]:
    """Argument, thing, and what was raised, for each argument in turn and each thing."""
    for argument in door.kinds:
        for thing, make in THINGS.items():
            given = {**door.right(world), argument: make(world)}
            try:
                door.call(**given)
            except Exception as trouble:
                yield argument, thing, trouble
            else:
                yield argument, thing, None


def may_be_answered(kind: str, thing: str) -> bool:
    return thing in FITS[kind.rstrip("?")] or (kind.endswith("?") and thing == "none")


def is_sentence(trouble: BaseException) -> bool:
    said = str(trouble)
    return 20 < len(said) < 2_000 and said.count(" ") > 3


NO_DOOR = {"backbones", "course_map", "score", "meter"}  # that take nothing, or a flag


@pytest.mark.parametrize("room", [labkit, insight, learn], ids=lambda room: room.__name__)
def test_every_public_function_is_among_these(room: Any) -> None:
    offered = {name for name in room.__all__ if isfunction(getattr(room, name))} - NO_DOOR
    short = room.__name__.rpartition(".")[2]
    assert {name for name in offered if f"{short}.{name}" not in DOORS} == set()


@pytest.mark.parametrize("name", DOORS)
def test_wrong_things_are_answered_in_words(name: str, world: World) -> None:
    door, wrong = DOORS[name], []
    if name != "labkit.heat_map":
        door.call(**door.right(world))  # what is right is answered
    for argument, thing, trouble in outcomes(door, world):
        if trouble is None:
            if not may_be_answered(door.kinds[argument], thing):
                wrong.append(f"{argument} = {thing}: answered")
        elif not isinstance(trouble, LabkitError):
            wrong.append(f"{argument} = {thing}: {type(trouble).__name__}: {str(trouble)[:90]}")
        elif not is_sentence(trouble):
            wrong.append(f"{argument} = {thing}: no sentence: {str(trouble)[:90]!r}")
    assert not wrong, "\n".join(wrong)
