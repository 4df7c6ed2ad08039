"""Commit to a guess before you see: predictions, and what came of them.

A prediction is one question with a few answers and a confidence. The first committed guess counts,
and it can no longer be changed. What all guesses together tell of the learner is in `scoring.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Integral
from typing import Any

import traitlets

from labkit.console import assets
from labkit.console.panel import Panel
from labkit.console.wire import Message
from labkit.errors import LabkitError, clipped, shown
from labkit.learn import kernels, progress
from labkit.learn.note import Note
from labkit.learn.scoring import score
from labkit.runtime import real_number

_asked: dict[str, tuple[str, ...]] = {}  # the choices of each question put in this process


class PredictionError(LabkitError, ValueError):
    """A guess, or an outcome, that the question does not offer."""


class Prediction(Panel):
    """The card on which a learner commits to a guess; text where there is no front-end."""

    _esm = assets.script_beside(__file__, "prediction.js")
    _css = assets.style_beside(__file__, "prediction.css")
    id = traitlets.Unicode().tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)
    choices = traitlets.List(traitlets.Unicode()).tag(sync=True)
    guess = traitlets.Unicode("").tag(sync=True)
    confidence = traitlets.Int(0).tag(sync=True)

    def __init__(self, id: str, question: str, choices: Sequence[str]) -> None:
        kept = progress.read("predictions").get(id, {})
        known = kept.get("guess") in choices and "confidence" in kept
        super().__init__(
            id=id,
            question=question,
            choices=list(choices),
            guess=kept["guess"] if known else "",
            confidence=kept["confidence"] if known else 0,
        )

    @property
    def chance(self) -> int:
        """The confidence of someone who knows nothing, in percent."""
        return round(100 / len(self.choices))

    def commit(self, guess: Any, confidence: Any) -> None:
        """Keep the guess. Only the first one counts.

        Raises:
            PredictionError: for a guess that is not offered, or a confidence that is none.
        """
        if self.guess:
            return
        if not isinstance(guess, str) or guess not in self.choices:
            offered = ", ".join(self.choices)
            raise PredictionError(f"guess={shown(guess)} is not offered. Choose one of: {offered}.")
        whole = isinstance(confidence, Integral) and not isinstance(confidence, bool)
        if not whole or not self.chance <= confidence <= 100:
            raise PredictionError(
                f"confidence={shown(confidence)} must lie between {self.chance} (a blind guess) and 100 (certain), "
                "and be a whole number."
            )
        confidence = int(confidence)
        question = {"question": self.question, "choices": list(self.choices)}
        with progress.entry("predictions", self.id) as kept:
            kept.clear()
            kept.update(question, guess=guess, confidence=confidence)
        with self.hold_sync():
            self.guess, self.confidence = guess, confidence

    def obey(self, asked: Message, buffers: Sequence[Any]) -> None:
        """Keep the guess that the page commits to."""
        if asked.get("kind") != "commit":
            raise PredictionError("A message needs the kind commit, a guess and a confidence.")
        self.commit(asked.get("guess"), asked.get("confidence"))

    def __repr__(self) -> str:
        if self.guess:
            return f"{self.question}\n  Your guess: {self.guess} ({self.confidence} % sure)."
        offered = "\n".join(f"  - {choice}" for choice in self.choices)
        how = "To answer in code, add guess=... and confidence=... to the call."
        return f"{self.question}\n{offered}\n  {how}"


def predict(
    id: str,
    question: str,
    choices: Sequence[str],
    guess: str | None = None,
    confidence: int | None = None,
) -> Prediction:
    """Ask the learner for a guess before the result is seen.

    Args:
        id: names the prediction in the progress file, as in "04-raw-pixels".
        question: one sentence, ending with a question mark.
        choices: at least two answers, of which exactly one will turn out right.
        guess: one of the choices, to answer in code; None shows the card and waits for nobody.
        confidence: how sure, in percent, from a blind guess to 100; default half-way between.

    Raises:
        PredictionError: for a guess or a confidence that is not on offer.
    """
    for name, text in (("id", id), ("question", question)):
        if not isinstance(text, str) or not text:
            raise PredictionError(f"{name}={shown(text)} must be text, such as '04-raw-pixels'.")
    if not _are_choices(choices):
        raise PredictionError(
            f"{clipped(id)}: give at least two different choices in a list, not {shown(choices)}."
        )
    kernels.tell_once()  # every lesson begins with a guess, and has taken little memory by then
    card = Prediction(id, question, choices)
    _asked[id] = tuple(choices)
    if guess is not None:
        card.commit(guess, (card.chance + 100) // 2 if confidence is None else confidence)
    return card


def _are_choices(choices: Any) -> bool:
    listed = isinstance(choices, Sequence) and not isinstance(choices, str | bytes)
    texts = listed and all(isinstance(choice, str) for choice in choices)
    return texts and len(choices) >= 2 and len(set(choices)) == len(choices)


def reveal(id: str, outcome: str | float, bounds: Sequence[float] = ()) -> Note:
    """Say what came out, compare it with the guess, and keep the learner's score.

    Args:
        id: the prediction.
        outcome: the choice that turned out right, or a number that `bounds` sort into the choices.
        bounds: ascending limits between neighbouring choices; a limit belongs to the higher one.

    Raises:
        PredictionError: when the outcome is none of the choices of that question.
    """
    if not isinstance(id, str):
        raise PredictionError(
            f"id={shown(id)} must be that of a prediction, such as '04-raw-pixels'."
        )
    kept = progress.read("predictions").get(id)
    if kept is None or not _is_guess(kept):
        said = _choice(id, outcome, bounds, _asked[id]) if id in _asked else _plain(outcome)
        return Note(f"It came out as: {said}.", ("You made no guess, so nothing is scored.",))
    right = _choice(id, outcome, bounds, kept["choices"])
    with progress.entry("predictions", id) as entry:
        entry.setdefault("outcome", right)
    won = kept["guess"] == right
    guess = f"Your guess was: {kept['guess']} ({kept['confidence']} % sure)."
    headline = f"{'You saw it coming' if won else 'It came out otherwise'}: {right}."
    return Note(headline, (guess, str(score())), tone="right" if won else "not yet")


def _is_guess(kept: Mapping[str, Any]) -> bool:
    """Whether an entry of the progress file is a guess that can be judged; half of one counts as none."""
    return "confidence" in kept and kept.get("guess") in kept.get("choices", ())


def _plain(outcome: str | float) -> str:
    return outcome if isinstance(outcome, str) else f"{_number(outcome):.3g}"


def _number(outcome: Any) -> float:
    """An outcome that is a number. Raises PredictionError for anything else."""
    number = real_number(outcome)
    if number is None or not isfinite(number):
        raise PredictionError(
            f"outcome={shown(outcome)} must be one of the choices, or a number that bounds sort into them."
        )
    return float(number)


def _choice(id: str, outcome: str | float, bounds: Sequence[float], choices: Sequence[str]) -> str:
    if isinstance(outcome, str):
        if outcome in choices:
            return outcome
        raise PredictionError(
            f"{id}: the outcome {shown(outcome)} is none of {', '.join(choices)}."
        )
    number, limits = _number(outcome), len(choices) - 1
    listed = isinstance(bounds, Sequence) and not isinstance(bounds, str | bytes)
    ends = [real_number(bound) for bound in bounds] if listed else []
    known = [end for end in ends if end is not None]
    if len(known) != limits or len(ends) != limits or known != sorted(known):
        raise PredictionError(
            f"{id}: {limits} ascending bounds are needed in a list, not {shown(bounds)}."
        )
    return choices[bisect_right(known, number)]
