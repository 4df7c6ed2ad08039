"""A run as one page: what was done, on what, how well it went, what it cost, and how far to believe it.

The page is a single HTML file that loads nothing and runs no script, so that it can be mailed, kept and printed.
Whatever comes from the learner's files (names of classes, of files, of runs) is text in it, never markup.
"""

from __future__ import annotations

import html
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from labkit import insight, runtime
from labkit.errors import ArgumentError, FileError
from labkit.hosts import version_of
from labkit.run_card import model_card, training_seconds
from labkit.runtime import write_atomic
from labkit.show import figures, predicted
from labkit.show.figure import Figure, table_html
from labkit.tuning.given import a_path, a_run, a_text, an_evaluation, maybe, takes

if TYPE_CHECKING:
    from labkit.tuning import Evaluation, Plan, Run

HERE = Path(__file__).parent
MOST_FINDINGS = 50  # rows; a folder can have thousands
PACKAGES = ("labkit", "torch", "torchvision", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class RunReport:
    """A report that was written; in a notebook it shows itself in a frame."""

    path: Path
    title: str

    def __repr__(self) -> str:
        return f"{self.path} ({self.path.stat().st_size / 1e6:.1f} MB): {self.title}"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text("utf-8"))
        return (
            f'<iframe srcdoc="{page}" title="{html.escape(self.title)}" sandbox tabindex="0" '
            'style="width:100%;height:34em;border:1px solid #767d88;border-radius:4px"></iframe>'
        )


@takes(run=a_run, path=a_path, test=maybe(an_evaluation), title=maybe(a_text))
def report(
    run: Run,
    path: Path | str | os.PathLike[str],
    test: Evaluation | None = None,
    title: str | None = None,
) -> RunReport:
    """Write a report of a run: plan, data, curves, intervals, mistakes, cost, model card, versions.

    Args:
        run: trained as far as it is; nothing of it is changed.
        path: of the HTML file; it appears whole or not at all. To have a PDF, print it from a browser.
        test: what an opened test split said. Without it the report judges by validation, and says so: it never opens
            a test split itself.
        title: by default network, data and plan.

    Raises:
        RunError: something else than a run.
        FileError: a path that is a folder, or where nothing can be written.
    """
    _refuse_other_classes(run, test)
    place = _place(path)
    with run.paused():  # all of it of the same step, should it train meanwhile
        card = model_card(run, test)
        page = _template().render(
            title=title or card.title,
            today=date.today().isoformat(),
            verdict=_verdict(run, test),
            coach=insight.sentence(run),
            sections=list(_sections(run, test)),
            card=card.to_json(),
        )
    try:
        return RunReport(write_atomic(place, page.encode(errors="replace")), title or card.title)
    except (OSError, ValueError) as trouble:
        raise FileError.of(place, trouble) from trouble


def _refuse_other_classes(run: Run, test: Evaluation | None) -> None:
    found = len(run.data.classes) if test is None else test.probabilities.shape[1]
    if found != len(run.data.classes):
        raise ArgumentError(
            f"test is an evaluation of {found} classes, and this run tells {len(run.data.classes)} apart. Give what "
            "run.evaluate('test') gave."
        )


def _place(path: Any) -> Path:
    """Fail before all that a report judges and draws."""
    place = Path(path).expanduser()
    if os.path.isdir(place):  # False, where Path.is_dir raises: for a name that is too long
        raise FileError(
            f"{place} is a folder. Give the path of a file, such as {place / 'report.html'}."
        )
    return place


def _template() -> Any:
    """The page, in which every value is escaped unless it is known to be markup of our own."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    rules: dict[str, Any] = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True}
    return Environment(loader=FileSystemLoader(HERE), **rules).get_template("report.html.j2")


# ---------------------------------------------------------------- what stands on the page


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and figures and tables that are markup already."""

    title: str
    said: tuple[str, ...] = ()
    parts: tuple[Any, ...] = ()


def _sections(run: Run, test: Evaluation | None) -> Iterator[Section]:
    judged = test if test is not None else _valid(run)
    yield Section("Plan", (_plan_words(run),), (_table(_phases(run)), _table(_commands(run))))
    yield Section(
        "Data", tuple(_data_words(run)), (_table(_counts(run, test)), _table(_findings(run)))
    )
    yield Section("Curves", (), (_figure(figures.plot_history(run)),))
    yield Section("How often it is right", (INTERVALS,), (_table(_accuracies(run, test)),))
    if judged is not None:
        confusion = insight.confusion(judged, classes=run.data.classes)
        calibration = insight.calibration(judged)
        drawn = (predicted.plot_confusion(confusion), predicted.plot_calibration(calibration))
        yield Section("Where it is wrong", (), tuple(map(_figure, drawn)))
    yield Section("What was moved", (), (_figure(figures.plot_audit(run)),))
    yield Section("Cost", tuple(_cost_words(run)))
    yield Section("Versions", (), (_table(_versions()),))


INTERVALS = (
    "An interval of 95 % says how much other examples of the same kind could change the number (Wilson, 1927). "
    "It does not say how much another seed would."
)


def _figure(drawn: Figure) -> Any:
    from markupsafe import Markup

    return Markup(f"<figure>{drawn.image()}</figure>")  # the figure escapes its words itself


def _table(table: pd.DataFrame) -> Any:
    from markupsafe import Markup

    return Markup("" if table.empty else f'<div class="wide">{table_html(table)}</div>')


def _valid(run: Run) -> Evaluation | None:
    return run.evaluate("valid") if len(run.data.valid) else None


def _verdict(run: Run, test: Evaluation | None) -> str:
    judged = test if test is not None else _valid(run)
    if judged is None:
        return (
            "There was nothing to validate on, so this report cannot say how good the network is."
        )
    low, high = judged.interval
    said = (
        f"{judged.correct} of {judged.count} examples of the {WORDS.get(judged.split, judged.split)} split are right: "
        f"{judged.accuracy:.1%}, with a 95 % interval from {low:.1%} to {high:.1%}."
    )
    if test is not None:
        return f"{said} This split has chosen nothing."
    return f"{said} It may have chosen the plan or the epoch; then it flatters. No test split was opened."


WORDS = {"train": "training", "valid": "validation", "test": "test"}


def _plan_words(run: Run) -> str:
    plan, trained = run.plan, run.parameters_trained()
    ended = {"budget": "until the budget was spent", "plan": "to the end of the plan"}
    return (
        f"{run.net.name} from {'pre-trained' if plan.pretrained else 'random'} weights by the plan {plan.name!r}, seed "
        f"{run.seed}: {run.step_number} steps, {run.epoch} whole epochs, {ended.get(run.ended_by or '', 'so far')}. At "
        f"the end {trained[0]:,} of {trained[1]:,} parameters trained. Batches of {plan.batch_size}, weight decay "
        f"{plan.weight_decay:g}, augmentation {plan.augment}, optimiser {plan.optimizer}."
        f"{_steps(plan)}{_remedies(plan)}"
    )


def _steps(plan: Plan) -> str:
    """What a step does beside the usual, if anything."""
    told = f" Gradients clipped to a length of {plan.clip_norm:g}." if plan.clip_norm else ""
    told += f" Batches in {plan.accumulate} parts." if plan.accumulate > 1 else ""
    return told + ("" if plan.decay_all else " No weight decay of biases and norms.")


def _remedies(plan: Plan) -> str:
    """What the plan does against forgetting, if anything."""
    held = f" Held to the start with strength {plan.hold:g}." if plan.hold else ""
    return (
        f"{held} Old examples rehearsed with weight {plan.rehearse:g}." if plan.rehearse else held
    )


def _phases(run: Run) -> pd.DataFrame:
    return pd.DataFrame([{"phase": n, **vars(one)} for n, one in enumerate(run.plan.phases, 1)])


def _commands(run: Run) -> pd.DataFrame:
    """What was changed by hand on the way, if anything."""
    told = [
        {
            "after step": c.step,
            "changed on the way": ", ".join(f"{k} {v}" for k, v in c.args.items()),
        }
        for c in run.log
        if c.kind == "set"
    ]
    return pd.DataFrame(told)


def _data_words(run: Run) -> Iterator[str]:
    card, found = getattr(run.data, "card", None), getattr(run.data, "report", None)
    if card is not None:
        yield f"{card.title}. Licence: {card.licence}. {card.citation}".rstrip()
    if found is not None and len(found):
        left_out = found.left_out()
        odd = f"Files left out: {left_out}. Files used with a remark: {len(found) - left_out}."
        yield f"{odd} The first {MOST_FINDINGS}:" if len(found) > MOST_FINDINGS else odd


def _counts(run: Run, test: Evaluation | None) -> pd.DataFrame:
    """Examples a class and split. Those of the test split are counted where it was opened, and only then."""
    labels = {name: getattr(run.data, name).labels for name in ("train", "valid")}
    labels |= {"test": test.targets} if test is not None else {}
    counts: dict[str, list[Any]] = {"class": list(run.data.classes)}
    for name, some in labels.items():
        known = [int(label) for label in some]
        counts[WORDS[name]] = [known.count(number) for number in range(len(run.data.classes))]
    return pd.DataFrame(counts)


def _findings(run: Run) -> pd.DataFrame:
    found = getattr(run.data, "report", None)
    return pd.DataFrame() if found is None else found.table().head(MOST_FINDINGS)


def _accuracies(run: Run, test: Evaluation | None) -> pd.DataFrame:
    found = [run.evaluate("train"), _valid(run), test]
    return pd.DataFrame([_accuracy(one) for one in found if one is not None])


def _accuracy(one: Evaluation) -> dict[str, Any]:
    low, high = one.interval
    return {
        "split": WORDS.get(one.split, one.split),
        "right": one.correct,
        "of": one.count,
        "accuracy": f"{one.accuracy:.1%}",
        "95 % interval": f"{low:.1%} to {high:.1%}",
        "loss (nats)": f"{one.loss:.3f}",
    }


def _cost_words(run: Run) -> Iterator[str]:
    seconds = training_seconds(run)
    yield (
        f"The steps took {seconds:.1f} s by the clock, on {runtime.threads()} thread(s) of "
        f"{runtime.processor_name()} ({runtime.device().type}), validation not counted."
    )
    if run.budget:
        yield (
            f"Of a budget of {run.budget.seconds:g} processor seconds, {run.budget.spent:.1f} are spent, by this run "
            "and by all that share it; validation is in it."
        )


def _versions() -> pd.DataFrame:
    rows = [("python", platform.python_version())]
    for name in PACKAGES:
        try:
            rows.append((name, version_of(name)))
        except PackageNotFoundError:
            continue
    return pd.DataFrame(rows, columns=["package", "version"])
