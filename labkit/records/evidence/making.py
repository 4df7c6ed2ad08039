"""Making a record: every condition with every seed, one run at a time, kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import labkit
from labkit import runtime
from labkit.errors import EvidenceError
from labkit.models.checksum import checksum
from labkit.records import table
from labkit.records.evidence.record import EvidenceRow, Trial
from labkit.records.evidence.setting import TRIAL_SEEDS, Condition, Experiment
from labkit.records.table import Tell

Trainer = Callable[..., Any]  # network, data, plan and seed to a run that has not begun


def build(
    experiment: Experiment,
    folder: Path,
    resume: bool = True,
    tell: Tell | None = None,
    trainers: Mapping[str, Trainer] | None = None,
) -> Path:
    """Run an experiment and keep what came of it; returns the CSV.

    With `resume`, runs on record by the same recipe are kept and only the others are made. `folder` is where the record
    lies; `tell` gets a line for every run. `trainers` are those that train where labkit does not, by the name that a
    condition has in `by`.

    Raises EvidenceError for a condition whose trainer was not given.
    """
    path = folder / f"{experiment.name}.csv"
    rows = table.read(path, EvidenceRow) if resume else []
    current = {(row.id, row.recipe) for row in rows}
    runs = [(condition, seed) for condition in experiment.settings for seed in experiment.seeds]
    todo = [(s, seed) for s, seed in runs if (s.run_id(seed), recipe(s)) not in current]
    order = [condition.run_id(seed) for condition, seed in runs]
    made = table.fill(path, rows, todo, lambda run: _run(*run, trainers or {}), order)
    for (condition, seed), row in made:
        counts = f"{row.correct} of {row.count}, {row.cpu_seconds:.0f} s"
        if tell:
            tell(f"{condition.key} seed {seed}: {counts}")
    table.write_provenance(
        path.with_suffix(".json"), _provenance(experiment, table.read(path, EvidenceRow))
    )
    return path


def tune(experiment: Experiment, folder: Path, tell: Tell | None = None) -> Path:
    """Try every rate of every condition and keep what each reached; returns the CSV.

    A rate is tried with seeds that are not reported, on examples that no reported accuracy counts.
    Trials on record are not made again.
    """
    path = folder / f"{experiment.name}.rates.csv"
    trials = table.read(path, Trial)
    known = {trial.id for trial in trials}
    todo = [
        (condition, rate, seed)
        for condition in experiment.settings
        for rate, seed in product(condition.rates, TRIAL_SEEDS)
        if (condition.group, condition.plan.name, rate, seed) not in known
    ]
    made = table.fill(path, trials, todo, lambda one: _try(*one))
    for (condition, rate, seed), trial in made:
        if tell:
            tell(f"{condition.key} lr {rate:g} seed {seed}: {trial.correct} of {trial.count}")
    return path


def recipe(condition: Condition) -> str:
    """A digest that changes when anything does that decides how the runs of a condition end."""
    return table.digest(
        {
            "data": dict(condition.data),
            "split": condition.split,
            "labels": condition.labels,
            "net": condition.net,
            "weights": _weights(condition.net) if condition.plan.pretrained else None,
            "plan": condition.plan.to_dict(),
            **condition.extras(),
        }
    )


@cache
def _weights(net: str) -> str:
    """The checksum of a backbone's weights, asked for by every condition."""
    return checksum(net)


def started(condition: Condition, seed: int, trainers: Mapping[str, Trainer]) -> Any:
    """The run of a condition with a seed, as it is before its first step.

    Raises EvidenceError where somebody trains who was not brought along.
    """
    if condition.by and condition.by not in trainers:
        raise EvidenceError(
            f"{condition.key} is trained by {condition.by}, which the record does not know. "
            "`labkit evidence build` brings it along."
        )
    trainer = trainers[condition.by] if condition.by else labkit.Run
    return trainer(condition.backbone(), condition.load(seed), condition.plan, seed)


def _run(condition: Condition, seed: int, trainers: Mapping[str, Trainer]) -> EvidenceRow:
    """Train once and count."""
    from labkit.insight.drift import layers_drift, statistics_drift

    run = started(condition, seed, trainers)
    began, cpu_began = perf_counter(), process_time()
    run.fit()
    seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
    end = run.evaluate(condition.split)
    history = run.history
    valid = history[history["split"] == "valid"].reset_index(drop=True)
    best = valid.loc[valid["correct"].idxmax()]
    statistics, drift = statistics_drift(run), layers_drift(run)
    epochs, steps = run.epoch, run.step_number  # a reading may rewind the run
    return EvidenceRow(
        group=condition.group,
        plan=condition.plan.name,
        seed=seed,
        correct=end.correct,
        count=end.count,
        valid_correct=int(valid["correct"].iloc[-1]),
        best_correct=int(best["correct"]),
        best_epoch=int(best["epoch"]),
        valid_count=int(best["count"]),
        epochs=epochs,
        steps=steps,
        seconds=round(seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        statistics=round(statistics, 4),
        precision=str(run.precision),
        recipe=recipe(condition),
        drift=round(drift, 5),
        curve=tuple(valid["correct"].tolist()),
        readings=" ".join(
            f"{name}={_written(r.ask(run))}" for name, r in condition.readings.items()
        ),
    )


def _written(given: float | Sequence[float]) -> str:
    """A number, or the numbers of a curve, which only a figure wants, with fewer figures."""
    if isinstance(given, Sequence):
        return ":".join(f"{number:.4g}" for number in given)
    return f"{given:.6g}"


def _try(condition: Condition, rate: float, seed: int) -> Trial:
    plan = condition.plan.with_(lr=rate)
    run = labkit.Run(condition.backbone(), condition.load_trial(seed), plan, seed).fit()
    end = run.evaluate(condition.trial_split)
    weights = _weights(condition.net)[:12] if plan.pretrained else ""
    return Trial(condition.group, condition.plan.name, rate, seed, end.correct, end.count, weights)


def _provenance(experiment: Experiment, rows: list[EvidenceRow]) -> dict[str, Any]:
    """The question, the recipes and the machine: what a reader needs to make the record again."""
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "notes": experiment.notes,
        "seeds": list(experiment.seeds),
        "spreads": {name: list(keys) for name, keys in experiment.spreads.items()},
        "races": {name: list(keys) for name, keys in experiment.races.items()},
        "make_again": experiment.make_again,
        "cpu_seconds": round(sum(row.cpu_seconds for row in rows), 2),
        "machine": table.machine(threads=runtime.threads()),
        "weights": {
            net: _weights(net)
            for net in sorted({condition.net for condition in experiment.settings})
        },
        "settings": {condition.key: _setting(condition) for condition in experiment.settings},
    }


def _setting(condition: Condition) -> dict[str, Any]:
    return {
        "net": condition.net,
        "data": dict(condition.data),
        "labels_per_class": condition.labels,
        "counted_on": condition.split,
        "plan": condition.plan.to_dict(),
        "rates_tried": list(condition.rates),
        "tried_on": {
            **condition.trial_data,
            "split": condition.trial_split,
            "seeds": list(TRIAL_SEEDS),
        },
        **condition.extras(),
    }
