"""The coach's examination: runs sabotaged in known ways and sound ones, all from draws that no rule was tuned on.

`labkit evidence coach` trains them, asks the coach for its first diagnosis of each and keeps the answers in
`recorded/`, a row a run. Interrupted, it goes on where it was. `recheck` trains a few of them again and says which
answers differ from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

from labkit import runtime
from labkit.errors import EvidenceError
from labkit.insight.reading import in_columns
from labkit.records import table
from labkit.records.sabotage import TITLES, Case
from labkit.records.table import Recheck, Tell

if TYPE_CHECKING:
    import pandas as pd

RECORDS = Path(__file__).parent / "recorded"
NAME = "coach"
SOUND_DIGITS, SOUND_PHOTOGRAPHS = 60, 8
EACH_DIGITS = 5
PHOTOGRAPHS = (  # the kinds that are also made on photographs
    "statistics-drift",
    "head-left-out",
    "eval-mode",
    "leakage",
    "normalisation",
    "rate-too-large",
    "averaged-averages",
    "stale-moments",
)
NOTES = ("augmented",)  # worth knowing, no fault: no alarm where a sound run is told so


@dataclass(frozen=True)
class Answer:
    """One run of the examination: what was done to it, and what the coach said first and besides.

    `curves` is what it says first of the same run when it may look at nothing but the history.
    """

    kind: str
    seed: int
    material: str
    told: str
    besides: str
    status: str
    steps: int
    cpu_seconds: float
    curves: str = ""

    @property
    def right(self) -> bool:
        """Whether the first diagnosis names what was done; of a sound run, that there is no fault."""
        return self.told == self.kind or (self.kind == "sound" and self.told in NOTES)

    @property
    def id(self) -> tuple[str, int, str]:
        """The case that it answers, as `Case.id`."""
        return self.kind, self.seed, self.material


def cases() -> list[Case]:
    """All runs of the examination, the kinds taken in turn."""
    sabotaged = [kind for kind in TITLES if kind != "sound"]
    found = [Case(kind, seed, "held-out") for seed in range(EACH_DIGITS) for kind in sabotaged]
    found += [Case("sound", seed, "held-out") for seed in range(SOUND_DIGITS)]
    found += [Case(kind, 0, "held-out", "ants-bees") for kind in PHOTOGRAPHS]
    found += [Case("sound", seed, "held-out", "ants-bees") for seed in range(SOUND_PHOTOGRAPHS)]
    return found


def sit(case: Case) -> Answer:
    """Train the run of a case and ask the coach."""
    from labkit.insight.diagnosis import Observations, diagnose, judge
    from labkit.records.sabotage import train

    began = process_time()
    with _one_thread():
        run = train(case)
        diagnosis = diagnose(run)
    besides = [finding.kind for finding in diagnosis.findings[1:]]
    by_eye = judge(Observations(diagnosis.observations.trace))
    return Answer(
        case.kind,
        case.seed,
        case.material,
        diagnosis.kind,
        " ".join(besides),
        run.status,
        run.step_number,
        round(process_time() - began, 2),
        by_eye.kind,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside: one thread, so that sums are taken in the same order on every machine. After: as before."""
    import torch

    runtime.limit_threads()  # or the first run would set them
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build(
    out: Path | None = None, again: bool = False, tell: Tell | None = None, most: int | None = None
) -> Path:
    """Make the runs that are missing, at most so many, and give the path of the record.

    Those on photographs are left out, and stay missing, where the photographs are not on this machine.
    """
    path = (out or RECORDS) / f"{NAME}.csv"
    known = [] if again else answers(out)
    todo = [case for case in missing(known) if at_hand(case)][:most]
    made = table.fill(path, known, todo, sit, [case.id for case in cases()])
    for number, (case, answer) in enumerate(made, start=1):
        if tell is not None:
            mark = "" if answer.right else "  <- wrong"
            tell(f"{number} of {len(todo)}: {case}: {answer.told}, {answer.cpu_seconds} s{mark}")
    if todo or known:
        table.write_provenance(path.with_suffix(".json"), _provenance(answers(out)))
    return path


def answers(out: Path | None = None) -> list[Answer]:
    """What is on record."""
    return table.read((out or RECORDS) / f"{NAME}.csv", Answer)


def missing(found: Sequence[Answer] | None = None) -> list[Case]:
    """The runs of the examination that are not among these answers, or not on record."""
    known = {answer.id for answer in (answers() if found is None else found)}
    return [case for case in cases() if case.id not in known]


def recheck(count: int, out: Path | None = None) -> list[Recheck]:
    """Do a few recorded runs again; the record draws which. Each must be told the same as then."""
    known = {answer.id: answer for answer in answers(out)}
    pairs = [(case, known[case.id]) for case in cases() if case.id in known and at_hand(case)]
    if not pairs:
        raise EvidenceError("Nothing is on record for the coach. Make it: labkit evidence coach")
    chance = blake2b(repr(pairs).encode()).hexdigest()
    return table.recheck(pairs, count, chance, lambda pair: _redo(*pair))


def _redo(case: Case, then: Answer) -> Recheck:
    now = sit(case)
    outcomes = (then.told, then.status), (now.told, now.status)
    words = f"{then.told} ({then.status}) then, {now.told} ({now.status}) now"
    return Recheck(f"{case.kind} {case.seed}", *outcomes, outcomes[0] == outcomes[1], words)


def at_hand(case: Case) -> bool:
    """Whether the images of a case lie on this machine."""
    from labkit.data import at_hand as here, card

    return case.material == "digits" or bool(here(card(case.material)))


# ---------------------------------------------------------------- what came of it


def confusion(found: Sequence[Answer] | None = None) -> pd.DataFrame:
    """One row a kind, one column what the coach said first; "sound" means that it said nothing."""
    import pandas as pd

    table = pd.DataFrame.from_dict(counted(found), orient="index")
    return table.rename_axis(index="was", columns="told")


def counted(found: Sequence[Answer] | None = None) -> dict[str, dict[str, int]]:
    """The rows of `confusion`, without pandas: for each kind, how often the coach said what first."""
    counts = {kind: dict.fromkeys(TITLES, 0) for kind in TITLES}
    for answer in answers() if found is None else found:
        counts[answer.kind][answer.told] += 1
    return counts


@dataclass(frozen=True)
class Share:
    """So many of so many, with the 95 % Wilson interval."""

    hits: int
    count: int

    def __str__(self) -> str:
        low, high = runtime.wilson(self.hits, self.count)
        return f"{self.hits} of {self.count}, {self.value:.1%} ({low:.1%} to {high:.1%})"

    @property
    def value(self) -> float:
        """From 0 to 1; 0 where nothing was counted."""
        return self.hits / self.count if self.count else 0.0

    def words(self) -> str:
        """For a text, rounded: `3 of 68, 4 % (2 to 12)`."""
        low, high = (100 * end for end in runtime.wilson(self.hits, self.count))
        return f"{self.hits} of {self.count}, {100 * self.value:.0f} % ({low:.0f} to {high:.0f})"


def right_first(found: Iterable[Answer]) -> Share:
    """Of the sabotaged runs, those whose first diagnosis is right."""
    sabotaged = [answer for answer in found if answer.kind != "sound"]
    return Share(sum(answer.right for answer in sabotaged), len(sabotaged))


def from_curves(found: Iterable[Answer]) -> Share:
    """Of the sabotaged runs, those that the coach names rightly when it sees their history alone."""
    sabotaged = [answer for answer in found if answer.kind != "sound"]
    return Share(sum(answer.curves == answer.kind for answer in sabotaged), len(sabotaged))


def false_alarms(found: Iterable[Answer]) -> Share:
    """Of the sound runs, those that were told a fault."""
    sound = [answer for answer in found if answer.kind == "sound"]
    return Share(sum(not answer.right for answer in sound), len(sound))


SHARES: dict[str, Callable[[Iterable[Answer]], Share]] = {
    "right-first": right_first,
    "from-curves": from_curves,
    "false-alarms": false_alarms,
}


def share(key: str, out: Path | None = None) -> Share:
    """A share that is on record, by the name that texts cite it with.

    Raises EvidenceError for another name, or where nothing is on record.
    """
    if key not in SHARES:
        raise EvidenceError(f"The coach has no {key!r}. It has {', '.join(SHARES)}.")
    found = answers(out)
    if not found:
        raise EvidenceError("Nothing is on record for the coach. Make it: labkit evidence coach")
    return SHARES[key](found)


def by_kind(found: Sequence[Answer] | None = None) -> pd.DataFrame:
    """One row a kind of fault: runs, how many were named rightly first, and how many from the curves alone."""
    import pandas as pd

    found = answers() if found is None else found
    rows = []
    for kind in (kind for kind in TITLES if kind != "sound"):
        mine = [answer for answer in found if answer.kind == kind]
        rows.append((kind, len(mine), right_first(mine).hits, from_curves(mine).hits))
    return pd.DataFrame(rows, columns=["kind", "runs", "right first", "from the curves alone"])


def summary(found: Sequence[Answer] | None = None) -> str:
    """The confusion table and the two shares, in words."""
    found = answers() if found is None else found
    noted = sum(answer.kind == "sound" and answer.told in NOTES for answer in found)
    seconds = sum(answer.cpu_seconds for answer in found)
    return "\n".join(
        [
            _in_numbers(counted(found)),
            f"Right first diagnosis: {right_first(found)}",
            f"Right from the curves alone: {from_curves(found)}",
            f"False alarms on sound runs: {false_alarms(found)}; {noted} more were given a note.",
            f"{len(found)} runs, {seconds:.0f} processor seconds.",
        ]
    )


def _in_numbers(counts: dict[str, dict[str, int]]) -> str:
    """The confusion table with a number for each kind, which stands before its name on the left."""
    kinds = [f"{number} {kind}" for number, kind in enumerate(counts)]
    width = max(map(len, kinds))
    rows = [
        {"was \\ told".ljust(width): kind.ljust(width)}
        | {str(number): f" {count or '.'}" for number, count in enumerate(row.values())}
        for kind, row in zip(kinds, counts.values(), strict=True)
    ]
    return in_columns(rows)


def _provenance(found: list[Answer]) -> dict[str, Any]:
    """What a reader needs to make the record again, and what came of it."""
    return {
        "question": "How often is the coach's first diagnosis right, and how often does it cry wolf?",
        "make_again": "labkit evidence coach --again",
        "draws": "held-out: seeds of its own, every number from the outer quarters of its range. The rules were tuned "
        "on the pool development, which draws from the middle halves.",
        "right_first": asdict(right_first(found)) | {"words": str(right_first(found))},
        "from_curves": asdict(from_curves(found)) | {"words": str(from_curves(found))},
        "false_alarms": asdict(false_alarms(found)) | {"words": str(false_alarms(found))},
        "cpu_seconds": round(sum(answer.cpu_seconds for answer in found), 1),
        "machine": table.machine(threads=runtime.threads()),
    }
