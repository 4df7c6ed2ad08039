"""Nothing in the engine assumes images: a sequence model with masks trains on real sentences through the same Run."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import labkit
from labkit import runtime
from labkit.tuning import Run
from tests.invariants.conftest import same_weights
from tests.toys import Stages

LENGTH = 24


class Sentences:
    """Sentences as padded word numbers with a mask: a batch is a dict, as text models take it."""

    def __init__(self, sentences: list[str], labels: list[int], words: dict[str, int]) -> None:
        self.labels = torch.tensor(labels)
        self.ids = torch.zeros(len(sentences), LENGTH, dtype=torch.long)
        for row, sentence in enumerate(sentences):
            known = [words[word] for word in split_words(sentence) if word in words][:LENGTH]
            self.ids[row, : len(known)] = torch.tensor(known, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: Tensor, augment: str = "none", generator: torch.Generator | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        ids = self.ids[indices]
        mask = ids > 0
        mask[:, 0] = True  # attention over nothing at all is not a number
        return {"ids": ids, "mask": mask}, self.labels[indices]


class Reviews:
    """Sentence polarity: 10,662 real sentences, every tenth set aside."""

    name, classes, augmentations = "rt-polarity", ("negative", "positive"), ("none",)

    def __init__(self, folder: Path) -> None:
        rows = [
            (line, label)
            for label, ending in enumerate(("neg", "pos"))
            for line in (folder / f"rt-polarity.{ending}").read_text("latin-1").splitlines()
        ]
        train = [row for number, row in enumerate(rows) if number % 10]
        counts = Counter(word for line, _ in train for word in split_words(line))
        words = {word: number + 1 for number, (word, _) in enumerate(counts.most_common(3000))}
        self.train = Sentences(*map(list, zip(*train, strict=True)), words)
        self.valid = Sentences(*map(list, zip(*rows[::10], strict=True)), words)
        self.test: list[int] = []

    def spec(self) -> dict[str, Any]:
        return {"name": self.name}


def split_words(sentence: str) -> list[str]:
    return re.findall(r"[a-z']+", sentence.lower())


class Embed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(3001, 32, padding_idx=0)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.words(ids), mask


class Mix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True)

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(words, src_key_padding_mask=~mask), mask


class Judge(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(32, classes)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        weights = mask.unsqueeze(-1).float()
        return self.linear((words * weights).sum(1) / weights.sum(1).clamp(min=1))


class TextNet:
    name, stages, card = "tiny-reader", ("embed", "mix", "head"), None

    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        with runtime.seeded_globals(seed, "reader"):
            return Stages(OrderedDict(embed=Embed(), mix=Mix(), head=Judge(classes)))

    def spec(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.fixture(scope="module")
def reviews(photos: Path) -> Reviews:
    return Reviews(photos / "text" / "rt-polarity")


def test_a_sequence_model_with_masks_learns_real_sentences_through_the_same_run(
    reviews: Reviews,
) -> None:
    run = Run(TextNet(), reviews, labkit.full(lr=3e-3, epochs=2, batch_size=64)).fit()
    low, _ = run.evaluate("valid").interval
    assert low > 0.6, run.evaluate("valid")


def test_text_runs_replay_freeze_and_branch_like_any_other(reviews: Reviews) -> None:
    run = Run(TextNet(), reviews, labkit.partial("mix", lr=3e-3, epochs=1, batch_size=64))
    for _ in range(40):
        run.step()
    run.set(trainable_from="head")
    for _ in range(10):
        run.step()
    assert run.audit().ok
    assert run.drift()["embed"] == 0
    assert same_weights(run, run.replay())
    assert same_weights(run, run.branch())
