"""A test split that opens once: it judges the one run that was chosen without it, and remembers that it did.

What has chosen can no longer judge, so a test split is worth one look. A seal does not keep anyone out by force. It
keeps the test split out of the data that one works with, and remembers in the progress file who was judged by it. It
goes by the images themselves: another notebook, a new kernel or another name for the same data finds it broken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch

from labkit.data import ImageData
from labkit.errors import DataError, SealError, SplitError, shown
from labkit.learn import progress
from labkit.tuning.contracts import Data, spec_of
from labkit.tuning.given import refuse_no_run
from labkit.tuning.prefix import fingerprint

if TYPE_CHECKING:
    from labkit.tuning import Evaluation, Run

KEPT = ("when", "run", "correct", "count")


@dataclass(frozen=True, eq=False)
class Sealed:
    """Data whose test split opens once. `data` is all the rest: train and choose with it."""

    data: Data
    key: str
    _test: Any = field(repr=False)

    def __len__(self) -> int:
        """How many test samples lie behind the seal."""
        return len(self._test)

    @property
    def opened(self) -> Mapping[str, Any] | None:
        """When and by which run it was opened, and what came of it: when, run, correct, count; None while it is shut.

        Read from the progress file each time, so that every notebook of this learner knows.
        """
        kept = progress.read("seals").get(self.key, {})
        return {name: kept[name] for name in KEPT} if _is_whole(kept) else None

    def open(self, run: Run) -> Evaluation:
        """Judge the run that was chosen. The same run may be asked again, as a notebook is run again; no other may.

        A run is the same when network, data, plan, seed, commands and step are: what it is called plays no part.

        Raises:
            SealError: another run was judged already; it says which, when, and how well it did.
            SplitError: the run tells other classes apart.
        """
        refuse_no_run(run, "open")
        if tuple(run.data.classes) != tuple(self.data.classes):
            raise SplitError(
                f"{run.name!r} tells {', '.join(run.data.classes[:4])} apart, and the sealed samples are of "
                f"{', '.join(self.data.classes[:4])}. Open them for a run that was trained on the same data."
            )
        recipe = _recipe(run)
        with progress.entry("seals", self.key) as kept:
            if _is_whole(kept) and kept.get("recipe") != recipe:
                raise SealError(
                    f"The test split was {_described(kept)}. It has done its work and cannot judge {run.name!r} too: "
                    "whoever tries several runs on it chooses by it. Report that number, or collect new test samples."
                )
            found = replace(run.evaluate(self._test), split="test")
            if not _is_whole(kept):
                kept.update(
                    recipe=recipe,
                    when=datetime.now().isoformat(timespec="minutes"),
                    run=run.name,
                    correct=found.correct,
                    count=found.count,
                )
        return found

    def __repr__(self) -> str:
        opened = self.opened
        state = _described(opened) if opened else "sealed, and was never opened"
        return f"{len(self)} test samples of {self.data.name}: {state}"


def seal(data: Data) -> Sealed:
    """Put the test split of `data`, as `labkit.load_data` gives it, behind a seal.

    Whatever is trained on `seal(data).data` has no test split to look at; `open(run)` judges the one that was chosen.

    Raises SplitError where there is no test split.
    """
    if not isinstance(data, ImageData):
        raise DataError(
            f"seal takes data, as labkit.load_data gives them, not {shown(data)}. Its test split is what it seals."
        )
    if not len(data.test):
        raise SplitError(
            f"{data.name} has no test split to seal. Set some samples aside: load_data(..., test=0.2)."
        )
    empty = data.test.take(torch.empty(0, dtype=torch.int64))
    return Sealed(replace(data, test=empty), fingerprint(data.test), data.test)


def _described(opened: Mapping[str, Any]) -> str:
    day, _, time = str(opened["when"]).partition("T")
    result = f"{opened['correct']} of {opened['count']} were right"
    return f"opened on {day} at {time} for the run {opened['run']!r}, and {result}"


def _is_whole(kept: Mapping[str, Any]) -> bool:
    """Whether the progress file says that a seal was opened; half an entry says nothing that could be read."""
    return all(name in kept for name in KEPT)


def _recipe(run: Run) -> str:
    """A digest of what a run is. Not of its weights, which another machine computes otherwise in the last digits."""
    content = {
        "net": spec_of(run.net),
        "data": spec_of(run.data),
        "plan": run.plan.to_dict() | {"name": ""},
        "seed": run.seed,
        "log": [[command.step, command.kind, dict(command.args)] for command in run.log],
        "step": run.step_number,
    }
    text = json.dumps(content, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()
