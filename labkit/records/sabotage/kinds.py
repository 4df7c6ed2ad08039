"""What can be wrong with a run, one kind after the other, and how a run of each kind is drawn and trained.

Every run is a real one: a shipped backbone on digits or, where they lie on this machine, on photographs of ants and
bees, with a plan drawn from the usual ranges. `sound` runs are drawn like the others and left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import labkit
from labkit.data import ImageData
from labkit.errors import EvidenceError
from labkit.models import Backbone
from labkit.records.sabotage import bugs
from labkit.records.sabotage.cases import TITLES, Case
from labkit.records.sabotage.chance import Chance
from labkit.runtime import Precision
from labkit.tuning import Phase, Plan, Run
from labkit.tuning.trainer import Hooks

Way = Literal["head", "layer4", "layer3", "all", "scratch", "gradual"]

PRETRAINED: tuple[Way, ...] = ("head", "layer4", "layer3", "all", "gradual")
EVERY: tuple[Way, ...] = (*PRETRAINED, "scratch")
FROZEN: tuple[Way, ...] = ("head", "layer4", "layer3")
DEEP: tuple[Way, ...] = ("layer4", "layer3", "all")  # BatchNorm trains in them
RATES: dict[Way, tuple[float, float]] = {  # AdamW, the usual range of each way
    "head": (2e-3, 1e-2),
    "layer4": (3e-4, 2e-3),
    "layer3": (3e-4, 2e-3),
    "all": (2e-4, 1e-3),
    "scratch": (5e-4, 2e-3),
    "gradual": (1e-3, 3e-3),
}


@dataclass(frozen=True)
class Parts:
    """What a run is made of."""

    net: Backbone
    data: ImageData
    plan: Plan
    seed: int

    def run(self, **mistakes: Any) -> Run:
        """The run, not trained yet, with mistakes of its loop: hooks of its trainer, by name.

        The precision is fixed, so that machines differ as little as they can.
        """
        run = Run(self.net, self.data, self.plan, self.seed, "a run", Precision())
        run.trainer.hooks = Hooks(**mistakes)
        return run


@dataclass(frozen=True)
class Kind:
    """A way in which a run goes wrong; `make` draws one and gives the run, not trained yet."""

    name: str
    title: str
    make: Callable[[Chance, Case], Run]


def train(case: Case) -> Run:
    """The run of a case, trained to its end; a second or two on one thread."""
    return make(case).fit()


def make(case: Case) -> Run:
    """The run of a case, ready to be trained."""
    return find(case.kind).make(Chance(case.pool, f"{case.kind} {case.material}", case.seed), case)


def find(name: str) -> Kind:
    """The kind of that name."""
    if name not in KINDS:
        raise EvidenceError(f"There is no kind of run {name!r}. There are {', '.join(KINDS)}.")
    return KINDS[name]


# ---------------------------------------------------------------- what all runs have in common


def draw(chance: Chance, case: Case, ways: Sequence[Way] = PRETRAINED) -> Parts:
    """Network, data and plan from the usual ranges; `ways` are the plans that this kind makes sense with."""
    photographs = case.material == "ants-bees"
    way = chance.choice(
        tuple(w for w in ways if w not in ("all", "scratch")) if photographs else ways
    )
    data = draw_data(chance, case)
    net = labkit.load_backbone(
        "resnet10" if photographs else chance.choice(("resnet10-glyphs",) * 3 + ("resnet10",))
    )
    return Parts(net, data, draw_plan(chance, way, len(data.train)), case.seed)


def draw_data(chance: Chance, case: Case, per_class: int | None = None) -> ImageData:
    if case.material == "ants-bees":
        data = _load("ants-bees", 48)
        return data.subset(per_class or chance.whole(60, 110), seed=case.seed)
    data = _load("digits", 4 * chance.whole(3, 5))
    data = data.subset(per_class or chance.whole(16, 32), seed=case.seed)
    return bugs.fewer_to_validate(data, chance.whole(120, 220), case.seed)


def draw_plan(chance: Chance, way: Way, examples: int) -> Plan:
    """40 to 70 steps, at least 3 epochs, at a rate that is usual for the way."""
    batch = chance.whole(12, 36)
    epochs = max(3, min(10, round(chance.whole(40, 70) * batch / examples)))
    lr = chance.number(*RATES[way], logarithmic=True)
    schedule = chance.choice(("constant", "cosine"))
    shape: dict[str, Any] = {"schedule": schedule, "warmup": chance.choice((0.0, 0.1))}
    rest: dict[str, Any] = {
        "batch_size": batch,
        "augment": chance.choice(("none", "none", "light")),
    }
    if way == "gradual":
        phases = tuple(Phase(depth, lr, max(2, epochs // 3), lr_decay=0.5) for depth in (1, 2, 3))
        return Plan("gradual", phases, **rest)
    depth = "all" if way == "scratch" else way
    return Plan(way, (Phase(depth, lr, epochs, **shape),), pretrained=way != "scratch", **rest)


@lru_cache(maxsize=8)
def _load(name: str, size: int) -> ImageData:
    return labkit.load_data(name, size=size)


# ---------------------------------------------------------------- sound runs


def _sound(chance: Chance, case: Case) -> Run:
    """Any plan, also by SGD, with the rate lowered on the way, or rewound or branched as it should be."""
    photographs = case.material == "ants-bees"
    parts = draw(chance, case, ("head",) if photographs else EVERY)
    if photographs:
        # So few of them are soon learned by heart: a sound run is shallow, and stops before.
        phase = replace(parts.plan.phases[0], epochs=min(4, parts.plan.epochs))
        parts = replace(parts, plan=parts.plan.with_(phases=(phase,)))
    way = chance.choice(("plain", "plain", "sgd", "rewound", "moved", "branched"))
    if way == "sgd" and parts.plan.pretrained and not photographs:
        return replace(
            parts, plan=parts.plan.with_(optimizer="sgd", lr=parts.plan.phases[0].lr * 8)
        ).run()
    run = parts.run()
    steps = chance.whole(6, 20)
    if way == "rewound":
        for _ in range(steps):
            run.step()
        run.rewind(chance.whole(0, steps))
    elif way == "moved":
        run.fit(epochs=1)
        run.set(lr=run.settings.lr * chance.number(0.3, 1.0, logarithmic=True))
    elif way == "branched":
        run.fit(epochs=1)
        return run.branch(lr=run.settings.lr * 0.7)
    return run


# ---------------------------------------------------------------- the eight of the clinic


def _statistics_drift(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case, FROZEN)
    return replace(parts, plan=parts.plan.with_(frozen_statistics="running")).run()


def _head_left_out(chance: Chance, case: Case) -> Run:
    run = draw(chance, case, DEEP).run()
    bugs.leave_head_out(run)
    return run


def _eval_mode(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case, DEEP)
    if chance.choice((True, False)):
        return parts.run(before_step=bugs.stay_in_eval_mode)
    return parts.run(validate=bugs.validate_in_train_mode(parts.plan.batch_size))


def _leakage(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case)
    share, noise = chance.number(0.15, 1), chance.choice((0, 3, 8))
    return replace(parts, data=bugs.leak(parts.data, share, noise, case.seed)).run()


def _normalisation(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case)
    way = chance.choice(("twice", "bytes", "never", "valid only", "other constants"))
    data, net = parts.data, parts.net
    mean, std = {"bytes": (0.0, 1 / 255), "other constants": (0.5, 0.5)}.get(way, (0.45, 0.225))
    if way == "never":
        net = bugs.without_normalising(net)
    else:
        data = replace(data, valid=bugs.rescale(data.valid, mean, std))
    if way not in ("never", "valid only"):
        data = replace(data, train=bugs.rescale(data.train, mean, std))
    return replace(parts, data=data, net=net).run()


def _rate_times_100(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case)
    lr = min(1.0, parts.plan.phases[0].lr * chance.number(60, 160, logarithmic=True))
    return replace(parts, plan=parts.plan.with_(lr=lr)).run()


def _averaged_averages(chance: Chance, case: Case) -> Run:
    """Validated in batches of which the last is small, or the mistake would make no difference."""
    parts = draw(chance, case)
    batch = chance.whole(20, 70)
    full = max(1, len(parts.data.valid) // batch)
    rest = chance.whole(1, batch // 3)
    while full * batch + rest > len(parts.data.valid):
        full -= 1
    data = bugs.fewer_to_validate(parts.data, full * batch + rest, case.seed)
    return replace(parts, data=data).run(validate=bugs.average_averages(batch))


def _stale_optimizer_state(chance: Chance, case: Case) -> Run:
    run = draw(chance, case).run()
    lr = min(0.5, run.settings.lr * chance.number(10, 100, logarithmic=True))
    bugs.keep_optimizer_state_over_a_rewind(run, chance.whole(4, 25), lr)
    return run


# ---------------------------------------------------------------- what else happens to runs


def _not_a_number(chance: Chance, case: Case) -> Run:
    """One training image was divided by its own deviation, which was 0."""
    parts = draw(chance, case)
    hole = chance.whole(0, len(parts.data.train) - 1)
    data = replace(parts.data, train=bugs.spoil(parts.data.train, hole))
    return replace(parts, data=data).run()


def _rate_too_small(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case)
    lr = parts.plan.phases[0].lr * chance.number(1 / 3000, 1 / 300, logarithmic=True)
    return replace(parts, plan=parts.plan.with_(lr=lr)).run()


def _overfitting(chance: Chance, case: Case) -> Run:
    """Few examples, some of them with a wrong label, and enough epochs to learn them by heart."""
    parts = draw(chance, case, ("layer3", "all", "scratch"))
    data = draw_data(chance, case, per_class=chance.whole(4, 6))
    data = bugs.shuffle_labels(data, chance.number(0.3, 0.6), case.seed)
    lr = chance.number(5e-4, 1.5e-3, logarithmic=True)
    depth = parts.plan.phases[0].trainable_from
    plan = Plan(
        "long",
        (Phase(depth, lr, chance.whole(16, 24)),),
        batch_size=16,
        pretrained=parts.plan.pretrained,
    )
    return replace(parts, data=data, plan=plan).run()


def _underfitting(chance: Chance, case: Case) -> Run:
    """So strong a pull of the weights towards zero that the training examples cannot be learned."""
    parts = draw(chance, case, ("head", "layer4"))
    decay = chance.number(0.6, 1, logarithmic=True)
    phase = Phase(parts.plan.phases[0].trainable_from, 0.02, max(8, parts.plan.epochs))
    plan = parts.plan.with_(phases=(phase,), optimizer="sgd", weight_decay=decay, augment="none")
    return replace(parts, plan=plan).run()


def _frozen_moves(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case, FROZEN)
    first = parts.net.stages.index(str(parts.plan.phases[0].trainable_from))
    depth = parts.net.stages[max(0, first - chance.whole(1, 3))]
    return parts.run(before_step=bugs.unfreeze_in_secret(depth))


def _little_validation(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case)
    data = bugs.fewer_to_validate(parts.data, chance.whole(8, 24), case.seed)
    return replace(parts, data=data).run()


def _augmented(chance: Chance, case: Case) -> Run:
    parts = draw(chance, case, DEEP)
    return replace(parts, plan=parts.plan.with_(augment="strong")).run()


MADE: dict[str, Callable[[Chance, Case], Run]] = {
    "sound": _sound,
    "statistics-drift": _statistics_drift,
    "head-left-out": _head_left_out,
    "eval-mode": _eval_mode,
    "leakage": _leakage,
    "normalisation": _normalisation,
    "rate-too-large": _rate_times_100,
    "averaged-averages": _averaged_averages,
    "stale-moments": _stale_optimizer_state,
    "not-a-number": _not_a_number,
    "rate-too-small": _rate_too_small,
    "overfitting": _overfitting,
    "underfitting": _underfitting,
    "frozen-moves": _frozen_moves,
    "little-validation": _little_validation,
    "augmented": _augmented,
}
KINDS = {name: Kind(name, title, MADE[name]) for name, title in TITLES.items()}
CLINIC: tuple[str, ...] = tuple(KINDS)[1:9]  # the eight of lesson 14
