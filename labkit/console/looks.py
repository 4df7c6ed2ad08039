"""A closer look at the run that is shown: one figure of the learner's choice, drawn again as training goes on.

A figure costs a good deal more than the drift and the strip of images that are always there. So there is one at a time,
it is drawn in the prober's thread, of a copy that stands still, and the next waits until training has had its share of
the time.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from labkit.errors import CommandError, LabkitError
from labkit.insight.kinds import has_images
from labkit.models.vision import origin
from labkit.tuning import Run, resting

SHARE = 0.2  # of training time that a figure which was asked for may cost
WORDS = 1500  # characters of a text that travels


# ---------------------------------------------------------------- what there is to look at


def _always(run: Run) -> bool:
    return True


def _of_images(run: Run) -> bool:
    return has_images(run.data.valid)


def _of_ours(run: Run) -> bool:
    """Whether network, data and plan are at hand; what a bridge steers may come without them."""
    return isinstance(run, Run)


def _of_our_images(run: Run) -> bool:
    return _of_ours(run) and _of_images(run)


def _of_an_old_task(run: Run) -> bool:
    return _of_ours(run) and run.plan.pretrained and origin.can_be_asked(run.net)


class Choice(NamedTuple):
    """A look: its title, what draws it, and whether it makes sense for a run, which must be cheap to tell.

    What draws is a function of a module of this room. A class is made once a console: it remembers what it drew. Both
    are imported when they draw: opening a console does not wait for matplotlib.
    """

    title: str
    draws: str
    fits: Callable[[Run], bool] = _always


LOOKS = {
    "confusion": Choice("Which class is taken for which", "predicted.plot_confusion"),
    "calibration": Choice("How sure it is, and how often right", "predicted.plot_calibration"),
    "feature_map": Choice(
        "Where the samples lie: a map of the features", "feature_map.feature_map_now"
    ),
    "grad_cam": Choice("Where it looks: Grad-CAM", "inside.plot_grad_cam", _of_images),
    "activations": Choice("What a stage makes of an image", "inside.plot_activations", _of_images),
    "similarity": Choice(
        "How far each stage sees as it did at the start", "stages.plot_similarity"
    ),
    "gradient_norms": Choice(
        "How long the gradients are, stage by stage", "stages.plot_gradient_norms"
    ),
    "filters": Choice("The filters of the first layer", "inside.plot_filters", _of_images),
    "worst": Choice("The images it is most wrong about", "predicted.worst_images", _of_images),
    "uncertain": Choice("The images it is least sure of", "predicted.uncertain_images", _of_images),
    "labels": Choice("Labels that may be wrong", "labels.plot_suspect_labels", _of_our_images),
    "forgetting": Choice(
        "What is left of the old task", "forgotten.ForgettingSoFar", _of_an_old_task
    ),
    "cost": Choice("What a step costs", "cost.StepsNow", _of_ours),
}


def looks_of(run: Run) -> list[tuple[str, str]]:
    """The looks that make sense for a run, as name and title."""
    return [(name, choice.title) for name, choice in LOOKS.items() if choice.fits(run)]


# ---------------------------------------------------------------- the one that was chosen


class Looks:
    """What was drawn last. `result` says what it is and in words what it shows, `figure` is its version and itself.

    Both are replaced whole, so reading is free.
    """

    def __init__(self) -> None:
        self.wanted = ""
        self.result: dict[str, Any] | None = None
        self.figure = (0, "")
        self._pens: dict[str, Callable[[Run], Any]] = {}
        self._seen: tuple[str, str, int] | None = None
        self._due = 0.0

    def choose(self, name: str, run: Run) -> None:
        """Look at something else from now on; an empty name ends it.

        Raises:
            CommandError: there is no such look, or none at this run.
        """
        known = dict(looks_of(run))
        if name and name not in known:
            raise CommandError(
                f"There is no look {name[:40]!r} at this run. There are {', '.join(known)}."
            )
        self.wanted, self._due = name, 0.0

    def refresh(self, run: Run, identity: str) -> None:
        """Draw what is wanted, if the run has moved since and training has had its share."""
        name = self.wanted
        now = (identity, name, len(run.journal))
        another = self._seen is None or self._seen[:2] != now[:2]
        early = run.status == "running" and time.monotonic() < self._due
        if not name or now == self._seen or (early and not another):
            return
        began = time.monotonic()
        still = run if "branch" in run.refuses else run.branch()  # drawn at leisure
        step = still.step_number
        address, words, error = self._drawn(name, still)
        self._due = time.monotonic() + (time.monotonic() - began) / SHARE
        self._seen = now
        if still is not run:
            still.discard()
        resting.make_room(run)  # a figure leaves a good deal behind
        version = self.figure[0] + 1
        self.figure = (version, address)
        about = {"version": version, "run": identity, "name": name, "step": step}
        self.result = {**about, "words": words[:WORDS], "error": error[:WORDS]}

    def _drawn(self, name: str, run: Run) -> tuple[str, str, str]:
        """The figure as a `data:` address and in words; of one that cannot be drawn, why."""
        try:
            drawn = self._pen(name)(run)
            data = base64.b64encode(drawn.png()).decode()
            return f"data:image/png;base64,{data}", drawn.alt, ""
        except LabkitError as reason:
            return "", "", str(reason)
        except Exception as trouble:  # a figure that fails must not silence the panel
            return "", "", f"This cannot be drawn: {trouble!r}"

    def _pen(self, name: str) -> Callable[[Run], Any]:
        """What draws a look; one that remembers is always the same."""
        if name not in self._pens:
            module, _, draws = LOOKS[name].draws.partition(".")
            pen = getattr(import_module(f"labkit.show.{module}"), draws)
            self._pens[name] = pen() if isinstance(pen, type) else pen
        return self._pens[name]
