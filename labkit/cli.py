"""The `labkit` command: the lab, what works here, the data, the weights, the record.

Each command calls one room and says what came out, in words or, with `--json`, as data. The rooms are imported when
their command runs, so that `labkit --help` answers at once. What a learner did wrong is one message and exit code 2.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labkit.errors import BenchError, FileError, LabkitError
from labkit.hosts import how_to_install
from labkit.settings import SETTINGS

if TYPE_CHECKING:
    from labkit.data import ImageData
    from labkit.pretraining import Recipe

FIRST_LESSON = Path("notebooks/00_start_here.ipynb")
START_PATIENCE = 120.0  # seconds for JupyterLab to answer

app = typer.Typer(
    help="A fine-tuning lab: steer the training of a pre-trained network while it trains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON, for programs.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what a labkit error says goes to stderr, with exit code 2."""
    _never_stop_for_a_letter()
    try:
        app(arguments)
    except LabkitError as problem:
        typer.echo(f"labkit: {problem}", err=True)
        raise SystemExit(2) from None


# Our own signs where the output has no code for them; any other letter becomes a question mark.
PLAIN = {"●": "*", "◐": "+", "○": "o", "✓": "v", "·": ".", "…": "...", "–": "-", "—": "-", "×": "x"}
PLAIN |= {"≤": "<=", "≥": ">="}


def _never_stop_for_a_letter() -> None:
    """What the output has no code for is written in plain letters, instead of ending the command with a traceback.

    A redirect on Windows is written in the code page of the country, which knows neither our signs nor the names of
    all files.
    """
    codecs.register_error("labkit.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _may_fail(stream):
            stream.reconfigure(errors="labkit.plain")


def _may_fail(stream: io.TextIOWrapper) -> bool:
    utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    return stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8)


def _plain(trouble: UnicodeError) -> tuple[str, int]:
    assert isinstance(trouble, UnicodeEncodeError)
    letters = trouble.object[trouble.start : trouble.end]
    return "".join(PLAIN.get(letter, "?") for letter in letters), trouble.end


# ---------------------------------------------------------------- where something is to be written


def _for_a_file(path: Path | None) -> Path | None:
    """The path that an option names, if a file can be written there: said before the work that would fill it."""
    if path is not None:
        path = path.expanduser()
        _refuse_unwritable(path, folder=False)
    return path


def _for_a_folder(path: Path | None) -> Path | None:
    """The same for a folder, which is made where there is none."""
    if path is not None:
        path = path.expanduser()
        _refuse_unwritable(path, folder=True)
    return path


def _refuse_unwritable(path: Path, folder: bool) -> None:
    """Raise FileError unless a file can be written at `path`, or in it. Nothing is left there by asking."""
    try:
        if folder and not _is_there(path, stat.S_ISDIR):
            raise FileError(f"{path} is a file. Name a folder; it is made if it is not there.")
        if not folder and not _is_there(path, stat.S_ISREG):
            raise FileError(f"{path} is a folder, or no regular file. Name a file in a folder.")
        places = [path, *path.absolute().parents] if folder else path.absolute().parents
        nearest = next(place for place in places if place.exists())
        TemporaryFile(dir=nearest).close()  # permissions alone do not tell: a disk may be read-only
    except FileError:
        raise
    except (OSError, ValueError) as trouble:
        raise FileError.of(path, trouble) from trouble


def _is_there(path: Path, as_wanted: Callable[[int], bool]) -> bool:
    """Whether what lies at a path is of the wanted kind; True where nothing is."""
    try:
        return as_wanted(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    from labkit.runtime import write_atomic

    try:
        write_atomic(path, content)
    except OSError as trouble:
        raise FileError.of(path, trouble) from trouble


Figure = Annotated[Path | None, typer.Option(callback=_for_a_file, help="The PNG file to draw.")]


def _tell(facts: Any, words: str, as_json: bool) -> None:
    typer.echo(json.dumps(facts, indent=2, default=str) if as_json else words)


# ---------------------------------------------------------------- the lab


@app.command()
def lab(
    notebook: Annotated[Path, typer.Argument(help="The notebook to open.")] = FIRST_LESSON,
    port: Annotated[int, typer.Option(help="The first port to try.")] = 8888,
    ip: Annotated[
        str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open a browser, where there is a display.")] = True,
    as_json: AsJson = False,
) -> None:
    """Open JupyterLab on a lesson; without a display, print the address. Ctrl-C ends it."""
    if not notebook.is_file():
        raise LabkitError(
            f"{notebook} is not here. Run this in the checkout of labkit, or name a notebook."
        )
    token, port = secrets.token_hex(16), _free_port(ip, port)
    path = notebook.resolve()
    root = Path.cwd() if path.is_relative_to(Path.cwd()) else path.parent
    page = f"/lab/tree/{path.relative_to(root).as_posix()}"
    address = f"http://{_reachable(ip)}:{port}{page}?token={token}"
    server = _start_jupyter(root, ip, port, token)
    try:
        _wait_until_up(server, ip, port)
        opened = browser and _has_display() and webbrowser.open(address)
        words = f"The lab is at {address}\nCtrl-C ends it."
        _tell(
            {"address": address, "root": str(root), "pid": server.pid, "opened": opened},
            words,
            as_json,
        )
        raise typer.Exit(server.wait())
    except KeyboardInterrupt:
        typer.echo("The lab is closed.", err=True)
    finally:
        server.terminate()
        server.wait()


def _start_jupyter(root: Path, ip: str, port: int, token: str) -> subprocess.Popen[bytes]:
    """JupyterLab as a child process. The token travels in the environment, where other users cannot read it."""
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ip={ip}", f"--port={port}"]
    command += [
        f"--ServerApp.root_dir={root}",
        "--ServerApp.port_retries=0",
        "--ServerApp.answer_yes=True",
    ]
    command += ["--log-level=WARN", "--LabApp.log_level=WARN", "--LabApp.news_url=", "--allow-root"]
    signal.signal(signal.SIGTERM, _interrupt)
    return subprocess.Popen(command, env={**os.environ, "JUPYTER_TOKEN": token})


def _interrupt(*_: object) -> None:
    """A polite kill ends the lab as Ctrl-C does, so that no server stays behind."""
    raise KeyboardInterrupt


def _wait_until_up(server: subprocess.Popen[bytes], ip: str, port: int) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LabkitError(
                "JupyterLab did not start; its own message is above. `labkit doctor` may know why."
            )
        try:
            socket.create_connection((_reachable(ip), port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise LabkitError(
        f"JupyterLab did not answer on port {port} within {START_PATIENCE:.0f} seconds."
    )


def _free_port(ip: str, first: int) -> int:
    for port in range(first, first + 50):
        with socket.socket() as probe:
            try:
                probe.bind((ip, port))
                return port
            except OSError:
                continue
    raise LabkitError(
        f"no free port from {first} to {first + 49} on {ip}; name another with --port."
    )


def _reachable(ip: str) -> str:
    return "127.0.0.1" if ip in ("0.0.0.0", "") else ip


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what works on this machine, and what to do about what does not."""
    from labkit.doctor import examine

    diagnosis = examine()
    _tell(diagnosis.to_dict(), str(diagnosis), as_json)
    raise typer.Exit(0 if diagnosis.ok else 1)


@app.command()
def progress(as_json: AsJson = False) -> None:
    """Show the learner's map of the course: what is done, what is open, where to go on."""
    from labkit.learn import course_map, score

    found, judged = course_map(), score()
    facts = {
        **found.facts(),
        "score": {
            "right": judged.right,
            "count": judged.count,
            "confidence": judged.confidence,
            "brier": judged.brier,
            "said": str(judged),
        },
    }
    _tell(facts, f"{found}\n\n{judged}", as_json)


# ---------------------------------------------------------------- data, weights, evidence


data = typer.Typer(
    help="What data sets there are, bringing them here, and what is wrong with their files."
)
app.add_typer(data, name="data")


@data.callback(invoke_without_command=True)
def list_data(context: typer.Context, as_json: AsJson = False) -> None:
    """List the data sets: whether they are at hand, what there is to fetch, and who may use them."""
    if context.invoked_subcommand is None:
        from labkit.data.overview import listed

        rows = listed()
        _tell(rows, "\n".join(map(_entry, rows)), as_json)


def _entry(row: dict[str, Any]) -> str:
    state = "at hand" if row["at_hand"] else f"to fetch, {row['megabytes']} MB"
    head = f"{row['name']:<12}{state:<20}{row['pictures']} pictures, {row['classes']} classes"
    return f"{head}\n{'':12}{row['title']}\n{'':12}licence: {row['licence']}"


@data.command("fetch")
def fetch_data(
    name: Annotated[str, typer.Argument(help="A data set that `labkit data` lists.")],
    as_json: AsJson = False,
) -> None:
    """Bring a data set here, checked against its published checksum; interrupted, it goes on."""
    from labkit.data import fetch

    folder = fetch(name)
    words = f"{name} is at {folder}." if folder else f"{name} needs no fetching."
    _tell({"name": name, "folder": folder}, words, as_json)


@data.command("report")
def report_data(
    name: Annotated[str, typer.Argument(help="A data set, or the path of a folder of pictures.")],
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load a data set or a folder of pictures, and name every file that is not as it should be."""
    from labkit.data import load_data

    loaded = load_data(name, size=size)
    _tell(_facts_of(loaded), _words_of(loaded), as_json)


def _facts_of(loaded: ImageData) -> dict[str, Any]:
    return {
        "name": loaded.name,
        "size": loaded.size,
        "classes": list(loaded.classes),
        "pictures": {part: len(getattr(loaded, part)) for part in ("train", "valid", "test")},
        "findings": [asdict(finding) for finding in loaded.report],
    }


def _words_of(loaded: ImageData) -> str:
    facts = _facts_of(loaded)
    parts = ", ".join(f"{count} {part}" for part, count in facts["pictures"].items() if count)
    head = f"{loaded.name}: {len(loaded.classes)} classes, {loaded.size} px, pictures: {parts}"
    return "\n".join([head, *(f"  {finding}" for finding in loaded.report)])


pretrain = typer.Typer(
    help="Make the shipped weights again, by the recipes that made them.", no_args_is_help=True
)
app.add_typer(pretrain, name="pretrain")

Out = Annotated[Path, typer.Option(callback=_for_a_folder, help="The folder for weights and card.")]
Epochs = Annotated[int | None, typer.Option(min=2, help="Fewer or more than the recipe says.")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Steps an epoch; by default what the recipe says.")
]
Seed = Annotated[int | None, typer.Option(help="Another draw of chance than the recipe's.")]


@pretrain.command()
def photos(
    source: Annotated[
        Path,
        typer.Option("--data", help="Tiny ImageNet: the unpacked archive, or its parquet files."),
    ],
    out: Out = Path("build/weights"),
    epochs: Epochs = None,
    steps: Steps = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Train resnet10 on the photographs of Tiny ImageNet; interrupted, go on from the last epoch."""
    from labkit.pretraining import PHOTOS, pretrain_photos

    _tell_weights(
        pretrain_photos(source, out, _changed(PHOTOS, epochs, steps, seed), _watch), as_json
    )


@pretrain.command()
def glyphs(
    out: Out = Path("build/weights"),
    epochs: Epochs = None,
    steps: Steps = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Train resnet10-glyphs on letters that labkit draws itself; nothing is downloaded."""
    from labkit.pretraining import GLYPHS, pretrain_glyphs

    _tell_weights(pretrain_glyphs(out, _changed(GLYPHS, epochs, steps, seed), _watch), as_json)


def _changed(recipe: Recipe, epochs: int | None, steps: int | None, seed: int | None) -> Recipe:
    asked: dict[str, Any] = {"epochs": epochs, "steps_per_epoch": steps, "seed": seed}
    return replace(recipe, **{key: value for key, value in asked.items() if value is not None})


def _watch(progress: object) -> None:
    typer.echo(str(progress), err=True)


def _tell_weights(path: Path, as_json: bool) -> None:
    from labkit.models import Card

    card = Card.read(path.with_suffix(".json"))
    _tell({"weights": path, **asdict(card)}, f"{card}\nWritten to {path}", as_json)


evidence = typer.Typer(help="The recorded runs behind what the lessons claim.")
app.add_typer(evidence, name="evidence")

Experiment = Annotated[str, typer.Argument(help="An experiment that `labkit evidence` lists.")]


@evidence.callback(invoke_without_command=True)
def list_evidence(context: typer.Context, as_json: AsJson = False) -> None:
    """List the experiments, and whether the record of each is complete and up to date."""
    if context.invoked_subcommand is None:
        from labkit.course import evidence as record

        problems = {name: record.check(name) for name in record.names()}
        lines = [found[0] if found else f"{name}: complete" for name, found in problems.items()]
        _tell(problems, "\n".join(lines), as_json)


@evidence.command()
def show(name: Experiment, as_json: AsJson = False) -> None:
    """What an experiment found: means and 95 % intervals, in per cent."""
    from labkit.course import evidence as record
    from labkit.insight.reading import in_columns

    rows = record.summary(name)
    _tell(rows, in_columns(rows), as_json)


@evidence.command()
def tune(name: Experiment, as_json: AsJson = False) -> None:
    """Try the learning rates, on examples and with seeds that no reported accuracy counts."""
    from labkit.course import evidence as record

    path = record.tune(name, tell=_watch)
    _tell({"trials": path}, f"The trials are in {path}", as_json)


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
def build(name: Experiment, as_json: AsJson = False) -> None:
    """Make the runs that are missing or were made by another recipe."""
    from labkit.course import evidence as record

    path = record.build(name, tell=_watch, trainers=TRAINERS)
    _tell({"runs": path}, f"The runs are in {path}", as_json)


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
    done = [] if problems else record.again(runs, chance, trainers=TRAINERS, tell=_watch)
    facts = [{"run": str(one), "same": one.same, "inside": one.inside} for one in done]
    same = sum(one.same for one in done)
    whole = f"Every record is complete and up to date; {len(done)} runs done again, {same} of them to the example."
    _tell({"problems": problems, "again": facts}, "\n".join(problems) or whole, as_json)
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
        pairs = exam.recheck(recheck)
        wrong = [
            f"{then.kind} {then.seed}: {then.told} then, {now.told} now"
            for then, now in pairs
            if then.told != now.told
        ]
        _tell(
            {"made": len(pairs), "differ": wrong},
            "\n".join(wrong) or f"{len(pairs)} runs were told the same again.",
            as_json,
        )
        raise typer.Exit(1 if wrong else 0)
    if not show:
        exam.build(again=again, most=most, tell=_watch)
    known = exam.answers()
    facts = {
        "right_first": asdict(exam.right_first(known)),
        "false_alarms": asdict(exam.false_alarms(known)),
        "confusion": exam.counted(known),
        "missing": len(exam.missing()),
    }
    _tell(facts, exam.summary(known), as_json)


# ---------------------------------------------------------------- many runs


@app.command()
def sweep(
    lr: Annotated[str, typer.Option(help="Learning rates, such as 1e-4,1e-3.")] = "1e-4,1e-3",
    trainable_from: Annotated[
        str | None, typer.Option(help="Frozen depths, such as head,layer4; the first that trains.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = 5,
    per_class: Annotated[
        str | None, typer.Option(help="Training examples of every class, such as 5,20.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help=f"More to vary, such as weight_decay=0,0.1. There are {', '.join(SETTINGS)}."
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="A data set, or the path of a folder.")] = "digits",
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels.")] = None,
    backbone: Annotated[str, typer.Option(help="A network by name.")] = "resnet10-glyphs",
    plan: Annotated[
        str, typer.Option(help="feature_extraction, partial, full, gradual or from_scratch.")
    ] = "partial",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each phase.")] = 5,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; else one a core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="A dask scheduler, such as tcp://10.0.0.1:8786.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=_for_a_folder, help="The folder for the rows.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train every combination with every seed; interrupted, the same command goes on."""
    from labkit import Run, load_backbone, load_data, sweeps

    axes: dict[str, Any] = {"lr": _numbers(lr, float)}
    if trainable_from is not None:
        axes["trainable_from"] = trainable_from.split(",")
    if per_class is not None:
        axes["per_class"] = _numbers(per_class, int)
    axes |= dict(map(_axis, vary or ()))
    first = _plan(plan, axes.get("trainable_from", ["head"])[0], epochs)
    base = Run(load_backbone(backbone), load_data(data, size=size), first)
    client = _client(scheduler) if scheduler else None
    made = sweeps.sweep(
        base, client=client, out=out, workers=workers, seed=range(seeds), **axes
    ).run(progress=not as_json)
    summary = made.summary()
    facts = {
        "folder": made.folder,
        "rows": [row.to_dict() for row in made.rows],
        "summary": json.loads(summary.to_json(orient="records")),
    }
    _tell(facts, f"{summary.to_string(index=False)}\nThe rows are in {made.folder}", as_json)


def _numbers(text: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise LabkitError(f"{text!r} are no numbers; write them as in 1,10,100.") from None


def _axis(text: str) -> tuple[str, list[Any]]:
    """A setting and its values, as in weight_decay=0,0.1."""
    name, _, values = text.partition("=")
    if name not in SETTINGS or not values:
        raise LabkitError(
            f"{text!r} names no setting with values; write them as in weight_decay=0,0.1. Settings are "
            f"{', '.join(SETTINGS)}."
        )
    return name, [_value(each.strip()) for each in values.split(",")]


def _value(text: str) -> Any:
    """A number, True or False where the text is one; else the text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _plan(name: str, depth: str, epochs: int) -> Any:
    from labkit import tuning

    plans: dict[str, Any] = {
        "feature_extraction": tuning.feature_extraction,
        "partial": partial(tuning.partial, depth),
        "full": tuning.full,
        "gradual": tuning.gradual,
        "from_scratch": tuning.from_scratch,
    }
    if name not in plans:
        raise LabkitError(f"There is no plan {name!r}. There are {', '.join(plans)}.")
    return plans[name](epochs=epochs)


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise LabkitError(f"--scheduler needs dask: {how_to_install('scale')}") from None
    try:
        return Client(address, timeout=20)
    except (OSError, ValueError) as error:
        raise LabkitError(f"no dask scheduler answers at {address}: {error}") from None


# ---------------------------------------------------------------- the atlas


atlas = typer.Typer(help="Recorded sweeps that answer at once what a run will come to.")
app.add_typer(atlas, name="atlas")

SheetName = Annotated[
    str | None, typer.Argument(help="A sheet, such as digits/resnet10-glyphs; by default all.")
]


@atlas.callback(invoke_without_command=True)
def list_atlas(context: typer.Context, as_json: AsJson = False) -> None:
    """List the sheets, and whether the record of each is complete and up to date."""
    if context.invoked_subcommand is None:
        from labkit.records import atlas as room

        found = {sheet.name: room.problems(sheet) for sheet in room.SHEETS}
        lines = [bad[0] if bad else f"{name}: complete" for name, bad in found.items()]
        _tell(found, "\n".join(lines), as_json)


@atlas.command("show")
def atlas_show(
    name: Annotated[str, typer.Argument(help="A sheet that `labkit atlas` lists.")],
    trainable_from: Annotated[
        str, typer.Option("--from", help="The first stage that trains.")
    ] = "layer4",
    lr: Annotated[float, typer.Option(help="The learning rate.")] = 1e-3,
    per_class: Annotated[
        int | None, typer.Option(help="Training examples of every class; by default the middle.")
    ] = None,
    figure: Figure = None,
    as_json: AsJson = False,
) -> None:
    """What a run with these settings will come to, by the recorded ones."""
    from labkit.insight.reading import in_columns
    from labkit.records import atlas as room

    sheet = room.find(name)
    labels = per_class or sheet.per_class[len(sheet.per_class) // 2]
    expected = room.expect(sheet, None, trainable_from, lr, labels)
    if figure is not None:
        from labkit.show.atlas import picture

        _write(figure, picture(expected).png())
    _tell(expected.as_message(), f"{in_columns(expected.rows())}\n{expected}", as_json)


@atlas.command("build")
def atlas_build(
    name: SheetName = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, a thread each.")] = 2,
    out: Annotated[
        Path | None, typer.Option(callback=_for_a_folder, help="The folder for the records.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Even if it is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the recorded runs that are missing; interrupted, the same command goes on."""
    from labkit.records import atlas as room

    paths = room.build(name, out=out, workers=workers, tell=_watch, again=again)
    _tell({"records": paths}, "\n".join(f"The runs are in {path}" for path in paths), as_json)


@atlas.command("check")
def atlas_check(
    name: SheetName = None,
    runs: Annotated[int, typer.Option(min=1, help="How many recorded runs to do again.")] = 3,
    chance: Annotated[int | None, typer.Option(help="Draws the runs; by default anew.")] = None,
    as_json: AsJson = False,
) -> None:
    """Do a few recorded runs again; fail when one lands outside its band or a record is stale."""
    from labkit.records import atlas as room

    done = room.check(name, runs=runs, chance=chance)
    facts = [{"run": str(one), "same": one.same, "outcome": one.verdict.outcome} for one in done]
    _tell(facts, "\n".join(map(str, done)), as_json)
    raise typer.Exit(0 if all(one.verdict.inside for one in done) else 1)


# ---------------------------------------------------------------- how fast


bench = typer.Typer(help="The same work by labkit, by what people use today, and by bare loops.")
app.add_typer(bench, name="bench")

Quick = Annotated[bool, typer.Option("--quick", help="Small sizes, to see that it works.")]
Record = Annotated[Path | None, typer.Option("--out", help="The JSON file to write.")]
Kept = Annotated[
    Path | None, typer.Option("--out", callback=_for_a_file, help="The JSON file to write.")
]


@bench.callback(invoke_without_command=True)
def bench_peers(
    context: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(help="A work to measure, such as head; repeat for more.")
    ] = None,
    peers: Annotated[
        list[str] | None, typer.Option(help="A peer to measure, such as labkit; repeat for more.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds from 0 on; several give intervals.")] = 1,
    epochs_measured: Annotated[
        int | None,
        typer.Option(min=1, help="Measure so many epochs of a slow peer and extend their mean."),
    ] = None,
    quick: Quick = False,
    out: Record = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what --out has already.")] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Also as on a machine's first day, imports counted.")
    ] = False,
    figure: Figure = None,
    show: Annotated[
        bool, typer.Option("--show", help="Measure nothing; say what --out has.")
    ] = False,
    readme: Annotated[
        bool, typer.Option("--readme", help="Measure nothing; write the README from the record.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure every work by every peer, each in a process of its own, and say what came of it."""
    if context.invoked_subcommand is not None:
        return
    from labkit import bench as room

    path = out or room.RECORDS / "bench.json"
    if readme:
        return _bench_readme(room.read(path), as_json)
    if show:
        record = room.read(path)
    else:
        out = _for_a_file(out)
        record = room.measure(
            room.find_works(only or (), quick),
            room.find_peers(peers or ()),
            seeds,
            epochs_measured,
            quick,
            out,
            room.read(path) if resume and out and out.exists() else None,
            _watch,
            cold,
        )
    facts = {**asdict(record), "verdicts": list(map(str, room.verdicts(record)))}
    _tell(facts, room.table(record), as_json)
    if (
        figure is not None
    ):  # last, because what was measured must not be lost where it cannot be drawn
        _write(figure, room.draw(record).png())


def _bench_readme(record: Any, as_json: bool) -> None:
    """Write the section "How fast" of this checkout's README from a record."""
    from labkit import bench as room

    path = Path(__file__).resolve().parents[1] / "README.md"
    if not path.exists():
        raise BenchError(
            "There is no README here to write: labkit was installed without one. In a clone of the course there is."
        )
    section = room.readme_section(record, room.read_scaling(room.RECORDS / "scaling.json"))
    path.write_text(room.with_section(path.read_text("utf-8"), section), "utf-8")
    _tell({"readme": str(path)}, f"Written: {path.name}", as_json)


@bench.command("scaling")
def bench_scaling(
    source: Annotated[
        Path | None,
        typer.Option("--data", help="Tiny ImageNet, as `labkit pretrain photos` takes it."),
    ] = None,
    sizes: Annotated[str, typer.Option(help="Numbers of photographs.")] = "250,1000,4000,16000",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run.")] = 5,
    out: Kept = None,
    as_json: AsJson = False,
) -> None:
    """Train on more and more photographs: seconds and peak memory of each size."""
    from labkit import runtime
    from labkit.bench import scaling

    folder = source or (runtime.data_dir() or Path()) / scaling.FOLDER
    found = scaling.measure_scaling(folder, scaling.read_sizes(sizes), epochs, _watch)
    _tell_bench(found, scaling.scaling_table(found), out, as_json)


@bench.command("profile")
def bench_profile(
    only: Annotated[
        list[str] | None, typer.Option(help="A work to profile, such as head; repeat for more.")
    ] = None,
    quick: Quick = False,
    out: Kept = None,
    as_json: AsJson = False,
) -> None:
    """Profile one warm epoch of head-only and of full fine-tuning: what is left, by operation."""
    from labkit.bench import profiling

    found = profiling.profile(only or profiling.DEPTHS, quick)
    _tell_bench(found, profiling.profile_table(found), out, as_json)


def _tell_bench(found: dict[str, Any], words: str, out: Path | None, as_json: bool) -> None:
    _tell(found, words, as_json)
    if out is not None:
        _write(out, (json.dumps(found, indent=1) + "\n").encode())


# ---------------------------------------------------------------- making the lessons


@app.command("build-lessons")
def build_lessons(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when something is stale.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the notebooks of this checkout from notebooks/src, and the badges of its README."""
    from labkit.publish import build

    root = Path(__file__).resolve().parents[1]
    built = build.build(root, check=check)
    changed = [*built.changed, *_refresh_readme(root, check)]
    facts = {
        "notebooks": [str(path) for path in built.notebooks],
        "changed": [str(path) for path in changed],
    }
    names = ", ".join(path.name for path in changed)
    words = (
        f"{'Out of date' if check else 'Written'}: {names}"
        if names
        else "Everything is up to date."
    )
    _tell(facts, words, as_json)
    raise typer.Exit(1 if check and changed else 0)


def _refresh_readme(root: Path, check: bool) -> list[Path]:
    """The README, if its badges do not name the repository that is set."""
    from labkit.publish import build, colab

    readme = root / "README.md"
    text = readme.read_text("utf-8")
    wanted = colab.with_badges(text, build.repository(root), FIRST_LESSON.as_posix())
    if not check and wanted != text:
        readme.write_text(wanted, "utf-8")
    return [] if wanted == text else [readme]


@app.command()
def book(
    out: Annotated[
        Path, typer.Option(callback=_for_a_folder, help="The folder of the site.")
    ] = Path("build/book"),
    executed: Annotated[
        Path,
        typer.Option(
            callback=_for_a_folder,
            help="Where executed solutions and recorded consoles are kept.",
        ),
    ] = Path("build/executed"),
    again: Annotated[
        bool, typer.Option("--again", help="Execute and record every lesson anew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the reading edition of this checkout: a site of executed lessons, their consoles recorded."""
    from labkit.publish import book as room

    built = room.build(Path(__file__).resolve().parents[1], out, executed, again, _watch)
    _tell(asdict(built), str(built), as_json)
