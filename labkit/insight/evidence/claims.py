"""Claims of the course that a rule decides: the rule was written before the runs, the verdict follows from the record.

A rule asks the same question in several places. Yes everywhere is *supported*, yes nowhere is *not supported*, and
anything between is *it depends*. Yes always means: the whole 95 % interval over seeds lies on that side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import EvidenceError
from labkit.insight.metrics import Estimate

Ask = Callable[..., Estimate]  # as `evidence.estimate`: a key, and another to compare with


@dataclass(frozen=True)
class Claim:
    """A general statement, the rule in words, and the rule as code: an answer for each place it is asked in."""

    number: int
    statement: str
    rule: str
    asked: Callable[[Ask], Iterator[tuple[str, bool]]]

    def verdict(self, ask: Ask) -> str:
        """`supported`, `not supported` or `it depends`."""
        answers = [answer for _, answer in self.asked(ask)]
        return "supported" if all(answers) else "it depends" if any(answers) else "not supported"


def _fewer_steps(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        tuned, scratch = (f"head-start/{group}/{one}-to-scratch" for one in WAYS)
        yield group, ask(tuned, scratch).high < 0


def _more_accurate(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-3", "digits-10", "ants-bees"):
        tuned, scratch = (f"head-start/{group}/{one}" for one in WAYS)
        yield group, ask(tuned, scratch).low > 0


def _less_compute(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        tuned, scratch = (f"head-start/{group}/{one}-to-scratch/seconds" for one in WAYS)
        yield group, ask(tuned, scratch).high < 0


def _a_fraction(ask: Ask) -> Iterator[tuple[str, bool]]:
    for group in ("digits-10", "ants-bees"):
        scratch = ask(f"head-start/{group}/from-scratch-longer-to-fine-tuned")
        yield group, ask(f"head-start/{group}/fine-tuned/steps").high < scratch.low / 2


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


WAYS = ("fine-tuned", "from-scratch")

CLAIMS = (
    Claim(
        1,
        "Pre-trained converges in fewer steps.",
        "Everything trained, on digits with ten labels a class and on ants and bees: with pre-trained weights the "
        "validation accuracy that training from scratch ends with is there after fewer steps than from scratch.",
        _fewer_steps,
    ),
    Claim(
        3,
        "Pre-trained is more accurate on small data.",
        "Fine-tuned is more accurate than from scratch after the same epochs, each at its own best rate; on digits "
        "with three and ten labels a class and on ants and bees.",
        _more_accurate,
    ),
    Claim(
        4,
        "Pre-trained costs less compute to a given accuracy.",
        "As the first claim, in processor seconds: the accuracy that training from scratch ends with costs fewer.",
        _less_compute,
    ),
    Claim(
        5,
        "A small learning rate preserves what was learned; a large one destroys it.",
        "On digits with ten labels a class and on ants and bees, everything trained: at 1e-5 the layers below the "
        "head move by less than a hundredth of their length, and at 0.1 accuracy is below the head alone's.",
        _preserves_or_destroys,
    ),
    Claim(
        14,
        "Fine-tuning costs a fraction of training from scratch.",
        "All steps of fine-tuning are fewer than half of those that training from scratch, four times as long, takes "
        "to the validation accuracy that fine-tuning ends with, or has taken without reaching it; on digits with ten "
        "labels a class and on ants and bees. What pre-training itself has cost is left out.",
        _a_fraction,
    ),
    Claim(
        15,
        "The learning rate matters more than batch size and weight decay.",
        "Accuracy spreads further (best value less worst, seed by seed) over the rates than over batch sizes and than "
        "over weight decays, with the others held; near, three values over about a tenfold, and far, five over "
        "a hundredfold or all that the data allow; on digits-10 (everything trains) and ants-bees (layer4 and head).",
        _rate_first,
    ),
    Claim(
        18,
        "Discriminative rates beat one rate for all stages.",
        "Everything trained, half the rate for each stage further down, is more accurate than one rate for all, each "
        "at its own best rate; on digits with three and ten labels a class and on ants-bees.",
        _a_rate_for_each_stage,
    ),
)


def find(number: int) -> Claim:
    """The claim of that number in the curriculum; EvidenceError with those that a rule decides."""
    for claim in CLAIMS:
        if claim.number == number:
            return claim
    known = ", ".join(str(claim.number) for claim in CLAIMS)
    raise EvidenceError(f"No rule decides claim {number}. There are rules for {known}.")


def verdict(number: int, out: Path | None = None) -> str:
    """What the record says of a claim: `supported`, `not supported` or `it depends`."""
    from labkit.insight.evidence import estimate

    return find(number).verdict(lambda key, against=None: estimate(key, against, out))
