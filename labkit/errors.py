"""Every error labkit raises on purpose.

Each message says what was wrong, what is allowed and what to do. They all derive from `LabkitError`, so a lesson or
a tool can catch the lot, and most are also `ValueError`, because that is what they are.
"""

from __future__ import annotations

import csv
import os
import re
from typing import Any

# What the standard readers of JSON, TOML and CSV, and those who take their values apart, raise of a file that is not
# what it should be. A number too large and a nesting too deep are among them.
UNREADABLE = (
    ValueError,  # not UTF-8 and not JSON are kinds of it
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    csv.Error,
)

_SHOWN = 120  # characters of a value that an error message quotes
_DIGITS = 40  # of a whole number that is written out


def shown(value: object) -> str:
    """A value as an error message quotes it: its `repr`, cut where it is long.

    It never fails, because a message about a bad value must not end in another error: `repr` itself does for lists
    nested thousands deep and for whole numbers of more than 4,300 digits.
    """
    if isinstance(value, int) and value.bit_length() > _DIGITS * 3:
        digits = round(value.bit_length() * 0.30103)
        return f"a whole number of about {digits} digits"
    try:
        text = repr(value)
    except Exception:  # whatever a `repr` raises
        return f"a {type(value).__name__} that cannot be written out"
    return clipped(text)


def with_a_point(value: object) -> str:
    """` Write 1.5.` for a text such as "1,5", a number as half of the world writes it; empty for anything else."""
    if isinstance(value, str) and re.fullmatch(
        r"\s*[+-]?\d+,\d+(e[+-]?\d+)?\s*", value, re.IGNORECASE
    ):
        return f" Write {value.strip().replace(',', '.')}."
    return ""


def clipped(text: str, length: int = _SHOWN) -> str:
    """The beginning of a text, as long as an error message can bear."""
    return text if len(text) <= length else f"{text[:length]}…"


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

    `report` is the `labkit.data.DataReport` on the files, where they were looked at before this was found, else None.
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


class ContractError(LabkitError):
    """A network, data or a task does not keep what the engine relies on (`labkit.testing`)."""


class WeightsError(LabkitError):
    """Weights that are missing, damaged or made for another network."""


class ArgumentError(LabkitError, TypeError, ValueError):
    """An argument of another kind than what was asked for, or out of range."""


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
                f"{shown(path)} is not a path. Give one as text or as a pathlib.Path, such as 'out/model'."
            )


class ExportError(LabkitError):
    """A network that cannot be exported here, or whose export does not say what it says."""


class ShareError(LabkitError, ValueError):
    """A shared line of text that does not describe a run."""


class DownloadError(ShareError):
    """A shared line that needs something which would have to be downloaded first, and nobody has agreed to that.

    `what` says what it is and how large; the message adds how to agree in code.
    """

    def __init__(self, what: str, how: str = "") -> None:
        super().__init__(f"{what} {how}".strip())
        self.what = what


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
