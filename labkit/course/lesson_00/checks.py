"""Checks of lesson 00: read the record of a run, and change its learning rate on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isclose
from typing import Any

import pandas as pd

from labkit.learn.exercises import exercise


@exercise(
    "00-best-epoch",
    title="the epoch that validation likes best",
    difficulty=1,
    minutes=5,
    hints=(
        "A record has rows for two splits. Which of them did the network not learn from?",
        "Keep the validation rows first: history[history.split == 'valid'].",
        "In those rows, find where `loss` is smallest, and return what stands under `epoch` there.",
    ),
)
def best_epoch(answer: Callable[[pd.DataFrame], Any]) -> Iterator[str]:
    """The answer maps a history to the epoch with the lowest validation loss."""
    history = _history(train=[1.5, 0.6, 0.5, 0.1], valid=[2.0, 0.9, 0.4, 0.7])
    given = answer(history.copy())
    if given is None:
        yield "Your function returned nothing: end it with `return` and the epoch."
        return
    if isinstance(given, pd.Series | pd.DataFrame) or not _is_whole(given):
        yield f"Return one whole number, the epoch. Yours was of the kind {type(given).__name__}."
        return
    if given == 2:
        if answer(_shuffled(history)) != 2:
            yield "It holds only while the rows are in order: read the epoch from its column."
        return
    if given == 3:
        yield "Epoch 3 has the lowest training loss and the best accuracy, not validation loss."
    elif given == 0:
        yield "Epoch 0 has the highest validation loss: a good loss is a small one."
    elif given == int(history.query("split == 'valid'").loss.idxmin()):
        yield "That is the label of a row, not the epoch that stands in it."
    else:
        yield f"Where validation loss is lowest after epoch 2, your function says {given}."


@exercise(
    "00-two-rates",
    title="a learning rate lowered on the way",
    difficulty=1,
    minutes=5,
    hints=(
        "A run can be trained a little, changed, and trained on. It does not start over.",
        "`run.fit(epochs=1)` trains one epoch, and a command is in force on the next step.",
        "The command is run.set(lr=...). Train before it and after it.",
    ),
)
def two_rates(run: Any) -> Iterator[str]:
    """The answer is a run of two epochs at a rate and two at a tenth of it, by a command."""
    from labkit.tuning import Run

    if not isinstance(run, Run):
        yield "Hand over the run itself, the thing that labkit.Run(...) gave you."
        return
    steps = run.history.query("split == 'train'")  # a rewind takes back what came after it
    rates = list(dict.fromkeys(steps["lr"]))
    commands = [entry for entry in run.log if entry.kind == "set" and "lr" in entry.args]
    if steps.empty:
        yield "This run has not taken a step yet."
    elif len(rates) == 1 and commands:
        yield "The rate was set, but only one was ever trained with: train before and after."
    elif len(rates) == 1:
        yield f"All {len(steps)} steps used the same learning rate, {rates[0]:g}."
    elif rates[-1] > rates[0]:
        yield f"The rate rose from {rates[0]:g} to {rates[-1]:g}. The task is to lower it."
    elif not commands:
        yield "The rate changed by a schedule of the plan. Give the command yourself."
    elif not isclose(rates[-1], rates[0] / 10):
        yield f"The rate fell from {rates[0]:g} to {rates[-1]:g}. Asked is a tenth of what it was."
    else:
        yield from _two_epochs_each(steps)


def _two_epochs_each(steps: pd.DataFrame) -> Iterator[str]:
    ends = steps.groupby("lr", sort=False)["epoch"].max().tolist()
    spent = [end - start for start, end in zip([0.0, *ends], ends, strict=False)]
    if len(spent) != 2 or not all(isclose(epochs, 2) for epochs in spent):
        told = ", then ".join(f"{epochs:.3g}" for epochs in spent)
        yield f"Two epochs at each rate, says the task. Your run trained for {told}."


def _history(train: list[float], valid: list[float]) -> pd.DataFrame:
    """A record in which training only gets better, and validation accuracy too."""
    rows = [
        {"step": 10 * epoch, "epoch": epoch, "split": split, "loss": loss, "accuracy": epoch / 4}
        for epoch, losses in enumerate(zip(train, valid, strict=True))
        for split, loss in zip(("train", "valid"), losses, strict=True)
    ]
    return pd.DataFrame(rows)


def _shuffled(history: pd.DataFrame) -> pd.DataFrame:
    return history.iloc[::-1].reset_index(drop=True)


def _is_whole(value: Any) -> bool:
    try:
        return bool(int(value) == value)
    except (TypeError, ValueError):
        return False
