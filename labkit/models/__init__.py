"""The models room: backbones as ordered named stages, their weights and cards, and the recipes that made them.

A backbone is not a module but the knowledge of how to build one: `load_backbone(name).build(num_classes)` gives a
fresh network each time. This room may use torch, torchvision and `labkit.runtime`; it knows no data set but those
that its own pre-training reads.
"""

from labkit import lazy

lazy.attach(__name__)
