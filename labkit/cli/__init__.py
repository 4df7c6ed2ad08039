"""The `labkit` command: the lab, what works here, the data, the weights, the record.

Each command calls one room and says what came out, in words or, with `--json`, as data. The rooms are imported when
their command runs, so that `labkit --help` answers at once. What a learner did wrong is one message and exit code 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import typer

from labkit.cli import atlas, bench, data, evidence, lab, learner, lessons, output, pretrain, sweep
from labkit.errors import LabkitError

app = typer.Typer(
    help="A fine-tuning lab: steer the training of a pre-trained network while it trains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(lab.lab)
app.command()(lab.reset)
app.command()(learner.doctor)
app.command()(learner.progress)
app.command()(sweep.sweep)
app.command("build-lessons")(lessons.build_lessons)
app.command()(lessons.book)
app.add_typer(data.data, name="data")
app.add_typer(pretrain.pretrain, name="pretrain")
app.add_typer(evidence.evidence, name="evidence")
app.add_typer(atlas.atlas, name="atlas")
app.add_typer(bench.bench, name="bench")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what a labkit error says goes to stderr, with exit code 2."""
    output.never_stop_for_a_letter()
    try:
        app(arguments)
    except LabkitError as problem:
        typer.echo(f"labkit: {problem}", err=True)
        raise SystemExit(2) from None
