"""A model in training: what one step is, and how to go back.

`Trainer.step` is the whole of training; lesson 06 prints it. Everything a step depends on is the model, the
optimiser's moments and a `Position`, so a checkpoint of those three is a complete way back. Chance is drawn afresh
from the seed and the step number, which is why a run replays to the bit.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.errors import BackboneError
from labkit.tuning import freezing
from labkit.tuning.cache import shared
from labkit.tuning.checkpoints import Checkpoint, copies
from labkit.tuning.commands import Settings
from labkit.tuning.evaluation import Evaluation, Inputs, eval_mode, evaluate, forward, scores_of
from labkit.tuning.events import EpochDone, StepDone
from labkit.tuning.optimizer import new_optimizer
from labkit.tuning.plans import Plan, rate_factor
from labkit.tuning.precision import autocast, laid_out, lay_out, usual
from labkit.tuning.prefix import PLAIN, Prefix, View, pass_on


def _in_training(step: Callable[[Trainer], StepDone]) -> Callable[[Trainer], StepDone]:
    """A step in which gradients are taken and the stages that learn are in train mode; after it, none is."""

    @wraps(step)
    def in_training(trainer: Trainer) -> StepDone:
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
    loss_sum: float = 0.0  # over the samples of the current epoch
    correct: int = 0
    seconds: float = 0.0
    trained: dict[str, int] = field(default_factory=dict)  # stage -> the last step that moved it

    def copy(self) -> Position:
        """A position that can be kept while this one moves on."""
        return replace(self, trained=dict(self.trained))


class Trainer:
    """A model, its optimiser and its position in a plan."""

    def __init__(
        self, net: Any, data: Any, plan: Plan, seed: int, precision: runtime.Precision | None
    ) -> None:
        runtime.limit_threads()
        runtime.settle()
        with runtime.plain_torch():
            self._build(net, data, plan, seed, precision)

    def _build(
        self, net: Any, data: Any, plan: Plan, seed: int, precision: runtime.Precision | None
    ) -> None:
        self.stages: tuple[str, ...] = tuple(net.stages)
        self.train_split, self.plan, self.seed = data.train, plan, seed
        self._net: Any = net
        self._classes = len(data.classes)
        self._old: Any = getattr(data, "old", None)
        self.device = runtime.device()
        self.model: nn.Module = net.build(self._classes, seed=seed, pretrained=plan.pretrained)
        self.precision = precision or usual(self.model, data.train)
        self.initial = freezing.snapshot(self.model, self.stages)
        lay_out(self.model.to(self.device), self.precision)
        self.optimizer = self._new_optimizer()
        self.at = Position(Settings.of(plan, 0, self.stages))
        self.half_done = False  # an exception left a step, or a change of settings, unfinished
        self._order: tuple[int, Tensor] = (-1, torch.empty(0, device="cpu"))
        self._prefix: Prefix | None = None
        self._freeze()

    # ------------------------------------------------------------ one step

    @_in_training
    def step(self) -> StepDone:
        """One optimiser step. This is all that training is."""
        began = time.perf_counter()
        self.half_done = True
        inputs, targets, epoch = self._next_batch()
        lr = self._set_learning_rates()

        with runtime.seeded_globals(self.seed, "step", self.at.step), self.autocast():
            scores = self.forward(inputs)
        loss = F.cross_entropy(scores.float(), targets)
        if not math.isfinite(loss.item()):
            raise DivergedError(f"the loss is {loss.item()} at step {self.at.step + 1}")
        loss.backward()
        self._rehearse()  # adds to the gradients, if the plan says so
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._hold()  # pulls back towards the start, if the plan says so

        correct, count = int((scores.argmax(1) == targets).sum()), len(targets)
        depth, seconds = self.at.settings.trainable_from, time.perf_counter() - began
        done = StepDone(self.at.step + 1, epoch, loss.item(), correct, count, lr, depth, seconds)
        self._move_on(done)
        return done

    def forward(self, inputs: Any) -> Tensor:
        """Through the whole model, or, where a part of it is frozen, through what lies above that part."""
        return scores_of(self._through(inputs), self._classes)

    def _through(self, inputs: Any) -> Any:
        if self._prefix is None:
            return forward(self.model, inputs)
        return pass_on(self._prefix.tail, inputs)[0]

    def _rehearse(self) -> None:
        """Add the gradients of the old task: a batch of it, through the layers below the head, under the old head.

        In eval mode, which is how the old questions will be asked: on running statistics. In train mode the old batch
        would be normalised by its own, so that the layers would learn for statistics nobody will use; and it would mix
        them into the running ones, on which the new task is validated.
        """
        weight, depth = self.at.settings.rehearse, self.at.settings.trainable_from
        if not weight or depth == self.stages[-1]:  # what does not move forgets nothing
            return
        chance = runtime.generator(self.seed, "rehearse", self.at.step)
        order = torch.randperm(len(self._old), generator=chance, device="cpu")
        rows = order[: self.at.settings.batch_size]
        with self.autocast(), eval_mode(self.model), self._under_the_old_head():
            scores = self._given(self._old, rows)  # of the old task's classes
        loss = F.cross_entropy(scores.float(), self._old.labels[rows].to(self.device))
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
        head = copy.deepcopy(self._net.head).to(self.device).eval().requires_grad_(False)
        return lay_out(head, self.precision)

    @torch.no_grad()
    def _hold(self) -> None:
        """Take every weight that trains below the head a share of the way back to where the run began.

        That is L2-SP (Li, Grandvalet and Davoine, 2018), but beside the gradient, as in AdamW weight decay is
        (Loshchilov and Hutter, 2019): as a term of the loss, Adam would divide its strength away. Statistics of
        BatchNorm are no weights: they follow the data.
        """
        hold, thawed = self.at.settings.hold, self.thawed()[:-1]
        if not hold:
            return
        for group in self.optimizer.param_groups:
            if group["name"] in thawed:
                share = min(1.0, group["lr"] * hold)
                for parameter, start in self._starts[group["name"]]:
                    parameter.lerp_(start, share)

    @cached_property
    def _starts(self) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """For every stage below the head, its parameters and where each began, on the device and laid out alike."""
        return {
            name: [
                (parameter, _laid_out_as(parameter, self.initial[name][key]))
                for key, parameter in freezing.stage(self.model, name).named_parameters()
            ]
            for name in self.stages[:-1]
        }

    def _next_batch(self) -> tuple[Inputs, Tensor, float]:
        """The next samples in this epoch's order, and how many epochs are done once they are used.

        Of a model with a frozen part, what that part makes of them, which is computed only once (`prefix`).
        """
        at, size = self.at, len(self.train_split)
        if self._order[0] != at.epoch:
            chance = runtime.generator(self.seed, "order", at.epoch)
            self._order = (at.epoch, torch.randperm(size, generator=chance, device="cpu"))
        end = min(at.offset + at.settings.batch_size, size)
        if size - end == 1:  # BatchNorm has no statistics over one sample: take it along
            end += 1
        rows, view, epoch = self._order[1][at.offset : end], self._view(), at.epoch + end / size
        if self._prefix is None:
            inputs, targets = view.batch(self.train_split, rows)
            return self._laid_out(inputs), targets.to(self.device), epoch
        inputs = self._prefix.features(self.train_split, rows, view, coming=self._order[1][end:])
        return inputs, self.train_split.labels[rows].to(self.device), epoch

    def _view(self) -> View:
        """How this epoch changes the samples: each its own way, or, below a frozen part, one of a few in turn."""
        at, few = self.at, self.plan.views
        if at.settings.augment == "none":
            return PLAIN
        frozen = at.settings.trainable_from != self.stages[0]
        return View(at.settings.augment, at.epoch % few if frozen and few else at.epoch, self.seed)

    def _laid_out(self, inputs: Inputs) -> Inputs:
        return laid_out(inputs, self.precision, self.device)

    def _set_learning_rates(self) -> float:
        """Give every stage its rate for this step and return the head's."""
        at, now = self.at, self.at.settings
        done: float = at.epoch - at.phase_start
        done += (at.offset + now.batch_size / 2) / len(self.train_split)
        progress = min(1.0, done / (self.phase_end() - at.phase_start))
        lr = now.lr * rate_factor(now.schedule, now.warmup, progress)
        for depth, group in enumerate(reversed(self.optimizer.param_groups)):
            group["lr"] = lr * now.lr_decay**depth
            group["weight_decay"] = now.weight_decay
        return lr

    def _move_on(self, done: StepDone) -> None:
        at, size = self.at.copy(), len(self.train_split)
        if at.offset == 0:
            at.loss_sum, at.correct, at.seconds = 0.0, 0, 0.0
        at.step, at.offset = done.step, round((done.epoch - at.epoch) * size)
        at.loss_sum += done.loss * done.count
        at.correct += done.correct
        at.seconds += done.seconds
        if at.offset == size:
            at.epoch, at.offset = at.epoch + 1, 0
        moved = self.stages if self.plan.frozen_statistics == "running" else self.thawed()
        at.trained.update(dict.fromkeys(moved, at.step))
        self.at, self.half_done = (
            at,
            False,
        )  # at once: an interrupt finds the old place or the new one

    @property
    def between_epochs(self) -> bool:
        """Whether the last step completed an epoch."""
        return self.at.offset == 0

    def autocast(self) -> Any:
        """The precision of this run as a context."""
        return autocast(self.precision, self.device)

    def evaluate(self, split: Any, name: str) -> Evaluation:
        """Exact counts on a split."""

        with runtime.plain_torch(), self.autocast(), eval_mode(self.model):
            return evaluate(split, name, lambda rows: self._scores(split, rows))

    def _scores(self, split: Any, rows: Tensor) -> Tensor:
        """What the model says of the samples at `rows` (n,) as they are."""
        return scores_of(self._given(split, rows), self._classes)

    def _given(self, split: Any, rows: Tensor) -> Any:
        if self._prefix is not None:
            return self._through(self._prefix.features(split, rows))
        inputs, _ = split.batch(rows)
        return self._through(self._laid_out(inputs))

    # ------------------------------------------------------------ epochs and phases

    def close_epoch(self, valid: Evaluation | None = None) -> EpochDone:
        """The books of the epoch that is over; the next step begins new ones. Epoch 0 has trained on nothing yet."""
        at, count = self.at, len(self.train_split) if self.at.epoch else 0
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
            saved_seconds=self._prefix.take_saved() if self._prefix else 0.0,
        )

    def enter_next_phase(self) -> bool:
        """Begin the plan's next phase if the current one is over; whether it did."""
        at = self.at.copy()
        if at.epoch < self.phase_end() or at.phase + 1 == len(self.plan.phases):
            return False
        at.phase, at.phase_start = at.phase + 1, at.epoch
        at.settings = at.settings.in_phase(self.plan.phases[at.phase], self.stages)
        self._stand_at(at)
        return True

    def phase_end(self) -> int:
        """The epoch at whose end the current phase is over; the last phase ends with the plan."""
        if self.at.phase + 1 == len(self.plan.phases):
            return max(self.at.settings.epochs, self.at.phase_start + 1)
        return sum(phase.epochs for phase in self.plan.phases[: self.at.phase + 1])

    # ------------------------------------------------------------ freezing and the optimiser

    def put_in_force(self, settings: Settings) -> None:
        """Use new settings from the next step on."""
        at = self.at.copy()
        at.settings = settings
        self._stand_at(at)

    def _stand_at(self, at: Position) -> None:
        before, half_done = set(self.thawed()), self.half_done
        self.at, self.half_done = (
            at,
            True,
        )  # until all of it is in force: an interrupt may come in between
        if before != set(self.thawed()):
            self._freeze()
            self._forget_moments(before ^ set(self.thawed()))
        self.half_done = half_done

    def thawed(self) -> tuple[str, ...]:
        """The stages that train now."""
        return self.stages[self.stages.index(self.at.settings.trainable_from) :]

    def _freeze(self) -> None:
        depth, statistics = self.at.settings.trainable_from, self.plan.frozen_statistics
        freezing.freeze_below(self.model, self.stages, depth, statistics)
        self.model.training = True  # the whole, which is no stage
        self.stance = freezing.Stance(self.model)
        self._prefix = None
        if statistics == "fixed":  # running ones make the frozen part another one in every step
            self._prefix = Prefix.below(self.model, depth, self.precision, self.device, shared)

    def _forget_moments(self, stages: set[str]) -> None:
        """A stage just thawed begins, and one just frozen ends, without the optimiser's memory."""
        for group in self.optimizer.param_groups:
            if group["name"] in stages:
                for parameter in group["params"]:
                    self.optimizer.state.pop(parameter, None)
                    parameter.grad = None

    def _new_optimizer(self) -> torch.optim.Optimizer:
        """One named group per stage from the start: a stage thawed later is already in it."""
        groups = [
            {"params": list(freezing.stage(self.model, name).parameters()), "name": name}
            for name in self.stages
        ]
        self._refuse_shared()
        return new_optimizer(self.plan.optimizer, groups, lr=0.0, device=self.device)

    def held(self) -> list[Tensor]:
        """All that training needs beside the data."""
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        pulls = [start for stage in vars(self).get("_starts", {}).values() for _, start in stage]
        return [*self.model.parameters(), *self.model.buffers(), *states, *pulls]

    def start(self) -> list[Tensor]:
        """The weights it began with, which nothing changes."""
        return [tensor for stage in self.initial.values() for tensor in stage.values()]

    def _refuse_shared(self) -> None:
        """A parameter that two stages share would be frozen with one and trained with the other."""
        owner: dict[nn.Parameter, str] = {}
        for stage in self.stages:
            for key, parameter in freezing.stage(self.model, stage).named_parameters():
                other = owner.setdefault(parameter, stage)
                if other != stage:
                    raise BackboneError(
                        f"{self._net.name}: the stages {other} and {stage} share a parameter, {stage}.{key}. A run "
                        "freezes and trains stage by stage, so give each a copy, or make one stage of the two."
                    )

    # ------------------------------------------------------------ the way back

    def checkpoint(self, previous: Checkpoint | None) -> Checkpoint:
        """Everything needed to come back here; stages that have not moved share their tensors."""
        weights = {name: self._weights(name, previous) for name in self.stages}
        moments = {group["name"]: self._moments(group) for group in self.optimizer.param_groups}
        own = [
            tensor for states in moments.values() for s in states.values() for tensor in s.values()
        ]
        for name, kept in weights.items():
            shared = kept is self.initial[name] or (previous and kept is previous.weights[name])
            own += [] if shared else kept.values()
        size = sum(tensor.nbytes for tensor in own)
        return Checkpoint(self.at.step, weights, moments, self.at.copy(), size)

    def _weights(self, name: str, previous: Checkpoint | None) -> dict[str, Tensor]:
        moved = self.at.trained.get(name, 0)
        if moved == 0:
            return self.initial[name]
        if previous and moved <= previous.step:
            return previous.weights[name]
        now = freezing.tensors(freezing.stage(self.model, name))
        return copies(now)

    def _moments(self, group: dict[str, Any]) -> dict[int, dict[str, Tensor]]:
        kept = copies(
            {
                (index, key): value
                for index, parameter in enumerate(group["params"])
                for key, value in self.optimizer.state.get(parameter, {}).items()
            }
        )
        moments: dict[int, dict[str, Tensor]] = {}
        for (index, key), value in kept.items():
            moments.setdefault(index, {})[key] = value
        return moments

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Be again where the checkpoint was taken."""
        for name, weights in checkpoint.weights.items():
            now = freezing.tensors(freezing.stage(self.model, name))
            for key, value in weights.items():
                now[key].copy_(value)
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        for group in self.optimizer.param_groups:
            for index, state in checkpoint.moments[group["name"]].items():
                parameter = group["params"][index]
                self.optimizer.state[parameter] = {
                    key: value.clone() if value.ndim == 0 else _laid_out_as(parameter, value)
                    for key, value in state.items()
                }
        self.at = checkpoint.state.copy()
        self.half_done = False
        self._freeze()


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy in the parameter's memory format, as the optimiser made it: another one gives other last bits."""
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
