"""What the reading edition shows of a lesson's console: the lesson's own run, steered as the lesson asks for.

The run is made by the lesson's own lines: those before the console that its cell depends on, and no others, so that
recording a lesson takes seconds. What is done to it then is written here.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.console.replay import Recorder
from labkit.errors import LabkitError
from labkit.tuning import Run

Act = Callable[[Recorder], object]
CONSOLE = "labkit.console"
BRANCHES = (ast.If, ast.For, ast.While, ast.Try)  # may leave a name as it was
IMPORTS = (ast.Import, ast.ImportFrom)
RUINOUS = 0.3  # a learning rate that no network here survives


# ---------------------------------------------------------------- what is done


def ruin_and_save(recorder: Recorder) -> None:
    """A rate that ruins the run, and the way back: what most lessons ask for."""
    lr = recorder.run.settings.lr
    recorder.train(60)
    recorder.set(lr=RUINOUS)
    recorder.train(30)
    recorder.rewind(60)
    recorder.set(lr=lr / 3)
    recorder.train(90)


def ruin_below_the_head(recorder: Recorder) -> None:
    """A rate that a new head survives and a network does not: the head alone, then with a stage below it."""
    lr = recorder.run.settings.lr
    recorder.train(60)
    recorder.set(lr=RUINOUS)
    recorder.train(30)
    recorder.set(trainable_from="layer4")
    recorder.train(30)
    recorder.rewind(60)
    recorder.set(lr=lr)
    recorder.train(60)


def unfreeze_then_ruin(recorder: Recorder) -> None:
    """The frozen depth moved while it trains; then one rate for every stage and for the head alone."""
    recorder.train(60)
    recorder.set(trainable_from="stem")
    recorder.train(60)
    recorder.set(lr=RUINOUS)
    recorder.train(30)
    recorder.rewind(120)
    recorder.set(trainable_from="head", lr=RUINOUS)
    recorder.train(60)


def ruin_and_branch(recorder: Recorder) -> None:
    """A network ruined within ten steps; then a branch from before, more gently."""
    recorder.train(40)
    recorder.set(lr=RUINOUS)
    recorder.train(10)
    recorder.rewind(40)
    recorder.train(60)
    recorder.branch(40)
    recorder.set(lr=recorder.run.settings.lr / 10)
    recorder.train(60)


def unfreeze_step_by_step(recorder: Recorder) -> None:
    """The frozen depth moved down stage by stage; then everything unfrozen from the first step on."""
    for stage in ("layer4", "layer3"):
        recorder.train(40)
        recorder.set(trainable_from=stage)
    recorder.train(40)
    recorder.rewind(0)
    recorder.set(trainable_from="stem")
    recorder.train(60)


def overfit_then_augment(recorder: Recorder) -> None:
    """Trained until it overfits; then back, with augmented images from there on."""
    recorder.train(150)
    recorder.rewind(50)
    recorder.set(augment="strong")
    recorder.train(100)


def forget_then_hold(recorder: Recorder) -> None:
    """A rate ten times as large for every stage; then the same rate with most stages frozen."""
    lr = 10 * recorder.run.settings.lr
    recorder.train(40)
    recorder.set(lr=lr)
    recorder.train(20)
    recorder.rewind(40)
    recorder.set(trainable_from="layer4", lr=lr)
    recorder.train(40)


def branch_and_compare(recorder: Recorder) -> None:
    """A branch from an early step, with augmented images, beside the run it came from."""
    recorder.train(60)
    recorder.branch(20)
    recorder.set(augment="light")
    recorder.train(60)


def move_statistics_alone(recorder: Recorder) -> None:
    """A rate so small that only BatchNorm's statistics move; then the head alone; then everything."""
    recorder.set(lr=1e-5)
    recorder.train(25)
    recorder.rewind(0)
    recorder.set(trainable_from="head")
    recorder.train(40)
    recorder.rewind(0)
    recorder.train(60)


def freeze_more_and_more(recorder: Recorder) -> None:
    """Fewer and fewer stages train, and the epochs grow shorter; then the images change from epoch to epoch."""
    for settings in (
        {"trainable_from": "layer4"},
        {"trainable_from": "head"},
        {"augment": "light"},
    ):
        recorder.train(25)
        recorder.set(**settings)
    recorder.train(25)


def sound_beside_sick(recorder: Recorder) -> None:
    """The run with its fault, and a branch from its start, which builds its optimiser anew."""
    recorder.train(80)
    recorder.branch(0)
    recorder.train(80)


ACTS: dict[str, Act] = {
    "02": ruin_below_the_head,
    "04": ruin_below_the_head,
    "05": unfreeze_then_ruin,
    "06": ruin_and_branch,
    "08": unfreeze_step_by_step,
    "09": overfit_then_augment,
    "10": forget_then_hold,
    "11": branch_and_compare,
    "12": move_statistics_alone,
    "13": freeze_more_and_more,
    "14": sound_beside_sick,
}


def act_of(lesson: str) -> Act:
    """What is done to the run of a lesson, named as its file: "07_learning_rates"."""
    return ACTS.get(lesson[:2], ruin_and_save)


# ---------------------------------------------------------------- the lesson's own run


def shows_console(source: str) -> bool:
    """Whether a cell opens the console."""
    return any(_console_of(statement) for statement in _statements(source))


def script(cells: Sequence[str], console: int) -> str:
    """The lines that make the run which cell number `console` shows: those that it depends on, in their order.

    They give one of its names a value, or call a method of it, as `run.fit()` does. The console's own cell is kept
    whole, as it may change the run in other ways.
    """
    before = [(each, False) for source in cells[:console] for each in _statements(source)]
    own = [(each, True) for each in _until_console(cells[console])]
    modules = {name for each, _ in before if isinstance(each, IMPORTS) for name in _bound(each)}
    wanted, kept = {_argument(cells[console])}, []
    for statement, always in reversed(before + own):
        if always or _bound(statement) & wanted or _receiver(statement) in wanted - modules:
            surely = not isinstance(statement, BRANCHES)
            wanted = (wanted - _bound(statement) if surely else wanted) | _used(statement)
            kept.append(ast.unparse(statement))
    return "\n".join(reversed(kept))


@dataclass(frozen=True)
class Rehearsal:
    """A recorded console: what replays, and the figure and table that stand there without scripts."""

    recording: dict[str, Any]
    still: str


def rehearse(code: str, console: str, act: Act) -> Rehearsal:
    """Make the run that the cell `console` shows, and record it.

    Args:
        code: the lines that make the run, as `script` gives them.

    Raises:
        LabkitError: the lines do not make a run.
    """
    from labkit.console.widget import stand_in

    names: dict[str, Any] = {}
    try:
        exec(compile(code, "lesson", "exec"), names)
    except Exception as trouble:  # a lesson's lines may fail in any way
        raise LabkitError(f"The lines before the console do not run: {trouble!r}") from trouble
    run = names.get(_argument(console))
    if not isinstance(run, Run):
        raise LabkitError(
            f"The lines before the console make no labkit.Run {_argument(console)!r}."
        )
    recorder = Recorder(run)
    act(recorder)
    return Rehearsal(recorder.recording(), stand_in(recorder.runs)[0]["text/html"])


def told(act: Act) -> str:
    """What an act does, in the words and lines it is written in: a recording is stale when these change."""
    return inspect.getsource(act)


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a cell with a magic command
        return []


def _until_console(source: str) -> list[ast.stmt]:
    statements = _statements(source)
    return statements[: next(i for i, each in enumerate(statements) if _console_of(each))]


def _argument(source: str) -> str:
    """The name of what the console of a cell shows."""
    call = next(found for each in _statements(source) if (found := _console_of(each)))
    if not call.args or not isinstance(call.args[0], ast.Name):
        raise LabkitError(
            f"A recorded console shows a run that has a name, not {ast.unparse(call)}."
        )
    return call.args[0].id


def _console_of(statement: ast.stmt) -> ast.Call | None:
    value = getattr(statement, "value", None)
    return value if isinstance(value, ast.Call) and ast.unparse(value.func) == CONSOLE else None


def _names(node: ast.AST, context: type[ast.expr_context]) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, context):
            yield each.id


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, IMPORTS):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    return set(_names(statement, ast.Store))


def _receiver(statement: ast.stmt) -> str:
    """The name of what a statement calls a method of, if it does nothing else."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    target = getattr(value.func, "value", None) if isinstance(value, ast.Call) else None
    return target.id if isinstance(target, ast.Name) else ""


def _used(statement: ast.stmt) -> set[str]:
    """The names of its surroundings that a statement reads; those of a function's own are its own affair."""
    used = set(_names(statement, ast.Load))
    if isinstance(statement, ast.FunctionDef):
        own = {each.arg for each in ast.walk(statement) if isinstance(each, ast.arg)}
        used -= own | set(_names(statement, ast.Store))
    return used
