from labkit.models.backbone import Backbone, backbones, load_backbone
from labkit.models.card import Measure, ModelCard
from labkit.models.files import read_weights, save_weights
from labkit.models.vision.staging import Normalize, Staged, cut

__all__ = [
    "Backbone",
    "Measure",
    "ModelCard",
    "Normalize",
    "Staged",
    "backbones",
    "cut",
    "load_backbone",
    "read_weights",
    "save_weights",
]
