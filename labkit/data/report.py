"""What was wrong with the files of a data set, by name, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas

Action = Literal["left out", "converted", "kept"]


@dataclass(frozen=True)
class FileFinding:
    """One file, what is unusual about it, and whether it was left out, converted or kept as it is."""

    file: str
    problem: str
    action: Action

    def __str__(self) -> str:
        return f"{self.file}: {self.problem} ({self.action})"


@dataclass(frozen=True)
class DataReport:
    """All findings of one data set, in the order of the files. File names are text, whatever they contain."""

    findings: tuple[FileFinding, ...] = ()

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[FileFinding]:
        return iter(self.findings)

    def left_out(self) -> int:
        """How many files were left out."""
        return sum(finding.action == "left out" for finding in self)

    def table(self) -> pandas.DataFrame:
        """One row a finding, with the columns file, problem and action."""
        import pandas

        rows = [(finding.file, finding.problem, finding.action) for finding in self]
        return pandas.DataFrame(rows, columns=["file", "problem", "action"])

    def __str__(self) -> str:
        if not self.findings:
            return "nothing to report: every file was used as it is"
        counts = Counter(finding.action for finding in self)
        head = ", ".join(f"{count} {action}" for action, count in counts.items())
        return "\n".join([head, *(f"  {finding}" for finding in self)])
