"""A fastai Learner on our engine: what a recipe such as `learn.fine_tune(5)` does becomes a run that can be steered.

fastai keeps its own loop, and every line of it runs. Between two of its batches a callback counts, tells what a run of
ours would tell, and carries out the commands that wait in our `Loop`. So training can be paused, changed and begun
again. It cannot go back or branch, and says so.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import fastai.callback.progress  # noqa: F401 (gives Learner its no_bar)
from fastai.callback.core import Callback
from fastai.callback.schedule import LRFinder
from fastai.data.transforms import Normalize
from fastai.learner import Learner
from fastai.vision.core import TensorImage
from torch import Tensor, nn

from labkit import runtime
from labkit.bridges.fastai.recipes import Fit, Recipe, depth_of, fits, head_rate
from labkit.bridges.fastai.views import Loaders, Side, stage_names, staged
from labkit.errors import CommandError
from labkit.settings import LIVE
from labkit.tuning import (
    EpochDone,
    Evaluation,
    LoggedCommand,
    PhaseChanged,
    Rewound,
    RunEnded,
    RunFailed,
    Settings,
    StepDone,
    Ticket,
    freezing,
    queries,
)
from labkit.tuning.commands import check_command
from labkit.tuning.contracts import Data, Net, Split
from labkit.tuning.evaluation import eval_mode, split_of
from labkit.tuning.events import Event, Journal
from labkit.tuning.loop import Loop, NotHere, Status
from labkit.tuning.task import CLASSIFY, evaluate

if TYPE_CHECKING:
    import pandas as pd

LOOP = "fastai holds the loop"
REFUSES = {
    "rewind": f"{LOOP}, and it cannot go back to an earlier step. Reset begins again.",
    "branch": f"{LOOP}, and it cannot be copied in the middle of it. Make a second Learner.",
    "plan": f"{LOOP}: what comes is written in its recipe. Make a second Learner for another one.",
    "find_lr": f"{LOOP}. Its own range test is learn.lr_find(), before training.",
    "share": "A Learner has no line of text that it could be made from again.",
    "batch_size": f"{LOOP}: the batch size belongs to its DataLoaders, made before the Learner.",
    "epochs": f"{LOOP}: the epochs are written in its recipe.",
    "augment": f"{LOOP}: augmentation belongs to its DataLoaders, made before the Learner.",
    "hold": f"{LOOP}, and it has no pull towards the start. A run of labkit has: hold in its plan.",
    "rehearse": f"{LOOP}, and it asks no old questions. A run of labkit does: rehearse in its plan.",
    "clip_norm": f"{LOOP}, and clips with a callback of its own: Learner(..., cbs=GradientClip(1.0)).",
    "accumulate": f"{LOOP}, and accumulates with a callback of its own: Learner(..., cbs=GradientAccumulation(64)).",
    "lr_decay": f"{LOOP}: its schedule has a rate for each stage. Set lr, and all keep their proportions.",
}


OBEYS = {"lr", "weight_decay", "trainable_from"}  # settings that it takes while fastai trains


class _Unwind(NotHere):
    """Leave fastai's loop, whatever it catches, and then do this."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then


@dataclass
class _Count:
    """Loss and right answers over some samples."""

    loss: float = 0.0
    correct: int = 0
    count: int = 0

    def add(self, loss: float, correct: int, count: int) -> None:
        """Count a batch with that mean loss."""
        self.loss += loss * count
        self.correct += correct
        self.count += count

    @property
    def mean(self) -> float | None:
        """The mean loss; None where nothing was counted."""
        return self.loss / self.count if self.count else None


@dataclass(frozen=True)
class LearnerRecipe:
    """What stands where a run has its plan: the recipe's name; weights are what the Learner began with."""

    name: str
    pretrained: bool = True


class Steered:
    """A Learner and a recipe with the same loop, commands and events as a run, for `labkit.console` and all figures.

    Args:
        learn: any fastai Learner that gives one score a class. Its parameter groups are the stages.
        recipe: what to do with it, as in `lambda learn: learn.fine_tune(5)`; it may call `fit` any number of times.
        data: as `labkit.load_data` gives it, if the Learner learns from that: then the console shows images, too.
        net, plan, seed: where the model came from, for the figures that build it anew; not needed to train.
        name: what figures and tables call it.
    """

    refuses: Mapping[str, str] = {**dict.fromkeys(LIVE.keys() - OBEYS, f"{LOOP}."), **REFUSES}

    def __init__(
        self,
        learn: Learner,
        recipe: Recipe,
        *,
        data: Data | None = None,
        net: Net | None = None,
        plan: Any = None,
        seed: int = 0,
        name: str = "fastai",
    ) -> None:
        runtime.limit_threads()
        if learn.opt is None:
            learn.create_opt()
        self.learn, self.recipe, self.name = learn, recipe, name
        self.data, self.net, self.seed = data or Loaders(learn.dls), net, seed
        self.plan = plan or LearnerRecipe(name)
        self.precision, self.budget, self.origin = runtime.Precision(), None, None
        self.stages = stage_names(learn)
        self.model = staged(learn)
        self.initial = freezing.snapshot(self.model, self.stages)
        self.stance = None  # not known: fastai sets the modes of its model
        self._start = (_copy(learn.model.state_dict()), depth_of(learn), _hypers(learn))
        self.planned = _planned(learn, recipe)
        self.journal = Journal()
        self.loop = Loop(self, self.journal)
        self._log: list[LoggedCommand] = []
        self._under_way = False  # in the recipe, perhaps at rest between two batches
        self._thread: int | None = None  # the one that is in it
        self._only_one = False  # pause after the next step
        self._held: float | None = None  # a rate set by hand, until this fit is over
        self._phase_lr: float | None = None  # the largest of this fit
        self._locked, self._began = False, 0.0  # in a batch, and since when
        self._forget()

    def _forget(self) -> None:
        self.step_number = self.epoch = self._phase = 0
        self._train, self._valid = _Count(), _Count()
        self._epoch_seconds = 0.0

    # ------------------------------------------------------------ training

    def fit(self, epochs: int | None = None) -> Steered:
        """Follow the recipe to its end and return this run; a part of it cannot be asked for."""
        if epochs is not None:
            raise CommandError(f"epochs={epochs}: {REFUSES['epochs']} Call fit() alone.")
        self.loop.fit()
        return self

    def events(self) -> Iterator[Event]:
        """Follow the recipe to its end or the next pause; the events come when it is there."""
        yield from self.loop.events()

    def step(self) -> StepDone:
        """Do exactly one optimizer step, in the background, and stay between it and the next."""
        self.submit("step").wait()
        self.wait()
        done = self.journal.last(StepDone)
        if not done or self.status == "failed":
            raise CommandError(
                "The step failed: the loss is not a number any more. Reset, then lower lr."
            )
        return done

    def start(self) -> Steered:
        """Train in the background until the recipe is done or someone pauses; the cell returns at once."""
        self.resume().wait()
        return self

    def wait(self, timeout: float | None = None) -> Steered:
        """Block until the background training has paused, ended or failed, or `timeout` seconds are over."""
        self.loop.wait(timeout)
        return self

    def stop(self) -> None:
        """Leave the recipe, and let the background thread go."""
        self.loop.stop()

    def advance(self) -> None:
        """If told to go on, the recipe from its first line to its last."""
        if self.status != "running":
            return
        self._under_way, self._thread = True, threading.get_ident()
        then = self._end
        try:
            self._tell_epoch(before=True)
            with _quiet(self.learn), self.learn.added_cbs(_Reins(self)):
                self.recipe(self.learn)
        except _Unwind as cause:
            then = cause.then
        except BaseException as trouble:
            then = partial(self._fail, f"{type(trouble).__name__}: {trouble}")
            if not self.loop.in_thread:
                raise
        finally:
            self._release()
            self._under_way, self._held = False, None
            then()

    def _end(self) -> None:
        self.loop.status = "ended"
        self.journal.append(RunEnded(self.step_number, self.epoch))

    def _fail(self, reason: str) -> None:
        self.loop.status = "failed"
        self.journal.append(RunFailed(self.step_number, reason, 0))

    # ------------------------------------------------------------ between two batches, called by the callback

    def begin_phase(self) -> None:
        """A fit of the recipe begins."""
        self._phase_lr = head_rate(self.learn)
        now = self.settings
        self.journal.append(PhaseChanged(self.step_number, self._phase, now.trainable_from, now.lr))
        self._phase += 1

    def end_phase(self) -> None:
        """A fit is over, and with it what was set by hand."""
        self._held = None

    def between(self) -> None:
        """Carry out what was asked for; while paused, stay here. Then put a rate set by hand in force."""
        self.loop.apply_commands()
        while self.status == "paused" or self.loop.leaving:
            if not self.loop.stand_by():
                raise _Unwind(self._end)
            self.loop.apply_commands()
        if self._held is not None:
            rates = [group["lr"] for group in self.learn.opt.hypers]
            self.learn.opt.set_hyper("lr", [self._held * rate / rates[-1] for rate in rates])

    def take(self) -> None:
        """A batch begins: nobody may look at the model until it is done."""
        self.loop.lock.__enter__()
        self._locked = True
        self._began = time.perf_counter()

    def _release(self) -> None:
        if self._locked:
            self._locked = False
            self.loop.lock.__exit__()

    def watch_loss(self) -> None:
        """A loss that is no number ends the run before the step that would spoil its weights."""
        loss = float(self.learn.loss.detach())
        if not math.isfinite(loss):
            raise _Unwind(partial(self._fail, f"the loss is {loss} at step {self.step_number + 1}"))

    def count(self) -> None:
        """A batch is done: count it and, if it trained, tell its step."""
        learn, seconds = self.learn, time.perf_counter() - self._began
        loss, scores, targets = float(learn.loss.detach()), learn.pred.detach(), learn.yb[0]
        if scores.ndim != 2 or targets.shape != scores.shape[:1]:
            raise CommandError(
                f"This Learner gives {tuple(scores.shape)} for targets {tuple(targets.shape)}. The console counts "
                "right answers, so it needs one score a class and one class an example."
            )
        right, many = CLASSIFY.right(scores, targets), len(targets)
        (self._train if learn.training else self._valid).add(loss, right, many)
        self._epoch_seconds += seconds
        if learn.training:
            self.step_number += 1
            done, rate = self.epoch + (learn.iter + 1) / learn.n_iter, learn.opt.hypers[-1]["lr"]
            depth = self.settings.trainable_from
            self.journal.append(
                StepDone(self.step_number, done, loss, right, many, float(rate), depth, seconds)
            )
        self._release()
        if learn.training and self._only_one:
            self._only_one, self.loop.status = False, "paused"

    def close_epoch(self) -> None:
        """An epoch is over; one in which nothing trained was a validation somebody asked for."""
        if self._train.count:
            self.epoch += 1
            self._tell_epoch()
        self._train, self._valid, self._epoch_seconds = _Count(), _Count(), 0.0

    # ------------------------------------------------------------ commands

    def set(self, **settings: Any) -> Ticket:
        """Change lr, trainable_from or weight_decay from the next step on.

        A rate set by hand is held until the fit is over: the schedule lets go. It is the head's; the other stages keep
        their proportion to it. Freezing is fastai's own, BatchNorm included.
        """
        return self.loop.give(self._ticket("set", settings))

    def pause(self) -> Ticket:
        """Stop before the next step; `resume()` goes on from there."""
        return self.loop.give(self._ticket("pause", {}))

    def resume(self) -> Ticket:
        """Go on in the background after a pause."""
        return self.submit("resume")

    def submit(self, kind: str, /, **args: Any) -> Ticket:
        """Give a command without waiting: it is checked now and takes effect between two batches."""
        return self.loop.submit(self._ticket(kind, args))

    def reset(self) -> Steered:
        """Be again at the same initial weights, with an empty log and the recipe at its first line."""
        self.loop.give(self._ticket("reset", {})).wait()
        return self

    def rewind(self, step: int) -> Steered:
        """Refused, with the reason: fastai's loop cannot go back."""
        raise CommandError(REFUSES["rewind"])

    def branch(self, *_: Any, **__: Any) -> Steered:
        """Refused, with the reason: fastai's loop cannot branch."""
        raise CommandError(REFUSES["branch"])

    def _ticket(self, kind: str, args: Mapping[str, Any]) -> Ticket:
        """A command, checked: this is the one place where commands come in."""
        for asked in (kind, *(args if kind == "set" else ())):
            if asked in self.refuses:
                raise CommandError(self.refuses[asked])
        return Ticket(kind, check_command(kind, args, self))

    @property
    def handlers(self) -> Mapping[str, Callable[..., None]]:
        """What each kind of command does, between two batches."""
        return {
            "set": self._do_set,
            "pause": self.loop.pause,
            "resume": self._do_resume,
            "step": self._do_step,
            "reset": self._do_reset,
        }

    def _do_set(self, **changes: Any) -> None:
        if "lr" in changes:
            self._held = changes["lr"]
        if "trainable_from" in changes:
            self._freeze_to(self.stages.index(changes["trainable_from"]))
        if "weight_decay" in changes:
            self.learn.opt.set_hyper("wd", changes["weight_decay"])
        self._log.append(LoggedCommand(self.step_number, "set", changes))

    def _freeze_to(self, index: int) -> None:
        """As `learn.freeze_to`, and a stage that is frozen now has no old gradient left.

        fastai sets gradients to zero, not to None. Its optimizer would go on decaying a stage that has one.
        """
        self.learn.freeze_to(index)
        for parameter in self.learn.model.parameters():
            if not parameter.requires_grad:
                parameter.grad = None

    def _do_resume(self) -> None:
        self._refuse_if_over()
        self.go_on()

    def _do_step(self) -> None:
        self._refuse_if_over()
        self._only_one, self.loop.status = True, "running"

    def _do_reset(self) -> None:
        if self._under_way and self._thread != threading.get_ident():
            raise CommandError("A cell trains this Learner. Interrupt the cell, then reset.")
        if self._under_way:
            raise _Unwind(self.loop.apply_commands)  # first in the queue there, and not in here
        before, (weights, depth, hypers) = self.step_number, self._start
        self.learn.model.load_state_dict(weights)
        for name in hypers[0]:
            self.learn.opt.set_hyper(name, [group[name] for group in hypers])
        for parameter in self.learn.model.parameters():
            parameter.grad = None
        self.learn.freeze_to(depth)
        self._forget()
        self._held = self._phase_lr = None
        self._log, self.loop.status = [], "ready"
        self.journal.take_back(lambda _: False)
        self.journal.append(Rewound(0, before))

    def go_on(self) -> None:
        """From ready or paused to running."""
        if self.status in ("ready", "paused"):
            self.loop.status = "running"

    def _refuse_if_over(self) -> None:
        if self.status == "ended":
            raise CommandError(f"The recipe is done after {self.epoch} epochs. Reset begins again.")
        if self.status == "failed":
            raise CommandError(f"The run failed at step {self.step_number}. Reset it, then go on.")

    # ------------------------------------------------------------ where it is

    @property
    def status(self) -> Status:
        """Ready, running, paused, ended or failed."""
        return self.loop.status

    @property
    def total_steps(self) -> int:
        """Steps at the end of the recipe, as far as it can be told beforehand."""
        return max(self.step_number, self.settings.epochs * len(self.learn.dls.train))

    @property
    def settings(self) -> Settings:
        """What is in force: the rate is the head's, set by hand or else the largest of this fit's schedule."""
        opt, first = self.learn.opt, next(iter(self.planned), None)
        lr = self._held or self._phase_lr or (first.lr if first else float(opt.hypers[-1]["lr"]))
        epochs = max(1, self.epoch, sum(fit.epochs for fit in self.planned))
        return Settings(
            lr=lr,
            trainable_from=self.stages[depth_of(self.learn)],
            lr_decay=1.0,
            schedule="constant",
            warmup=0.0,
            batch_size=self.learn.dls.train.bs,
            weight_decay=float(opt.hypers[-1].get("wd", 0.0)),
            augment="none",
            epochs=epochs,
        )

    @property
    def optimizer(self) -> Any:
        """fastai's optimizer, with a parameter group a stage."""
        return self.learn.opt

    # ------------------------------------------------------------ what it tells

    def _tell_epoch(self, before: bool = False) -> None:
        """The books of an epoch; before any training, what the network can do without it."""
        if before:
            seen = self.evaluate("valid")
            self._valid.add(seen.loss, seen.correct, seen.count)
        train, valid = self._train, self._valid
        self.journal.append(
            EpochDone(
                step=self.step_number,
                epoch=self.epoch,
                train_loss=train.mean,
                train_correct=train.correct,
                train_count=train.count,
                valid_loss=valid.mean,
                valid_correct=valid.correct,
                valid_count=valid.count,
                seconds=self._epoch_seconds,
            )
        )
        self._valid = _Count()

    def evaluate(self, split: Split | str = "valid") -> Evaluation:
        """Exact counts on a whole split, in eval mode; nothing is changed.

        Args:
            split: the name of a split, or anything with `labels`, `batch()` and a length.

        Raises:
            SplitError: there is no such split, or it is empty.
        """
        name = split if isinstance(split, str) else "sample"
        chosen = split if isinstance(split, Side) else split_of(self.data, split)
        with self.loop.lock, eval_mode(self.learn.model):
            if isinstance(chosen, Side):
                scores, answered = chosen.answers(self.learn.model)
                return evaluate(answered, name, lambda rows: scores[rows])
            return evaluate(chosen, name, lambda rows: self._scores(chosen.batch(rows)[0]))

    @property
    def history(self) -> pd.DataFrame:
        """One row a training step and one a validation of the whole split; accuracy is correct / count."""
        return queries.history(self.journal)

    @property
    def log(self) -> tuple[LoggedCommand, ...]:
        """The commands that made this run what it is, and the step after which each took effect."""
        return tuple(self._log)

    def parameters_trained(self) -> tuple[int, int]:
        """How many parameters train now, and how many there are."""
        return queries.parameters_trained(self.model)

    def in_train_mode(self, module: nn.Module) -> bool:
        """Whether a module of the model is in train mode while a step is done."""
        return module.training

    def audit(self) -> freezing.Audit:
        """What changed in each stage since the start, and whether anything moved that was never trained."""
        with self.loop.lock:
            return queries.audit(self.journal, self, self.settings.trainable_from)

    def drift(self) -> dict[str, float]:
        """For every stage, how far its parameters are from where they started: ||w - w0|| / ||w0||."""
        with self.loop.lock:
            return queries.drift(self)

    @contextmanager
    def paused(self) -> Iterator[nn.Module]:
        """Hold the run between two batches, so that a probe may read its model; keep it short."""
        with self.loop.lock:
            yield self.model

    def _scores(self, images: Tensor) -> Tensor:
        """What the model makes of float images in [0, 1], normalised if the Learner's loaders do that."""
        images = images.to(next(self.learn.model.parameters()).device)
        for step in getattr(self.learn.dls.valid.after_batch, "fs", ()):
            if isinstance(step, Normalize):
                images = step(TensorImage(images)).as_subclass(Tensor)
        scores: Tensor = self.learn.model(images)
        return scores

    def __repr__(self) -> str:
        return (
            f"Steered({self.name!r}: a fastai Learner, {self.status} at step {self.step_number} of {self.total_steps}, "
            f"from {self.settings.trainable_from} up at lr {self.settings.lr:g})"
        )


@contextmanager
def _quiet(learn: Learner) -> Iterator[None]:
    """No bars and no table: what happens is told by events."""
    with learn.no_bar(), learn.no_logging():
        yield


def _planned(learn: Learner, recipe: Recipe) -> tuple[Fit, ...]:
    """What the recipe will do; nothing where that depends on how the training goes."""
    try:
        return fits(learn, recipe)
    except Exception:  # it may look at results that are not there yet
        return ()


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _hypers(learn: Learner) -> list[dict[str, Any]]:
    return [dict(group) for group in learn.opt.hypers]


class _Reins(Callback):
    """What fastai calls around its batches. After its schedulers (60), so that a rate set by hand is the last word."""

    order = 90

    def __init__(self, steered: Steered) -> None:
        self.steered = steered

    def before_fit(self) -> None:
        # lr_find trains in earnest and then takes it back: nothing to tell, and nothing to steer.
        self.run = not any(isinstance(other, LRFinder) for other in self.learn.cbs)

    def before_train(self) -> None:
        if self.learn.epoch == 0:
            self.steered.begin_phase()

    def before_batch(self) -> None:
        if self.learn.training:
            self.steered.between()
        self.steered.take()

    def after_loss(self) -> None:
        if self.learn.training:
            self.steered.watch_loss()

    def after_batch(self) -> None:
        self.steered.count()

    def after_epoch(self) -> None:
        self.steered.close_epoch()

    def after_fit(self) -> None:
        self.steered.end_phase()
