"""What training costs, counted before anything is trained: operations and bytes, by frozen depth and for a whole plan.

Counting needs no clock. torch's own counter (`torch.utils.flop_counter.FlopCounterMode`) adds up the multiplications
and additions of convolutions and matrix products as they run, forward and backward, and torch tells which tensors it
keeps for the way back (`torch.autograd.graph.saved_tensors_hooks`). Both happen on a throw-away copy of the network, so
the run stays as it is. What is not counted: BatchNorm, activation functions and the optimiser, which take few
operations and yet some time. `step_seconds` therefore times the same steps.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode

from labkit import runtime
from labkit.errors import PlanError, StageError
from labkit.insight.inside import as_inputs, built_again
from labkit.insight.prices import Machine
from labkit.tuning import EpochDone, Plan, freezing
from labkit.tuning.cache import Values, shared
from labkit.tuning.contracts import Inputs
from labkit.tuning.evaluation import forward, to_device
from labkit.tuning.given import a, a_clock, a_count, a_run, maybe, refuse_no_list, some, takes
from labkit.tuning.optimizer import new_optimizer
from labkit.tuning.plans import resolve_depth
from labkit.tuning.precision import autocast, module_to_memory_format
from labkit.tuning.prefix import Prefix, pass_on
from labkit.tuning.task import task_of

if TYPE_CHECKING:
    from labkit.tuning import Run

GIGA, MEGA = 1e9, 1e6
MOST_RUNS = 10**9  # that a bill is made out for
LAST_STEPS = (
    50  # of a run that tell what a step takes now: before, frozen stages had yet to be run once
)
MOST_TURNS = 1000  # of a timing
TINY_RATE = 1e-7  # of the optimiser of a copy: it makes real steps, and its numbers stay harmless
Clock = Callable[[], float]


# ---------------------------------------------------------------- what is counted


@dataclass(frozen=True)
class Memory:
    """Bytes that a step needs at once; `kept` is what the outputs of frozen stages take, once they are all kept.

    `weights` are parameters and buffers of the whole network. `activations` are the tensors that the forward pass
    leaves for the backward pass, with the inputs that they begin from and, where arithmetic is in 16 bits, the weights
    in 16 bits. Gradients and the optimiser's memory exist for the parameters that train, and for no others.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    kept: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, part.name) for part in fields(self))


@dataclass(frozen=True)
class StepCost:
    """One optimiser step over a batch of `samples`, with everything below `trainable_from` frozen.

    Operations (FLOPs: a multiplication and an addition are two) are counted in three parts: `frozen` is the forward
    pass through what gives the same output each time, `forward` the rest of it, `backward` the way back.
    """

    trainable_from: str
    samples: int
    frozen: int
    forward: int
    backward: int
    memory: Memory

    @property
    def again(self) -> int:
        """FLOPs of a step that runs the frozen part again, as a plain loop does."""
        return self.frozen + self.forward + self.backward

    @property
    def kept(self) -> int:
        """FLOPs of a step that finds the output of the frozen part where it was kept."""
        return self.forward + self.backward


@takes(run=a_run)
@runtime.plain_torch()
def count_step(run: Run, trainable_from: str | int | None = None) -> StepCost:
    """Count one step of a run's network, data and batch size at a frozen depth, by default that of now.

    The same settings give the same numbers, to the last digit. Raises StageError for a stage that the network does not
    have.
    """
    depth = run.settings.trainable_from if trainable_from is None else trainable_from
    copy = Copy(run)
    copy.freeze_below(resolve_depth(depth, run.stages))
    return copy.counted()


@takes(run=a_run, depths=maybe(refuse_no_list))
@runtime.plain_torch()
def step_costs(run: Run, depths: Sequence[str | int] | None = None) -> tuple[StepCost, ...]:
    """A step at each frozen depth, by default at every stage of the network, from everything to the head alone."""
    copy, steps = Copy(run), []
    for depth in _depths(run, depths):
        copy.freeze_below(depth)
        steps.append(copy.counted())
    return tuple(steps)


def _depths(run: Run, depths: Sequence[str | int] | None) -> list[str]:
    """The depths by the names of their stages, by default every stage. StageError for one that is not there."""
    if depths is not None and not depths:
        raise StageError(f"depths is empty; this network has {', '.join(run.stages)}.")
    return [resolve_depth(depth, run.stages) for depth in depths or run.stages]


# ---------------------------------------------------------------- what a whole plan costs


@dataclass(frozen=True)
class Cost:
    """What a plan costs from its first step to its last, validation after every epoch included.

    `flops` is with the output of frozen stages kept, as labkit does it, `flops_again` with those stages run again for
    every sample. `memory` is that of the phase that needs most. `seconds` and `seconds_again` are told by a run that
    has trained: how long its steps took, and how long they would have taken without what was kept (validation
    counted); None before.
    """

    name: str
    steps: tuple[StepCost, ...]
    flops: int
    flops_again: int
    memory: Memory
    seconds: float | None = None
    seconds_again: float | None = None


@takes(run=a_run)
def cost(run: Run) -> Cost:
    """What the plan of a run costs: counted for the plan as it is written, timed as far as the run has trained.

    Commands given on the way are not in the count, nor are the old examples of a plan that rehearses. A frozen part
    whose output is kept runs once a sample in each phase, and once a view where images are augmented. The last, short
    batch of such a pass is filled up by labkit; that is left out, and so what really runs may be a little more.
    """
    steps = tuple(count_step(run, phase.trainable_from) for phase in run.plan.phases)
    flops = again = 0
    for number, (phase, step) in enumerate(zip(run.plan.phases, steps, strict=True)):
        asked = phase.epochs + (number == 0)  # before any training validation is looked at, too
        train, valid = len(run.data.train) * phase.epochs, len(run.data.valid) * asked
        trained = step.kept * train // step.samples
        judged = step.forward * valid // step.samples
        seen = len(run.data.train) * _views(run.plan, phase.epochs) + len(run.data.valid)
        flops += trained + judged + step.frozen * seen // step.samples
        again += trained + judged + step.frozen * (train + valid) // step.samples
    seconds, saved = _spent_and_saved(run)
    return Cost(
        run.plan.name,
        steps,
        flops,
        again,
        max((step.memory for step in steps), key=lambda memory: memory.total),
        seconds,
        None if seconds is None else seconds + saved,
    )


def _views(plan: Plan, epochs: int) -> int:
    """How many versions of a sample the frozen part sees in so many epochs."""
    if plan.augment == "none":
        return 1
    return min(epochs, plan.views) if plan.views else epochs


def _spent_and_saved(run: Run) -> tuple[float | None, float]:
    """Seconds of all steps of complete epochs, and those that were saved; (None, 0) where none is complete."""
    events = [event for _, event in run.journal.since(0)]
    epochs = [event for event in events if isinstance(event, EpochDone) and event.epoch]
    spent = sum(done.seconds for done in epochs) if epochs else None
    return spent, sum(done.saved_seconds for done in epochs)


# ---------------------------------------------------------------- what it takes by the clock


@takes(
    run=a_run, depths=maybe(refuse_no_list), turns=a_count(1, MOST_TURNS, PlanError), clock=a_clock
)
@runtime.plain_torch()
def step_seconds(
    run: Run,
    depths: Sequence[str | int] | None = None,
    turns: int = 5,
    clock: Clock = time.process_time,
) -> pd.DataFrame:
    """Seconds of one step at each frozen depth, by default of the processor: the median over turns.

    In each turn every depth has its steps, so that a busy moment of the machine meets them all; every second turn goes
    the other way round. Columns: `again`, where the frozen part runs in every step, and `kept`, where its output is at
    hand. Where nothing is frozen the two are the same work. The first step of each kind in a turn is not timed.
    Raises PlanError for fewer than one turn or more than 1000.
    """
    names = _depths(run, depths)
    copy = Copy(run)
    seen: dict[tuple[str, str], list[float]] = {}
    for turn in range(turns):
        for depth in names if turn % 2 == 0 else reversed(names):
            copy.freeze_below(depth)
            for way in ("again", "kept"):
                seen.setdefault((depth, way), []).append(copy.timed(way == "kept", clock))
    rows = {name: {way: median(seen[name, way]) for way in ("again", "kept")} for name in names}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trains from")


def seconds_so_far(run: Run) -> dict[str, tuple[float, int]]:
    """What the run's own steps took: by frozen depth, the median in seconds of the last 50, and how many those are.

    Only full batches of the size in force count. Seconds are those of the wall clock, and a step that finds the output
    of frozen stages where it was kept takes fewer.
    """
    size = min(run.settings.batch_size, len(run.data.train))
    rows = run.history
    steps = rows[(rows["split"] == "train") & (rows["count"] == size)]
    found = {}
    for depth, seconds in steps.groupby("trainable_from")["seconds"]:
        last = seconds.tail(LAST_STEPS)
        found[str(depth)] = (float(last.median()), len(last))
    return found


# ---------------------------------------------------------------- the copy that is worked on


class Copy:
    """A fresh network as a run began with it, one batch of its data, and steps at any frozen depth.

    It is no run: nothing is logged, and the run that it was made from is not touched.
    """

    def __init__(self, run: Run) -> None:
        self.plan, self.stages, self.precision = run.plan, run.stages, run.precision
        self.device = runtime.device()
        self.splits = (run.data.train, run.data.valid)
        self.model: nn.Module = built_again(run)
        module_to_memory_format(self.model.to(self.device), self.precision)
        rows = torch.arange(min(run.settings.batch_size, len(run.data.train)))
        self.inputs: Inputs = as_inputs(run, run.data.train.batch(rows)[0])
        self.task, self.samples = task_of(run.data), len(rows)
        self.head_size = self.task.head_size(run.data)
        self.targets = to_device(self.task.targets(run.data.train, rows), self.device)
        self._optimisers: dict[str, torch.optim.Optimizer] = {}
        self.freeze_below(self.stages[0])

    def freeze_below(self, depth: str) -> None:
        """Be frozen below a stage, with an optimiser for the rest of its own."""
        statistics = self.plan.frozen_statistics
        freezing.freeze_below(self.model, self.stages, depth, statistics)
        self.depth, self._prefix = depth, None
        if statistics == "fixed":  # running ones make the frozen part another one in every step
            place = (self.precision, self.device, shared)
            self._prefix = Prefix.below(self.model, depth, *place)
        if depth not in self._optimisers:
            self._optimisers[depth] = self._optimiser()

    def counted(self) -> StepCost:
        """One step, counted."""
        with runtime.seeded_globals(0, "cost"):
            with counting() as below:
                values = self._below()
            with counting() as ahead, _saved(self.model) as saved:
                loss = self._loss(values)
            with counting() as back:
                loss.backward()
            self._optimisers[self.depth].step()
        memory = self._memory(saved, values)
        self.model.zero_grad()  # else what is frozen next would keep its gradients
        return StepCost(
            self.depth,
            self.samples,
            frozen=below.get_total_flops(),
            forward=ahead.get_total_flops(),
            backward=back.get_total_flops(),
            memory=memory,
        )

    def timed(self, kept: bool, clock: Clock) -> float:
        """Seconds of one step after another that is not timed, with the output of the frozen part at hand or not."""
        with runtime.seeded_globals(0, "cost"):
            values = self._below() if kept else None
            self._step(values)
            began = clock()
            self._step(values)
            return clock() - began

    def _step(self, values: Values | None) -> None:
        optimiser = self._optimisers[self.depth]
        self._loss(values).backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        optimiser.step()
        optimiser.zero_grad()

    @torch.no_grad()
    def _below(self) -> Values | None:
        """What enters the part that trains; None where nothing is frozen, or where it cannot be kept."""
        if self._prefix is None:
            return None
        with autocast(self.precision, self.device):
            first = forward(self._prefix.layers[0], self.inputs)
            values = first if isinstance(first, tuple) else (first,)
            return pass_on(self._prefix.layers[1:], values)

    def _loss(self, values: Values | None) -> Tensor:
        """Of the batch; of what enters the part that trains, where it is given."""
        with autocast(self.precision, self.device):
            if values is None or self._prefix is None:
                scores = forward(self.model, self.inputs)
            else:
                scores = pass_on(self._prefix.tail, values)[0]
        outputs = self.task.outputs(scores, self.head_size)
        return self.task.loss(outputs, self.targets) / max(1, self.task.count(self.targets))

    def _memory(self, saved: dict[int, int], values: Values | None) -> Memory:
        trained = [p for p in self.model.parameters() if p.grad is not None]
        states = self._optimisers[self.depth].state.values()
        sample = sum(value.nbytes for value in values or ()) // self.samples
        return Memory(
            weights=sum(t.nbytes for t in _numbers(self.model)),
            gradients=sum(p.grad.nbytes for p in trained if p.grad is not None),
            optimiser=sum(t.nbytes for s in states for t in s.values() if isinstance(t, Tensor)),
            activations=sum(saved.values()),
            kept=sample * sum(len(split) for split in self.splits),
        )

    def _optimiser(self) -> torch.optim.Optimizer:
        """Of the kind that the plan names, for what trains at this depth."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": trained}]
        return new_optimizer(self.plan.optimizer, groups, lr=TINY_RATE, device=self.device)


def _numbers(model: nn.Module) -> Iterator[Tensor]:
    """All parameters and buffers."""
    yield from model.parameters()
    yield from model.buffers()


def counting() -> FlopCounterMode:
    """torch's counter of operations, without the import of torch's compiler.

    The counter would import it, in seconds and with 0.2 GB, only to tell it to keep away. torch keeps on the method
    what the compiler makes of it, so the method itself is put there.
    """
    mode: Any = getattr(flop_counter, "_FlopCounterMode", None)
    method = inspect.unwrap(getattr(mode, "__torch_dispatch__", counting))
    if "torch._dynamo" not in sys.modules and not hasattr(method, "__dynamo_disable"):
        setattr(method, "__dynamo_disable", method)
    return FlopCounterMode(display=False)


@contextmanager
def _saved(model: nn.Module) -> Iterator[dict[int, int]]:
    """The bytes of each piece of memory that autograd keeps for the way back, by its address; weights left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in _numbers(model)}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        piece = tensor.untyped_storage()
        if piece.data_ptr() not in own:
            found[piece.data_ptr()] = piece.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield found


# ---------------------------------------------------------------- as tables


@takes(steps=some(StepCost, source="insight.step_costs(run)"))
def step_table(steps: Sequence[StepCost]) -> pd.DataFrame:
    """One row a depth: billions of operations of a step in its three parts, and megabytes in their five."""
    rows = {
        step.trainable_from: {
            "frozen forward (GFLOP)": step.frozen / GIGA,
            "forward (GFLOP)": step.forward / GIGA,
            "backward (GFLOP)": step.backward / GIGA,
            "weights (MB)": step.memory.weights / MEGA,
            "gradients (MB)": step.memory.gradients / MEGA,
            "optimiser (MB)": step.memory.optimiser / MEGA,
            "activations (MB)": step.memory.activations / MEGA,
            "kept outputs (MB)": step.memory.kept / MEGA,
        }
        for step in steps
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trains from")


@takes(
    costs=some(Cost, source="insight.cost(run)"),
    machine=maybe(a(Machine, source="insight.machines()")),
    runs=a_count(1, MOST_RUNS),
)
def cost_table(costs: Sequence[Cost], machine: Any = None, runs: int = 1) -> pd.DataFrame:
    """One row a plan: operations both ways, memory, seconds, and energy and money on a machine, if one is given.

    `machine` is a `labkit.insight.Machine`: its watts and its price an hour are multiplied by the seconds measured
    here, so they are those of this machine at that price, not of a faster one. Energy and money are of so many `runs`.
    """
    many = f" of {runs:,} runs" if runs > 1 else ""
    rows = []
    for one in costs:
        row = {
            "plan": one.name,
            "operations (GFLOP)": one.flops / GIGA,
            "nothing kept (GFLOP)": one.flops_again / GIGA,
            "memory (MB)": one.memory.total / MEGA,
            "time (s)": one.seconds,
        }
        if machine is not None:
            spent = None if one.seconds is None else runs * one.seconds
            row[f"energy{many} (Wh)"] = None if spent is None else machine.watt_hours(spent)
            row[f"money{many} ({machine.currency})"] = (
                None if spent is None else machine.money(spent)
            )
        rows.append(row)
    return pd.DataFrame(rows)
