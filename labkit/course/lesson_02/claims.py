"""What a pre-trained network knows: which source helps, how far up it is general, and what its old head can do.

Rules, places and settings were written before any of these runs, the meanings of old classes among them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial as fixed
from typing import TYPE_CHECKING, Any

from labkit.insight.kinds import backbone_of
from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import (
    ANTS_BEES,
    FRESH_SEEDS,
    Condition,
    Experiment,
    Measurement,
    digits,
)
from labkit.tuning import feature_extraction, from_scratch, full, partial

if TYPE_CHECKING:
    from torch import nn

    from labkit.models import Backbone
    from labkit.tuning import Run

LETTERS, PHOTOGRAPHS = "letters", "photographs"
SOURCES = {LETTERS: "resnet10-glyphs", PHOTOGRAPHS: "resnet10"}
SHAPE = {"schedule": "cosine", "warmup": 0.1}

# ---------------------------------------------------------------- which source helps


@dataclass(frozen=True)
class BarePixels:
    """A start without a network: the pixels of a square image in a row, and a head on them."""

    size: int

    def __call__(self, net: Backbone) -> Backbone:
        from labkit.models import Backbone

        return Backbone.from_module(
            fixed(_bare, 3 * self.size**2), ("pixels", "head"), "bare pixels"
        )


def _bare(inputs: int, num_classes: int) -> nn.Module:
    from torch import nn

    stages = OrderedDict(pixels=nn.Flatten(), head=nn.Linear(inputs, num_classes))
    return nn.Sequential(stages)


def _probes(place: Mapping[str, Any], epochs: int, batch_size: int) -> list[Condition]:
    """A head on the features of each source, on those of a random network, and on bare pixels."""
    starts: dict[str, dict[str, Any]] = {name: {"net": net} for name, net in SOURCES.items()}
    shared: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, **SHAPE}
    starts |= {RANDOM: {}, BARE: {"start": BarePixels(place["data"]["size"])}}
    settings = []
    for name, start in starts.items():
        rate = RATES[place["group"]][name]
        plan = feature_extraction(rate, **shared, pretrained=name in SOURCES, name=name)
        settings.append(Condition(**{**place, **start}, plan=plan, rates=TRIED))
    return settings


TRIED = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
RANDOM, BARE = "random network", "bare pixels"
RATES = {
    "digits-3": {LETTERS: 0.003, PHOTOGRAPHS: 0.01, RANDOM: 0.1, BARE: 0.003},
    "digits-10": {LETTERS: 0.003, PHOTOGRAPHS: 0.03, RANDOM: 0.1, BARE: 0.003},
    "ants-bees": {LETTERS: 0.0003, PHOTOGRAPHS: 0.1, RANDOM: 0.1, BARE: 0.001},
}

SOURCE = Experiment(
    name="source",
    question="Whose features help a new head: a related source's, an unrelated one's, nobody's?",
    settings=(
        *_probes(digits(3), 24, 6),
        *_probes(digits(10), 24, 20),
        *_probes(ANTS_BEES, 15, 32),
    ),
    seeds=FRESH_SEEDS,
    notes="Every description has a rate of its own, tried on other examples, in each of the three places.",
)

# ---------------------------------------------------------------- how far up it is general


@dataclass(frozen=True)
class KeepUpTo:
    """A start that keeps the weights up to a stage; those above begin at random, as in Yosinski et al. (2014)."""

    stage: str

    def __call__(self, net: Backbone) -> Backbone:
        kept = net.stages[: net.stages.index(self.stage) + 1]
        state = {
            name: tensor
            for name, tensor in (net.state or {}).items()
            if name.partition(".")[0] in kept
        }
        return replace(net, state=state)


ABOVE = {"layer1": "layer2", "layer2": "layer3", "layer3": "layer4", "layer4": "head"}


def _kept(
    place: Mapping[str, Any], fresh: float, probe: float, epochs: int, batch_size: int
) -> list[Condition]:
    """Stages up to one frozen as they come from a source, the others trained from random weights."""
    shared: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, **SHAPE}
    nothing = from_scratch(fresh, **shared, name="from scratch")
    settings = [Condition(**place, plan=nothing)]
    for source, net in SOURCES.items():
        for last, first in ABOVE.items():
            rate = probe if first == "head" else fresh
            plan = partial(first, rate, **shared, name=f"{source} up to {last}")
            settings.append(Condition(**{**place, "net": net}, plan=plan, start=KeepUpTo(last)))
    return settings


KEPT = Experiment(
    name="kept",
    question="How far up can a network be kept, from a related source and from an unrelated one?",
    settings=(
        *_kept(digits(10), 3e-3, 1e-2, 12, 20),
        *_kept(ANTS_BEES, 1e-3, 1e-2, 6, 16),
    ),
    seeds=FRESH_SEEDS,
    notes="Rates are those of `types`: what begins at random has that of from scratch, a head alone that of the "
    "linear probe.",
)

# ---------------------------------------------------------------- what the old head can do


def _counted(run: Run) -> Any:
    """The split that is reported: the test split where there is one."""
    return run.data.test if len(run.data.test) else run.data.valid


def _zero_shot(run: Run) -> float:
    """The accuracy of the old head, before any training."""
    from labkit.insight.zero_shot import BY_HAND, zero_shot

    return zero_shot(backbone_of(run), _counted(run), BY_HAND[run.data.name]).accuracy


def _prototypes(run: Run) -> float:
    """The accuracy of the nearest class mean, by cosine, of the features before any training."""
    import torch
    from torch.nn import functional as F

    from labkit.insight.inside import features, start_of

    model, stage, split = start_of(run), run.stages[-2], _counted(run)
    known, asked = (
        features(model, run, part, torch.arange(len(part)), [stage])[stage]
        for part in (run.data.train, split)
    )
    of_class = [known[run.data.train.labels == label] for label in range(len(run.data.classes))]
    means = torch.stack([some.mean(0) for some in of_class])
    answers = (F.normalize(asked) @ F.normalize(means).T).argmax(1)
    return float((answers == split.labels).double().mean())


ASKED = {"zero-shot": Measurement(_zero_shot), "prototypes": Measurement(_prototypes)}


def _against_the_old_head(
    place: Mapping[str, Any], rate: float, epochs: int, batch_size: int
) -> Condition:
    """Everything trained on few labels, and what could be said before."""
    plan = full(rate, epochs, batch_size=batch_size, **SHAPE, name="fine-tuned")
    return Condition(**place, plan=plan, readings=ASKED)


def _photographs(labels: int) -> dict[str, Any]:
    return {**ANTS_BEES, "group": f"ants-bees-{labels}", "labels": labels}


ZERO_SHOT = Experiment(
    name="zero-shot",
    question="How many labels does fine-tuning need to beat what the old head says without any?",
    settings=(
        _against_the_old_head(digits(1), 1e-3, 30, 5),
        _against_the_old_head(digits(3), 1e-3, 12, 6),
        _against_the_old_head(_photographs(10), 3e-4, 15, 5),
        _against_the_old_head(_photographs(40), 3e-4, 12, 16),
    ),
    seeds=FRESH_SEEDS,
    notes="Sixty steps each, at the rates of `types`. The zero-shot answer depends on no seed.",
)

EXPERIMENTS = (SOURCE, KEPT, ZERO_SHOT)

# ---------------------------------------------------------------- the claims

PLACES = {  # related, unrelated
    "digits-3": (LETTERS, PHOTOGRAPHS),
    "digits-10": (LETTERS, PHOTOGRAPHS),
    "ants-bees": (PHOTOGRAPHS, LETTERS),
}
MARGIN = 0.05  # what counts as a difference between sources


def _source_matters(ask: Ask) -> Iterator[tuple[str, bool]]:
    hurts = []
    for group, (related, unrelated) in PLACES.items():
        home = f"source/{group}"
        yield f"{group}: related", ask(f"{home}/{related}", f"{home}/{unrelated}").low > 0
        hurts.append(ask(f"{home}/{unrelated}", f"{home}/bare-pixels").high < 0)
    yield "unrelated hurts somewhere", any(hurts)


def _early_general_late_specific(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        ours, theirs = (f"kept/{group}/{source}-up-to" for source in PLACES[group])
        early = ask(f"{ours}-layer1", f"{theirs}-layer1")
        yield f"{group}: early general", early.low > -MARGIN and early.high < MARGIN
        yield f"{group}: late specific", ask(f"{ours}-layer4", f"{theirs}-layer4").low > MARGIN


def _beats_zero_shot(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-1", "digits-3", "ants-bees-10", "ants-bees-40"):
        tuned = f"zero-shot/{group}/fine-tuned"
        yield group, ask(tuned, f"{tuned}/zero-shot").low > 0


CLAIMS = (
    Claim(
        10,
        "A related source transfers better; an unrelated one can hurt.",
        "A head on frozen features, each at its own best rate: those of the related source (letters for digits, "
        "photographs for ants and bees) are more accurate than those of the other; on digits with three and ten labels "
        "a class and on ants and bees. In at least one of the three the unrelated source is below bare pixels.",
        _source_matters,
    ),
    Claim(
        12,
        "Early layers are general, late ones specific.",
        "Stages are kept frozen from a source and the rest is trained from random weights. Kept up to layer1, the "
        "related and the unrelated source differ by less than five points; kept up to layer4, by more; on digits with "
        "ten labels a class and on ants and bees.",
        _early_general_late_specific,
    ),
    Claim(
        17,
        "Fine-tuning beats a zero-shot baseline.",
        "Everything trained on few labels is more accurate than the old head, whose classes were given new meanings by "
        "hand before anyone saw an answer; on digits with one and three labels a class and on ants and bees with ten "
        "and forty.",
        _beats_zero_shot,
    ),
)
