"""The models room: backbones as ordered named stages, their weights and cards.

A backbone is not a module but the knowledge of how to build one: `load_backbone(name).build(num_classes)` gives a
fresh network each time. What is of networks for images alone is in `vision`. This room knows no data set.
"""

from labkit import lazy

lazy.attach(__name__)
