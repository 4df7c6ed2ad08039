"""Looks at the run that is shown, now and then: the sentence, what recorded runs with its settings came to, the drift
of its stages, predictions on a few images, and the figure that the learner has chosen.

A look needs the model to stand still, so it costs training time. The prober measures what each look cost and waits
so long that training loses at most `SHARE` of its time; where nobody watches, it does not look at all.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from typing import Any
from weakref import WeakKeyDictionary

from labkit.console.looks import Looks
from labkit.console.strip import SHOWN, Sample
from labkit.errors import LabkitError
from labkit.insight.kinds import has_images
from labkit.tuning import Run, resting
from labkit.tuning.contracts import name_of

SHARE = 0.01  # of training time that looking may cost
PAUSE = 1.0  # seconds between two looks, at least; a run that begins, pauses or ends is looked at at once
WATCHED = 5.0  # seconds after the last poll in which somebody is taken to watch


class Prober:
    """One thread that looks while somebody watches. `sentence` and `result` are replaced whole, so reading is free."""

    def __init__(self) -> None:
        self.sentence = self.expected = ""
        self.result: dict[str, Any] | None = None
        self.looks = Looks()
        self._target: tuple[Run, str, str] | None = None
        self._watched = 0.0
        self._seen: tuple[str, int] | None = None
        self._stage: tuple[Any, ...] | None = None
        self._due = 0.0
        self._samples: WeakKeyDictionary[Any, Sample] = WeakKeyDictionary()
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def look(self, run: Run, identity: str, owner: str) -> None:
        """Somebody watches this run: called by every poll, so it only leaves word.

        `owner` names the data: images of one data set travel once, whichever run shows them.
        """
        with self._lock:
            now = run.settings
            what = (identity, run.status, len(run.journal) > 0, self.looks.wanted)
            stage = (*what, now.lr, now.trainable_from)
            if stage != self._stage:
                self._news.set()  # another run or setting, or this one began, paused or ended: look at once
            self._stage = stage
            self._target, self._watched = (run, identity, owner), time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="labkit-probe", daemon=True
                )
                self._thread.start()

    def look_now(self, run: Run, identity: str, owner: str) -> None:
        """Look here and now, whatever it costs: for a recording, in whose time looking does not count."""
        from labkit.insight import sentence

        self.expected, self.sentence = _expected(run), sentence(run)
        self._due = 0.0
        self._probe(run, identity, owner)

    def stop(self) -> None:
        """Nobody watches any more: the thread ends with the look it is at."""
        with self._lock:
            self._watched = -math.inf
        self._news.set()

    @property
    def ever_watched(self) -> bool:
        """Whether a browser has ever asked."""
        return self._target is not None

    def _serve(self) -> None:
        # Here, not above: it brings pandas, and opening a console should not wait for that.
        from labkit.insight import sentence

        while self._still_watched():
            assert self._target is not None
            run, identity, owner = self._target
            try:
                self.expected = _expected(run)
                self.sentence = sentence(run)
                self._probe(run, identity, owner)
                self.looks.refresh(run, identity)
            except Exception as trouble:  # a probe that fails must not silence the panel
                self.sentence = f"This run cannot be looked at: {trouble!r}"
            self._news.wait(PAUSE)
            self._news.clear()
        gc.collect()  # nobody waits for an answer now
        resting.make_room()

    def _still_watched(self) -> bool:
        with self._lock:
            watched = time.monotonic() - self._watched < WATCHED
            if not watched:
                self._thread = None
            return watched

    def _probe(self, run: Run, identity: str, owner: str) -> None:
        now = (identity, len(run.journal))
        another = self._seen is None or self._seen[0] != identity
        early = time.monotonic() < self._due and run.status == "running"
        if now == self._seen or (early and not another):
            return
        sample = self._sample(run)
        training = run.status == "running"
        with run.paused():
            began = time.monotonic()
            step = run.step_number
            drift = {stage: float(f"{value:.3g}") for stage, value in run.drift().items()}
            strip = self._strip(run, owner, sample) if sample else []
            cost = time.monotonic() - began
        # A look at a run that stands still takes nothing from it: the next may come with its first steps.
        self._due = time.monotonic() + (cost / SHARE if training else 0)
        self._seen = now
        version = (self.result["version"] if self.result else 0) + 1
        self.result = {
            "version": version,
            "run": identity,
            "step": step,
            "drift": drift,
            "strip": strip,
            "sample": len(sample) if sample else 0,
        }

    def _sample(self, run: Run) -> Sample | None:
        if not has_images(run.data.valid):
            return None
        if run.data.valid not in self._samples:
            self._samples[run.data.valid] = Sample(run.data.valid)
        return self._samples[run.data.valid]

    def _strip(self, run: Run, owner: str, sample: Sample) -> list[dict[str, Any]]:
        classes, valid = run.data.classes, run.data.valid
        return [
            {
                "key": f"{owner}:{guess.index}",
                "file": name_of(valid, guess.index)[-40:],
                "says": classes[guess.predicted][:40],
                "probability": round(guess.probability, 3),
                "truth": classes[guess.true][:40],
                "right": guess.right,
            }
            for guess in sample.guesses(run, SHOWN)
        ]


def _expected(run: Run) -> str:
    """What recorded runs with the settings in force came to; nothing where none are on record."""
    from labkit.records import atlas

    try:
        expected = atlas.expect_run(run)
    except LabkitError:
        return ""
    unlike = atlas.differences(expected, run)
    return f"{expected} This run is another: {'; '.join(unlike[:2])}." if unlike else str(expected)
