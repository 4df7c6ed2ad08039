"""What a probe may ask a run to be of: images, and a backbone of ours. The engine asks for neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.errors import BackboneError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.data import ImageData
    from labkit.models import Backbone
    from labkit.tuning import Run
    from labkit.tuning.contracts import Split


def images_of(run: Run) -> ImageData:
    """The data of a run, which must be images. Raises DataError where they are not."""
    from labkit.data import ImageData

    if not isinstance(run.data, ImageData):
        raise DataError(
            f"{run.name!r} was trained on a {type(run.data).__name__}, and this needs images of labkit.load_data."
        )
    return run.data


def backbone_of(run: Run) -> Backbone:
    """The backbone of a run. Raises BackboneError for a network that is none of labkit's."""
    from labkit.models import Backbone

    if not isinstance(run.net, Backbone):
        raise BackboneError(
            f"{run.name!r} trains a {type(run.net).__name__}, and this needs a network of labkit.load_backbone or "
            "Backbone.from_module."
        )
    return run.net


def has_images(split: Split) -> bool:
    """Whether a split holds images that can be shown: uint8 of shape (N, 3, H, W)."""
    return len(split) > 0 and image_at(split, 0) is not None


def image_at(split: Split, place: int) -> Tensor | None:
    """The image at a place of a split, uint8 (3, H, W); None where the split holds none that can be shown.

    A split of ours is asked for that image alone, because all its `images` may be a copy of the whole split.
    """
    from labkit.data import ImageSplit

    if isinstance(split, ImageSplit):
        import torch

        split, place = split.take(torch.tensor([place], device="cpu")), 0
    images = getattr(split, "images", None)
    return images[place] if images is not None and getattr(images, "ndim", 0) == 4 else None
