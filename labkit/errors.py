"""Every error labkit raises on purpose.

Each message says what was wrong, what is allowed and what to do. They all derive from `LabkitError`, so a lesson or
a tool can catch the lot, and most are also `ValueError`, because that is what they are.
"""

from __future__ import annotations

import os


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
    """Data that cannot be learned from as it lies there."""


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


class RunError(LabkitError, TypeError):
    """Something else where a run was asked for."""


class FileError(LabkitError, OSError):
    """A file that cannot be written where it was asked for."""

    @classmethod
    def of(cls, path: object, trouble: OSError | ValueError) -> FileError:
        """What the system said about a path, with what to do."""
        why = getattr(trouble, "strerror", None) or trouble
        return cls(
            f"{path} cannot be written: {why}. Nothing of it was left there. Give a path in a folder that you may "
            "write to and that has room."
        )

    @classmethod
    def refuse_no_path(cls, path: object) -> None:
        """Raise unless this can be the path of a file or a folder."""
        if not isinstance(path, str | os.PathLike) or not str(path):
            raise cls(
                f"{path!r} is not a path. Give one as text or as a pathlib.Path, such as 'out/model'."
            )


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
