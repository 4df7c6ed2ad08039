"""The checksum of the weights that a backbone starts from, which tells one record of runs from another."""

from __future__ import annotations

from labkit.models.vision.shipped import ALIASES, PACKAGED, SHIPPED, shipped


def checksum(name: str) -> str:
    """The sha256 of the weights that a backbone starts from, "" where it is not known.

    Raises WeightsError where they are damaged or missing, BackboneError for a name that labkit does not know.
    """
    name = ALIASES.get(name, name)
    if name in SHIPPED:
        return shipped(name)[1].sha256
    if name in PACKAGED:
        return PACKAGED[name]
    from labkit.models.backbone import (
        load_backbone,  # with torch, which a shipped card does without
    )

    card = load_backbone(name).card
    return card.sha256 if card else ""
