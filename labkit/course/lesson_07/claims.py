"""What the learning rate decides, beside batch size and weight decay, and whether each stage wants its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import ANTS_BEES, Condition, Experiment, digits, slug
from labkit.tuning import Plan, feature_extraction, full, partial


def _one_at_a_time(
    place: Mapping[str, Any], base: Plan, grid: Mapping[str, Sequence[Any]]
) -> list[Condition]:
    """The base plan with one knob turned at a time; the base itself is among the rates."""
    changes = {
        f"{knob} {value:g}": {KNOBS[knob]: value}
        for knob, values in grid.items()
        for value in values
        if knob == "rate" or value != values[MIDDLE]
    }
    return [Condition(**place, plan=base.with_(**new, name=name)) for name, new in changes.items()]


def _spreads(group: str, grid: Mapping[str, Sequence[Any]]) -> dict[str, tuple[str, ...]]:
    """For each knob the keys of all its values, and of the three in the middle."""
    middle, found = f"rate {grid['rate'][MIDDLE]:g}", {}
    for knob, values in grid.items():
        names = [f"{knob} {value:g}" for value in values]
        names[MIDDLE] = middle
        keys = tuple(f"{group}/{slug(name)}" for name in names)
        found[f"{group}/{slug(knob)}-far"] = keys
        found[f"{group}/{slug(knob)}-near"] = keys[MIDDLE - 1 : MIDDLE + 2]
    return found


def _extremes(place: Mapping[str, Any], base: Plan, rates: Sequence[float]) -> list[Condition]:
    """Everything trained at each of some rates, from scratch at the largest, and the head alone."""
    fresh = base.with_(lr=max(rates), pretrained=False, name=f"from scratch {max(rates):g}")
    own: dict[str, Any] = {
        "epochs": base.epochs,
        "batch_size": base.batch_size,
        "schedule": "cosine",
    }
    alone = feature_extraction(1e-2, **own, warmup=0.1, name="head alone")
    at = [base.with_(lr=rate, name=f"rate {rate:g}") for rate in rates]
    return [Condition(**place, plan=plan) for plan in (*at, fresh, alone)]


KNOBS = {"rate": "lr", "batch": "batch_size", "weight decay": "weight_decay"}
MIDDLE = 2  # of five values: the one that the base plan has
DIGITS_GRID = {
    "rate": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "batch": (2, 6, 20, 60, 100),  # 100 is all there is
    "weight decay": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
PHOTO_GRID = {
    "rate": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "batch": (4, 10, 32, 100, 244),  # nearly all of the training photographs
    "weight decay": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
ON_TEN = full(1e-3, 6, batch_size=20, schedule="cosine", warmup=0.1)
ON_LAYER4 = partial("layer4", 3e-4, 4, schedule="cosine", warmup=0.1)
ON_PHOTOS = full(3e-4, 3, schedule="cosine", warmup=0.1)
LAYER4 = {**ANTS_BEES, "group": "ants-bees-layer4"}

STEP_SIZE = Experiment(
    name="step-size",
    question="What does the rate decide, and how much do batch size and weight decay decide beside it?",
    settings=(
        *_extremes(digits(10), ON_TEN, (1e-5, 1e-1)),
        *_one_at_a_time(digits(10), ON_TEN, DIGITS_GRID),
        *_extremes(ANTS_BEES, ON_PHOTOS, (1e-5, 3e-4, 1e-1)),
        *_one_at_a_time(LAYER4, ON_LAYER4, PHOTO_GRID),
    ),
    notes="Nothing was tuned: the values are a grid around the rates of `types`, written down before the runs. "
    "Epochs are the same for all, so a larger batch takes fewer steps.",
    spreads={
        **_spreads("digits-10", DIGITS_GRID),
        **_spreads("ants-bees-layer4", PHOTO_GRID),
    },
)


def _decaying(labels: int, epochs: int, batch_size: int, tried: bool) -> Condition:
    """`full` of `types`, but each stage at half the rate of the one above it."""
    shape = {"schedule": "cosine", "warmup": 0.1, "batch_size": batch_size}
    plan = full(1e-3, epochs, lr_decay=0.5, **shape, name="full, rates decaying")
    return Condition(**digits(labels), plan=plan, rates=(1e-3, 3e-3, 1e-2) if tried else ())


DISCRIMINATIVE = Experiment(
    name="discriminative",
    question="Does a smaller rate for every stage further down beat one rate for all?",
    settings=(_decaying(3, 12, 6, tried=False), _decaying(10, 12, 20, tried=True)),
    notes="To be compared with `full` of `types`, which is the same but for the decay, each at the rate that did "
    "best when tried at 10 labels a class. The same pair on ants-bees is in `types`.",
)

EXPERIMENTS = (STEP_SIZE, DISCRIMINATIVE)
CONFIRMED = (STEP_SIZE, DISCRIMINATIVE)

# ---------------------------------------------------------------- the claims


def _preserves_or_destroys(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        home = f"step-size/{group}"
        alone = f"{home}/head-alone"
        yield f"{group}: 1e-5 preserves", ask(f"{home}/rate-1e-05/drift").high < 0.01
        yield f"{group}: 0.1 destroys", ask(f"{home}/rate-0.1", alone).high < 0


def _rate_first(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees-layer4"):
        for reach in ("near", "far"):
            for other in ("batch", "weight-decay"):
                rates, others = (f"step-size/{group}/{knob}-{reach}" for knob in ("rate", other))
                yield f"{group}, {reach}: rate over {other}", ask(rates, others).low > 0


def _a_rate_for_each_stage(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-3", "digits-10"):
        ours, one = f"discriminative/{group}/full-rates-decaying", f"types/{group}/full"
        yield group, ask(ours, one).low > 0
    ours, one = "types/ants-bees/full-rates-decaying", "types/ants-bees/full"
    yield "ants-bees", ask(ours, one).low > 0


CLAIMS = (
    Claim(
        5,
        "A small learning rate preserves what was learned; a large one destroys it.",
        "On digits with ten labels a class and on ants and bees, everything trained: at 1e-5 the layers below the "
        "head move by less than a hundredth of their length, and at 0.1 accuracy is below the head alone's.",
        _preserves_or_destroys,
        preregistered=False,
    ),
    Claim(
        15,
        "The learning rate matters more than batch size and weight decay.",
        "Accuracy spreads further (best value less worst, seed by seed) over the rates than over batch sizes and than "
        "over weight decays, with the others held; near, three values over about a tenfold, and far, five over "
        "a hundredfold or all that the data allow; on digits-10 (everything trains) and ants-bees (layer4 and head).",
        _rate_first,
        preregistered=False,
    ),
    Claim(
        18,
        "Discriminative rates beat one rate for all stages.",
        "Everything trained, half the rate for each stage further down, is more accurate than one rate for all, each "
        "at its own best rate; on digits with three and ten labels a class and on ants-bees.",
        _a_rate_for_each_stage,
        preregistered=False,
    ),
)
