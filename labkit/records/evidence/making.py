"""Making a record: every setting with every seed, one run at a time, kept as soon as it is done."""

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
    setting has in `by`.

    Raises EvidenceError for a setting whose trainer was not given.
    """
    path = folder / f"{experiment.name}.csv"
    rows = table.read(path, EvidenceRow) if resume else []
    current = {(row.id, row.recipe) for row in rows}
    runs = [(setting, seed) for setting in experiment.settings for seed in experiment.seeds]
    todo = [(s, seed) for s, seed in runs if (s.run_id(seed), recipe(s)) not in current]
    order = [setting.run_id(seed) for setting, seed in runs]
    made = table.fill(path, rows, todo, lambda run: _run(*run, trainers or {}), order)
    for (setting, seed), row in made:
        counts = f"{row.correct} of {row.count}, {row.cpu_seconds:.0f} s"
        if tell:
            tell(f"{setting.key} seed {seed}: {counts}")
    table.write_provenance(
        path.with_suffix(".json"), _provenance(experiment, table.read(path, EvidenceRow))
    )
    return path


def tune(experiment: Experiment, folder: Path, tell: Tell | None = None) -> Path:
    """Try every rate of every setting and keep what each reached; returns the CSV.

    A rate is tried with seeds that are not reported, on examples that no reported accuracy counts.
    Trials on record are not made again.
    """
    path = folder / f"{experiment.name}.rates.csv"
    trials = table.read(path, Trial)
    known = {trial.id for trial in trials}
    todo = [
        (setting, rate, seed)
        for setting in experiment.settings
        for rate, seed in product(setting.rates, TRIAL_SEEDS)
        if (setting.group, setting.plan.name, rate, seed) not in known
    ]
    made = table.fill(path, trials, todo, lambda one: _try(*one))
    for (setting, rate, seed), trial in made:
        if tell:
            tell(f"{setting.key} lr {rate:g} seed {seed}: {trial.correct} of {trial.count}")
    return path


def recipe(setting: Condition) -> str:
    """A digest that changes when anything does that decides how the runs of a setting end."""
    return table.digest(
        {
            "data": dict(setting.data),
            "split": setting.split,
            "labels": setting.labels,
            "net": setting.net,
            "weights": _weights(setting.net) if setting.plan.pretrained else None,
            "plan": setting.plan.to_dict(),
            **setting.extras(),
        }
    )


@cache
def _weights(net: str) -> str:
    """The checksum of a backbone's weights, asked for by every setting."""
    return checksum(net)


def started(setting: Condition, seed: int, trainers: Mapping[str, Trainer]) -> Any:
    """The run of a setting with a seed, as it is before its first step.

    Raises EvidenceError where somebody trains who was not brought along.
    """
    if setting.by and setting.by not in trainers:
        raise EvidenceError(
            f"{setting.key} is trained by {setting.by}, which the record does not know. "
            "`labkit evidence build` brings it along."
        )
    trainer = trainers[setting.by] if setting.by else labkit.Run
    return trainer(setting.backbone(), setting.load(seed), setting.plan, seed)


def _run(setting: Condition, seed: int, trainers: Mapping[str, Trainer]) -> EvidenceRow:
    """Train once and count."""
    from labkit.insight.drift import layers_drift, statistics_drift

    run = started(setting, seed, trainers)
    began, cpu_began = perf_counter(), process_time()
    run.fit()
    seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
    end = run.evaluate(setting.split)
    history = run.history
    valid = history[history["split"] == "valid"].reset_index(drop=True)
    best = valid.loc[valid["correct"].idxmax()]
    statistics, drift = statistics_drift(run), layers_drift(run)
    epochs, steps = run.epoch, run.step_number  # a reading may rewind the run
    return EvidenceRow(
        group=setting.group,
        plan=setting.plan.name,
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
        recipe=recipe(setting),
        drift=round(drift, 5),
        curve=tuple(valid["correct"].tolist()),
        readings=" ".join(f"{name}={_written(r.ask(run))}" for name, r in setting.readings.items()),
    )


def _written(given: float | Sequence[float]) -> str:
    """A number, or the numbers of a curve, which only a figure wants, with fewer figures."""
    if isinstance(given, Sequence):
        return ":".join(f"{number:.4g}" for number in given)
    return f"{given:.6g}"


def _try(setting: Condition, rate: float, seed: int) -> Trial:
    plan = setting.plan.with_(lr=rate)
    run = labkit.Run(setting.backbone(), setting.load_trial(seed), plan, seed).fit()
    end = run.evaluate(setting.trial_split)
    weights = _weights(setting.net)[:12] if plan.pretrained else ""
    return Trial(setting.group, setting.plan.name, rate, seed, end.correct, end.count, weights)


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
            net: _weights(net) for net in sorted({setting.net for setting in experiment.settings})
        },
        "settings": {setting.key: _setting(setting) for setting in experiment.settings},
    }


def _setting(setting: Condition) -> dict[str, Any]:
    return {
        "net": setting.net,
        "data": dict(setting.data),
        "labels_per_class": setting.labels,
        "counted_on": setting.split,
        "plan": setting.plan.to_dict(),
        "rates_tried": list(setting.rates),
        "tried_on": {
            **setting.trial_data,
            "split": setting.trial_split,
            "seeds": list(TRIAL_SEEDS),
        },
        **setting.extras(),
    }
