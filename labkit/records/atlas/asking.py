"""Asking the atlas: what a run with some settings will come to, and whether a run that was made did so.

Between two recorded rates the mean and the spread are interpolated, linearly in the logarithm of the rate. Outside
them, and for depths and numbers of labels that are not on record, nobody was asked: the answer says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, floor, isnan, log
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labkit.errors import AtlasError, shown
from labkit.records.atlas import record
from labkit.records.atlas.record import RECORDS, Recorded, half_widths
from labkit.records.atlas.sheets import SHEETS, Sheet, find
from labkit.settings import LIVE, OF_PHASE, OF_PLAN
from labkit.tuning.contracts import Data, Net

if TYPE_CHECKING:
    import pandas as pd

    from labkit.tuning import Run

NEAR = 1.6  # times as many labels, or as few: beyond that a neighbour would mislead
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
SAME_RATE = 1e-6  # relative: rates that went through text
COLUMNS = ("epoch", "mean (%)", "mean from", "mean to", "a run from", "a run to")


@dataclass(frozen=True)
class Point:
    """What to expect after an epoch, in fractions of the validation split.

    `mean_low` to `mean_high` is the 95 % interval of the mean over seeds, `low` to `high` the 95 % prediction interval:
    where one more run lands, with a seed and examples of its own. The latter is never narrower than one example to
    either side, and its ends are whole examples.
    """

    epoch: int
    mean: float
    mean_low: float
    mean_high: float
    low: float
    high: float


@dataclass(frozen=True)
class Expectation:
    """What the atlas knows of a setting. `curve` has a point an epoch from 0 on; it is empty where runs diverged.

    `trainable_from` and `per_class` are those on record; `notes` tell where they are not what was asked for.
    """

    sheet: Sheet
    trainable_from: str
    lr: float
    per_class: int
    count: int
    seeds: int
    diverged: int
    curve: tuple[Point, ...]
    notes: tuple[str, ...] = ()
    weights: str = field(default="", repr=False)

    def at(self, epoch: int) -> Point:
        """What to expect after an epoch; raises AtlasError beyond the last on record."""
        if not 0 <= epoch < len(self.curve):
            raise AtlasError(
                f"epoch={shown(epoch)} is not on record: {self.sheet.name} has {_epochs(self)} here."
            )
        return self.curve[epoch]

    def sentence(self, epoch: int | None = None) -> str:
        """What to expect in one line: `The atlas expects 88 to 94 % after epoch 6 (mean 91 %, 5 seeds).`"""
        if not self.curve:
            return f"The atlas expects nothing here: {self.diverged} of its runs diverged."
        point = self.at(self.sheet.epochs if epoch is None else epoch)
        low, high, mean = (f"{100 * value:.0f}" for value in (point.low, point.high, point.mean))
        also = f", {self.diverged} more diverged" if self.diverged else ""
        told = f"(mean {mean} %, {self.seeds} seeds{also})"
        return f"The atlas expects {low} to {high} % after epoch {point.epoch} {told}."

    def judge(self, run: Run) -> Verdict:
        """Whether a run came out as expected, after its last epoch that is on record; it may still be training."""
        return judge(self, run)

    def as_message(self) -> dict[str, Any]:
        """All of it as plain data that fits into JSON; accuracies are fractions."""
        return {
            "data": self.sheet.data,
            "net": self.sheet.net,
            "trainable_from": self.trainable_from,
            "lr": self.lr,
            "per_class": self.per_class,
            "count": self.count,
            "seeds": self.seeds,
            "diverged": self.diverged,
            "curve": [vars(point) for point in self.curve],
            "notes": list(self.notes),
            "sentence": " ".join([self.sentence(), *self.notes]),
        }

    def table(self) -> pd.DataFrame:
        """A row an epoch, in per cent: the mean, its interval, and where one more run lands."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=COLUMNS)

    def rows(self) -> list[dict[str, float]]:
        """The rows of `table`, without pandas."""
        return [
            dict(
                zip(COLUMNS, (p.epoch, *(100 * v for v in list(vars(p).values())[1:])), strict=True)
            )
            for p in self.curve
        ]

    def __str__(self) -> str:
        return " ".join([self.sentence(), *self.notes])


@dataclass(frozen=True)
class Verdict:
    """Whether a run landed where the atlas expected it. `cannot tell` where it differs from what is on record."""

    outcome: Literal["inside", "outside", "cannot tell"]
    sentence: str
    epoch: int | None = None
    accuracy: float | None = None
    differences: tuple[str, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether it landed in the band."""
        return self.outcome == "inside"

    def __str__(self) -> str:
        return self.sentence


# ---------------------------------------------------------------- the answer


def expect(
    data: Data | Sheet | str,
    net: Net | str | None,
    trainable_from: str | int,
    lr: float,
    per_class: int,
    out: Path | None = None,
) -> Expectation:
    """What a run will come to, from the recorded ones.

    Args:
        data, net: by name, or as `load_data` and `load_backbone` gave them.
        trainable_from: the first stage that trains; the nearest one on record answers, with a note.
        lr: the rate, within those on record.
        per_class: training examples of every class; the nearest on record answers, with a note.
        out: the folder of the records, if not the package's own.

    Raises:
        AtlasError: nothing is on record that could answer; the message tells what is.
    """
    sheet = _sheet(data, net)
    found, notes = record.load(sheet, out or RECORDS), list[str]()
    depth = _depth(sheet, trainable_from, notes)
    labels = _labels(sheet, per_class, notes)
    lr, left, share = place(sheet, lr)
    cell = sheet.depths.index(depth), sheet.per_class.index(labels)
    sides = (left,) if share == 0 else (left, left + 1)
    seeds = min(int(found.finished[(*cell, side)]) for side in sides)
    diverged = sum(len(sheet.seeds) - int(found.finished[(*cell, side)]) for side in sides)
    return Expectation(
        sheet=sheet,
        trainable_from=depth,
        lr=lr,
        per_class=labels,
        count=found.count,
        seeds=seeds,
        diverged=diverged,
        curve=_curve(found, cell, left, share, seeds),
        notes=tuple(notes),
        weights=found.weights,
    )


def expect_run(run: Run, out: Path | None = None) -> Expectation:
    """What the atlas expects of a run by its settings and its data as they are now."""
    settings = run.settings
    return expect(run.data, run.net, settings.trainable_from, settings.lr, per_class(run.data), out)


def per_class(data: Data) -> int:
    """How many training examples of every class there are, by the smallest class."""
    counts = data.train.labels.bincount(minlength=len(data.classes))
    return int(counts.min())


def _sheet(data: Data | Sheet | str, net: Net | str | None) -> Sheet:
    if isinstance(data, Sheet):
        return data
    return find(f"{getattr(data, 'name', data)}/{getattr(net, 'name', net)}")


def _depth(sheet: Sheet, asked: str | int, notes: list[str]) -> str:
    from labkit.tuning.plans import resolve_depth

    name = resolve_depth(asked, STAGES)
    if name in sheet.depths:
        return name
    at = STAGES.index(name)
    nearest = min(sheet.depths, key=lambda depth: abs(STAGES.index(depth) - at))
    notes.append(f"{name} is not on record; this is for {nearest}.")
    return nearest


def _labels(sheet: Sheet, asked: int, notes: list[str]) -> int:
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise AtlasError(f"per_class={shown(asked)} must be a whole number from 1 on.")
    nearest = min(sheet.per_class, key=lambda labels: abs(log(labels / asked)))
    known = _listed(sheet.per_class)
    if not 1 / NEAR <= nearest / asked <= NEAR:
        raise AtlasError(
            f"per_class={asked} is too far from what is on record for {sheet.name}: {known} examples a class. "
            f"Load the data with one of those, as in labkit.load_data({sheet.data!r}, per_class={nearest})."
        )
    if nearest != asked:
        notes.append(f"{asked} examples a class are not on record; this is for {nearest}.")
    return nearest


def _listed(values: Iterable[object]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def place(sheet: Sheet, lr: float) -> tuple[float, int, float]:
    """The rate, the recorded rate at or below it, and how far it is on the way to the next, in logarithms."""
    from labkit.settings import learning_rate

    lr, rates = learning_rate(lr), sheet.rates
    for number, rate in enumerate(rates):
        if abs(lr / rate - 1) < SAME_RATE:
            return rate, number, 0.0
    if not rates[0] < lr < rates[-1]:
        raise AtlasError(
            f"lr={lr:g} is outside of what is on record for {sheet.name}: {rates[0]:g} to {rates[-1]:g}. "
            "The atlas tells nothing beyond its ends; run it, or choose a rate between them."
        )
    left = bisect_right(rates, lr) - 1
    return lr, left, log(lr / rates[left]) / log(rates[left + 1] / rates[left])


def _curve(
    found: Recorded, cell: tuple[int, int], left: int, share: float, seeds: int
) -> tuple[Point, ...]:
    """A point an epoch; none where a recorded rate beside has fewer than two runs that finished."""
    right = left + (share > 0)
    mean, spread = (
        (1 - share) * values[(*cell, left)] + share * values[(*cell, right)]
        for values in (found.mean, found.spread)
    )
    if seeds < 2 or any(map(isnan, mean)):
        return ()
    return tuple(
        point(epoch, float(m), float(s), seeds, found.count)
        for epoch, (m, s) in enumerate(zip(mean, spread, strict=True))
    )


def point(epoch: int, mean: float, spread: float, seeds: int, count: int) -> Point:
    """The intervals around a mean over seeds, of accuracies that are fractions of `count` examples."""
    of_mean, of_run = half_widths(spread, seeds)
    of_run = max(of_run, 1 / count)
    low = max(0, floor(count * (mean - of_run) + 1e-9)) / count
    high = min(count, ceil(count * (mean + of_run) - 1e-9)) / count
    return Point(epoch, mean, max(0.0, mean - of_mean), min(1.0, mean + of_mean), low, high)


# ---------------------------------------------------------------- the verdict


def judge(expected: Expectation, run: Run) -> Verdict:
    """See `Expectation.judge`."""
    different = differences(expected, run)
    if different:
        told = "; ".join(different)
        return Verdict("cannot tell", f"The atlas cannot tell: {told}.", differences=different)
    if run.status == "failed":
        return _diverged(expected)
    right = curve_of(run)
    epoch = min(run.epoch, expected.sheet.epochs)
    if epoch < 1 or not expected.curve:
        why = "the run has not finished an epoch" if expected.curve else expected.sentence()[:-1]
        return Verdict("cannot tell", f"The atlas cannot tell: {why}.")
    got, point = right[epoch] / expected.count, expected.at(epoch)
    inside = point.low - 1e-9 <= got <= point.high + 1e-9
    outcome: Literal["inside", "outside"] = "inside" if inside else "outside"
    has, low, high = _in_percent(got, point)
    return Verdict(
        outcome,
        f"After epoch {epoch} the run has {has} %. The atlas expected {low} to {high} %: {outcome}.",
        epoch,
        got,
    )


def _in_percent(got: float, point: Point) -> tuple[str, str, str]:
    """Whole per cents, or tenths where whole ones would blur on which side of a bound the run is."""
    values = [100 * value for value in (got, point.low, point.high)]
    whole = [round(value) for value in values]
    blurred = (got != point.low and whole[0] == whole[1]) or (
        got != point.high and whole[0] == whole[2]
    )
    has, low, high = (f"{value:.1f}" if blurred else f"{value:.0f}" for value in values)
    return has, low, high


def _diverged(expected: Expectation) -> Verdict:
    known = expected.diverged
    outcome: Literal["inside", "outside"] = "inside" if known else "outside"
    told = f"{known} of the recorded runs did too" if known else "none of the recorded runs did"
    return Verdict(outcome, f"The run diverged; {told}: {outcome}.")


def curve_of(run: Run) -> tuple[int, ...]:
    """How many validation examples a run had right before training and after each epoch that it finished."""
    history = run.history
    return tuple(int(n) for n in history[history["split"] == "valid"]["correct"])


def differences(expected: Expectation, run: Run) -> tuple[str, ...]:
    """In what a run differs from the recorded ones, in words; empty where they can be compared."""
    pairs = [*_of_parts(expected, run), *_of_settings(expected, run)]
    told = [
        f"{what} is {_said(has)}, on record {_said(ours)}"
        for what, has, ours in pairs
        if has != ours
    ]
    late = sorted(
        {name for c in run.log if c.step and c.kind == "set" for name in c.args} - {"epochs"}
    )
    if late:
        told.append(f"the run was steered while it trained ({', '.join(late)})")
    if len(run.plan.phases) > 1:
        told.append(f"its plan has {len(run.plan.phases)} phases, on record one")
    return tuple(told)


def _of_parts(expected: Expectation, run: Run) -> list[tuple[str, Any, Any]]:
    """Network and data of a run beside those on record."""
    sheet = expected.sheet
    recipe = run.data.spec() if hasattr(run.data, "spec") else {}
    card = getattr(run.net, "card", None)
    pairs: list[tuple[str, Any, Any]] = [
        ("the data", run.data.name, sheet.data),
        ("the network", run.net.name, sheet.net),
        ("the size of the images", getattr(run.data, "size", None), sheet.size),
        ("the seed of the splits", recipe.get("seed", 0), 0),
        ("the share of the test split", recipe.get("test"), None),
        ("the share of wrong labels", recipe.get("mislabelled", 0.0), 0.0),
        ("the shift of the images", recipe.get("shifted"), None),
        ("the number of examples a class", per_class(run.data), expected.per_class),
    ]
    if expected.weights:
        pairs.append(("the checksum of the weights", card and card.sha256, expected.weights))
    return pairs


def _of_settings(expected: Expectation, run: Run) -> list[tuple[str, Any, Any]]:
    """Settings of a run beside those on record, where both are known."""
    sheet, now, plan = expected.sheet, run.settings, run.plan
    ours = sheet.plan(expected.trainable_from, expected.lr)
    phase = ours.phases[0]
    same_rate = abs(now.lr / expected.lr - 1) < SAME_RATE
    return [
        ("the learning rate", expected.lr if same_rate else now.lr, expected.lr),
        ("the first stage that trains", now.trainable_from, expected.trainable_from),
        *(
            (f"{name}", getattr(now, name), getattr(phase, name))
            for name in OF_PHASE
            if name not in ("trainable_from", "lr", "epochs")
        ),
        *((name, getattr(now, name), getattr(ours, name)) for name in OF_PLAN if name in LIVE),
        *(
            (name, getattr(plan, name), getattr(ours, name))
            for name in OF_PLAN
            if name not in LIVE and name != "views"
        ),
    ]


def _said(value: Any) -> str:
    if value is None:
        return "none"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


def _epochs(expected: Expectation) -> str:
    return f"epochs 0 to {len(expected.curve) - 1}" if expected.curve else "no curve"


def names() -> tuple[str, ...]:
    """The sheets of the atlas."""
    return tuple(sheet.name for sheet in SHEETS)
