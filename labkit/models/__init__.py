"""The models room: backbones as ordered named stages, their weights and cards, and the recipes that made them.

A backbone is not a module but the knowledge of how to build one: `load_backbone(name).build(num_classes)` gives a
fresh network each time. This room may use torch, torchvision and `labkit.runtime`; it knows no data set but those
that its own pre-training reads.
"""

from labkit.models.backbone import Backbone, backbones, load_backbone
from labkit.models.card import Card, Measure
from labkit.models.files import read_weights, save_weights
from labkit.models.staging import Normalize, Staged, cut

__all__ = [
    "Backbone",
    "Card",
    "Measure",
    "Normalize",
    "Staged",
    "backbones",
    "cut",
    "load_backbone",
    "read_weights",
    "save_weights",
]
