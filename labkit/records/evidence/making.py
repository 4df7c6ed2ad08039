"""Making a record: every setting with every seed, one run at a time, kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import labkit
from labkit.errors import EvidenceError
from labkit.models.checksum import checksum
from labkit.records.evidence import record
from labkit.records.evidence.record import Row, Trial
from labkit.records.evidence.setting import TRIAL_SEEDS, Experiment, Setting

Tell = Callable[[str], None]
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
    lies; `tell` gets a line for every run. `trainers` are those that train
    where labkit does not, by the name that a setting has in `by`.

    Raises EvidenceError for a setting whose trainer was not given.
    """
    path = folder / f"{experiment.name}.csv"
    rows = record.read(path, Row) if resume else []
    for setting, seed, now in _cells(experiment):
        old = next((row for row in rows if row.belongs_to(setting, seed)), None)
        if old and old.recipe == now:
            continue
        row = _run(setting, seed, now, trainers or {})
        rows = [*(row for row in rows if not row.belongs_to(setting, seed)), row]
        record.write(path, _ordered(experiment, rows))
        if tell:
            tell(
                f"{setting.key} seed {seed}: {row.correct} of {row.count}, {row.cpu_seconds:.0f} s"
            )
    record.write_story(path.with_suffix(".json"), _story(experiment, rows))
    return path


def tune(experiment: Experiment, folder: Path, tell: Tell | None = None) -> Path:
    """Try every rate of every setting and keep what each reached; returns the CSV.

    A rate is tried with seeds that are not reported, on examples that no reported accuracy counts.
    Trials on record are not made again.
    """
    path = folder / f"{experiment.name}.rates.csv"
    trials = record.read(path, Trial)
    known = {(trial.group, trial.plan, trial.rate, trial.seed) for trial in trials}
    for setting, rate, seed in _candidates(experiment):
        if (setting.group, setting.plan.name, rate, seed) in known:
            continue
        trial = _try(setting, rate, seed)
        trials.append(trial)
        record.write(path, trials)
        if tell:
            tell(f"{setting.key} lr {rate:g} seed {seed}: {trial.correct} of {trial.count}")
    return path


def recipe(setting: Setting) -> str:
    """The digest of a setting's recipe as it stands now."""
    return record.digest(setting, _weights(setting.net))


@cache
def _weights(net: str) -> str:
    """The checksum of a backbone's weights, asked for by every setting."""
    return checksum(net)


def _cells(experiment: Experiment) -> Iterator[tuple[Setting, int, str]]:
    for setting in experiment.settings:
        now = recipe(setting)
        for seed in experiment.seeds:
            yield setting, seed, now


def _candidates(experiment: Experiment) -> Iterator[tuple[Setting, float, int]]:
    for setting in experiment.settings:
        yield from ((setting, *one) for one in product(setting.rates, TRIAL_SEEDS))


def started(setting: Setting, seed: int, trainers: Mapping[str, Trainer]) -> Any:
    """The run of a setting with a seed, as it is before its first step.

    Raises EvidenceError where somebody trains who was not brought along.
    """
    if setting.by and setting.by not in trainers:
        raise EvidenceError(
            f"{setting.key} is trained by {setting.by}, which labkit.insight does not know. "
            "`labkit evidence build` brings it along."
        )
    trainer = trainers[setting.by] if setting.by else labkit.Run
    return trainer(setting.backbone(), setting.load(seed), setting.plan, seed)


def _run(setting: Setting, seed: int, recipe: str, trainers: Mapping[str, Trainer]) -> Row:
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
    return Row(
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
        recipe=recipe,
        drift=round(drift, 5),
        curve=" ".join(map(str, valid["correct"])),
        readings=" ".join(f"{name}={_written(r.ask(run))}" for name, r in setting.readings.items()),
    )


def _written(given: float | Sequence[float]) -> str:
    """A number, or the numbers of a curve, which only a picture wants, with fewer figures."""
    if isinstance(given, Sequence):
        return ":".join(f"{number:.4g}" for number in given)
    return f"{given:.6g}"


def _try(setting: Setting, rate: float, seed: int) -> Trial:
    plan = setting.plan.with_(lr=rate)
    run = labkit.Run(setting.backbone(), setting.load_trial(seed), plan, seed).fit()
    end = run.evaluate(setting.trial_split)
    weights = _weights(setting.net)[:12] if plan.pretrained else ""
    return Trial(setting.group, setting.plan.name, rate, seed, end.correct, end.count, weights)


def _ordered(experiment: Experiment, rows: list[Row]) -> list[Row]:
    """Rows in the order of the experiment; those of no setting any more are dropped."""
    return [
        row
        for setting in experiment.settings
        for seed in experiment.seeds
        for row in rows
        if row.belongs_to(setting, seed)
    ]


def _story(experiment: Experiment, rows: list[Row]) -> dict[str, Any]:
    """The question, the recipes and the machine: what a reader needs to make the record again."""
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "notes": experiment.notes,
        "seeds": list(experiment.seeds),
        "spreads": {name: list(keys) for name, keys in experiment.spreads.items()},
        "races": {name: list(keys) for name, keys in experiment.races.items()},
        "make_again": f"labkit evidence build {experiment.name}",
        "cpu_seconds": round(sum(row.cpu_seconds for row in rows), 2),
        "machine": record.machine(),
        "weights": {
            net: _weights(net) for net in sorted({setting.net for setting in experiment.settings})
        },
        "settings": {setting.key: _setting(setting) for setting in experiment.settings},
    }


def _setting(setting: Setting) -> dict[str, Any]:
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
