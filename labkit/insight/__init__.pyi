from labkit.insight.adapting import Adapted, adapt, carried_on, statistics_gap
from labkit.insight.calibration import Calibration, Temperature, calibration, fit_temperature
from labkit.insight.coach import sentence
from labkit.insight.confusion import Confusion, confusion
from labkit.insight.cost import (
    Cost,
    Memory,
    StepCost,
    cost,
    cost_table,
    count_step,
    step_costs,
    step_seconds,
    step_table,
)
from labkit.insight.diagnosis import Diagnosis, Finding, diagnose
from labkit.insight.drift import drift_table, layers_drift
from labkit.insight.feature_map import FeatureMap, feature_map
from labkit.insight.forgetting import (
    Diary,
    OldTask,
    between,
    forgetting,
    old_examples,
    old_task,
    remembered,
)
from labkit.insight.gradients import gradient_norms
from labkit.insight.labels import Suspect, SuspectLabels, suspect_labels
from labkit.insight.looking import Activations, Filters, GradCam, activations, filters, grad_cam
from labkit.insight.meter import Spent, meter
from labkit.insight.metrics import Estimate, mean_interval, paired_difference
from labkit.insight.neighbours import Neighbours, neighbours
from labkit.insight.prices import Machine, machines, price_table
from labkit.insight.similarity import Similarity, linear_cka, similarity
from labkit.insight.speed import epoch_seconds
from labkit.insight.worst import Guess, uncertain, worst
from labkit.insight.zero_shot import zero_shot

__all__ = [
    "Activations",
    "Adapted",
    "Calibration",
    "Confusion",
    "Cost",
    "Diagnosis",
    "Diary",
    "Estimate",
    "FeatureMap",
    "Filters",
    "Finding",
    "GradCam",
    "Guess",
    "Machine",
    "Memory",
    "Neighbours",
    "OldTask",
    "Similarity",
    "Spent",
    "StepCost",
    "Suspect",
    "SuspectLabels",
    "Temperature",
    "activations",
    "adapt",
    "between",
    "calibration",
    "carried_on",
    "confusion",
    "cost",
    "cost_table",
    "count_step",
    "diagnose",
    "drift_table",
    "epoch_seconds",
    "feature_map",
    "filters",
    "fit_temperature",
    "forgetting",
    "grad_cam",
    "gradient_norms",
    "layers_drift",
    "linear_cka",
    "machines",
    "mean_interval",
    "meter",
    "neighbours",
    "old_examples",
    "old_task",
    "paired_difference",
    "price_table",
    "remembered",
    "sentence",
    "similarity",
    "statistics_gap",
    "step_costs",
    "step_seconds",
    "step_table",
    "suspect_labels",
    "uncertain",
    "worst",
    "zero_shot",
]
