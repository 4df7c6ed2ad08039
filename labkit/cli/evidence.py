"""`labkit evidence`: the recorded runs behind what the lessons claim, and the coach's exam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from labkit.cli.output import AsJson, tell, watch

evidence = typer.Typer(help="The recorded runs behind what the lessons claim.")

Experiment = Annotated[str, typer.Argument(help="An experiment that `labkit evidence` lists.")]
Confirm = Annotated[
    bool,
    typer.Option(
        "--confirm", help="The runs with new seeds that confirm a rule that came with its record."
    ),
]


@evidence.callback(invoke_without_command=True)
def list_evidence(context: typer.Context, as_json: AsJson = False) -> None:
    """List the experiments, and whether the record of each is complete and up to date."""
    if context.invoked_subcommand is None:
        from labkit.course import evidence as record

        problems = {name: record.check(name) for name in record.names()}
        lines = [found[0] if found else f"{name}: complete" for name, found in problems.items()]
        tell(problems, "\n".join(lines), as_json)


@evidence.command()
def show(name: Experiment, confirm: Confirm = False, as_json: AsJson = False) -> None:
    """What an experiment found: means and 95 % intervals, in per cent."""
    from labkit.course import evidence as record
    from labkit.insight.reading import in_columns

    rows = (record.confirming if confirm else record).summary(name)
    tell(rows, in_columns(rows), as_json)


@evidence.command()
def tune(name: Experiment, as_json: AsJson = False) -> None:
    """Try the learning rates, on examples and with seeds that no reported accuracy counts."""
    from labkit.course import evidence as record

    path = record.tune(name, tell=watch)
    tell({"trials": path}, f"The trials are in {path}", as_json)


def _fastai(net: Any, data: Any, plan: Any, seed: int, head: Any = "ours") -> Any:
    """A run that fastai trains."""
    from labkit.bridges import fastai  # here: its import takes seconds

    return fastai.fine_tuned(net, data, plan, seed, head)


# Who trains where labkit does not, by the name that an experiment gives them.
TRAINERS: dict[str, Callable[..., Any]] = {
    "fastai": _fastai,
    "fastai, its own head": partial(_fastai, head="fastai"),
}


@evidence.command()
def build(name: Experiment, confirm: Confirm = False, as_json: AsJson = False) -> None:
    """Make the runs that are missing or were made by another recipe."""
    from labkit.course import evidence as record

    path = (record.confirming if confirm else record).build(name, tell=watch, trainers=TRAINERS)
    tell({"runs": path}, f"The runs are in {path}", as_json)


@evidence.command()
def check(
    runs: Annotated[
        int, typer.Option(min=0, help="How many recorded runs of each lesson to do again.")
    ] = 1,
    chance: Annotated[int | None, typer.Option(help="Draws the runs; by default anew.")] = None,
    as_json: AsJson = False,
) -> None:
    """Do a few recorded runs again; fail when one ends outside its band, or a record is not whole and up to date."""
    from labkit.course import evidence as record

    problems = record.check()
    done = [] if problems else record.recheck(runs, chance, trainers=TRAINERS, tell=watch)
    facts = [{"run": str(one), "same": one.same, "inside": one.inside} for one in done]
    same = sum(one.same for one in done)
    whole = f"Every record is complete and up to date; {len(done)} runs done again, {same} of them to the example."
    tell({"problems": problems, "again": facts}, "\n".join(problems) or whole, as_json)
    raise typer.Exit(0 if not problems and all(one.inside for one in done) else 1)


@evidence.command("coach")
def examine_coach(
    most: Annotated[int | None, typer.Option(min=1, help="Make at most so many runs now.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Begin anew.")] = False,
    recheck: Annotated[
        int | None, typer.Option(min=1, help="Make so many recorded runs again, and compare.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Make no run; say what is known.")] = False,
    as_json: AsJson = False,
) -> None:
    """How often the coach is right on sabotaged and on sound runs; interrupted, it goes on."""
    from labkit.records import exam

    if recheck is not None:
        done = exam.recheck(recheck)
        wrong = [str(one) for one in done if not one.same]
        same = f"{len(done)} runs were told the same again."
        tell({"made": len(done), "differ": wrong}, "\n".join(wrong) or same, as_json)
        raise typer.Exit(1 if wrong else 0)
    if not show:
        exam.build(again=again, most=most, tell=watch)
    known = exam.answers()
    facts = {
        "right_first": asdict(exam.right_first(known)),
        "false_alarms": asdict(exam.false_alarms(known)),
        "confusion": exam.counted(known),
        "missing": len(exam.missing()),
    }
    tell(facts, exam.summary(known), as_json)
