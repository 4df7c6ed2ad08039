"""`labkit bench`: the same work by labkit, by what people use today, and by bare loops."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from labkit.cli.output import (
    CHECKOUT,
    AsJson,
    Figure,
    for_a_file,
    tell,
    watch,
    write,
)
from labkit.errors import BenchError

bench = typer.Typer(help="The same work by labkit, by what people use today, and by bare loops.")

Quick = Annotated[bool, typer.Option("--quick", help="Small sizes, to see that it works.")]
Record = Annotated[Path | None, typer.Option("--out", help="The JSON file to write.")]
Kept = Annotated[
    Path | None, typer.Option("--out", callback=for_a_file, help="The JSON file to write.")
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
        out = for_a_file(out)
        record = room.measure(
            room.find_works(only or (), quick),
            room.find_peers(peers or ()),
            seeds,
            epochs_measured,
            quick,
            out,
            room.read(path) if resume and out and out.exists() else None,
            watch,
            cold,
        )
    facts = {**asdict(record), "verdicts": list(map(str, room.verdicts(record)))}
    tell(facts, room.table(record), as_json)
    if (
        figure is not None
    ):  # last, because what was measured must not be lost where it cannot be drawn
        write(figure, room.draw(record).png())


def _bench_readme(record: Any, as_json: bool) -> None:
    """Write the section "How fast" of this checkout's README from a record."""
    from labkit import bench as room

    path = CHECKOUT / "README.md"
    if not path.exists():
        raise BenchError(
            "There is no README here to write: labkit was installed without one. In a clone of the course there is."
        )
    section = room.readme_section(record, room.read_scaling(room.RECORDS / "scaling.json"))
    path.write_text(room.with_section(path.read_text("utf-8"), section), "utf-8")
    tell({"readme": str(path)}, f"Written: {path.name}", as_json)


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
    found = scaling.measure_scaling(folder, scaling.read_sizes(sizes), epochs, watch)
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
    tell(found, words, as_json)
    if out is not None:
        write(out, (json.dumps(found, indent=1) + "\n").encode())
