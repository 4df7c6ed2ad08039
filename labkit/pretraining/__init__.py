"""The recipes of the shipped weights. Each is one function and one command, and runs again to the same weights.

Both write `<out>/<name>.safetensors` with a card beside it, keep a checkpoint there after every epoch, and take up
the work where it was interrupted.
"""

from labkit.pretraining.glyphs import GLYPHS, pretrain_glyphs
from labkit.pretraining.loop import PretrainingRecipe, Progress
from labkit.pretraining.photos import PHOTOS, pretrain_photos

__all__ = [
    "GLYPHS",
    "PHOTOS",
    "PretrainingRecipe",
    "Progress",
    "pretrain_glyphs",
    "pretrain_photos",
]
