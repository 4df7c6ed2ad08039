"""What the new task cost the old one: the head a backbone was pre-trained with is put back on the layers as they are
now, and asked the old questions.

Forgetting is then a difference of two accuracies on the same questions (McCloskey and Cohen, "Catastrophic Interference
in Connectionist Networks", 1989). It says how far the layers still fit the head they grew up with; whether the old task
could be learned again quickly from them is another question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import ArgumentError, BackboneError, DataError, shown
from labkit.insight.inside import as_inputs, given_to, looking_at, outputs, split_of, start_of
from labkit.insight.kinds import backbone_of
from labkit.insight.revisit import epoch_ends, epochs_done, revisit, spread_out
from labkit.models import Backbone
from labkit.models.vision.origin import TINY_IMAGENET, tiny_imagenet
from labkit.tuning.contracts import Split
from labkit.tuning.given import (
    a,
    a_count,
    a_number,
    a_path,
    a_run,
    a_seed,
    maybe,
    refuse_no_list,
    takes,
)
from labkit.tuning.task import evaluate

if TYPE_CHECKING:
    from labkit.pretraining.letters import Letters
    from labkit.tuning import Evaluation, Run

MOST_OLD = 100_000  # old questions at once: of 64 pixels they take 1.2 GB
ASKED = 400  # old questions at each moment of a diary: no 95 % interval is wider than ten points
Part = Literal["train", "valid"]
LETTERS = {"valid": ("old letters",), "train": ("old letters", "to rehearse")}  # streams of chance


@dataclass(frozen=True, eq=False)
class OldTask:
    """Examples of what a backbone learned before: `images` in [0, 1] or uint8, (n, 1 or 3, h, w); `labels` (n,).

    It has what a split has, so a run can be evaluated on it, or rehearse with it.
    Raises DataError for images or labels of another shape.
    """

    name: str
    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise DataError(
                f"images={_shape(images)} must be a tensor of images: (n, 1, h, w) or (n, 3, h, w), uint8 or float32."
            )
        if not isinstance(labels, Tensor) or labels.shape != images.shape[:1]:
            raise DataError(
                f"labels={_shape(labels)} must be a tensor with the number of a class for each of {len(images)} images."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, rows: Tensor, augment: str = "none", generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images (n, 3, h, w) as float32 in [0, 1], and labels (n,). They are never augmented."""
        images = self.images[rows]
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return images.expand(-1, 3, -1, -1), self.labels[rows]


@takes(
    net=a(Backbone, source="labkit.load_backbone"),
    count=a_count(1, MOST_OLD),
    seed=a_seed,
    folder=maybe(a_path),
)
def old_task(
    net: Backbone, count: int = 1000, seed: int = 0, folder: Path | None = None
) -> OldTask:
    """`count` questions of the task that the weights of a shipped backbone come from.

    Printed letters for `resnet10-glyphs`, distorted in ways no training saw, made here and now; validation photographs
    of Tiny ImageNet for `resnet10`, from `folder` or from tiny-imagenet-200 under LABKIT_DATA.
    Raises BackboneError for a network whose old task labkit does not know, DataError where the photographs are not
    at hand.
    """
    return _drawn(net, count, seed, folder, "valid")


@takes(
    net=a(Backbone, source="labkit.load_backbone"),
    count=a_count(1, MOST_OLD),
    seed=a_seed,
    folder=maybe(a_path),
)
def old_examples(
    net: Backbone, count: int = 300, seed: int = 0, folder: Path | None = None
) -> OldTask:
    """`count` examples of the old task to rehearse with, as in `data.with_old(old_examples(net))`.

    They are of what the weights were trained on, and never among the questions of `old_task`, whatever the seeds:
    letters in distortions of their own, or photographs from the training part of Tiny ImageNet. Raises as `old_task`.
    """
    return _drawn(net, count, seed, folder, "train")


@takes(run=a_run)
def remembered(run: Run, task: OldTask | None = None) -> Evaluation:
    """How well the layers of a run, as they are now, still do the old task under their old head. Changes nothing.

    `task` is by default `old_task(run.net)`. Raises BackboneError for weights that came without their old head.
    """
    head = _old_head(run)
    task = asked(run, task)
    with looking_at(run) as model:
        return evaluate(task, task.name, _answers(model, run, task, head))


@takes(run=a_run, moments_at_most=a_count())
def forgetting(run: Run, task: OldTask | None = None, moments_at_most: int = 9) -> pd.DataFrame:
    """How the old task faded while the new one was learned: one row a moment, before the first step to now.

    Columns: step, epoch, old, old_low, old_high (accuracy on the old task with its 95 % Wilson interval) and new
    (accuracy on validation; nan where there is nothing to validate on).
    """
    task = asked(run, task)
    epochs = epochs_done(run)
    steps = spread_out(epoch_ends(run), moments_at_most)
    validated = run.history.query("split == 'valid'").set_index("step")["accuracy"].to_dict()
    rows = []
    for step, past in revisit(run, steps):
        old = remembered(past, task)
        new = validated[step] if step in validated else _validated_now(past)
        low, high = old.interval
        row = {"step": step, "epoch": epochs[step], "old": old.accuracy}
        rows.append(row | {"old_low": low, "old_high": high, "new": new})
    return pd.DataFrame(rows[::-1])


@takes(run=a_run, shares=refuse_no_list)
def between(
    run: Run,
    shares: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
    task: OldTask | None = None,
    split: str = "valid",
) -> pd.DataFrame:
    """Networks on the straight line between the start of a run and now: one row a share of the way.

    Each has the old head for the old task and the new one for the new, on layers in between (Wortsman et al., "Robust
    fine-tuning of zero-shot models", 2022). Columns: share (0 is the start, 1 is now), old, new (accuracies; new on
    `split`). The run is not changed.
    """
    task, head, questions = asked(run, task), _old_head(run), split_of(run, split)
    if not shares:
        raise ArgumentError(
            "between: shares is empty; give shares of the way, such as [0, 0.5, 1]."
        )
    for one in shares:
        a_number(0, 1)("between", "a share of the way", one)
    with looking_at(run) as model:
        now = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start, last = start_of(run), f"{run.stages[-1]}."
    first = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    rows = []
    for share in shares:
        start.load_state_dict(
            {
                name: tensor if name.startswith(last) else _mixed(first[name], tensor, share)
                for name, tensor in now.items()
            }
        )
        old = evaluate(task, task.name, _answers(start, run, task, head))
        new = evaluate(questions, "new", _answers(start, run, questions))
        rows.append({"share": share, "old": old.accuracy, "new": new.accuracy})
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- while a run trains


Count = tuple[int, int]  # right answers, and questions


@dataclass(frozen=True, eq=False)
class Moment:
    """What a run knew of both tasks after `step` steps, and the past that made it so."""

    step: int
    past: tuple[Any, ...]
    old: Count
    new: Count

    def belongs_to(self, run: Run) -> bool:
        """Whether a run was the same after these steps."""
        return self.step <= run.step_number and self.past == _past(run, self.step)


class Diary:
    """What is left of the old task along runs that train: each moment is asked when it is there, and written down.

    Nothing is trained again. What a run is after some steps follows from its parts and the commands that it was given
    before, so a moment counts for every run with that past: for its branches too, and no more for a run that was
    taken back to before it and told something else.
    """

    def __init__(self) -> None:
        self._moments: list[Moment] = []

    @takes(run=a_run)
    def ask(self, run: Run) -> pd.DataFrame:
        """Ask a run as it is now, and once as it began; one row a moment of its past that was ever asked.

        Columns: step, then old, old_low and old_high (accuracy on the old task under the old head, with its 95 %
        Wilson interval), and new, new_low and new_high (on validation; nan where there is nothing to validate on).
        The run is not changed. Raises as `remembered` and `old_task` do.
        """
        head, task = _old_head(run), old_task(backbone_of(run), ASKED)
        if not self._knows(run, 0):
            self._note(run, 0, start_of(run), task, head)
        with looking_at(run) as model:
            if not self._knows(run, run.step_number):
                self._note(run, run.step_number, model, task, head)
        mine = sorted((m for m in self._moments if m.belongs_to(run)), key=lambda m: m.step)
        return pd.DataFrame(
            [{"step": m.step, **_judged("old", m.old), **_judged("new", m.new)} for m in mine]
        )

    def _knows(self, run: Run, step: int) -> bool:
        return any(moment.step == step and moment.belongs_to(run) for moment in self._moments)

    def _note(self, run: Run, step: int, model: nn.Module, task: OldTask, head: nn.Module) -> None:
        valid = run.data.valid
        old = _right(task, _answers(model, run, task, head))
        new = _right(valid, _answers(model, run, valid)) if len(valid) else (0, 0)
        self._moments.append(Moment(step, _past(run, step), old, new))


def _past(run: Run, step: int) -> tuple[Any, ...]:
    """All that decides what a run is after `step` steps."""
    told = tuple(command for command in run.log if command.kind == "set" and command.step < step)
    return run.net, run.data, run.plan, run.seed, run.precision, told


def _right(questions: Split, answers: Callable[[Tensor], Tensor]) -> Count:
    found = evaluate(questions, "asked", answers)
    return found.correct, found.count


def _judged(task: str, found: Count) -> dict[str, float]:
    """An accuracy and its interval, as columns named after the task."""
    correct, count = found
    low, high = runtime.wilson(correct, count) if count else (nan, nan)
    return {task: correct / count if count else nan, f"{task}_low": low, f"{task}_high": high}


# ---------------------------------------------------------------- the parts


def asked(run: Run, task: Any) -> Any:
    """The questions that were given, or those of the run's backbone. Raises ArgumentError for what are none."""
    if task is None:
        _old_head(run)
        return old_task(backbone_of(run))
    if not isinstance(task, OldTask):
        raise ArgumentError(
            f"task={shown(task)} is not an OldTask, as insight.old_task(net) gives it. Leave it out to ask that."
        )
    return task


def _shape(given: Any) -> str:
    return str(tuple(given.shape)) if isinstance(given, Tensor) else shown(given)


def _drawn(net: Backbone, count: int, seed: int, folder: Path | None, part: Part) -> OldTask:
    if net.name == "resnet10-glyphs":
        return _letters(count, seed, part)
    if net.name == "resnet10":
        return _photographs(count, seed, Path(folder) if folder else _tiny_imagenet(), part)
    raise BackboneError(
        f"labkit has no examples of what {net.name!r} was trained on. It has those of resnet10-glyphs and of resnet10; "
        "for another network give an OldTask of your own."
    )


def _mixed(first: Tensor, now: Tensor, share: float) -> Tensor:
    """A share of the way from one to the other; what is counted in whole numbers stays as it is now."""
    return first.lerp(now, share) if first.is_floating_point() else now


def _answers(
    model: nn.Module, run: Run, questions: Split, head: nn.Module | None = None
) -> Callable[[Tensor], Tensor]:
    """What a network in eval mode says of the questions at some rows, with a head of one's choice."""

    def scores(rows: Tensor) -> Tensor:
        if head is None:
            return outputs(model, run, questions, rows)
        inputs = as_inputs(run, questions.batch(rows)[0])
        return head(given_to(model.get_submodule(run.stages[-1]), model, inputs))

    return scores


def _validated_now(run: Run) -> float:
    return run.evaluate("valid").accuracy if len(run.data.valid) else float("nan")


def _old_head(run: Run) -> nn.Module:
    head = getattr(run.net, "head", None)
    if head is None or not run.plan.pretrained:
        name = run.name if run.net is None else run.net.name
        raise BackboneError(
            f"{name!r} has no old head here, so there is no old task to forget: take a backbone whose weights came "
            "with their head, and a plan that starts from them."
        )
    return head.to(runtime.device())


@lru_cache(maxsize=4)
def _letters(count: int, seed: int, part: Part) -> OldTask:
    from labkit.pretraining.letters import distort

    letters = _drawn_letters()
    generator = runtime.generator(seed, *LETTERS[part])
    chosen = torch.randint(len(letters), (count,), generator=generator)
    drawn = [distort(letters.images[rows], generator)[:, :1] for rows in chosen.split(250)]
    return OldTask("printed letters", torch.cat(drawn), letters.labels[chosen])


@lru_cache(maxsize=1)
def _drawn_letters() -> Letters:
    """Drawing them takes seconds, and other questions are asked about the same letters."""
    from labkit.pretraining.letters import draw_letters

    return draw_letters()


@lru_cache(maxsize=4)
def _photographs(count: int, seed: int, folder: Path, part: Part) -> OldTask:
    from labkit.pretraining.photos import read_split

    chance = runtime.generator(seed, "old photographs")
    return OldTask("Tiny ImageNet", *read_split(folder, part, count, chance))


def _tiny_imagenet() -> Path:
    folder = tiny_imagenet()
    if folder is None:
        raise DataError(
            f"The photographs that resnet10 was trained on are not here. Give the folder of {TINY_IMAGENET}, or set "
            f"LABKIT_DATA to the folder it lies in. resnet10-glyphs needs nothing: its letters are drawn."
        )
    return folder
