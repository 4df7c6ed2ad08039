"""Decoded images ready to learn from: a `Split` gives batches, an `ImageData` holds three of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from labkit.data.cards import DatasetCard
from labkit.data.images.augment import LEVELS, change, check_level, draw
from labkit.data.images.shift import check_shift, shifted
from labkit.data.mislabel import check_share, mislabelled, where
from labkit.data.report import DataReport
from labkit.data.splits import check_count, check_seed, per_class as choose
from labkit.errors import DataError, SplitError, shown

# Images. The frozen part of a network is given 32 rows at the least (`tuning.prefix`): fewer would cost as much.
FEWEST_AT_ONCE, MOST_AT_ONCE = 32, 256
PIXELS_AT_ONCE = MOST_AT_ONCE * 32 * 32  # what the first stages make of more fills a small machine


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """One side of a data set: some rows of the decoded images, with their labels and names.

    `store` uint8 (M, 3, H, W) holds the images of all splits, in memory or mapped from disk; `rows` int64 (N,)
    are this split's. `labels` int64 (N,) and `names` go with `rows`.
    """

    store: Tensor = field(repr=False)
    rows: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    flip: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Split({len(self)} images of {self.store.shape[-1]} px)"

    @property
    def images(self) -> Tensor:
        """All images, uint8 (N, 3, H, W): a view where they lie together, else a copy in memory.

        Where a few are enough, `take(positions).images` reads no others.
        """
        if len(self) and int(self.rows[-1] - self.rows[0]) == len(self) - 1:
            return self.store[int(self.rows[0]) : int(self.rows[-1]) + 1]  # rows are sorted
        return self.store[self.rows]

    @property
    def at_once(self) -> int:
        """How many images may go through a network together when it is judged: fewer of large ones."""
        pixels = self.store.shape[-2] * self.store.shape[-1]
        return max(FEWEST_AT_ONCE, min(MOST_AT_ONCE, PIXELS_AT_ONCE // pixels))

    @cached_property
    def fingerprint(self) -> str:
        """A short text that tells these images from any others: a digest of the pixels, in order."""
        digest = blake2b(repr((tuple(self.store.shape[1:]), self.flip)).encode(), digest_size=16)
        for rows in self.rows.split(256):
            digest.update(self.store[rows].numpy().data)
        return digest.hexdigest()

    def batch(
        self,
        indices: Tensor | Sequence[int],
        augment: str = "none",
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The images at `indices` (n,) as float32 (n, 3, H, W) in [0, 1], and their labels int64 (n,).

        `augment` is "none", "light" or "strong"; the last two draw from `generator`, for the whole split at once, and
        from nothing else: how an image is changed does not depend on the other samples in the batch.
        """
        check_level(augment)
        if augment != "none" and generator is None:
            raise DataError(
                f"augment={shown(augment)} needs a generator to draw from: "
                "pass generator=labkit.runtime.generator(seed, 'augment')"
            )
        indices = torch.as_tensor(indices, dtype=torch.int64, device="cpu")
        images = self.store[self.rows[indices]].float().div_(255)
        if generator is not None and augment != "none":
            changes = draw(len(self), augment, self.flip, self.store.shape[-2:], generator)
            images = change(images, changes[indices])
        return images, self.labels[indices]

    def take(self, positions: Tensor) -> ImageSplit:
        """The same split with only the images at `positions` (n,), sorted."""
        names = tuple(self.names[position] for position in positions.tolist())
        return replace(self, rows=self.rows[positions], labels=self.labels[positions], names=names)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set of images, decoded and split. `test` is empty where the set has none and none was asked for."""

    name: str
    size: int
    classes: tuple[str, ...]
    card: DatasetCard = field(repr=False)
    report: DataReport = field(repr=False)
    train: ImageSplit
    valid: ImageSplit
    test: ImageSplit
    recipe: dict[str, Any] = field(repr=False)
    old: Any = field(default=None, repr=False)  # examples of another task, see `with_old`

    augmentations = LEVELS

    def spec(self) -> dict[str, Any]:
        """What `load_data(**spec)` needs to give the same data again, as plain values that fit into JSON."""
        return dict(self.recipe)

    def subset(self, per_class: int, seed: int = 0) -> ImageData:
        """The same data with `per_class` training images of every class; valid and test stay whole.

        Raises `SplitError` when a class has fewer, or when labels were made wrong: what is wrong then depends on how
        many there are.
        """
        self._check_labels_are_right("Take the subset first, then make labels wrong")
        count, seed = check_count(per_class), check_seed(seed)
        positions = choose(self.train.labels, count, seed)
        recipe = {**self.recipe, "per_class": count, "subset_seed": seed}
        return replace(self, train=self.train.take(positions), recipe=recipe)

    def mislabel(self, share: float, seed: int = 0) -> ImageData:
        """The same data with that share of the training labels wrong; valid and test stay as they are.

        `data.mislabelled` tells which. Raises `DataError` for a share that is none, `SplitError` for wrong labels on
        top of wrong labels.
        """
        self._check_labels_are_right("Begin again from the data as they were loaded")
        share, seed = check_share(share), check_seed(seed)
        labels = mislabelled(self.train.labels, len(self.classes), share, seed)
        recipe = {**self.recipe, "mislabelled": share, "mislabel_seed": seed}
        return replace(self, train=replace(self.train, labels=labels), recipe=recipe)

    @property
    def mislabelled(self) -> Tensor:
        """The positions in the training split whose labels `mislabel` made wrong: int64, sorted, none by default."""
        share, seed = self.recipe.get("mislabelled", 0.0), self.recipe.get("mislabel_seed", 0)
        return where(len(self.train), share, seed)

    def shift(self, kind: str, strength: float = 1.0, seed: int = 0) -> ImageData:
        """The same data as another camera or another clinic would have seen them; labels and splits stay.

        kind: one of `labkit.data.KINDS`: noise, blur, contrast, dark, negative, stain.
        strength: from 0, the images as they are, to 1.
        seed: of the noise.

        The changed images lie in memory. Raises `DataError` for a kind or a strength that is none, and for images
        that are shifted already.
        """
        (kind, strength), seed = check_shift(kind, strength), check_seed(seed)
        if "shifted" in self.recipe:
            raise DataError(
                f"These images are shifted already ({self.recipe['shifted']}). Begin again from the data as they "
                "were loaded."
            )
        store = shifted(self.train.store, kind, strength, seed)
        parts = {
            part: replace(getattr(self, part), store=store) for part in ("train", "valid", "test")
        }
        recipe = {**self.recipe, "shifted": kind, "strength": strength, "shift_seed": seed}
        return replace(self, **parts, recipe=recipe)

    def with_old(self, examples: Any) -> ImageData:
        """The same data beside examples of the task that a network learned before: what a plan rehearses with.

        `examples` have what a split has: `labels` int64 (n,), `batch(rows)` that gives inputs and labels, and a length;
        `labkit.insight.old_examples(net)` gives some. They are no part of `spec()`: whoever is sent a line has to bring
        them. Raises `DataError` for anything else.
        """
        parts = [name for name in ("batch", "labels", "__len__") if not hasattr(examples, name)]
        if parts or not len(examples):
            lacks = f"no {', '.join(parts)}" if parts else "not one example"
            raise DataError(
                f"{type(examples).__name__} has {lacks}, so nothing can be rehearsed with it. Give what has `labels`, "
                "`batch(rows)` and a length, such as labkit.insight.old_examples(net)."
            )
        return replace(self, old=examples)

    def _check_labels_are_right(self, advice: str) -> None:
        if "mislabelled" in self.recipe:
            raise SplitError(
                f"{self.recipe['mislabelled']:.0%} of these labels were made wrong. {advice}."
            )

    def __str__(self) -> str:
        sizes = ", ".join(
            f"{len(getattr(self, part))} {part}" for part in ("train", "valid", "test")
        )
        names = ", ".join(self.classes[:4]) + (" …" if len(self.classes) > 4 else "")
        text = (
            f"{self.name}: {sizes} images at {self.size} px; {len(self.classes)} classes ({names})"
        )
        out = self.report.left_out()
        return f"{text}; {out} file(s) left out, see data.report" if out else text
