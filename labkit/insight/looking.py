"""What a network looks for and where it finds it: first filters, activations, and Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import runtime
from labkit.errors import DataError, StageError, shown
from labkit.insight.inside import (
    Images,
    Layer,
    as_inputs,
    as_map,
    first_convolution,
    hooked,
    images_of,
    looking_at,
    map_layer,
    patch_of,
    start_of,
)
from labkit.tuning.contracts import Split
from labkit.tuning.evaluation import forward
from labkit.tuning.given import a_count, a_run, takes

if TYPE_CHECKING:
    from labkit.tuning import Run

AT_ONCE = 16  # images whose gradients are taken together


# ---------------------------------------------------------------- filters


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters that read the image: `weights` now and `start` when the run began, float32 (filters, 3, h, w)."""

    layer: str
    weights: Tensor
    start: Tensor

    @property
    def moved(self) -> Tensor:
        """How far each filter went, as a share of its length at the start: (filters,)."""
        moved = (self.weights - self.start).flatten(1).norm(dim=1)
        return moved / self.start.flatten(1).norm(dim=1).clamp(min=1e-12)

    @property
    def table(self) -> pd.DataFrame:
        """One row a filter: its length, and how far it moved as a share of its length at the start."""
        length = self.weights.flatten(1).norm(dim=1)
        return pd.DataFrame(
            {
                "filter": range(len(length)),
                "length": length.tolist(),
                "moved": self.moved.tolist(),
            }
        )


@takes(run=a_run)
def filters(run: Run) -> Filters:
    """The filters of the first convolution, the only ones that can be seen as colours.

    Raises BackboneError for a network that reads no images.
    """
    name, before = first_convolution(start_of(run))
    with run.paused() as model:
        now = model.get_parameter(f"{name}.weight").detach().float().cpu().clone()
    return Filters(name, now.contiguous(), before.weight.detach().float().cpu().contiguous())


# ---------------------------------------------------------------- activations


@dataclass(frozen=True, eq=False)
class Activations:
    """What a stage makes of one image (3, H, W): `maps` float32 (channels, h, w), one a channel."""

    image: Tensor
    name: str
    layer: Layer
    maps: Tensor

    @takes(count=a_count())
    def strongest(self, count: int = 12) -> list[int]:
        """The channels that tell places apart most: those with the largest standard deviation, first of all."""
        spread = self.maps.flatten(1).std(dim=1)
        return spread.argsort(descending=True, stable=True)[: min(count, len(spread))].tolist()

    @property
    def table(self) -> pd.DataFrame:
        """One row a channel: mean, standard deviation over the places, and largest value."""
        flat = self.maps.flatten(1)
        columns = {"mean": flat.mean(1), "spread": flat.std(1), "peak": flat.amax(1)}
        numbers = {name: values.tolist() for name, values in columns.items()}
        return pd.DataFrame({"channel": range(len(flat)), **numbers})


@takes(run=a_run)
def activations(
    run: Run, image: int | Tensor = 0, stage: str | None = None, split: Split | str = "valid"
) -> Activations:
    """What a stage makes of one image: by its position in a split, or float (3, H, W) in [0, 1].

    Raises StageError for a stage that gives no map, SplitError or DataError for an image that is none.
    """
    seen, kept = images_of(run, image, split), []
    with looking_at(run) as model, torch.no_grad():
        layer, patch = map_layer(model, run, seen.pixels, stage), patch_of(model)

        def keep(module: nn.Module, given: Any, made: Tensor) -> None:
            found = as_map(made, seen.pixels, patch)
            assert found is not None
            kept.append(found[0].float().cpu().contiguous().clone())

        with hooked(model, {layer.name: keep}):
            forward(model, as_inputs(run, seen.pixels[:1]))
    return Activations(seen.pixels[0], seen.names[0], layer, kept[0])


# ---------------------------------------------------------------- Grad-CAM


@dataclass(frozen=True, eq=False)
class GradCam:
    """Where n images speak for a class (Selvaraju et al., 2017).

    `maps` float32 (n, h, w) are as fine as the layer, and not negative; `heat` (n, H, W) are the same on the size of
    the images, each with a largest value of 1, or 0 where nothing speaks for the class. `targets` are the classes
    asked about, `probabilities` what they were given, `predictions` the classes that came out on top.
    """

    images: Images
    classes: tuple[str, ...]
    layer: Layer
    targets: tuple[int, ...]
    probabilities: tuple[float, ...]
    predictions: tuple[int, ...]
    maps: Tensor
    heat: Tensor

    @property
    def table(self) -> pd.DataFrame:
        """One row an image: the class asked about, its probability, the truth, and where the heat lies.

        across and down are the centre of the heat, 0 at the left and the top edge, 1 at the right and the bottom.
        """
        labels = self.images.labels or (None,) * len(self.targets)
        rows = zip(self.images.names, self.targets, self.probabilities, labels, strict=True)
        return pd.DataFrame(
            [
                {
                    "image": name,
                    "class": self.classes[target],
                    "probability": probability,
                    "true": "" if label is None else self.classes[label],
                    **dict(zip(("across", "down"), centre(heat), strict=True)),
                }
                for (name, target, probability, label), heat in zip(rows, self.heat, strict=True)
            ]
        )


def centre(heat: Tensor) -> tuple[float, float]:
    """Where the heat (H, W) has its centre, across and down, as shares of the image; nan where there is none."""
    height, width = heat.shape
    across, down = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
    total = heat.sum()
    return float((heat * across).sum() / total), float((heat.T * down).sum() / total)


@takes(run=a_run)
def grad_cam(
    run: Run,
    images: int | Sequence[int] | Tensor,
    stage: str | None = None,
    target: str | int | None = None,
    split: Split | str = "valid",
) -> GradCam:
    """What in each image speaks for a class: Grad-CAM (Selvaraju et al., "Grad-CAM", 2017).

    The channels of a layer are added up, each with the weight by which the score of the class rises with it, on
    average over the places; what is negative is left out.

    Args:
        run: whose network to look at, as it is now.
        images: positions in the split, or images float (n, 3, H, W) in [0, 1].
        stage: where to look; by default the deepest stage whose map is 4 x 4 or finer.
        target: the class to ask about, by name or number; by default the predicted one of each image.
        split: name of a split, or anything with `batch()` and a length.

    Raises:
        StageError: a stage without places, such as the last block of a transformer: only its class token is read.
        SplitError, DataError: images or a class that are not there.
    """
    seen, asked = images_of(run, images, split), _class_number(run, target)
    maps, scores = [], []
    with looking_at(run) as model:
        layer, patch = map_layer(model, run, seen.pixels, stage), patch_of(model)
        for some in seen.pixels.split(AT_ONCE):
            found, said = _maps_and_scores(model, as_inputs(run, some), layer, asked, patch)
            maps.append(found)
            scores.append(said)
    every, shares = torch.cat(maps), torch.cat(scores).softmax(1)
    predictions = shares.argmax(1)
    targets = predictions if asked is None else torch.full_like(predictions, asked)
    return GradCam(
        images=seen,
        classes=tuple(run.data.classes),
        layer=layer,
        targets=tuple(targets.tolist()),
        probabilities=tuple(shares.gather(1, targets.unsqueeze(1)).squeeze(1).tolist()),
        predictions=tuple(predictions.tolist()),
        maps=every,
        heat=_heat(every, seen.pixels.shape[-2:]),
    )


def _maps_and_scores(
    model: nn.Module, inputs: Any, layer: Layer, asked: int | None, patch: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The maps (n, h, w) and the scores (n, classes) of one batch, on the CPU."""
    leaves: list[Tensor] = []

    def cut(module: nn.Module, given: Any, made: Tensor) -> Tensor:
        """Begin the gradient here: what lies below, and the parameters, need none."""
        leaves.append(made.detach().requires_grad_())
        return leaves[0].clone()  # layers above may write over what they are given

    with torch.enable_grad(), hooked(model, {layer.name: cut}):
        scores = forward(model, inputs).float()
        chosen = scores.argmax(1) if asked is None else torch.full((len(scores),), asked)
        total = scores.gather(1, chosen.to(scores.device).unsqueeze(1)).sum()
        slopes = torch.autograd.grad(total, leaves[0])[0]
    values, gradients = (as_map(part, inputs, patch) for part in (leaves[0].detach(), slopes))
    assert values is not None
    assert gradients is not None
    if not gradients.any():
        raise StageError(
            f"No score depends on the places of {layer.stage}, so there is nothing to draw. Take an earlier stage."
        )
    weights = gradients.mean((2, 3), keepdim=True)
    return (weights * values).sum(1).relu().float().cpu(), scores.detach().cpu()


def _heat(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (n, h, w) drawn out to the size of the images, each with a largest value of 1, or all 0."""
    large = F.interpolate(maps.unsqueeze(1), tuple(size), mode="bilinear", align_corners=False)
    peaks = large.amax((2, 3), keepdim=True)
    return (large / torch.where(peaks > 0, peaks, 1.0)).squeeze(1)


def _class_number(run: Run, target: str | int | None) -> int | None:
    if target is None:
        return None
    classes = tuple(run.data.classes)
    if isinstance(target, str) and target in classes:
        return classes.index(target)
    number = runtime.whole_number(target)
    if number is not None and 0 <= number < len(classes):
        return number
    raise DataError(
        f"target={shown(target)} is no class of {run.data.name}: use a name ({', '.join(classes[:6])}"
        f"{' …' if len(classes) > 6 else ''}) or a number from 0 to {len(classes) - 1}."
    )
