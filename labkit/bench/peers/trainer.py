"""Hugging Face's Trainer with a torch module and a torch data set."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import set_seed

from labkit.bench.peers.common import datasets, freeze, network, sgd
from labkit.bench.work import Clock, Outcome, Work


def train(work: Work) -> Outcome:
    """Train and evaluate for all epochs at a constant rate."""
    clock = Clock()
    set_seed(work.seed)
    data = datasets(work)
    net = network(work)
    optimizer = sgd(freeze(net, work), work)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    watch = _Watch(clock, len(data["val"]))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=_WithLoss(net),
            args=_arguments(work, folder),
            train_dataset=data["train"],
            eval_dataset=data["val"],
            data_collator=_collate,
            compute_metrics=_count,
            optimizers=(optimizer, constant),
            callbacks=[watch],
        )
        setup = clock.lap()
        trainer.train()
    return Outcome(setup, tuple(watch.seconds), tuple(watch.correct), watch.count)


def _arguments(work: Work, folder: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=work.epochs,
        per_device_train_batch_size=work.batch_size,
        per_device_eval_batch_size=work.batch_size,
        dataloader_num_workers=work.workers,
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        max_grad_norm=0.0,  # its default clips gradients; the others do not
        seed=work.seed,
        remove_unused_columns=False,
        label_names=["labels"],
    )


class _WithLoss(nn.Module):
    """A network that gives what Trainer asks for: loss and logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(pixels)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def _collate(samples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    pixels, labels = zip(*samples, strict=True)
    return {"pixels": torch.stack(pixels), "labels": torch.tensor(labels)}


def _count(prediction: Any) -> dict[str, int]:
    return {"correct": int((prediction.predictions.argmax(1) == prediction.label_ids).sum())}


class _Watch(TrainerCallback):
    """Notes the seconds and the validation count of every epoch."""

    def __init__(self, clock: Clock, count: int) -> None:
        self.clock, self.count = clock, count
        self.seconds: list[float] = []
        self.correct: list[int] = []

    def on_evaluate(self, *_: Any, metrics: Any = None, **__: Any) -> None:  # type: ignore[override]
        self.seconds.append(self.clock.lap())
        self.correct.append(int(metrics["eval_correct"]))
