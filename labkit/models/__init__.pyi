from labkit.models.backbone import Backbone, backbones, load_backbone
from labkit.models.card import Card, Measure
from labkit.models.files import read_weights, save_weights
from labkit.models.vision.staging import Normalize, Staged, cut

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
