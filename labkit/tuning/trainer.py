"""A model in training: what one step is, and how to go back.

`Trainer.step` is the whole of training; lesson 06 prints it. Everything a step depends on is the model, the state of
the optimizer and a `Position`, so a checkpoint of those three is a complete way back. Chance is drawn afresh from the
seed and the step number, which is why a run replays to the bit.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.tuning import freezing
from labkit.tuning.cache import shared
from labkit.tuning.checkpoints import Checkpoint
from labkit.tuning.commands import Settings
from labkit.tuning.contracts import Data, Inputs, Net, Split, Targets, old_examples_of, old_head_of
from labkit.tuning.evaluation import Evaluation, eval_mode, forward, to_device
from labkit.tuning.events import EpochDone, StepDone
from labkit.tuning.optimizer import new_optimizer
from labkit.tuning.plans import Plan, rate_factor, resolve_depth
from labkit.tuning.precision import autocast, module_to_memory_format, to_memory_format, usual
from labkit.tuning.prefix import PLAIN, Prefix, View, pass_on
from labkit.tuning.spool import copies
from labkit.tuning.task import CLASSIFY, evaluate, task_of


def _in_training(step: Callable[[Trainer], StepDone]) -> Callable[[Trainer], StepDone]:
    """A step in which gradients are taken and the stages that learn are in train mode; after it, none is."""

    @wraps(step)
    def in_training(trainer: Trainer) -> StepDone:
        if trainer.hooks.before_step:
            trainer.hooks.before_step(trainer)
        with runtime.plain_torch(), trainer.stance.taken():
            return step(trainer)

    return in_training


class DivergedError(ArithmeticError):
    """The loss is no longer a number."""


@dataclass
class Position:
    """Where a run is: what a checkpoint keeps beside the tensors."""

    settings: Settings
    step: int = 0
    epoch: int = 0  # epochs completed
    offset: int = 0  # samples of the current epoch already used
    phase: int = 0
    phase_start: int = 0  # the epoch in which the phase began
    loss_sum: float = 0.0  # over all that was counted in the current epoch: samples, or tokens
    correct: int = 0
    count: int = 0
    seconds: float = 0.0
    trained: dict[str, int] = field(default_factory=dict)  # part -> the last step that moved it

    def copy(self) -> Position:
        """A position that can be kept while this one moves on."""
        return replace(self, trained=dict(self.trained))


@dataclass(frozen=True)
class Hooks:
    """What a trainer may be told to do otherwise, as a loop with a mistake in it does; all off in a run of ours.

    A hook belongs to its trainer: it is called again where a rewind trains again, and a branch has none.
    """

    before_step: Callable[[Trainer], None] | None = None
    """Called before every step, while the whole model is in eval mode."""
    loss: Callable[[Tensor, Targets], Tensor] | None = None
    """The loss of a batch, summed over all it is asked, in place of the task's."""
    validate: Callable[[Trainer, Split], Evaluation] | None = None
    """The validation at the end of an epoch, in place of `Trainer.evaluate`."""


class Trainer:
    """A model, its optimizer and its position in a plan."""

    def __init__(
        self, net: Net, data: Data, plan: Plan, seed: int, precision: runtime.Precision | None
    ) -> None:
        runtime.limit_threads()
        runtime.freeze_gc()
        with runtime.plain_torch():
            self._build(net, data, plan, seed, precision)

    def _build(
        self, net: Net, data: Data, plan: Plan, seed: int, precision: runtime.Precision | None
    ) -> None:
        self.stages: tuple[str, ...] = tuple(net.stages)
        self.train_split, self.plan, self.seed = data.train, plan, seed
        self._net, self._old = net, old_examples_of(data)
        self.task = task_of(data)
        self._size = self.task.head_size(data)
        self.device = runtime.device()
        self.model: nn.Module = net.build(self._size, seed=seed, pretrained=plan.pretrained)
        every = freezing.parts(self.model, self.stages)
        for phase in plan.phases:
            depth = resolve_depth(phase.trainable_from, self.stages)
            freezing.refuse_if_nothing_trains(every, self.stages, depth)
        self.precision = precision or usual(self.model, data.train)
        self.initial = freezing.snapshot(self.model, self.stages)
        module_to_memory_format(self.model.to(self.device), self.precision)
        self.optimizer = self._new_optimizer()
        self.at = Position(Settings.of(plan, 0, self.stages))
        self.half_done = False  # an exception left a step, or a change of settings, unfinished
        self.hooks = Hooks()
        self._order: tuple[int, Tensor] = (-1, torch.empty(0, device="cpu"))
        self.prefix: Prefix | None = None  # what frozen stages make of each sample, kept
        self._freeze()

    # ------------------------------------------------------------ one step

    @_in_training
    def step(self) -> StepDone:
        """One optimizer step. This is all that training is."""
        began = time.perf_counter()
        self.half_done = True
        rows, end = self._next_rows()
        lr = self._set_learning_rates()

        total, correct = 0.0, 0
        micro_batches, count = self._micro_batches(rows)  # one, unless gradients are accumulated
        for number, (some, targets) in enumerate(micro_batches):
            inputs = self._inputs(some, coming=self._order[1][end:])
            with self._chance(number), self.autocast():
                outputs = self.forward(inputs)
            loss = self.loss(outputs, targets) / count
            self._refuse_if_diverged(loss)
            loss.backward()
            total, correct = total + loss.item(), correct + self.task.right(outputs, targets)
        self._rehearse()  # adds to the gradients, if the plan says so
        self._clip()  # shortens them, if it says so
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._hold()  # pulls back towards the start, if the plan says so

        epoch, depth = self.at.epoch + end / len(self.train_split), self.at.settings.trainable_from
        seconds = time.perf_counter() - began
        done = StepDone(self.at.step + 1, epoch, total, correct, count, lr, depth, seconds)
        self._move_on(done, end)
        return done

    def _micro_batches(self, rows: Tensor) -> tuple[list[tuple[Tensor, Targets]], int]:
        """The batch as it goes through the network: rows and targets of each part, and how many answers all ask for.

        The loss of a micro-batch is divided by the count of the whole batch, so that the gradient is the batch's
        however unequal they are. None is a single sample, for BatchNorm's sake.
        """
        several = rows.chunk(max(1, min(self.at.settings.accumulate, len(rows) // 2)))
        asked = [self.task.targets(self.train_split, some) for some in several]
        count = sum(map(self.task.count, asked))
        on_device = [to_device(targets, self.device) for targets in asked]
        return list(zip(several, on_device, strict=True)), max(1, count)

    def _chance(self, micro_batch: int) -> AbstractContextManager[Any]:
        """Inside, what the network draws follows from seed, step and micro-batch."""
        place = (self.at.step, micro_batch) if micro_batch else (self.at.step,)
        return runtime.seeded_globals(self.seed, "step", *place)

    def _refuse_if_diverged(self, loss: Tensor) -> None:
        if not math.isfinite(loss.item()):
            raise DivergedError(f"the loss is {loss.item()} at step {self.at.step + 1}")

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """The loss summed over all that is asked of a batch."""
        return (self.hooks.loss or self.task.loss)(outputs, targets)

    def forward(self, inputs: Any) -> Tensor:
        """Through the whole model, or, where a part of it is frozen, through what lies above that part."""
        return self.task.outputs(self._through(inputs), self._size)

    def _clip(self) -> None:
        """Shorten the gradient of all parameters together to the length allowed (Pascanu et al., 2013)."""
        if self.at.settings.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.at.settings.clip_norm)

    def _through(self, inputs: Any) -> Any:
        if self.prefix is None:
            return forward(self.model, inputs)
        return pass_on(self.prefix.tail, inputs)[0]

    def _rehearse(self) -> None:
        """Add the gradients of the old task: a batch of it, through the layers below the head, under the old head.

        In eval mode, which is how the old questions will be asked: on running statistics. In train mode the old batch
        would be normalised by its own, so that the layers would learn for statistics nobody will use; and it would mix
        them into the running ones, on which the new task is validated.
        """
        weight, depth = self.at.settings.rehearse, self.at.settings.trainable_from
        if not weight or depth == self.stages[-1]:  # what does not move forgets nothing
            return
        assert self._old is not None  # checked when the weight was set
        chance = runtime.generator(self.seed, "rehearse", self.at.step)
        order = torch.randperm(len(self._old), generator=chance, device="cpu")
        rows = order[: self.at.settings.batch_size]
        with self.autocast(), eval_mode(self.model), self._under_the_old_head():
            scores = self._given(self._old, rows)  # of the old task's classes
        targets = CLASSIFY.targets(self._old, rows).to(self.device)
        loss = CLASSIFY.loss(scores, targets) / len(rows)
        if not math.isfinite(loss.item()):
            raise DivergedError(f"the old task's loss is {loss.item()} at step {self.at.step + 1}")
        (weight * loss).backward()

    @contextmanager
    def _under_the_old_head(self) -> Iterator[None]:
        """Inside, what the new head is given goes to the old one, whatever the network does on the way there."""
        new = freezing.stage(self.model, self.stages[-1])
        hook = new.register_forward_hook(lambda _, given, __: self._old_head(*given))
        try:
            yield
        finally:
            hook.remove()

    @cached_property
    def _old_head(self) -> nn.Module:
        """A copy of the head that the weights came with; it teaches the layers below and learns nothing."""
        head = old_head_of(self._net)
        assert head is not None  # checked when the weight was set
        learned = copy.deepcopy(head).to(self.device).eval().requires_grad_(False)
        return module_to_memory_format(learned, self.precision)

    @torch.no_grad()
    def _hold(self) -> None:
        """Take every weight that trains below the head a share of the way back to where the run began.

        That is L2-SP (Li, Grandvalet and Davoine, 2018), but beside the gradient, as in AdamW weight decay is
        (Loshchilov and Hutter, 2019): as a term of the loss, Adam would divide its strength away. Statistics of
        BatchNorm are no weights: they follow the data.
        """
        hold, unfrozen = self.at.settings.hold, self.unfrozen()[:-1]
        if not hold:
            return
        for group in self.optimizer.param_groups:
            if group["stage"] in unfrozen:
                share = min(1.0, group["lr"] * hold)
                for parameter in group["params"]:
                    parameter.lerp_(self._starts[parameter], share)

    @cached_property
    def _starts(self) -> dict[nn.Parameter, Tensor]:
        """Where each parameter below the head began, on the device and laid out alike."""
        return {
            parameter: _in_memory_format_of(parameter, self.initial[part.name][key])
            for part in self._parts
            for key, parameter in part.parameters.items()
            if part.stage != self.stages[-1]
        }

    def _next_rows(self) -> tuple[Tensor, int]:
        """The next samples (n,) in this epoch's order, and the place in it once they are used."""
        at, size = self.at, len(self.train_split)
        if self._order[0] != at.epoch:
            chance = runtime.generator(self.seed, "order", at.epoch)
            self._order = (at.epoch, torch.randperm(size, generator=chance, device="cpu"))
        end = min(at.offset + at.settings.batch_size, size)
        if size - end == 1:  # BatchNorm has no statistics over one sample: take it along
            end += 1
        return self._order[1][at.offset : end], end

    def _inputs(self, rows: Tensor, coming: Tensor) -> Inputs:
        """The samples at `rows` as this epoch sees them.

        Of a model with a frozen part, what that part makes of them, which is computed only once (`prefix`).
        """
        if self.prefix is not None:
            return self.prefix.features(self.train_split, rows, self._view(), coming)
        return self._to_memory_format(self._view().batch(self.train_split, rows)[0])

    def _view(self) -> View:
        """How this epoch changes the samples: each its own way, or, below a frozen part, one of a few in turn."""
        at, few = self.at, self.plan.views
        if at.settings.augment == "none":
            return PLAIN
        frozen = at.settings.trainable_from != self.stages[0]
        return View(at.settings.augment, at.epoch % few if frozen and few else at.epoch, self.seed)

    def _to_memory_format(self, inputs: Inputs) -> Inputs:
        return to_memory_format(inputs, self.precision, self.device)

    def _set_learning_rates(self) -> float:
        """Give every stage its rate for this step and return the head's."""
        at, now = self.at, self.at.settings
        done: float = at.epoch - at.phase_start
        done += (at.offset + now.batch_size / 2) / len(self.train_split)
        progress = min(1.0, done / (self.phase_end() - at.phase_start))
        lr = now.lr * rate_factor(now.schedule, now.warmup, progress)
        below_head = {name: depth for depth, name in enumerate(reversed(self.stages))}
        for group in self.optimizer.param_groups:
            group["lr"] = lr * now.lr_decay ** below_head[group["stage"]]
            group["weight_decay"] = now.weight_decay if group["decays"] else 0.0
        return lr

    def _move_on(self, done: StepDone, end: int) -> None:
        """Count a step that has used the samples of the epoch up to `end`."""
        at = self.at.copy()
        if at.offset == 0:
            at.loss_sum, at.correct, at.count, at.seconds = 0.0, 0, 0, 0.0
        at.step, at.offset = done.step, end
        at.loss_sum += done.loss * done.count
        at.correct += done.correct
        at.count += done.count
        at.seconds += done.seconds
        if at.offset == len(self.train_split):
            at.epoch, at.offset = at.epoch + 1, 0
        every = self.plan.frozen_statistics == "running"
        moved = [part.name for part in self._parts if every or self._part_trains(part)]
        at.trained.update(dict.fromkeys(moved, at.step))
        # In one statement: an interrupt finds the old position or the new one.
        self.at, self.half_done = at, False

    @property
    def between_epochs(self) -> bool:
        """Whether the last step completed an epoch."""
        return self.at.offset == 0

    def autocast(self) -> Any:
        """The precision of this run as a context."""
        return autocast(self.precision, self.device)

    def evaluate(self, split: Split, name: str) -> Evaluation:
        """Exact counts on a split."""
        with runtime.plain_torch(), self.autocast(), eval_mode(self.model):
            return evaluate(split, name, lambda rows: self.outputs(split, rows), self.task)

    def validate(self, split: Split) -> Evaluation:
        """What the end of an epoch says of a split."""
        if self.hooks.validate:
            return self.hooks.validate(self, split)
        return self.evaluate(split, "valid")

    def outputs(self, split: Split, rows: Tensor) -> Tensor:
        """What the model says of the samples at `rows` (n,) as they are."""
        return self.task.outputs(self._given(split, rows), self._size)

    def _given(self, split: Split, rows: Tensor) -> Any:
        if self.prefix is not None:
            return self._through(self.prefix.features(split, rows))
        inputs, _ = split.batch(rows)
        return self._through(self._to_memory_format(inputs))

    # ------------------------------------------------------------ epochs and phases

    def close_epoch(self, valid: Evaluation | None = None) -> EpochDone:
        """The books of the epoch that is over; the next step begins new ones. Epoch 0 has trained on nothing yet."""
        at, count = self.at, self.at.count
        return EpochDone(
            step=at.step,
            epoch=at.epoch,
            train_loss=at.loss_sum / count if count else None,
            train_correct=at.correct,
            train_count=count,
            valid_loss=valid.loss if valid else None,
            valid_correct=valid.correct if valid else 0,
            valid_count=valid.count if valid else 0,
            seconds=at.seconds,
            saved_seconds=self.prefix.take_saved() if self.prefix else 0.0,
        )

    def enter_next_phase(self) -> bool:
        """Begin the plan's next phase if the current one is over; whether it did."""
        at = self.at.copy()
        if at.epoch < self.phase_end() or at.phase + 1 == len(self.plan.phases):
            return False
        at.phase, at.phase_start = at.phase + 1, at.epoch
        at.settings = at.settings.in_phase(self.plan.phases[at.phase], self.stages)
        self._move_to(at)
        return True

    def phase_end(self) -> int:
        """The epoch at whose end the current phase is over; the last phase ends with the plan."""
        if self.at.phase + 1 == len(self.plan.phases):
            return max(self.at.settings.epochs, self.at.phase_start + 1)
        return sum(phase.epochs for phase in self.plan.phases[: self.at.phase + 1])

    # ------------------------------------------------------------ freezing and the optimizer

    def apply_settings(self, settings: Settings) -> None:
        """Use new settings from the next step on."""
        at = self.at.copy()
        at.settings = settings
        self._move_to(at)

    def _move_to(self, at: Position) -> None:
        before, half_done = self._training_parameters(), self.half_done
        # Half done until all of it is in force: an interrupt may come in between.
        self.at, self.half_done = at, True
        changed = before ^ self._training_parameters()
        if changed:
            self._freeze()
            self._forget_state(changed)
        self.half_done = half_done

    def unfrozen(self) -> tuple[str, ...]:
        """The stages that train now."""
        return self.stages[self.stages.index(self.at.settings.trainable_from) :]

    @cached_property
    def _parts(self) -> tuple[freezing.Part, ...]:
        """The parts of the model, for their parameters only: a module may put another buffer in place of one."""
        return freezing.parts(self.model, self.stages)

    def _part_trains(self, part: freezing.Part) -> bool:
        return part.trains(self.stages, self.at.settings.trainable_from)

    def _training_parameters(self) -> set[nn.Parameter]:
        training = (part for part in self._parts if self._part_trains(part))
        return {parameter for part in training for parameter in part.parameters.values()}

    def _freeze(self) -> None:
        depth, statistics = self.at.settings.trainable_from, self.plan.frozen_statistics
        freezing.freeze_below(self.model, self.stages, depth, statistics)
        self.model.training = True  # the whole, which is no stage
        self.stance = freezing.Stance(self.model)
        self.prefix = None
        if statistics == "fixed":  # running ones make the frozen part another one in every step
            self.prefix = Prefix.below(self.model, depth, self.precision, self.device, shared)

    def _forget_state(self, parameters: set[nn.Parameter]) -> None:
        """What was just unfrozen begins, and what was just frozen ends, without the optimizer's state."""
        for parameter in parameters:
            self.optimizer.state.pop(parameter, None)
            parameter.grad = None

    def _new_optimizer(self) -> torch.optim.Optimizer:
        """One named group a part from the start: a stage unfrozen later is already in it.

        Two, where biases and the weights of normalisation are to go without weight decay: they have one dimension.
        """
        groups = []
        for part in self._parts:
            every = list(part.parameters.values())
            decayed = [p for p in every if self.plan.decay_all or p.ndim > 1]
            spared = [p for p in every if not self.plan.decay_all and p.ndim <= 1]
            names = {"stage": part.stage, "name": part.name}
            groups.append({"params": decayed, "decays": True, **names})
            if spared:
                names["name"] += ", no decay"
                groups.append({"params": spared, "decays": False, **names})
        return new_optimizer(self.plan.optimizer, groups, lr=0.0, device=self.device)

    def held(self) -> list[Tensor]:
        """All that training needs beside the data."""
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        pulls = vars(self).get("_starts", {}).values()
        return [*self.model.parameters(), *self.model.buffers(), *states, *pulls]

    def start(self) -> list[Tensor]:
        """The weights it began with, which nothing changes."""
        return [tensor for stage in self.initial.values() for tensor in stage.values()]

    # ------------------------------------------------------------ the way back

    def checkpoint(self, previous: Checkpoint | None) -> Checkpoint:
        """Everything needed to come back here; parts that have not moved share their tensors."""
        weights = {
            part.name: self._weights(part, previous)
            for part in freezing.parts(self.model, self.stages)
        }
        states = {group["name"]: self._states(group) for group in self.optimizer.param_groups}
        own = [value for of in states.values() for state in of.values() for value in state.values()]
        for name, kept in weights.items():
            shared = kept is self.initial[name] or (previous and kept is previous.weights[name])
            own += [] if shared else kept.values()
        size = sum(tensor.nbytes for tensor in own)
        return Checkpoint(self.at.step, weights, states, self.at.copy(), size)

    def _weights(self, part: freezing.Part, previous: Checkpoint | None) -> dict[str, Tensor]:
        moved = self.at.trained.get(part.name, 0)
        if moved == 0:
            return self.initial[part.name]
        if previous and moved <= previous.step:
            return previous.weights[part.name]
        return copies(part.tensors)

    def _states(self, group: dict[str, Any]) -> dict[int, dict[str, Tensor]]:
        """By the number of each parameter in its group, what the optimizer keeps for it."""
        kept = copies(
            {
                (index, key): value
                for index, parameter in enumerate(group["params"])
                for key, value in self.optimizer.state.get(parameter, {}).items()
            }
        )
        states: dict[int, dict[str, Tensor]] = {}
        for (index, key), value in kept.items():
            states.setdefault(index, {})[key] = value
        return states

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Be again where the checkpoint was taken."""
        for part in freezing.parts(self.model, self.stages):
            for key, value in checkpoint.weights[part.name].items():
                part.tensors[key].copy_(value)
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        for group in self.optimizer.param_groups:
            for index, state in checkpoint.optimizer[group["name"]].items():
                parameter = group["params"][index]
                self.optimizer.state[parameter] = {
                    key: value.clone()
                    if value.ndim == 0
                    else _in_memory_format_of(parameter, value)
                    for key, value in state.items()
                }
        self.at = checkpoint.state.copy()
        self.half_done = False
        self._freeze()


def _in_memory_format_of(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy in the parameter's memory format, as the optimizer made it: another one gives other last bits."""
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
