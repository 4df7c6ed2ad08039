"""The training loop of both recipes: plain SGD, a warm-up, a cosine, a landing, a checkpoint after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.errors import PlanError, WeightsError
from labkit.models.vision.resnet10 import ResNet10
from labkit.models.vision.staging import IMAGENET_MEAN, IMAGENET_STD

Batches = Callable[[int, torch.Generator], Iterator[tuple[Tensor, Tensor]]]
Watcher = Callable[["Progress"], object]

MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


@dataclass(frozen=True)
class PretrainingRecipe:
    """How a network is pre-trained. Rates are those of SGD with Nesterov momentum at their peak."""

    epochs: int
    steps_per_epoch: int | None = None  # None: as many as the data has whole batches
    batch_size: int = 128
    peak_lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 1
    cosine_epochs: int | None = (
        None  # how long the cosine would take to reach zero; None: to the end
    )
    landing_epochs: int = 0  # the last epochs: from where the cosine is, straight to zero
    seed: int = 0
    notes: str = ""

    def __post_init__(self) -> None:
        whole = self.cosine_epochs or self.epochs
        if not 0 <= self.warmup_epochs < whole:
            raise PlanError(
                f"warmup_epochs={self.warmup_epochs} must be below the {whole} epochs of the whole curve."
            )

    def lr(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step: straight up for the warm-up, down a cosine, and straight to zero in the end."""
        landing = (self.epochs - self.landing_epochs) * steps_per_epoch
        lr = self.peak_lr * self._cosine(min(step, landing), steps_per_epoch)
        if step <= landing:
            return lr
        return lr * (1 - (step - landing) / (self.landing_epochs * steps_per_epoch))

    def _cosine(self, step: int, steps_per_epoch: int) -> float:
        warmup = self.warmup_epochs * steps_per_epoch
        if step < warmup:
            return (step + 1) / warmup
        whole = (self.cosine_epochs or self.epochs) * steps_per_epoch
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (whole - warmup)))


@dataclass(frozen=True)
class Progress:
    """Where a pre-training stands: told every 100 steps and after every epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float  # mean of this epoch so far
    seconds: float
    accuracy: float | None = None  # on the validation images, when they were just judged

    def __str__(self) -> str:
        judged = "" if self.accuracy is None else f", accuracy {self.accuracy:.1%}"
        return (
            f"epoch {self.epoch}/{self.epochs}, step {self.step:,}/{self.steps:,}: "
            f"loss {self.loss:.3f}{judged}, {self.seconds:.0f} s"
        )


class Pretraining:
    """A network in training with everything that an interrupted one needs to go on to the same weights."""

    def __init__(
        self, recipe: PretrainingRecipe, num_classes: int, steps_per_epoch: int, checkpoint: Path
    ) -> None:
        self.recipe, self.steps_per_epoch, self.checkpoint = recipe, steps_per_epoch, checkpoint
        self.device = runtime.device()
        runtime.limit_threads()
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            net = ResNet10(num_classes)
        self.net = net.to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = _optimizer(net, recipe)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        if checkpoint.exists():
            self._resume()

    def run(
        self,
        batches: Batches,
        judge: Callable[[nn.Module], float] | None = None,
        judged_epochs: int = 4,
        watch: Watcher | None = None,
    ) -> ResNet10:
        """Train to the end. `batches(epoch, generator)` yields normalised images (n, 3, h, w) and labels (n,).

        `judge` gives an accuracy; it is asked every `judged_epochs` epochs and after the last two.
        """
        while self.epoch < self.recipe.epochs:
            loss = self._train_epoch(batches, watch)
            self.epoch += 1
            due = self.epoch % judged_epochs == 0 or self.epoch >= self.recipe.epochs - 1
            accuracy = judge(self.net) if judge and due else None
            self._save()
            if watch:
                watch(self._progress(loss, accuracy))
        return self.net

    def _train_epoch(self, batches: Batches, watch: Watcher | None) -> float:
        start, total = time.perf_counter() - self.seconds, 0.0
        self.net.train()
        for done, (x, y) in enumerate(batches(self.epoch, self.generator), start=1):
            total += self._train_step(x, y)
            self.seconds = time.perf_counter() - start
            if watch and done % 100 == 0:
                watch(self._progress(total / done))
        return total / self.steps_per_epoch

    def _train_step(self, x: Tensor, y: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr(self.step, self.steps_per_epoch)
        x = x.to(self.device).contiguous(memory_format=torch.channels_last)
        with self.autocast():
            loss = F.cross_entropy(self.net(x), y.to(self.device))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return loss.item()

    def autocast(self) -> AbstractContextManager[object]:
        """bfloat16 where it is safe: what the recipe was tuned in, and twice as fast on processors that have it."""
        return torch.autocast(self.device.type, torch.bfloat16)

    def _progress(self, loss: float, accuracy: float | None = None) -> Progress:
        steps = self.recipe.epochs * self.steps_per_epoch
        return Progress(
            self.epoch, self.recipe.epochs, self.step, steps, loss, self.seconds, accuracy
        )

    def _save(self) -> None:
        content = {
            "recipe": asdict(self.recipe),
            "net": self.net.state_dict(),
            "opt": self.optimizer.state_dict(),
            "g": self.generator.get_state(),
            "epoch": self.epoch,
            "step": self.step,
            "secs": self.seconds,
        }
        runtime.write_atomic(self.checkpoint, lambda file: torch.save(content, file))

    def _resume(self) -> None:
        content = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if content["recipe"] != asdict(self.recipe):
            raise WeightsError(
                f"{self.checkpoint} belongs to another recipe ({content['recipe']}). Delete it to start afresh, or "
                "name another output folder."
            )
        self.net.load_state_dict(content["net"])
        self.optimizer.load_state_dict(content["opt"])
        self.generator.set_state(content["g"])
        self.epoch, self.step, self.seconds = content["epoch"], content["step"], content["secs"]


def _optimizer(net: nn.Module, recipe: PretrainingRecipe) -> torch.optim.SGD:
    """Weight decay pulls on matrices and kernels only; biases and normalisation go free."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    free = [p for p in net.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0},
    ]
    return torch.optim.SGD(groups, lr=0, momentum=recipe.momentum, nesterov=True)


def describe_machine() -> str:
    """The machine in a few words, for the card."""
    kind = runtime.device()
    where = torch.cuda.get_device_name(kind) if kind.type == "cuda" else runtime.processor_name()
    threads = f"{runtime.threads()} threads" if runtime.threads() > 1 else "1 thread"
    return f"{where}, {threads}, torch {torch.__version__.split('+')[0]}"
