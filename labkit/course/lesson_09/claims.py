"""When to stop: what augmentation does to overfitting, and whether the epoch that validation picks beats the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING, Any

from labkit.records.evidence.claim import Ask, Claim
from labkit.records.evidence.setting import (
    ANTS_BEES,
    FRESH_SEEDS,
    Condition,
    Experiment,
    Measurement,
    digits,
)
from labkit.tuning import EpochDone, full

if TYPE_CHECKING:
    from labkit.data import ImageData
    from labkit.tuning import Run

PATIENCE = 3  # epochs without a lower validation loss, after which an impatient run stops

# ---------------------------------------------------------------- what is read off a finished run


def _epochs(run: Run) -> list[EpochDone]:
    """What was told after each epoch, the one before any training first."""
    return [event for _, event in run.journal.since() if isinstance(event, EpochDone)]


def _valid_loss(epoch: EpochDone) -> float:
    return inf if epoch.valid_loss is None else epoch.valid_loss


def stopped(epochs: Sequence[EpochDone], patience: int) -> tuple[EpochDone, EpochDone]:
    """The epoch with the lowest validation loss so far, and the one after which patience ran out, or the last."""
    best = epochs[0]
    for epoch in epochs:
        if _valid_loss(epoch) < _valid_loss(best):
            best = epoch
        elif epoch.epoch - best.epoch >= patience:
            return best, epoch
    return best, epochs[-1]


def _tested(run: Run, epoch: EpochDone) -> float:
    """Accuracy on the test split as it was after an epoch; the run stays where it is."""
    there = run if epoch.step == run.step_number else run.branch(step=epoch.step)
    return there.evaluate("test").accuracy


def _at_lowest_loss(run: Run) -> float:
    return _tested(run, min(_epochs(run), key=_valid_loss))


def _at_most_right(run: Run) -> float:
    return _tested(run, max(_epochs(run), key=lambda epoch: epoch.valid_correct))


def _with_patience(run: Run) -> float:
    return _tested(run, stopped(_epochs(run), PATIENCE)[0])


def _epochs_with_patience(run: Run) -> float:
    return stopped(_epochs(run), PATIENCE)[1].epoch


def _right_in_training(run: Run) -> float:
    """Accuracy on the training images as they are: not augmented, in evaluation mode."""
    return run.evaluate("train").accuracy


def _gap(run: Run) -> float:
    """How far that lies above the accuracy on validation; nothing was chosen there in these runs."""
    return _right_in_training(run) - run.evaluate("valid").accuracy


def _rise(run: Run) -> float:
    """How far the validation loss ends above its lowest, as a share of that."""
    losses = [_valid_loss(epoch) for epoch in _epochs(run)]
    return losses[-1] / min(losses) - 1


def _training_losses(run: Run) -> list[float]:
    """Epoch by epoch, as trained: augmented where the plan says so. Before any training there is none."""
    losses = (epoch.train_loss for epoch in _epochs(run))
    return [nan if loss is None else loss for loss in losses]


def _validation_losses(run: Run) -> list[float]:
    return [_valid_loss(epoch) for epoch in _epochs(run)]


FIT = {
    "fit": Measurement(_right_in_training),
    "gap": Measurement(_gap),
    "rise": Measurement(_rise),
    "training-loss": Measurement(_training_losses),
    "validation-loss": Measurement(_validation_losses),
}
STOP = {
    "by-loss": Measurement(_at_lowest_loss),
    "by-accuracy": Measurement(_at_most_right),
    "patient": Measurement(_with_patience),
    "patient-epochs": Measurement(_epochs_with_patience, "epochs"),
}

# ---------------------------------------------------------------- the experiment


@dataclass(frozen=True)
class Disturbed:
    """A share of the training labels is drawn at random, and so many validation images are left; None is all."""

    share: float
    watched: int | None = None

    def __call__(self, data: ImageData, seed: int) -> ImageData:
        from labkit.records.sabotage import bugs

        data = bugs.shuffle_labels(data, self.share, seed)
        return bugs.fewer_to_validate(data, self.watched, seed) if self.watched else data


def _ways(
    place: Mapping[str, Any], rate: float, epochs: int, decay: bool = False, **plan: Any
) -> list[Condition]:
    """Everything trained, all for the same epochs, far longer than the fit needs.

    Without augmentation, with two levels of it, and, where asked for, with a hundred times the usual weight decay: at a
    rate that falls to zero. Without augmentation also at a rate that never falls. What stopping would have given is
    read off where nothing is augmented.
    """
    plain = full(rate, epochs, schedule="cosine", warmup=0.1, **plan, name="none")
    held = plain.with_(schedule="constant", name="constant rate")
    others = [plain.with_(augment=level, name=level) for level in ("light", "strong")]
    if decay:
        others.append(plain.with_(weight_decay=1.0, name="decay"))
    return [
        *(Condition(**place, plan=one, readings={**FIT, **STOP}) for one in (plain, held)),
        *(Condition(**place, plan=one, readings=FIT) for one in others),
    ]


def _few_to_watch() -> Condition:
    """Wrong labels and a constant rate again, but a handful of validation images to choose by."""
    place = {**digits(10), "group": "digits-10-few-to-watch", "change": Disturbed(0.3, 20)}
    plan = full(1e-3, 20, warmup=0.1, batch_size=20, name="constant rate")
    return Condition(**place, plan=plan, readings=STOP)


WRONG_LABELS = {**digits(10), "group": "digits-10-wrong-labels", "change": Disturbed(0.3)}
HELD_OUT = {  # validation is the official one; a third of the training part is the test
    **ANTS_BEES,
    "data": {"name": "ants-bees", "size": 64, "seed": 0, "test": 0.33},
    "split": "test",
}
PLACES = ("digits-3", "digits-10", "digits-10-wrong-labels", "ants-bees")

WHEN_TO_STOP = Experiment(
    name="when-to-stop",
    question="Does augmentation close the gap between training and validation, and is the last epoch the best?",
    settings=(
        *_ways(digits(3), 1e-3, 20, batch_size=6),
        *_ways(digits(10), 1e-3, 20, batch_size=20),
        *_ways(WRONG_LABELS, 1e-3, 20, decay=True, batch_size=20),
        _few_to_watch(),
        *_ways(HELD_OUT, 3e-4, 8),
    ),
    seeds=FRESH_SEEDS,
    notes="Rates are those of `types`, seeds are new, and nothing was tuned. Epochs are chosen on the validation split "
    "and counted on the test split, which has chosen nothing; the gap is between training and validation. Where "
    "labels are wrong, three in ten were drawn at random, so one in ten of those is right after all.",
)

EXPERIMENTS = (WHEN_TO_STOP,)

# ---------------------------------------------------------------- the claims


def _closes_the_gap(ask: Ask) -> Iterator[tuple[str, bool]]:
    for place in PLACES:
        for level in ("light", "strong"):
            home = f"when-to-stop/{place}"
            yield f"{place}: {level}", ask(f"{home}/{level}/gap", f"{home}/none/gap").high < 0


def _beats_the_end(ask: Ask) -> Iterator[tuple[str, bool]]:
    for place in PLACES:
        for rate, plan in (("falling rate", "none"), ("constant rate", "constant-rate")):
            home = f"when-to-stop/{place}/{plan}"
            yield f"{place}: {rate}", ask(f"{home}/by-loss", home).low > 0


CLAIMS = (
    Claim(
        7,
        "Augmentation reduces overfitting on small data.",
        "Everything trained, far longer than the fit needs: at the end, training accuracy (on pictures as they are) "
        "lies less far above validation accuracy with augmentation than without, light and strong alike; on digits "
        "with three and ten labels a class, with ten of which some are wrong, and on ants and bees.",
        _closes_the_gap,
    ),
    Claim(
        8,
        "Watching validation picks a better model than training to the end.",
        "Everything trained, far longer than the fit needs: the epoch with the lowest validation loss is more accurate "
        "than the last one on a test split that has chosen nothing, at a rate that falls to zero and at a constant "
        "one; on digits with three and ten labels a class, with ten of which some are wrong, and on ants and bees.",
        _beats_the_end,
    ),
)
