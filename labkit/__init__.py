"""labkit: fine-tuning you can touch.

`import labkit` loads nothing heavy. Each public name below is imported from its room when it is first used, so a
notebook starts at once and a script that only needs data never waits for matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from labkit.hosts import version_of

_ROOMS = {
    "load_data": "data",
    "load_backbone": "models",
    "backbones": "models",
    "Backbone": "models",
    "Phase": "tuning",
    "Plan": "tuning",
    "feature_extraction": "tuning",
    "partial": "tuning",
    "full": "tuning",
    "gradual": "tuning",
    "from_scratch": "tuning",
    "Run": "tuning",
    "Budget": "tuning",
    "compare": "show.compare",
    "sweep": "show.heatmap",
    "heat_map": "show.heatmap",
    "console": "show.console",
    "find_lr": "show.finder",
    "confusion": "show.predicted",
    "calibration": "show.predicted",
    "worst_images": "show.predicted",
    "uncertain_images": "show.predicted",
    "suspect_labels": "show.labels",
    "filters": "show.inside",
    "activations": "show.inside",
    "grad_cam": "show.inside",
    "similarity": "show.stages",
    "gradient_norms": "show.stages",
    "feature_map": "show.feature_map",
    "journey": "show.neighbours",
    "neighbours": "show.neighbours",
    "report": "show.report",
    "export": "bridges.export",
    "LabkitError": "errors",
}
_MODULES = (
    "data",
    "models",
    "tuning",
    "insight",
    "show",
    "learn",
    "bridges",
    "runtime",
    "hosts",
    "errors",
)

__all__ = sorted(_ROOMS)

__version__ = version_of("labkit")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(f"labkit.{_ROOMS[name]}"), name)
    if name in _MODULES:
        return import_module(f"labkit.{name}")
    raise AttributeError(f"module 'labkit' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_MODULES})
