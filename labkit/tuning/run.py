"""A run: a network, a data set, a task, a plan, a seed and the log of the commands given to it.

From those a run can be replayed to the bit on the same machine, rewound, branched and shared, because nothing
else decides what it does. A run has a `Trainer`, which knows what a step is and draws all chance from the seed and the
step number, and a `Loop`, which lets commands in between two steps. What happens is told in a `Journal`, and a
`CheckpointStore` holds the way back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from labkit import runtime
from labkit.errors import CommandError, PlanError, shown
from labkit.tuning import freezing, queries, resting
from labkit.tuning.budget import Budget
from labkit.tuning.checkpoints import CheckpointStore
from labkit.tuning.commands import LoggedCommand, Settings, Ticket, check_command, check_settings
from labkit.tuning.contracts import Data, Net, Split
from labkit.tuning.evaluation import Evaluation, split_of
from labkit.tuning.events import (
    EndReason,
    EpochDone,
    Event,
    Journal,
    PhaseChanged,
    Rewound,
    RunEnded,
    RunFailed,
    StepDone,
    happened_by,
)
from labkit.tuning.loop import Loop, Status
from labkit.tuning.parts import validate_parts
from labkit.tuning.plans import Plan
from labkit.tuning.trainer import DivergedError, Trainer

if TYPE_CHECKING:
    import pandas as pd

REWIND_SECONDS = 0.35  # of training between two checkpoints, at least: what a rewind does again
CHECKPOINT_SHARE = 21  # and at least this many times what the last checkpoint cost: below 5 %


class Run:
    """One training run that can be steered while it goes. Building it changes nothing outside it.

    Args:
        net: a backbone, as `labkit.load_backbone` gives it: ordered named stages and a way to build them.
        data: as `labkit.load_data` gives it: splits `train`, `valid` and `test`, and `classes`.
        plan: what to train, when and how fast.
        seed: of everything that chance decides.
        name: what figures and tables call it.
        precision: arithmetic and memory layout; by default what is usually fastest on such a machine.
        budget: processor seconds that training may take, or a `Budget` that several runs share. Whether it is spent is
            checked between two steps; then the run ends where it is. Branches share it.

    Raises:
        BackboneError, DataError, PlanError, StageError, CommandError, SplitError: at once, where the parts do not fit.
    """

    refuses: Mapping[str, str] = MappingProxyType({})
    """Commands and settings by name that it cannot carry out, and why: none. A loop that is not ours has some."""

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
        if name is not None and not isinstance(name, str):
            raise PlanError(
                f"name={shown(name)} must be text: what figures and tables call the run."
            )
        seed = validate_parts(net, data, plan, seed, precision)
        self.budget = Budget.of(budget)
        self.net, self.data, self.plan, self.seed = net, data, plan, seed
        self.name = name or plan.name
        self.origin: tuple[str, int] | None = None  # of a branch: its parent's name and the step
        self.trainer = Trainer(net, data, plan, seed, None if precision == "auto" else precision)
        self.stages, self.model = self.trainer.stages, self.trainer.model
        self.precision = self.trainer.precision
        self.journal = Journal()
        self.loop = Loop(self, self.journal)
        self._log: list[LoggedCommand] = []
        self._checkpoints = CheckpointStore()
        self._trained_for = self._save_cost = 0.0  # seconds: since the last checkpoint, to make one
        self._given_up = False
        self._laid: resting.Rest | None = None  # what lies on disk while nobody trains
        self.last_used = time.monotonic()
        self._save()
        resting.keep(self)

    # ------------------------------------------------------------ training

    def fit(self, epochs: int | None = None) -> Run:
        """Train to the end of the plan, or for that many epochs of it, and return the run.

        Raises:
            CommandError: `epochs` is not a whole number from 1 on.
        """
        self.loop.fit(epochs)
        return self

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan or the next pause, and tell every event as it happens."""
        yield from self.loop.events()

    def step(self) -> StepDone:
        """Do exactly one optimizer step."""
        with self.loop.in_cell():
            before = self.journal.last(StepDone)
            self._do_step()
            done = self.journal.last(StepDone)
        if done and done is not before:
            return done
        self._refuse_if_over()
        raise CommandError(
            "The step failed: the loss is not a number any more. Rewind, then lower lr."
        )

    def start(self) -> Run:
        """Train in the background until the plan is done or someone pauses; the cell returns at once.

        Raises:
            CommandError: the run is over, or a loop over `events()` has it in hand.
        """
        self.resume().wait()
        return self

    def wait(self, timeout: float | None = None) -> Run:
        """Block until the background training has paused, ended or failed, or `timeout` seconds are over."""
        self.loop.wait(timeout)
        return self

    def stop(self) -> None:
        """Pause, and let the background thread go."""
        self.loop.stop()

    # ------------------------------------------------------------ one step, and what it completes

    def advance(self) -> None:
        """If the run is running: one step, and the end of the epoch if it was the last of it."""
        with self.loop.lock:
            if self.status != "running":
                return
            if self._is_spent:
                self._end("budget")
            else:
                self._guarded_step()

    def _end(self, reason: EndReason) -> None:
        """Over before the plan is. Logged with its step, so that a replay ends there whatever the clock says."""
        self._log.append(LoggedCommand(self.step_number, "end", {"reason": reason}))
        self.loop.status = "ended"
        self._checkpoints.spill_to_disk()
        self.journal.append(RunEnded(self.step_number, self.epoch, reason))

    def _step_and_what_follows(self) -> None:
        self._begin()
        self._finish_epoch()  # where its validation was interrupted
        if self.status != "ended":
            done = self.trainer.step()
            self.journal.append(done)
            self._finish_epoch()
            self._save_when_due(done.seconds)
        if self.status == "ended":
            self._checkpoints.spill_to_disk()
            resting.make_room(self)

    def _begin(self) -> None:
        """Before the first step: tell the first phase, and as epoch 0 what the network can do before any training."""
        if self.step_number or self.journal.last(EpochDone) is not None:
            return
        if not self.journal.last(PhaseChanged):
            self._tell_phase()
        self._tell_epoch()

    def _finish_epoch(self) -> None:
        """After the last step of an epoch: validate, then the end of the plan, the next phase or the next epoch."""
        if self._epoch_is_open:
            self._tell_epoch()
            if self.epoch >= self.settings.epochs:
                self._end_of_plan()
            elif self.trainer.enter_next_phase():
                self._tell_phase()

    @property
    def _epoch_is_open(self) -> bool:
        """Whether all steps of an epoch are done, and it was not validated yet."""
        if not self.step_number or not self.trainer.between_epochs:
            return False
        told = self.journal.last(EpochDone)
        return self.epoch > (told.epoch if told else 0)

    def _end_of_plan(self) -> None:
        self.loop.status = "ended"
        self.journal.append(RunEnded(self.step_number, self.epoch))

    def _guarded_step(self) -> None:
        """A step after which the run is whole, whatever goes wrong in it, and can be rewound."""
        self._get_up()
        self._make_whole()
        before = self.trainer.at
        try:
            with self.budget.spending() if self.budget else nullcontext():
                self._step_and_what_follows()
        except DivergedError as trouble:
            self.loop.status = "failed"
            self.journal.append(RunFailed(self.step_number, str(trouble), self._last_good_step()))
            self._make_whole()
        except BaseException:
            self.loop.status = "paused"
            told = self.journal.last(StepDone)
            if self.step_number != (told.step if told else 0):  # done, not told: to be done again
                self.trainer.at, self.trainer.half_done = before, True
            raise

    def _make_whole(self) -> None:
        self._refuse_if_given_up()
        if self.trainer.half_done:
            self._go_back_to(self.step_number)

    # ------------------------------------------------------------ where it is

    @property
    def status(self) -> Status:
        """Ready, running, paused, ended or failed."""
        return self.loop.status

    @property
    def in_background(self) -> bool:
        """Whether a thread of its own is training this run now."""
        return self.loop.in_background

    @property
    def settings(self) -> Settings:
        """What is in force for the next step."""
        return self.trainer.at.settings

    @property
    def step_number(self) -> int:
        """Optimizer steps done."""
        return self.trainer.at.step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.trainer.at.epoch

    @property
    def total_steps(self) -> int:
        """Steps at the end of the plan, if nothing is changed any more."""
        epochs, batch = self.settings.epochs - self.epoch, self.settings.batch_size
        size = len(self.data.train)
        if epochs < 1:
            return self.step_number
        now = steps_for(size - self.trainer.at.offset, batch)
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
        """The torch optimizer, with one named parameter group a stage."""
        return self.trainer.optimizer

    # ------------------------------------------------------------ steering

    def set(self, **settings: Any) -> Ticket:
        """Change settings from the next step on.

        They are lr, trainable_from, lr_decay, batch_size, weight_decay, hold, rehearse, clip_norm, accumulate, augment
        and epochs (of the whole plan).

        Raises:
            LearningRateError, StageError, PlanError, CommandError: at once, and nothing is changed.
        """
        return self.loop.give(self._ticket("set", settings))

    def pause(self) -> Ticket:
        """Stop before the next step; `resume()` or `fit()` goes on from there."""
        return self.loop.give(self._ticket("pause", {}))

    def resume(self) -> Ticket:
        """Go on in the background after a pause."""
        return self.submit("resume")

    def submit(self, kind: str, /, **args: Any) -> Ticket:
        """Give a command without waiting: it is checked now and takes effect between two steps.

        Kinds: set, pause, resume, step, rewind, reset. A mistake raises at once; `ticket.error` tells a refusal that
        only showed when its turn came.
        """
        return self.loop.submit(self._ticket(kind, args))

    def rewind(self, step: int) -> Run:
        """Be again where the run was after `step` steps; what came later, commands too, no longer happened."""
        self.loop.give(self._ticket("rewind", {"step": step})).wait()
        return self

    def reset(self) -> Run:
        """Be again at the same initial weights, with an empty log."""
        self.loop.give(self._ticket("reset", {})).wait()
        return self

    def branch(self, step: int | None = None, name: str | None = None, **settings: Any) -> Run:
        """A new run that shares the first `step` steps with this one, by default all, then goes its own way."""
        changes = check_settings(settings, self) if settings else {}
        self._refuse_if_given_up()
        with self.loop.lock:
            at = self._check_past(self.step_number if step is None else step)
            branch = self._clone(name or _branch_name(self.name, at, changes))
            branch.origin, branch.budget = (self.name, at), self.budget
            branch._checkpoints = self._checkpoints.share(at)
            until = at if step is None else at - 1  # commands given at a step took effect after it
            branch._log = [c for c in self._log if c.kind != "end" and c.step <= until]
            for event in self.journal.current:
                if happened_by(event, at) or event.step <= until:
                    branch.journal.append(event)
        branch._go_back_to(at)
        branch.loop.status = "paused" if at else "ready"
        if changes:
            branch.set(**changes)
        return branch

    def replay(self) -> Run:
        """A new run trained again from model, data, plan, seed and log, to where this one is. It has no budget."""
        clone = self._clone(f"{self.name}, replayed")
        clone.loop.repeat(self._log)
        while clone.step_number < self.step_number:
            clone.go_on()
            clone.loop.apply_commands()
            clone.advance()
        clone.loop.pause()
        clone.loop.apply_commands()  # those given after the last step
        return clone

    def _clone(self, name: str) -> Run:
        """A run of the same network, data, plan and seed, at step 0 and with an empty log."""
        return Run(self.net, self.data, self.plan, self.seed, name, self.precision)

    # ------------------------------------------------------------ commands between steps

    def _ticket(self, kind: str, args: Mapping[str, Any]) -> Ticket:
        """A command, checked: this is the one place where commands come in."""
        return Ticket(kind, check_command(kind, args, self))

    @property
    def handlers(self) -> Mapping[str, Callable[..., None]]:
        """What each kind of command does, between two steps."""
        return {
            "set": self._do_set,
            "pause": self.loop.pause,
            "resume": self._do_resume,
            "step": self._do_step,
            "rewind": self._do_rewind,
            "reset": self._do_reset,
            "end": self._end,  # given by a log only
        }

    def _do_set(self, **changes: Any) -> None:
        if self.ended_by == "budget":
            raise CommandError(self._spent_words())
        begun = self.epoch + (self.trainer.at.offset > 0)
        if changes.get("epochs", begun) < begun:
            raise CommandError(
                f"epochs={changes['epochs']} is past: the run is in epoch {begun}. Rewind, or ask for more."
            )
        self._log.append(LoggedCommand(self.step_number, "set", changes))
        self.trainer.apply_settings(self.settings.changed(changes))
        if self.status == "ended" and self.settings.epochs > self.epoch:
            self.loop.status = "paused"
            self.trainer.enter_next_phase()

    def _do_resume(self) -> None:
        self._refuse_if_over()
        self.go_on()

    def _do_step(self) -> None:
        self._refuse_if_over()
        self.loop.status = "paused"
        self._guarded_step()

    def _do_rewind(self, step: int) -> None:
        before = self.step_number
        self._check_past(step)
        log = [command for command in self._log if command.step < step]
        self._go_back_to(step, log)
        self._log = log
        self.journal.take_back(lambda event: happened_by(event, step))
        self._checkpoints.forget_after(step)
        self.loop.status = "paused" if step else "ready"
        self.journal.append(Rewound(step, before))

    def _do_reset(self) -> None:
        self.loop.repeat(())
        self._do_rewind(0)

    def go_on(self) -> None:
        """From ready or paused to running; a run that ended or failed stays so."""
        if self.status in ("ready", "paused"):
            if self.epoch < self.settings.epochs or self._epoch_is_open:
                self.loop.status = "running"
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
            self._checkpoints.add(self.trainer.checkpoint(self._checkpoints.newest()))

    def _go_back_to(self, step: int, log: Sequence[LoggedCommand] | None = None) -> None:
        """Be where the run was after `step` steps, with the commands of `log`, by default its own.

        An interrupt on the way leaves the run where it is: the way there is gone before anything else is done.
        """
        trainer, here = self.trainer, self.trainer.at
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
        trainer = self.trainer
        trainer.restore(self._checkpoints.latest(step))
        commands = deque(c for c in log if c.kind == "set" and c.step >= trainer.at.step)
        while True:
            while commands and commands[0].step == trainer.at.step:
                trainer.apply_settings(trainer.at.settings.changed(commands.popleft().args))
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
            return sum(map(resting.awake_bytes, self.trainer.held())) if idle else 0

    def lie_down(self) -> bool:
        """Lay weights and the optimizer state on disk if nobody uses the run right now; whether that went well.

        Nothing changes in what the run says or does. It gets up by itself when it trains on.
        """
        with self._if_idle() as idle:
            if idle:
                resting.lay_down(self.trainer.start())
                self._laid = resting.lay_down(self.trainer.held())
                self._checkpoints.spill_to_disk(small=resting.SMALLEST)
            return idle and self._laid is not None

    @contextmanager
    def _if_idle(self) -> Iterator[bool]:
        """Hold the run, without waiting, if it neither trains nor rests; whether that is so."""
        if not self.loop.lock.take_if_free():
            yield False
            return
        try:
            yield self._laid is None and self.loop.idle
        finally:
            self.loop.lock.__exit__()

    def discard(self) -> None:
        """Free what this run holds, at once: nobody may use it any more. What it shares with others stays.

        Letting go of a run is enough for the memory to come back in the end. But what drew it may have left a ring of
        objects around it, which Python only finds when it looks for them.
        """
        self._given_up, self._checkpoints = True, CheckpointStore()
        for tensor in self.trainer.held():
            tensor.data = tensor.data.new_empty(0)
        self.trainer.optimizer.state.clear()

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
        steps = [event for event in self.journal.current if isinstance(event, StepDone)]
        good = [event.step for event in steps if event.loss <= steps[0].loss]
        return max(0, max(good, default=0) - 1)

    # ------------------------------------------------------------ what a run tells

    def _tell_phase(self) -> None:
        at, now = self.trainer.at, self.settings
        self.journal.append(PhaseChanged(at.step, at.phase, now.trainable_from, now.lr))

    def _tell_epoch(self) -> None:
        self.last_used = time.monotonic()
        split = self.data.valid
        valid = self.trainer.validate(split_of(self.data, "valid")) if len(split) else None
        self.journal.append(self.trainer.close_epoch(valid))

    def evaluate(self, split: Split | str = "valid") -> Evaluation:
        """Exact counts on a whole split, in eval mode; the run is not changed.

        Args:
            split: the name of a split, or anything with `labels`, `batch()` and a length, such as a sample of one.

        Raises:
            SplitError: the data has no such split, it is empty, or this is no split.
            DataError: samples of classes that the network does not tell apart.
        """
        name = split if isinstance(split, str) else "sample"
        chosen = split_of(self.data, split)
        with self.paused():
            self.last_used = time.monotonic()
            return self.trainer.evaluate(chosen, name)

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
        """Whether a module of the model is in train mode while a step is done; between steps none is."""
        return self.trainer.stance.in_train_mode(module)

    def audit(self) -> freezing.Audit:
        """What changed in each stage since the start, and whether anything moved that was never trained."""
        with self.paused():
            return queries.audit(self.journal, self.trainer, self.settings.trainable_from)

    def drift(self) -> dict[str, float]:
        """For every stage, how far its parameters are from where they started: ||w - w0|| / ||w0||.

        Adapters in a stage are told beside it.
        """
        with self.paused():
            return queries.drift(self.trainer)

    @contextmanager
    def paused(self) -> Iterator[nn.Module]:
        """Hold the run between two steps, so that a probe may read its model; keep it short."""
        with self.loop.lock:
            self._make_whole()
            yield self.model

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


BRANCHED = " / step "


def _branch_name(parent: str, step: int, changes: Mapping[str, Any]) -> str:
    told = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in changes.items()
    )
    root = parent.partition(BRANCHED)[0]  # where a branch branches, only the last step is news
    return f"{root}{BRANCHED}{step}" + (f": {told}" if told else "")
