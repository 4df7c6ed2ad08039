from labkit.runtime import wilson
from labkit.tuning.budget import Budget
from labkit.tuning.commands import LoggedCommand, Settings, Ticket
from labkit.tuning.evaluation import Evaluation
from labkit.tuning.events import (
    CommandApplied,
    EpochDone,
    Event,
    Journal,
    PhaseChanged,
    Rewound,
    RunEnded,
    RunFailed,
    StepDone,
)
from labkit.tuning.finder import Finder, LearningRates, find_lr
from labkit.tuning.freezing import Audit, StageAudit
from labkit.tuning.plans import (
    Phase,
    Plan,
    feature_extraction,
    from_scratch,
    full,
    gradual,
    partial,
    rate_factor,
)
from labkit.tuning.run import Run

__all__ = [
    "Audit",
    "Budget",
    "CommandApplied",
    "EpochDone",
    "Evaluation",
    "Event",
    "Finder",
    "Journal",
    "LearningRates",
    "LoggedCommand",
    "Phase",
    "PhaseChanged",
    "Plan",
    "Rewound",
    "Run",
    "RunEnded",
    "RunFailed",
    "Settings",
    "StageAudit",
    "StepDone",
    "Ticket",
    "feature_extraction",
    "find_lr",
    "from_scratch",
    "full",
    "gradual",
    "partial",
    "rate_factor",
    "wilson",
]
