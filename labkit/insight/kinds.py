"""What a probe may ask a run to be of: images of ours, and a backbone of ours. The engine asks for neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.errors import BackboneError, DataError

if TYPE_CHECKING:
    from labkit.data import ImageData
    from labkit.models import Backbone
    from labkit.tuning import Run


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
