"""Looking inside a network: what its stages make of some samples, by plain hooks that leave no trace.

Every probe looks in float32 and in eval mode, holds the run only while it computes, draws its samples from a seed and
touches neither gradients nor chance, so the run goes on to the bit as if nobody had looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import BackboneError, DataError, SplitError, StageError, shown
from labkit.tuning import evaluation
from labkit.tuning.contracts import Split
from labkit.tuning.evaluation import eval_mode, forward
from labkit.tuning.plans import check_seed
from labkit.tuning.precision import module_to_memory_format, to_memory_format

if TYPE_CHECKING:
    from labkit.tuning import Run

BATCH = 64  # samples that go through the network together
FINE = 4  # places along each side from which a map is worth drawing

Hook = Callable[[nn.Module, Any, Any], Any]


# ---------------------------------------------------------------- the network, held still


@contextmanager
def looking_at(run: Run) -> Iterator[nn.Module]:
    """The network of a run, in eval mode and between two steps."""
    with run.paused() as model, eval_mode(model):
        yield model


def start_of(run: Run) -> nn.Module:
    """The network a run began with, built again: pre-trained unless its plan starts from scratch. In eval mode.

    Raises BackboneError for a loop that was steered and does not say where its model came from.
    """
    fresh = built_again(run)
    return module_to_memory_format(fresh.to(runtime.device()), run.precision).eval()


def built_again(run: Run) -> nn.Module:
    """The network a run began with, as it is built. Raises as `start_of` does."""
    if run.net is None:
        raise BackboneError(
            f"{run.name!r} does not know the backbone that its model came from, so its start cannot be built again. "
            "Give it when the loop is steered: net= and plan=."
        )
    return run.net.build(len(run.data.classes), seed=run.seed, pretrained=run.plan.pretrained)


def as_inputs(run: Run, batch: Any) -> Any:
    """A batch as the network of a run gets it: on the device and in the memory layout of the run."""
    return to_memory_format(batch, run.precision, runtime.device())


def outputs(model: nn.Module, run: Run, split: Split, rows: Tensor) -> Tensor:
    """What a network, the run's or another, says of the samples at `rows` (n,) of a split."""
    return forward(model, as_inputs(run, split.batch(rows)[0]))


@contextmanager
def hooked(model: nn.Module, hooks: dict[str, Hook]) -> Iterator[None]:
    """Inside, every module named has its hook on what it gives; after, none has."""
    with ExitStack() as stack:
        for name, hook in hooks.items():
            stack.callback(model.get_submodule(name).register_forward_hook(hook).remove)
        yield


def given_to(layer: nn.Module, model: nn.Module, inputs: Any) -> Tensor:
    """What a layer is given while a network sees a batch, whatever the network does on the way there."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        forward(model, inputs)
    finally:
        hook.remove()
    return seen[0]


def check_stage(run: Run, stage: str) -> str:
    """The stage, if the network has it; StageError otherwise."""
    if not isinstance(stage, str) or stage not in run.stages:
        raise StageError(
            f"There is no stage {shown(stage)}; this network has {', '.join(run.stages)}."
        )
    return stage


def check_stages(run: Run, stages: Any) -> list[str]:
    """The stages of a list, by default all of them. StageError where one is not there, or this is no list."""
    if stages is None:
        return list(run.stages)
    if isinstance(stages, str) or not isinstance(stages, Sequence) or not stages:
        raise StageError(
            f"stages={shown(stages)} is not a list of stages; this network has {', '.join(run.stages)}."
        )
    return [check_stage(run, stage) for stage in stages]


# ---------------------------------------------------------------- samples


def split_of(run: Run, split: Split | str, labelled: bool = True) -> Split:
    """A split of a run's data by name, or whatever stands in for one. Raises SplitError for anything else."""
    return evaluation.split_of(run.data, split, labelled)


def first(split: Split, count: int) -> range:
    """The positions of the first `count` samples of a split, or of all where there are fewer."""
    return range(min(count, len(split)))


def drawn(split: Split, count: int, seed: int) -> Tensor:
    """The positions of `count` samples of a split, or of all of them, drawn by seed; int64, sorted."""
    whole = runtime.whole_number(count)
    if whole is None or whole < 2:
        raise DataError(
            f"count={shown(count)} samples tell nothing; take a whole number from 2 on, such as 256."
        )
    chance = runtime.generator(check_seed(seed), "probe")
    return torch.randperm(len(split), generator=chance)[: min(whole, len(split))].sort().values


@dataclass(frozen=True, eq=False)
class Images:
    """Images to look at: `pixels` float32 (n, 3, H, W) in [0, 1], with a name and, where known, a label each."""

    pixels: Tensor
    names: tuple[str, ...]
    labels: tuple[int, ...] | None


def images_of(
    run: Run, images: int | Sequence[int] | Tensor, split: Split | str = "valid"
) -> Images:
    """Images by their position in a split, or a tensor of images that belong to none.

    Raises SplitError for a split or position that is not there, DataError for what is no image.
    """
    if isinstance(images, Tensor) and images.is_floating_point() and images.ndim in (3, 4):
        pixels = images if images.ndim == 4 else images.unsqueeze(0)
        names = tuple(f"image {number}" for number in range(len(pixels)))
        return Images(_checked(pixels), names, None)
    part = split_of(run, split, labelled=False)
    chosen = positions(part, images)
    pixels, labels = part.batch(chosen)
    where = split if isinstance(split, str) else "sample"
    names = tuple(f"{where} {number}" for number in chosen.tolist())
    return Images(_checked(pixels), names, tuple(labels.tolist()))


def positions(split: Split, images: Any) -> Tensor:
    """Positions in a split, one or several, as int64 (n,). Raises SplitError for what is none."""
    one = runtime.whole_number(images) is not None
    listed = [images] if one else images
    if isinstance(listed, Tensor | np.ndarray) and listed.ndim == 1:
        listed = listed.tolist()
    several = isinstance(listed, Sequence) and not isinstance(listed, str | bytes)
    chosen = [runtime.whole_number(at) for at in listed] if several else []
    if not chosen or not all(at is not None and 0 <= at < len(split) for at in chosen):
        raise SplitError(
            f"images={shown(images)} are not in this split: use whole numbers from 0 to {len(split) - 1}."
        )
    return torch.tensor(chosen, dtype=torch.int64)


def _checked(pixels: Any) -> Tensor:
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or pixels.shape[1] != 3:
        shape = tuple(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
        raise DataError(
            f"These samples are no images but {shape}. This probe draws on images, (n, 3, height, width)."
        )
    return pixels


# ---------------------------------------------------------------- features: a vector a sample


@torch.no_grad()
def features(
    model: nn.Module, run: Run, split: Split, indices: Tensor, stages: Sequence[str]
) -> dict[str, Tensor]:
    """What each stage makes of the samples at `indices` (n,), as float64 (n, channels) on the CPU.

    Of a map or of tokens, the mean over all places: so stages of any size compare, and none fills the memory.
    """
    found: dict[str, list[Tensor]] = {stage: [] for stage in stages}
    hooks = {stage: _keep(found[stage], stage) for stage in stages}
    with hooked(model, hooks):
        for rows in indices.split(BATCH):
            outputs(model, run, split, rows)
    return {stage: torch.cat(parts) for stage, parts in found.items()}


def _keep(parts: list[Tensor], stage: str) -> Hook:
    # Pooled at once: a layer further up may write over what it was given.
    return lambda module, given, made: parts.append(pooled(_tensor(made, stage)).cpu())


def pooled(made: Tensor) -> Tensor:
    """A stage's output (n, channels, h, w), (n, tokens, channels) or (n, channels) as float64 (n, channels)."""
    values = made.detach().double()
    if values.ndim == 3:
        return values.mean(1)
    return values.flatten(2).mean(2) if values.ndim > 3 else values.reshape(len(values), -1)


def _tensor(made: Any, stage: str) -> Tensor:
    values = made[0] if isinstance(made, tuple) and made else made
    if not isinstance(values, Tensor) or values.ndim < 1:
        raise StageError(
            f"{stage} gives a {type(made).__name__}, in which this probe finds no features. "
            "A stage should give a tensor, or a tuple that begins with one."
        )
    return values


# ---------------------------------------------------------------- maps: values at places of an image


@dataclass(frozen=True)
class Layer:
    """Where a stage still knows places: the name of the module, and the size of its maps."""

    stage: str
    name: str
    height: int
    width: int


def map_layer(model: nn.Module, run: Run, pixels: Tensor, stage: str | None = None) -> Layer:
    """The layer of a stage to draw maps from: the stage itself, or the last convolutional one inside it.

    By default the deepest stage with a map of 4 x 4 or more, else the deepest with any.
    Raises StageError for a stage that has no places left, or does not exist.
    """
    known = _map_layers(model, run, pixels)
    if stage is not None:
        found = known.get(check_stage(run, stage))
        if found is None:
            raise StageError(
                f"{stage} gives no map of these {pixels.shape[-2]} x {pixels.shape[-1]} images, but one vector "
                f"for each. Maps come from {', '.join(known) or 'no stage of this network'}."
            )
        return found
    if not known:
        raise StageError(
            f"No stage of {run.net.name} gives a map of an image, only vectors. Larger images or another "
            "backbone, such as resnet10, have maps."
        )
    deep = list(known.values())[::-1]
    return next((layer for layer in deep if min(layer.height, layer.width) >= FINE), deep[0])


@torch.no_grad()
def _map_layers(model: nn.Module, run: Run, pixels: Tensor) -> dict[str, Layer]:
    """For every stage that still knows places, input to output, the layer to take."""
    sizes: dict[str, tuple[int, int]] = {}
    patch = patch_of(model)

    def note(name: str, maps_only: bool) -> Hook:
        def hook(module: nn.Module, given: Any, made: Any) -> None:
            found = as_map(made, pixels, patch)
            if found is None or (maps_only and made.ndim != 4):
                return
            if found.shape[-2] * found.shape[-1] > 1:
                sizes[name] = (found.shape[-2], found.shape[-1])

        return hook

    inside = {
        stage: [f"{stage}.{name}" for name, _ in model.get_submodule(stage).named_children()]
        for stage in run.stages
    }
    # Inside a stage only convolutions count: after a transformer's last block, only the class token is read.
    hooks = {name: note(name, True) for names in inside.values() for name in names}
    hooks |= {stage: note(stage, False) for stage in run.stages}
    with hooked(model, hooks):
        forward(model, as_inputs(run, pixels[:1]))
    layers = {}
    for stage in run.stages[:-1]:
        name = next((name for name in [stage, *inside[stage][::-1]] if name in sizes), None)
        if name is not None:
            layers[stage] = Layer(stage, name, *sizes[name])
    return layers


def patch_of(model: nn.Module) -> tuple[int, int]:
    """How many pixels a token of a transformer stands for, down and across: the stride of the first convolution."""
    return first_convolution(model)[1].stride  # type: ignore[return-value]


def as_map(made: Any, pixels: Tensor, patch: tuple[int, int]) -> Tensor | None:
    """A layer's output as (n, channels, h, w), or None: tokens without the class token lie where their patches lay."""
    if not isinstance(made, Tensor):
        return None
    if made.ndim == 4:
        return made
    rows, columns = pixels.shape[-2] // patch[0], pixels.shape[-1] // patch[1]
    if made.ndim == 3 and made.shape[1] == 1 + rows * columns:
        return made[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
    return None


def first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """The convolution that reads the images, and its name. BackboneError where there is none."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            return name, module
    raise BackboneError(
        "This network has no convolution that reads images of 3 channels, so there are no filters or maps to draw. "
        "Backbones for images have one; labkit.backbones() lists them."
    )
