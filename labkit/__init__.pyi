from labkit import (
    bridges as bridges,
    course as course,
    data as data,
    errors as errors,
    hosts as hosts,
    insight as insight,
    learn as learn,
    models as models,
    records as records,
    runtime as runtime,
    show as show,
    sweeps as sweeps,
    testing as testing,
    tuning as tuning,
)
from labkit.bridges.export import export
from labkit.console.widget import console
from labkit.data import load_data
from labkit.errors import LabkitError
from labkit.models import Backbone, backbones, load_backbone
from labkit.sharing import from_line, to_line
from labkit.show.compare import compare
from labkit.show.feature_map import plot_feature_map as feature_map
from labkit.show.finder import find_lr
from labkit.show.heatmap import heat_map, sweep
from labkit.show.inside import (
    plot_activations as activations,
    plot_filters as filters,
    plot_grad_cam as grad_cam,
)
from labkit.show.labels import plot_suspect_labels as suspect_labels
from labkit.show.neighbours import journey, plot_neighbours as neighbours
from labkit.show.predicted import (
    plot_calibration as calibration,
    plot_confusion as confusion,
    uncertain_images,
    worst_images,
)
from labkit.show.report import report
from labkit.show.stages import plot_gradient_norms as gradient_norms, plot_similarity as similarity
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
