"""A run: a model, a data set, a plan, a seed and the log of the commands given to it.

Those five are the whole truth. From them a run can be replayed to the bit on the same machine, rewound, branched and
shared, because nothing else decides what it does: chance comes from the seed and the step number (`Trainer`), and
commands take effect only between steps (`Engine`). A batch is whatever the model takes, images or sentences.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

from labkit import runtime
from labkit.errors import BackboneError, CommandError, PlanError, SplitError, shown
from labkit.tuning import resting
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
from labkit.tuning.evaluation import Evaluation
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
        PlanError, StageError, CommandError, SplitError: at once, where the parts do not fit.
    """

    def __init__(
        self,
        net: Any,
        data: Any,
        plan: Plan,
        seed: int = 0,
        name: str | None = None,
        precision: runtime.Precision | Literal["auto"] = "auto",
        budget: Budget | float | None = None,
    ) -> None:
        super().__init__()
        _check_parts(net, data, plan, seed)
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
        if not (self.step_number or any(isinstance(event, EpochDone) for event in self._told)):
            self._tell_phase()
            self._tell_epoch()  # epoch 0: what the network can do before any training
        done = self._trainer.step()
        self._tell(done)
        if self._trainer.between_epochs:
            self._tell_epoch()
            self._turn()
        self._save_when_due(done.seconds)
        if self.status == "ended":
            self._checkpoints.rest()
            resting.make_room(self)

    def _turn(self) -> None:
        """After an epoch: the end of the plan, the next phase, or simply the next epoch."""
        if self.epoch >= self.settings.epochs:
            self.status = "ended"
            self._tell(RunEnded(self.step_number, self.epoch))
        elif self._trainer.enter_next_phase():
            self._tell_phase()

    def _guarded_step(self) -> None:
        """A step after which the run is whole, whatever goes wrong in it, and can be rewound."""
        self._get_up()
        if self._trainer.half_done:
            self._go_back_to(self.step_number)
        try:
            with self.budget.spending() if self.budget else nullcontext():
                self._step_and_what_follows()
        except DivergedError as trouble:
            self.status = "failed"
            self._go_back_to(self.step_number)
            self._tell(RunFailed(self.step_number, str(trouble), self._last_good_step()))
        except BaseException:
            self.status = "paused"
            raise

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
        left = (self.settings.epochs - self.epoch) * len(self.data.train) - self._trainer.at.offset
        return self.step_number + max(0, math.ceil(left / self.settings.batch_size))

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

    # ------------------------------------------------------------ steering

    def set(self, **settings: Any) -> Ticket:
        """Change settings from the next step on.

        They are lr, trainable_from, lr_decay, batch_size, weight_decay, hold, rehearse, augment and epochs (of the
        whole plan).

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
        self._log = [command for command in self._log if command.step < step]
        self._go_back_to(step)
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
            self.status = "running" if self.epoch < self.settings.epochs else "ended"

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
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= self.step_number:
            raise CommandError(
                f"step={shown(step)} has not happened: use a whole number from 0 to {self.step_number}, where the "
                "run is."
            )
        return step

    # ------------------------------------------------------------ the way back

    def _save_when_due(self, seconds: float) -> None:
        self._trained_for += seconds
        if self._trained_for >= max(REWIND_SECONDS, CHECKPOINT_SHARE * self._save_cost):
            began = time.perf_counter()
            self._save()
            self._trained_for, self._save_cost = 0.0, time.perf_counter() - began

    def _save(self) -> None:
        self._checkpoints.add(self._trainer.checkpoint(self._checkpoints.newest()))

    def _go_back_to(self, step: int) -> None:
        """The last checkpoint before `step`, then the steps since again, silently, with their commands."""
        self._get_up()
        trainer = self._trainer
        trainer.restore(self._checkpoints.latest(step))
        commands = deque(c for c in self._log if c.kind == "set" and c.step >= trainer.at.step)
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

    def evaluate(self, split: Any = "valid") -> Evaluation:
        """Exact counts on a whole split, in eval mode; the run is not changed.

        Args:
            split: the name of a split, or anything with `labels`, `batch()` and a length, such as a sample of one.

        Raises:
            SplitError: the data has no such split, or it is empty.
        """
        if not isinstance(split, str):
            return self._evaluate(split, "sample")
        names = [name for name in ("train", "valid", "test") if len(getattr(self.data, name, ()))]
        if split not in names:
            raise SplitError(
                f"{self.data.name} has no {split!r} samples to evaluate on. It has {', '.join(names)}."
            )
        return self._evaluate(getattr(self.data, split), split)

    def _evaluate(self, split: Any, name: str) -> Evaluation:
        with self._lock:
            self.last_used = time.monotonic()
            if self._trainer.half_done:
                self._go_back_to(self.step_number)
            return self._trainer.evaluate(split, name)

    def to_line(self) -> str:
        """This run as one line of text that another learner can paste."""
        from labkit.tuning.sharing import to_line

        return to_line(self)

    @classmethod
    def from_line(cls, line: str, download: bool = False) -> Run:
        """The run that such a line describes, at step 0; its commands are given again as it trains.

        Args:
            line: what `run.to_line()` gave.
            download: whether to download data and weights that are not on this machine yet. By default nothing is.

        Raises:
            ShareError: the line is damaged, or describes something this labkit does not have.
            DownloadError: something has to be downloaded first; it says what, and how large it is.
        """
        from labkit.tuning.sharing import from_line

        return from_line(line, download)

    def __repr__(self) -> str:
        return (
            f"Run({self.name!r}: {self.net.name} on {self.data.name}, {self.status} at step {self.step_number} "
            f"of {self.total_steps}, from {self.settings.trainable_from} up at lr {self.settings.lr:g})"
        )


def _check_parts(net: Any, data: Any, plan: Plan, seed: int) -> None:
    """Fail at the door, before anything is built."""
    if not hasattr(net, "build") or not hasattr(net, "stages"):
        raise BackboneError(
            f"net={type(net).__name__} is not a backbone. Use labkit.load_backbone('resnet10'), or "
            "labkit.Backbone.from_module for a network of your own."
        )
    if not isinstance(plan, Plan):
        raise PlanError(
            f"plan={plan!r} is not a Plan. Use labkit.full(), labkit.partial('layer4') or the like."
        )
    check_seed(seed)
    if len(data.train) < 2:
        raise SplitError(
            f"{data.name} has {len(data.train)} training samples; a run needs 2 or more."
        )
    check_augment(plan.augment, data)
    check_rehearsal(plan.rehearse, net, data, plan)
    for phase in range(len(plan.phases)):
        Settings.of(plan, phase, tuple(net.stages))


def _happened_by(event: Event, step: int) -> bool:
    """Whether an event is part of the first `step` steps. A command told at s took effect after s."""
    return event.step < step or (event.step == step and not isinstance(event, CommandApplied))


def _branch_name(parent: str, step: int, changes: Mapping[str, Any]) -> str:
    told = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in changes.items()
    )
    return f"{parent} / step {step}" + (f": {told}" if told else "")
