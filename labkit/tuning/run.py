"""A run: a model, a data set, a plan, a seed and the log of the commands given to it.

Those five are the whole truth. From them a run can be replayed to the bit on the same machine, rewound, branched and
shared, because nothing else decides what it does: chance comes from the seed and the step number (`Trainer`), and
commands take effect only between steps (`Engine`). A batch is whatever the model takes, images or sentences.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import PurePath
from typing import Any, Literal

from torch import nn

from labkit import runtime
from labkit.errors import BackboneError, CommandError, DataError, PlanError, SplitError, shown
from labkit.tuning import freezing, resting
from labkit.tuning.budget import Budget
from labkit.tuning.checkpoints import CheckpointStore
from labkit.tuning.commands import (
    LoggedCommand,
    Settings,
    Ticket,
    check_augment,
    check_command,
    check_rehearsal,
    check_settings,
)
from labkit.tuning.contracts import Data, Net, Split
from labkit.tuning.evaluation import Evaluation, split_of
from labkit.tuning.events import (
    CommandApplied,
    EndReason,
    EpochDone,
    Event,
    PhaseChanged,
    Rewound,
    RunEnded,
    RunFailed,
    StepDone,
)
from labkit.tuning.plans import Plan, check_seed
from labkit.tuning.task import task_of
from labkit.tuning.trainer import DivergedError, Trainer
from labkit.tuning.watched import Watched

Status = Literal["ready", "running", "paused", "ended", "failed"]
REWIND_SECONDS = 0.35  # of training between two checkpoints, at least: what a rewind does again
CHECKPOINT_SHARE = 21  # and at least this many times what the last checkpoint cost: below 5 %


class Run(Watched):
    """One training run that can be steered while it goes. Building it changes nothing outside it.

    Args:
        net: a backbone, as `labkit.load_backbone` gives it: ordered named stages and a way to build them.
        data: as `labkit.load_data` gives it: splits `train`, `valid` and `test`, and `classes`.
        plan: what to train, when and how fast.
        seed: of everything that chance decides.
        name: what figures and tables call it.
        precision: arithmetic and memory layout; by default what is usually fastest on such a machine.
        budget: processor seconds that training may take, or a `Budget` that several runs share. Between two steps the
            engine looks whether it is spent; then the run ends where it is. Branches share it.

    Raises:
        BackboneError, DataError, PlanError, StageError, CommandError, SplitError: at once, where the parts do not fit.
    """

    def __init__(
        self,
        net: Net,
        data: Data,
        plan: Plan,
        seed: int = 0,
        name: str | None = None,
        precision: runtime.Precision | Literal["auto"] = "auto",
        budget: Budget | float | None = None,
    ) -> None:
        super().__init__()
        if name is not None and not isinstance(name, str):
            raise PlanError(
                f"name={shown(name)} must be text: what figures and tables call the run."
            )
        seed = _check_parts(net, data, plan, seed, precision)
        self.budget = Budget.of(budget)
        self.net, self.data, self.plan, self.seed = net, data, plan, seed
        self.name = name or plan.name
        self.origin: tuple[str, int] | None = None  # of a branch: its parent's name and the step
        self._trainer = Trainer(net, data, plan, seed, None if precision == "auto" else precision)
        self.stages, self.model = self._trainer.stages, self._trainer.model
        self._initial = self._trainer.initial
        self.precision = self._trainer.precision
        self.status: Status = "ready"
        self._script: deque[LoggedCommand] = deque()  # commands to give again when their step comes
        self._checkpoints = CheckpointStore()
        self._trained_for = self._save_cost = 0.0  # seconds: since the last checkpoint, to make one
        self._given_up = False
        self._laid: resting.Rest | None = None  # what lies on disk while nobody trains
        self.last_used = time.monotonic()
        self._save()
        resting.keep(self)

    # ------------------------------------------------------------ training

    def _advance(self) -> None:
        """Commands that wait, then one optimiser step and whatever it completes."""
        with self._lock:
            self._apply_commands()
            if self.status != "running":
                return
            if self._is_spent:
                self._end("budget")
            else:
                self._guarded_step()

    def _end(self, reason: EndReason) -> None:
        """Over before the plan is. Logged with its step, so that a replay ends there whatever the clock says."""
        self._log.append(LoggedCommand(self.step_number, "end", {"reason": reason}))
        self.status = "ended"
        self._checkpoints.rest()
        self._tell(RunEnded(self.step_number, self.epoch, reason))

    def _step_and_what_follows(self) -> None:
        self._begin()
        self._finish_epoch()  # where its validation was interrupted
        if self.status != "ended":
            done = self._trainer.step()
            self._tell(done)
            self._finish_epoch()
            self._save_when_due(done.seconds)
        if self.status == "ended":
            self._checkpoints.rest()
            resting.make_room(self)

    def _begin(self) -> None:
        """Before the first step: tell the first phase, and as epoch 0 what the network can do before any training."""
        if self.step_number or any(isinstance(event, EpochDone) for event in self._told):
            return
        if not any(isinstance(event, PhaseChanged) for event in self._told):
            self._tell_phase()
        self._tell_epoch()

    def _finish_epoch(self) -> None:
        """After the last step of an epoch: validate, then turn to what comes next."""
        if self._epoch_is_open:
            self._tell_epoch()
            self._turn()

    @property
    def _epoch_is_open(self) -> bool:
        """Whether all steps of an epoch are done and its books are not closed yet."""
        if not self.step_number or not self._trainer.between_epochs:
            return False
        told = (event.epoch for event in reversed(self._told) if isinstance(event, EpochDone))
        return self.epoch > next(told, 0)

    def _turn(self) -> None:
        """After an epoch: the end of the plan, the next phase, or simply the next epoch."""
        if self.epoch >= self.settings.epochs:
            self._end_of_plan()
        elif self._trainer.enter_next_phase():
            self._tell_phase()

    def _end_of_plan(self) -> None:
        self.status = "ended"
        self._tell(RunEnded(self.step_number, self.epoch))

    def _guarded_step(self) -> None:
        """A step after which the run is whole, whatever goes wrong in it, and can be rewound."""
        self._get_up()
        self._make_whole()
        before = self._trainer.at
        try:
            with self.budget.spending() if self.budget else nullcontext():
                self._step_and_what_follows()
        except DivergedError as trouble:
            self.status = "failed"
            self._tell(RunFailed(self.step_number, str(trouble), self._last_good_step()))
            self._make_whole()
        except BaseException:
            self.status = "paused"
            if (
                self.step_number != self._steps_told()
            ):  # done, but nobody heard of it: it is to be done again
                self._trainer.at, self._trainer.half_done = before, True
            raise

    def _make_whole(self) -> None:
        self._refuse_if_given_up()
        if self._trainer.half_done:
            self._go_back_to(self.step_number)

    def _steps_told(self) -> int:
        steps = (event.step for event in reversed(self._told) if isinstance(event, StepDone))
        return next(steps, 0)

    # ------------------------------------------------------------ where it is

    @property
    def settings(self) -> Settings:
        """What is in force for the next step."""
        return self._trainer.at.settings

    @property
    def step_number(self) -> int:
        """Optimiser steps done."""
        return self._trainer.at.step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self._trainer.at.epoch

    @property
    def total_steps(self) -> int:
        """Steps at the end of the plan, if nothing is changed any more."""
        epochs, size, batch = (
            self.settings.epochs - self.epoch,
            len(self.data.train),
            self.settings.batch_size,
        )
        if epochs < 1:
            return self.step_number
        now = steps_for(size - self._trainer.at.offset, batch)
        return self.step_number + now + (epochs - 1) * steps_for(size, batch)

    @property
    def ended_by(self) -> EndReason | None:
        """What ended the run: "plan" or "budget"; None while it is not over."""
        if self.status != "ended":
            return None
        last = self._log[-1] if self._log else None
        return last.args["reason"] if last and last.kind == "end" else "plan"

    @property
    def _is_spent(self) -> bool:
        return self.budget is not None and self.budget.left == 0

    @property
    def optimizer(self) -> Any:
        """The torch optimiser, with one named parameter group a stage."""
        return self._trainer.optimizer

    @property
    def _stance(self) -> freezing.Stance:
        return self._trainer.stance

    def in_train_mode(self, module: nn.Module) -> bool:
        """Whether a module of the model is in train mode while a step is done; between steps none is."""
        return self._trainer.stance.in_train_mode(module)

    # ------------------------------------------------------------ steering

    def set(self, **settings: Any) -> Ticket:
        """Change settings from the next step on.

        They are lr, trainable_from, lr_decay, batch_size, weight_decay, hold, rehearse, clip_norm, accumulate, augment
        and epochs (of the whole plan).

        Raises:
            LearningRateError, StageError, PlanError, CommandError: at once, and nothing is changed.
        """
        return self._give("set", settings)

    def rewind(self, step: int) -> Run:
        """Be again where the run was after `step` steps; what came later, commands too, no longer happened."""
        self._give("rewind", {"step": step}).wait()
        return self

    def reset(self) -> Run:
        """Be again at the same initial weights, with an empty log."""
        self._give("reset", {}).wait()
        return self

    def branch(self, step: int | None = None, name: str | None = None, **settings: Any) -> Run:
        """A new run that shares the first `step` steps with this one, by default all, then goes its own way."""
        changes = check_settings(settings, self) if settings else {}
        self._refuse_if_given_up()
        with self._lock:
            at = self._check_past(self.step_number if step is None else step)
            twin = self._twin(name or _branch_name(self.name, at, changes))
            twin.origin, twin.budget = (self.name, at), self.budget
            twin._checkpoints = self._checkpoints.share(at)
            twin._log = [
                c
                for c in self._log
                if c.kind != "end" and (c.step < at or (step is None and c.step == at))
            ]
            for event in self._told:
                if _happened_by(event, at) or (step is None and event.step == at):
                    twin._tell(event)
        twin._go_back_to(at)
        twin.status = "paused" if at else "ready"
        if changes:
            twin.set(**changes)
        return twin

    def replay(self) -> Run:
        """A new run trained again from model, data, plan, seed and log, to where this one is. It has no budget."""
        twin = self._twin(f"{self.name}, replayed")
        twin._script = deque(self._log)
        while twin.step_number < self.step_number:
            twin._go_on()
            twin._advance()
        if twin.status == "running":
            twin.status = "paused"
        twin._apply_commands()  # those given after the last step
        return twin

    def _twin(self, name: str) -> Run:
        """A run of the same four, at step 0 and with an empty log."""
        return Run(self.net, self.data, self.plan, self.seed, name, self.precision)

    # ------------------------------------------------------------ commands between steps

    def _check_command(self, kind: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return check_command(kind, args, self)

    def _apply_commands(self) -> None:
        while self._script and self._script[0].step <= self.step_number:
            again = self._script.popleft()
            if again.kind == "end":
                self._end(again.args["reason"])
            else:
                self._apply(Ticket(again.kind, dict(again.args)))
        while self._queue:
            self._apply(self._queue.popleft())

    def _do_set(self, **changes: Any) -> None:
        if self.ended_by == "budget":
            raise CommandError(self._spent_words())
        begun = self.epoch + (self._trainer.at.offset > 0)
        if changes.get("epochs", begun) < begun:
            raise CommandError(
                f"epochs={changes['epochs']} is past: the run is in epoch {begun}. Rewind, or ask for more."
            )
        self._log.append(LoggedCommand(self.step_number, "set", changes))
        self._trainer.put_in_force(self.settings.changed(changes))
        if self.status == "ended" and self.settings.epochs > self.epoch:
            self.status = "paused"
            self._trainer.enter_next_phase()

    def _do_step(self) -> None:
        self._refuse_if_over()
        self.status = "paused"
        self._guarded_step()

    def _do_rewind(self, step: int) -> None:
        before = self.step_number
        self._check_past(step)
        log = [command for command in self._log if command.step < step]
        self._go_back_to(step, log)
        self._log = log
        self._told = [event for event in self._told if _happened_by(event, step)]
        self._checkpoints.forget_after(step)
        self.status = "paused" if step else "ready"
        self._tell(Rewound(step, before))

    def _do_reset(self) -> None:
        self._script.clear()
        self._do_rewind(0)

    def _go_on(self) -> None:
        """From ready or paused to running; a run that ended or failed stays so."""
        if self.status in ("ready", "paused"):
            if self.epoch < self.settings.epochs or self._epoch_is_open:
                self.status = "running"
            else:
                self._end_of_plan()

    def _refuse_if_over(self) -> None:
        if self._is_spent or self.ended_by == "budget":
            raise CommandError(self._spent_words())
        if self.status == "ended":
            raise CommandError(
                f"The plan is done after {self.epoch} epochs. Set epochs higher to train on, or rewind."
            )
        if self.status == "failed":
            raise CommandError(f"The run failed at step {self.step_number}. Rewind it, then go on.")

    def _spent_words(self) -> str:
        of = f" of {self.budget.seconds:g} processor seconds" if self.budget else ""
        return (
            f"The budget{of} is spent, so the run stays at step {self.step_number}. It can be looked at, exported and "
            "replayed; to train on, make a new run with a larger budget."
        )

    def _check_past(self, step: int) -> int:
        whole = runtime.whole_number(step)
        if whole is None or not 0 <= whole <= self.step_number:
            raise CommandError(
                f"step={shown(step)} has not happened: use a whole number from 0 to {self.step_number}, where the "
                "run is."
            )
        return whole

    # ------------------------------------------------------------ the way back

    def _save_when_due(self, seconds: float) -> None:
        self._trained_for += seconds
        if self._trained_for >= max(REWIND_SECONDS, CHECKPOINT_SHARE * self._save_cost):
            began = time.perf_counter()
            self._save()
            self._trained_for, self._save_cost = 0.0, time.perf_counter() - began

    def _save(self) -> None:
        with runtime.plain_torch():
            self._checkpoints.add(self._trainer.checkpoint(self._checkpoints.newest()))

    def _go_back_to(self, step: int, log: Sequence[LoggedCommand] | None = None) -> None:
        """Be where the run was after `step` steps, with the commands of `log`, by default its own.

        An interrupt on the way leaves the run where it is: the way there is gone before anything else is done.
        """
        trainer, here = self._trainer, self._trainer.at
        try:
            with runtime.plain_torch():
                self._train_again(step, self._log if log is None else log)
        except BaseException:
            trainer.at, trainer.half_done = here, True
            raise

    def _train_again(self, step: int, log: Sequence[LoggedCommand]) -> None:
        """The last checkpoint before `step`, then the steps since again, silently, with their commands."""
        self._refuse_if_given_up()
        self._get_up()
        trainer = self._trainer
        trainer.restore(self._checkpoints.latest(step))
        commands = deque(c for c in log if c.kind == "set" and c.step >= trainer.at.step)
        while True:
            while commands and commands[0].step == trainer.at.step:
                trainer.put_in_force(trainer.at.settings.changed(commands.popleft().args))
                trainer.enter_next_phase()
            if trainer.at.step == step:
                return
            trainer.step()
            if trainer.between_epochs:
                trainer.close_epoch()
                trainer.enter_next_phase()

    # ------------------------------------------------------------ at rest

    def awake_bytes(self) -> int:
        """Bytes that lying down would free; 0 while somebody uses the run."""
        with self._if_idle() as idle:
            return sum(map(resting.awake_bytes, self._trainer.held())) if idle else 0

    def lie_down(self) -> bool:
        """Lay weights and the optimizer state on disk if nobody uses the run right now; whether that went well.

        Nothing changes in what the run says or does. It gets up by itself when it trains on.
        """
        with self._if_idle() as idle:
            if idle:
                resting.lay_down(self._trainer.start())
                self._laid = resting.lay_down(self._trainer.held())
                self._checkpoints.rest(small=resting.SMALLEST)
            return idle and self._laid is not None

    @contextmanager
    def _if_idle(self) -> Iterator[bool]:
        """Hold the run, without waiting, if it neither trains nor rests; whether that is so."""
        if not self._lock.take_if_free():
            yield False
            return
        try:
            yield self._laid is None and self.status != "running" and not self._loops
        finally:
            self._lock.__exit__()

    def discard(self) -> None:
        """Free what this run holds, at once: nobody may use it any more. What it shares with others stays.

        Letting go of a run is enough for the memory to come back in the end. But what drew it may have left a ring of
        objects around it, which Python only finds when it looks for them.
        """
        self._given_up, self._checkpoints = True, CheckpointStore()
        for tensor in self._trainer.held():
            tensor.data = tensor.data.new_empty(0)
        self._trainer.optimizer.state.clear()

    def _refuse_if_given_up(self) -> None:
        if self._given_up:
            raise CommandError(
                f"{self.name!r} was discarded, and its weights are gone. Its history can still be read; run.replay() "
                "trains it again."
            )

    def _get_up(self) -> None:
        self.last_used = time.monotonic()
        if self._laid is not None:
            self._laid.take_up()
            self._laid = None

    def _last_good_step(self) -> int:
        """A step to rewind to: the last at which the loss was still below where it began."""
        steps = [event for event in self._told if isinstance(event, StepDone)]
        good = [event.step for event in steps if event.loss <= steps[0].loss]
        return max(0, max(good, default=0) - 1)

    # ------------------------------------------------------------ what a run tells

    def _tell_phase(self) -> None:
        at, now = self._trainer.at, self.settings
        self._tell(PhaseChanged(at.step, at.phase, now.trainable_from, now.lr))

    def _tell_epoch(self) -> None:
        valid = self.evaluate("valid") if len(self.data.valid) else None
        self._tell(self._trainer.close_epoch(valid))

    def evaluate(self, split: Split | str = "valid") -> Evaluation:
        """Exact counts on a whole split, in eval mode; the run is not changed.

        Args:
            split: the name of a split, or anything with `labels`, `batch()` and a length, such as a sample of one.

        Raises:
            SplitError: the data has no such split, it is empty, or this is no split.
            DataError: samples of classes that the network does not tell apart.
        """
        name = split if isinstance(split, str) else "sample"
        return self._evaluate(split_of(self.data, split), name)

    def _evaluate(self, split: Split, name: str) -> Evaluation:
        with self.frozen_world():
            self.last_used = time.monotonic()
            return self._trainer.evaluate(split, name)

    def __reduce_ex__(self, _: Any) -> Any:
        raise CommandError(
            "A run cannot be copied or pickled: it holds a lock, a thread and files of its checkpoints. Use "
            "run.branch() for a second run from here, labkit.export(run, folder) to keep its network, "
            "labkit.to_line(run) to keep what it was told to do."
        )

    def __repr__(self) -> str:
        return (
            f"Run({self.name!r}: {self.net.name} on {self.data.name}, {self.status} at step {self.step_number} "
            f"of {self.total_steps}, from {self.settings.trainable_from} up at lr {self.settings.lr:g})"
        )


def steps_for(samples: int, batch_size: int) -> int:
    """How many steps an epoch of so many samples takes: a last one that would be alone goes along with those before."""
    full, rest = divmod(samples, batch_size)
    return full + (rest > 1 or not full)


def _check_parts(net: Net, data: Data, plan: Plan, seed: int, precision: object = "auto") -> int:
    """Fail at the door, before anything is built; the seed as a plain number."""
    if not hasattr(net, "build") or not hasattr(net, "stages"):
        raise BackboneError(
            f"net={type(net).__name__} is not a backbone. Use labkit.load_backbone('resnet10'), or "
            "labkit.Backbone.from_module for a network of your own."
        )
    if not isinstance(plan, Plan):
        raise PlanError(
            f"plan={shown(plan)} is not a Plan. Use labkit.full(), labkit.partial('layer4') or the like."
        )
    whole = check_seed(seed)
    _check_precision(precision)
    _check_data(data)
    if len(data.train) < 2:
        raise SplitError(
            f"{data.name} has {len(data.train)} training samples; a run needs 2 or more."
        )
    check_augment(plan.augment, data)
    check_rehearsal(plan.rehearse, net, data, plan)
    for phase in range(len(plan.phases)):
        Settings.of(plan, phase, tuple(net.stages))
    return whole


def _check_data(data: Data) -> None:
    """Splits to train and validate on, and what their task asks for."""
    if isinstance(data, str | PurePath):
        raise DataError(f"data={str(data)!r} is a name. Load it: labkit.load_data({str(data)!r}).")
    missing = [part for part in ("train", "valid", "classes") if not hasattr(data, part)]
    if not missing:
        parts = ("__len__", "batch", "labels")
        missing = [f"train.{part}" for part in parts if not hasattr(data.train, part)]
    if missing:
        raise DataError(
            f"data is a {type(data).__name__}, which a run cannot train on: it has no {', '.join(missing)}. Use "
            "labkit.load_data, with the name of a data set or a folder of images."
        )
    task_of(data).check(data)


def _check_precision(precision: object) -> None:
    ours = isinstance(precision, runtime.Precision) and precision in runtime.PRECISIONS
    if not ours and not (isinstance(precision, str) and precision == "auto"):
        known = ", ".join(
            f"Precision({p.dtype!r}, {p.memory_format!r})" for p in runtime.PRECISIONS
        )
        raise PlanError(
            f"precision={shown(precision)} is not known. Use 'auto', or from labkit.runtime one of {known}."
        )


def _happened_by(event: Event, step: int) -> bool:
    """Whether an event is part of the first `step` steps. A command told at s took effect after s."""
    return event.step < step or (event.step == step and not isinstance(event, CommandApplied))


def _branch_name(parent: str, step: int, changes: Mapping[str, Any]) -> str:
    told = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in changes.items()
    )
    return f"{parent} / step {step}" + (f": {told}" if told else "")
