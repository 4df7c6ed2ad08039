"""Recorded runs: what the lessons may claim, with the interval and the seeds behind it.

The record of an experiment is a CSV with one row a run, a JSON with recipe, machine, versions and seconds, and the
rates that were tried. Texts cite it by key, so that no number in them is typed by hand. Which experiments there are is
not known here: a course brings its own, as `labkit.course.evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from labkit.errors import EvidenceError
from labkit.insight.metrics import Estimate, mean_interval, paired_difference
from labkit.records import table
from labkit.records.evidence import making, rechecking
from labkit.records.evidence.claim import Claim
from labkit.records.evidence.making import Trainer
from labkit.records.evidence.record import EvidenceRow, Trial
from labkit.records.evidence.setting import Condition, Experiment
from labkit.records.table import Recheck, Tell
from labkit.runtime import wilson

if TYPE_CHECKING:
    import pandas as pd

CONFIRMING_SEEDS = (50, 51, 52, 53, 54)  # new when every rule had been committed

COLUMNS = {
    "": "accuracy",
    "drift": "drift",
    "statistics": "statistics",
    "steps": "steps",
    "seconds": "cpu_seconds",
}


@dataclass(frozen=True)
class Chapter:
    """What one lesson has on record: its experiments, the claims that rules decide from them, and the folder."""

    experiments: tuple[Experiment, ...]
    claims: tuple[Claim, ...]
    folder: Path
    confirmed: tuple[
        Experiment, ...
    ] = ()  # those of `experiments` that were run again with new seeds

    @classmethod
    def of(cls, module: ModuleType) -> Chapter:
        """What a module holds as `EXPERIMENTS`, and perhaps `CLAIMS` and `CONFIRMED`; the runs lie beside it, in
        `recorded`."""
        home = Path(str(module.__file__)).parent
        claims, confirmed = (getattr(module, name, ()) for name in ("CLAIMS", "CONFIRMED"))
        return cls(module.EXPERIMENTS, claims, home / "recorded", confirmed)

    def confirming(self) -> Chapter:
        """The confirming runs of this lesson: as the first ones but for the seeds. Rates are not tried again."""
        again = tuple(
            replace(
                experiment,
                seeds=CONFIRMING_SEEDS,
                confirming=True,
                settings=tuple(replace(condition, rates=()) for condition in experiment.settings),
            )
            for experiment in self.confirmed
        )
        claims = tuple(claim for claim in self.claims if not claim.preregistered)
        return Chapter(again, claims, self.folder / "confirming")


@dataclass(frozen=True)
class Evidence:
    """All that a course has on record. An experiment is named, or given as it is, which then needs `at`."""

    chapters: tuple[Chapter, ...]
    elsewhere: Path | None = None

    def at(self, folder: Path) -> Evidence:
        """The same experiments, and any other, with records that lie in one other folder."""
        return replace(self, elsewhere=folder)

    @cached_property
    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments there are, lesson by lesson."""
        return tuple(one for chapter in self.chapters for one in chapter.experiments)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """The claims that rules decide, by their number in the curriculum."""
        every = (one for chapter in self.chapters for one in chapter.claims)
        return tuple(sorted(every, key=lambda claim: claim.number))

    def names(self) -> tuple[str, ...]:
        """The names of the experiments."""
        return tuple(experiment.name for experiment in self.experiments)

    def find(self, name: str | Experiment) -> Experiment:
        """The experiment of that name, or EvidenceError with those there are; your own as it is."""
        if isinstance(name, Experiment):
            return name
        for experiment in self.experiments:
            if experiment.name == name:
                return experiment
        raise EvidenceError(
            f"There is no experiment {name!r} on record. There are: {', '.join(self.names())}."
        )

    def folder(self, experiment: Experiment) -> Path:
        """Where the record of an experiment lies. Raises EvidenceError for one that is no lesson's."""
        if self.elsewhere is not None:
            return self.elsewhere
        for chapter in self.chapters:
            if experiment.name in {one.name for one in chapter.experiments}:
                return chapter.folder
        raise EvidenceError(
            f"{experiment.name} belongs to no lesson. Say where its record lies, as in evidence.at(folder)."
        )

    @cached_property
    def confirming(self) -> Evidence:
        """The record of the runs that confirm what was claimed by a rule that came with its record.

        Their seeds were drawn when every rule stood in the history.
        """
        return Evidence(tuple(chapter.confirming() for chapter in self.chapters))

    # ------------------------------------------------------------ what is on record

    def rows(self, name: str | Experiment) -> pd.DataFrame:
        """All recorded runs, a row each, with `accuracy` = correct / count and the `key` to cite."""
        import pandas as pd

        experiment = self.find(name)
        found = self._recorded(experiment)
        keys = {(s.group, s.plan.name): s.key for s in experiment.settings}
        frame = pd.DataFrame([vars(row) for row in found])
        frame.insert(0, "key", [keys.get((row.group, row.plan), "") for row in found])
        return frame.assign(accuracy=frame["correct"] / frame["count"])

    def show(self, name: str | Experiment) -> pd.DataFrame:
        """One row a condition: mean accuracy with two 95 % intervals, over seeds and over examples.

        The first interval says how much another seed would change; the second how much other examples
        would (Wilson, at the mean). Columns in per cent, and the mean processor seconds of a run.
        """
        import pandas as pd

        return pd.DataFrame(self.summary(name))

    def summary(self, name: str | Experiment) -> list[dict[str, object]]:
        """The rows of `show`, without pandas."""
        experiment = self.find(name)
        recorded = self._recorded(experiment)
        return [_summary(condition, _of(condition, recorded)) for condition in experiment.settings]

    def estimate(self, key: str, against: str | None = None) -> Estimate:
        """The mean accuracy of `experiment/group/plan`, or by how much it exceeds another's.

        With `/drift` behind it, a key means how far the layers below the head have moved, with `/statistics` the same
        of the BatchNorm statistics of frozen stages, with `/steps` how many steps were made, with `/seconds` the
        processor seconds of the training, with the name of a reading what that gave; with the name of a spread in
        place of the plan, the best accuracy of a set of settings less the worst; with that of a race, the steps until
        it was won, or with `/seconds` behind it the processor seconds.

        Raises EvidenceError when nothing is on record for a key, with the keys there are.
        """
        ours = self._by_seed(key)
        if against is None:
            return mean_interval(ours.values())
        return paired_difference(ours, self._by_seed(against))

    def cite(self, key: str, against: str | None = None) -> str:
        """What is on record, for a text: `82 % (79 to 85, 5 seeds)`, or a difference in points."""
        found = self.estimate(key, against)
        name, _, rest = key.partition("/")
        experiment = self.find(name)
        if (unit := _unit(experiment, rest)) is not None:
            return found.plain(unit, sign="+" if against else "")
        if against is None and rest not in experiment.spreads:
            return found.percent()
        return found.points(sign="+" if against else "")

    def curves(self, key: str) -> pd.DataFrame:
        """What a reading that is a curve gave, such as the loss epoch by epoch: a row a seed, a column a place on it.

        Raises EvidenceError when no condition has such a reading, with those there are.
        """
        import pandas as pd

        name, _, rest = key.partition("/")
        experiment = self.find(name)
        for condition in experiment.settings:
            reading = rest.removeprefix(f"{condition.key}/")
            if reading in condition.readings:
                found = _of(condition, self._recorded(experiment))
                return pd.DataFrame.from_dict(
                    {row.seed: row.curve_of(reading) for row in found}, orient="index"
                )
        known = ", ".join(
            f"{name}/{s.key}/{reading}" for s in experiment.settings for reading in s.readings
        )
        raise EvidenceError(f"There is no reading {key!r}. There are: {known or 'none'}.")

    def claim(self, number: int) -> Claim:
        """The claim of that number in the curriculum; EvidenceError with those that a rule decides."""
        for claim in self.claims:
            if claim.number == number:
                return claim
        known = ", ".join(str(claim.number) for claim in self.claims)
        raise EvidenceError(f"No rule decides claim {number}. There are rules for {known}.")

    def verdict(self, number: int) -> str:
        """What the record says of a claim: `supported`, `not supported` or `it depends`."""
        return self.claim(number).verdict(self.estimate)

    def confirmed(self, number: int) -> str:
        """What the confirming runs say of a claim, by the same rule.

        Raises EvidenceError for a claim that needs none, because its rule was committed before any of its runs.
        """
        if self.claim(number).preregistered:
            raise EvidenceError(
                f"The rule of claim {number} was committed before its runs, so no others confirm it."
            )
        return self.confirming.verdict(number)

    def stated(self, number: int) -> str:
        """The verdict on a claim for a text, with what the confirming runs say where there are any."""
        first = self.verdict(number)
        if self.claim(number).preregistered:
            return first
        again = self.confirmed(number)
        return (
            f"{first}, with five new seeds as well"
            if again == first
            else f"{first}; with five new seeds: {again}"
        )

    # ------------------------------------------------------------ making and holding it

    def build(
        self,
        name: str | Experiment,
        resume: bool = True,
        tell: Tell | None = None,
        trainers: Mapping[str, Trainer] | None = None,
    ) -> Path:
        """Run an experiment and keep what came of it (`making.build`); returns the CSV."""
        experiment = self.find(name)
        return making.build(experiment, self.folder(experiment), resume, tell, trainers)

    def tune(self, name: str | Experiment, tell: Tell | None = None) -> Path:
        """Try every rate of every condition and keep what each reached (`making.tune`); returns the CSV."""
        experiment = self.find(name)
        return making.tune(experiment, self.folder(experiment), tell)

    def recheck(
        self,
        runs: int = 1,
        chance: int | None = None,
        trainers: Mapping[str, Trainer] | None = None,
        tell: Tell | None = None,
    ) -> list[Recheck]:
        """Do so many recorded runs of each lesson again (`rechecking.recheck`)."""
        lessons = [
            [(one, self.folder(one)) for one in chapter.experiments] for chapter in self.chapters
        ]
        return rechecking.recheck(lessons, runs, chance, trainers, tell)

    def check(self, name: str | Experiment | None = None) -> list[str]:
        """What is wrong with the records, in words; empty when they are complete and up to date."""
        found = [
            f"{experiment.name}: {problem}"
            for experiment in ([self.find(name)] if name else self.experiments)
            for problem in _problems(experiment, self.folder(experiment))
        ]
        if name is None and self.elsewhere is None and self.confirming.experiments:
            found += [f"confirming, {problem}" for problem in self.confirming.check()]
        return found

    # ------------------------------------------------------------ looking up

    def _recorded(self, experiment: Experiment) -> list[EvidenceRow]:
        found = table.read(self.folder(experiment) / f"{experiment.name}.csv", EvidenceRow)
        if not found:
            raise EvidenceError(
                f"Nothing is on record for {experiment.name}. Make it: {experiment.make_again}"
            )
        return found

    def _by_seed(self, key: str) -> dict[int, float]:
        """What a key means, for each seed: an accuracy, a drift or a spread of accuracies."""
        name, _, rest = key.partition("/")
        experiment = self.find(name)
        if rest in experiment.spreads:
            each = [self._by_seed(f"{name}/{one}") for one in experiment.spreads[rest]]
            return {
                seed: max(one[seed] for one in each) - min(one[seed] for one in each)
                for seed in set.intersection(*map(set, each))
            }
        recorded = self._recorded(experiment)
        if rest.removesuffix("/seconds") in experiment.races:
            return _race(experiment, rest, recorded)
        for condition in experiment.settings:
            column = rest.removeprefix(condition.key).removeprefix("/")
            if rest in (condition.key, f"{condition.key}/{column}") and (
                found := _of(condition, recorded)
            ):
                if column in condition.readings:
                    return {row.seed: row.reading(column) for row in found}
                if column in COLUMNS:
                    return {row.seed: getattr(row, COLUMNS[column]) for row in found}
        keys = (*(s.key for s in experiment.settings), *experiment.spreads, *experiment.races)
        known = ", ".join(f"{name}/{key}" for key in keys)
        raise EvidenceError(f"Nothing is on record for {key!r}. These are: {known}.")


# ---------------------------------------------------------------- what can be wrong


def _problems(experiment: Experiment, folder: Path) -> list[str]:
    try:
        found = table.read(folder / f"{experiment.name}.csv", EvidenceRow)
        trials = table.read(folder / f"{experiment.name}.rates.csv", Trial)
        provenance = table.read_provenance(folder / f"{experiment.name}.json")
    except EvidenceError as error:
        return [str(error)]
    problems = [] if provenance else ["there is no JSON that says how the runs were made"]
    for condition in experiment.settings:
        problems += _of_setting(condition, experiment, _of(condition, found))
        problems += _of_rates(condition, trials)
    return problems


def _of_setting(
    condition: Condition, experiment: Experiment, found: list[EvidenceRow]
) -> list[str]:
    problems = []
    if [row.seed for row in found] != list(experiment.seeds):
        problems.append(
            f"{condition.key} has seeds {[r.seed for r in found]}, not {experiment.seeds}"
        )
    if {row.recipe for row in found} - {making.recipe(condition)}:
        problems.append(
            f"{condition.key} was run by another recipe or other weights; build it again"
        )
    if any(not 0 <= row.correct <= row.count or row.count == 0 for row in found):
        problems.append(f"{condition.key} has counts that cannot be")
    return problems


def _of_rates(condition: Condition, trials: list[Trial]) -> list[str]:
    """The rate in force must be the best of those tried, the smaller one of two that are equal."""
    if not condition.rates:
        return []
    reached = {
        rate: sum(
            t.correct / t.count
            for t in trials
            if (t.group, t.plan, t.rate) == (condition.group, condition.plan.name, rate)
        )
        for rate in condition.rates
    }
    best = max(sorted(reached), key=lambda rate: reached[rate])
    chosen = condition.plan.phases[0].lr
    return (
        []
        if chosen == best
        else [f"{condition.key} uses {chosen:g}, but {best:g} did best when tried"]
    )


# ---------------------------------------------------------------- looking up


def _of(condition: Condition, found: list[EvidenceRow]) -> list[EvidenceRow]:
    return [row for row in found if (row.group, row.plan) == (condition.group, condition.plan.name)]


def _race(experiment: Experiment, name: str, recorded: list[EvidenceRow]) -> dict[int, float]:
    """How long the runner trained, seed by seed, until it had what the other ended with: steps, or seconds."""
    runner, other = experiment.races[name.removesuffix("/seconds")]
    plans = {condition.key: condition for condition in experiment.settings}
    goals = {row.seed: row.valid_correct for row in _of(plans[other], recorded)}
    unit = "cpu_seconds" if name.endswith("/seconds") else "steps"
    return {
        row.seed: getattr(row, unit) * row.share_until(goals[row.seed])
        for row in _of(plans[runner], recorded)
        if row.seed in goals
    }


def _unit(experiment: Experiment, rest: str) -> str | None:
    """The unit of what a key means; None for a share, which a text gives in per cent or points."""
    for condition in experiment.settings:
        column = rest.removeprefix(f"{condition.key}/")
        if column in condition.readings:
            return condition.readings[column].unit
    if rest.endswith("/seconds"):
        return "s"
    return "steps" if rest.endswith("/steps") or rest in experiment.races else None


def _summary(condition: Condition, found: list[EvidenceRow]) -> dict[str, object]:
    if not found:
        return {"group": condition.group, "plan": condition.plan.name, "seeds": 0}
    mean = mean_interval(row.accuracy for row in found)
    count = found[0].count
    low, high = wilson(round(mean.mean * count), count)
    return {
        "group": condition.group,
        "plan": condition.plan.name,
        "accuracy (%)": round(100 * mean.mean, 1),
        "over seeds": f"{100 * mean.low:.1f} to {100 * mean.high:.1f}",
        "over examples": f"{100 * low:.0f} to {100 * high:.0f} (n = {count})",
        "best epoch (%)": round(
            100 * sum(r.best_correct / r.valid_count for r in found) / len(found), 1
        ),
        "processor s": round(sum(row.cpu_seconds for row in found) / len(found), 1),
        "seeds": len(found),
        "statistics moved": round(sum(row.statistics for row in found) / len(found), 3),
    }
