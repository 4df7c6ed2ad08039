from labkit import bridges as bridges
from labkit import course as course
from labkit import data as data
from labkit import errors as errors
from labkit import hosts as hosts
from labkit import insight as insight
from labkit import learn as learn
from labkit import models as models
from labkit import records as records
from labkit import runtime as runtime
from labkit import show as show
from labkit import sweeps as sweeps
from labkit import testing as testing
from labkit import tuning as tuning
from labkit.bridges.export import export
from labkit.console.widget import console
from labkit.data import load_data
from labkit.errors import LabkitError
from labkit.models import Backbone, backbones, load_backbone
from labkit.sharing import from_line, to_line
from labkit.show.compare import compare
from labkit.show.feature_map import feature_map
from labkit.show.finder import find_lr
from labkit.show.heatmap import heat_map, sweep
from labkit.show.inside import activations, filters, grad_cam
from labkit.show.labels import suspect_labels
from labkit.show.neighbours import journey, neighbours
from labkit.show.predicted import calibration, confusion, uncertain_images, worst_images
from labkit.show.report import report
from labkit.show.stages import gradient_norms, similarity
from labkit.tuning import (
    Budget,
    Phase,
    Plan,
    Run,
    feature_extraction,
    from_scratch,
    full,
    gradual,
    partial,
)

__version__: str

__all__ = [
    "Backbone",
    "Budget",
    "LabkitError",
    "Phase",
    "Plan",
    "Run",
    "activations",
    "backbones",
    "calibration",
    "compare",
    "confusion",
    "console",
    "export",
    "feature_extraction",
    "feature_map",
    "filters",
    "find_lr",
    "from_line",
    "from_scratch",
    "full",
    "grad_cam",
    "gradient_norms",
    "gradual",
    "heat_map",
    "journey",
    "load_backbone",
    "load_data",
    "neighbours",
    "partial",
    "report",
    "similarity",
    "suspect_labels",
    "sweep",
    "to_line",
    "uncertain_images",
    "worst_images",
]
