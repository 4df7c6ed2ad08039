"""Every error labkit raises on purpose.

Each message says what was wrong, what is allowed and what to do. They all derive from `LabkitError`, so a lesson or
a tool can catch the lot, and most are also `ValueError`, because that is what they are.
"""

from __future__ import annotations

from typing import Any


class LabkitError(Exception):
    """The base of all errors that labkit raises on purpose."""


class LearningRateError(LabkitError, ValueError):
    """A learning rate no optimiser should be given."""


class StageError(LabkitError, ValueError):
    """A stage name that the network does not have."""


class PlanError(LabkitError, ValueError):
    """A plan, or a setting of one, that cannot be carried out."""


class CommandError(LabkitError, ValueError):
    """A command that a run cannot take, or cannot take now."""


class DataError(LabkitError, ValueError):
    """Data that cannot be learned from as it lies there.

    `report` is the `labkit.data.Report` on the files, where they were looked at before this was found, else None.
    """

    report: Any = None


class SplitError(DataError):
    """A split that does not exist, is empty or cannot be made."""


class SealError(LabkitError):
    """A test split that has been opened already."""


class FetchError(LabkitError):
    """Something that had to be fetched could not be, or was not what it should be."""


class BackboneError(LabkitError, ValueError):
    """A backbone that labkit does not know or cannot use."""


class WeightsError(LabkitError):
    """Weights that are missing, damaged or made for another network."""


class ExportError(LabkitError):
    """A network that cannot be exported here, or whose export does not say what it says."""


class ShareError(LabkitError, ValueError):
    """A shared line of text that does not describe a run."""


class EvidenceError(LabkitError, ValueError):
    """Recorded runs that are missing, stale, incomplete or cannot be compared."""


class AtlasError(LabkitError, ValueError):
    """A question that the atlas of recorded runs has no answer to."""


class SweepError(LabkitError):
    """A sweep that cannot go on, or that another process is driving."""


class BenchError(LabkitError, ValueError):
    """A measurement that does not exist, or that went wrong."""


class PriceError(LabkitError, ValueError):
    """A row of a price table that lacks what a reader needs to judge it, or holds what is no price."""
