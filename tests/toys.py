"""Toy text for the engine: real words, three tasks, networks of a few thousand weights, samples of unequal length.

What the engine must take beside images: a sequence model with ragged lengths and masks, a head that points at spans, a
causal model whose output weights are its embedding, and adapters in frozen stages.
"""

from __future__ import annotations

import json
import re
from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit import runtime

WIDTH, STEP = 16, 8  # of a vector; lengths are rounded up to multiples of this
WORDS = 600  # in a vocabulary; 0 is padding, 1 a word that is not in it


class Texts:
    """Samples of unequal length, padded with 0 to multiples of 8: a batch is as long as its longest."""

    def __init__(self, ids: Sequence[Sequence[int]], labels: Tensor) -> None:
        self.labels = labels
        self.lengths = torch.tensor([-(-len(each) // STEP) * STEP for each in ids])
        self.ids = torch.zeros(len(ids), int(self.lengths.max()), dtype=torch.long)
        for row, each in enumerate(ids):
            self.ids[row, : len(each)] = torch.tensor(each)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: Tensor, augment: str = "none", generator: torch.Generator | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        longest = int(self.lengths[indices].max())
        ids, labels = self.ids[indices, :longest], self.labels[indices]
        a_label_a_token = labels.ndim == 2 and labels.shape[1] > 2
        return {"ids": ids, "mask": ids > 0}, labels[:, :longest] if a_label_a_token else labels


class TextData:
    """Splits of texts and the task they pose."""

    augmentations = ("none",)

    def __init__(
        self, name: str, task: str, classes: Sequence[str], train: Texts, valid: Texts
    ) -> None:
        self.name, self.task, self.classes = name, task, tuple(classes)
        self.train, self.valid, self.test = train, valid, Texts([[1]], train.labels[:0])

    def spec(self) -> dict[str, Any]:
        return {"name": self.name}


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+|[0-9]+", text.lower())


def vocabulary(texts: Sequence[str]) -> dict[str, int]:
    counts = Counter(word for text in texts for word in words_of(text))
    return {word: place + 2 for place, (word, _) in enumerate(counts.most_common(WORDS - 2))}


def opinions(folder: Path, count: int = 400) -> TextData:
    """Sentences for and against films, of 1 to 50 words: classification."""
    rows = [
        (line, label)
        for label, ending in enumerate(("neg", "pos"))
        for line in (folder / "rt-polarity" / f"rt-polarity.{ending}")
        .read_text("latin-1")
        .splitlines()[:count]
    ]
    known = vocabulary([line for line, _ in rows])
    ids = [[known.get(word, 1) for word in words_of(line)] or [1] for line, _ in rows]
    labels = torch.tensor([label for _, label in rows])
    train = [place for place in range(len(rows)) if place % 5]
    valid = list(range(0, len(rows), 5))
    train_split, valid_split = (
        Texts([ids[place] for place in places], labels[places]) for places in (train, valid)
    )
    return TextData("opinions", "classify", ("against", "for"), train_split, valid_split)


def answers(folder: Path, count: int = 200, longest: int = 96) -> TextData:
    """Questions, each before the text that answers it, of which 96 words are kept: spans."""
    paragraphs = [
        paragraph
        for article in json.loads((folder / "xquad" / "xquad.en.json").read_text())["data"]
        for paragraph in article["paragraphs"]
    ]
    known = vocabulary([paragraph["context"] for paragraph in paragraphs])
    ids, ends = [], []
    for paragraph in paragraphs:
        for asked in paragraph["qas"]:
            question, answer = words_of(asked["question"]), asked["answers"][0]
            start = answer["answer_start"]
            first = len(question) + len(words_of(paragraph["context"][:start]))
            last = len(question) + len(
                words_of(paragraph["context"][: start + len(answer["text"])])
            )
            words = [*question, *words_of(paragraph["context"])][:longest]
            if first < last <= len(words):
                ids.append([known.get(word, 1) for word in words])
                ends.append([first, last - 1])
    ids, labels = ids[:count], torch.tensor(ends[:count])
    cut = len(ids) * 4 // 5
    train, valid = Texts(ids[:cut], labels[:cut]), Texts(ids[cut:], labels[cut:])
    return TextData("answers", "spans", ("first", "last"), train, valid)


def lines(folder: Path, count: int = 300) -> TextData:
    """Lines of Shakespeare, letter by letter: the next letter is to be told."""
    text = (folder / "tinyshakespeare.txt").read_text()
    letters = sorted(set(text))
    known = {letter: place + 2 for place, letter in enumerate(letters)}
    ids = [[known[letter] for letter in line] for line in text.split("\n") if len(line) > 8]
    shown = [each[:-1] for each in ids[:count]]
    labels = torch.full((len(shown), -(-max(map(len, shown)) // STEP) * STEP), -100)
    for row, each in enumerate(ids[:count]):
        labels[row, : len(each) - 1] = torch.tensor(each[1:])
    cut = len(shown) * 4 // 5
    train, valid = Texts(shown[:cut], labels[:cut]), Texts(shown[cut:], labels[cut:])
    names = ("padding", "unknown", *letters)
    return TextData("lines", "next-token", names, train, valid)


# ---------------------------------------------------------------- networks


class Embed(nn.Module):
    def __init__(self, words: int, longest: int = 128) -> None:
        super().__init__()
        self.words = nn.Embedding(words, WIDTH)
        self.places = nn.Embedding(longest, WIDTH)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device)), mask


class Block(nn.Module):
    """Attention and a small network, each beside a way past it; what a padded place says is not heard."""

    def __init__(self, causal: bool, dropout: float) -> None:
        super().__init__()
        self.causal = causal
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        given = self.norm1(hidden)
        heard = mask[:, None, :].expand(-1, mask.shape[1], -1)
        heard = heard.tril() if self.causal else heard
        scores = self.query(given) @ self.key(given).transpose(1, 2) / WIDTH**0.5
        shares = scores.masked_fill(~heard, torch.finfo(scores.dtype).min).softmax(-1)
        hidden = hidden + self.dropout(shares @ self.value(given))
        return hidden + self.dropout(self.down(self.up(self.norm2(hidden)).relu())), mask


class Classes(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.scores = nn.Linear(WIDTH, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return self.scores((hidden * weights).sum(1) / weights.sum(1).clamp(min=1))


class Ends(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.scores = nn.Linear(WIDTH, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        scores = self.scores(hidden)
        return scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)


class Tokens(nn.Module):
    """The next token, by the very weights that the tokens come in by; without a norm all its weights are those."""

    def __init__(self, words: nn.Embedding, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH) if norm else nn.Identity()
        self.output = nn.Linear(WIDTH, words.num_embeddings, bias=False)
        self.output.weight = words.weight

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.norm(hidden))


class LowRank(nn.Module):
    """What an adapter adds to a linear layer: nothing at first (Hu et al., 2021)."""

    is_adapter = True

    def __init__(self, rank: int = 2) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(WIDTH, rank, bias=False), nn.Linear(rank, WIDTH, bias=False)
        self.dropout = nn.Dropout(0.1)
        nn.init.zeros_(self.up.weight)

    def forward(self, given: Tensor) -> Tensor:
        return self.up(self.down(self.dropout(given)))


class Adapted(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer, self.added = layer, LowRank()

    def forward(self, given: Tensor) -> Tensor:
        return self.layer(given) + self.added(given)


class Stages(nn.Sequential):
    """Stages in order; what one gives, the next takes."""

    passes_on = True  # what frozen stages make may be kept

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        passed: Any = (ids, mask)
        for stage in self:
            passed = stage(*passed)
        return passed


class TextNet:
    """embeddings, two blocks and a head for one of the tasks, or with output weights tied to the embeddings."""

    stages = ("embeddings", "block0", "block1", "head")

    def __init__(
        self,
        task: str = "classify",
        words: int = WORDS,
        adapters: Sequence[str] = (),
        dropout: float = 0.1,
        norm: bool = True,
    ) -> None:
        self.name = f"toy for {task}"
        self.task, self.words, self.adapters, self.dropout = task, words, adapters, dropout
        self.norm = norm

    def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> nn.Module:
        with runtime.seeded_globals(7 if pretrained else seed, "toy body"):
            embed = Embed(classes if self.task == "next-token" else self.words)
            blocks = [Block(self.task == "next-token", self.dropout) for _ in range(2)]
        with runtime.seeded_globals(seed, "toy head"):
            heads = {"classify": Classes, "spans": Ends}
            head = heads.get(self.task, lambda _: Tokens(embed.words, self.norm))(classes)
            for name in self.adapters:
                block = blocks[int(name.removeprefix("block"))]
                block.query = Adapted(block.query)
        parts = zip(self.stages, (embed, *blocks, head), strict=True)
        return Stages(OrderedDict(parts))

    def spec(self) -> dict[str, Any]:
        return {"name": self.name}


CASES: dict[str, Any] = {
    "classify": (opinions, TextNet),
    "spans": (answers, partial(TextNet, "spans")),
    "next-token": (lines, partial(TextNet, "next-token")),
}
