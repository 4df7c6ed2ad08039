"""A few validation images and what the model makes of them: the sample, its predictions and its thumbnails.

The sample of a data set is drawn once, from a seed, so that thumbnails travel once and predictions stay comparable.
Predicting costs a fraction of an evaluation and changes nothing in the run.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labkit import runtime
from labkit.tuning.contracts import Split

if TYPE_CHECKING:
    from labkit.insight import Guess
    from labkit.tuning import Run

SAMPLE = 48  # images that are predicted again and again
SHOWN = 12  # of which the worst are shown
EDGE = 64  # pixels: a thumbnail is never larger


class Sample:
    """Up to `SAMPLE` images of a validation split, drawn by seed; a split itself, as far as evaluating goes."""

    def __init__(self, split: Split, size: int = SAMPLE, seed: int = 0) -> None:
        order = torch.randperm(len(split), generator=runtime.generator(seed, "strip"))
        self.split = split
        self.indices: Tensor = order[:size].sort().values
        self.labels: Tensor = torch.as_tensor(split.labels)[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Tensor, *how: Any, **named: Any) -> tuple[Any, Tensor]:
        """The inputs and labels of some of the sample, as `Split.batch` gives them."""
        batch: tuple[Any, Tensor] = self.split.batch(self.indices[indices], *how, **named)
        return batch

    def guesses(self, run: Run, count: int = SHOWN) -> tuple[Guess, ...]:
        """What `run` makes of the sample now: the `count` worst, worst first; `index` counts in the whole split."""
        from labkit.insight import Guess, worst

        return tuple(
            Guess(
                int(self.indices[guess.index]),
                guess.predicted,
                guess.probability,
                guess.true,
                guess.true_probability,
            )
            for guess in worst(run.evaluate(self), count)
        )


def thumbnail(image: Tensor) -> str:
    """A uint8 image (3, H, W) as a `data:` address of at most a few kB: PNG when tiny, else JPEG."""
    from PIL import Image

    small = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    small.thumbnail((EDGE, EDGE))
    kind = "png" if max(small.size) <= 32 else "jpeg"
    buffer = io.BytesIO()
    small.save(buffer, kind, **({"quality": 80} if kind == "jpeg" else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
