"""The card "what would happen": the atlas answers while a control moves, and a real run then lands in its band or not.

The page gets the whole table of a sheet once and does the sums itself, so that moving a control waits for nobody. A
real run trains in the background of the kernel; the page asks for news while it goes. What the card does is also a
method, so that lessons run in scripts and tests: `card.run_it(...)` returns the run and the verdict.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import traitlets

from labkit import runtime
from labkit.console import assets
from labkit.console.panel import Panel
from labkit.console.wire import Message, sent_back
from labkit.data.cards import card
from labkit.data.fetching import to_download
from labkit.errors import AtlasError, FileError, LabkitError, shown
from labkit.records import atlas
from labkit.records.atlas import Expectation, Sheet, Verdict
from labkit.records.atlas.record import RECORDS

if TYPE_CHECKING:
    from labkit.tuning import Run

START = ("layer4", 1e-3)  # where the controls stand at first
KINDS = ("run", "poll")  # of message


class Real(NamedTuple):
    """A run that was really made, and whether it landed where the atlas expected it."""

    run: Run
    verdict: Verdict


def atlas_card(
    data: str = "digits", net: str = "resnet10-glyphs", out: Path | None = None
) -> AtlasCard:
    """The panel that answers "what would happen" for a learning rate, a frozen depth and a number of labels.

    Args:
        data, net: the sheet of the atlas; `labkit.records.atlas.names()` lists them.
        out: the folder of the records, if not the package's own.

    Raises:
        AtlasError: there is no such sheet, or nothing is on record for it.
    """
    for name, value in (("data", data), ("net", net)):
        if not isinstance(value, str):
            raise AtlasError(
                f"{name}={shown(value)} must be a name; the atlas has {', '.join(atlas.names())}."
            )
    if out is not None:
        FileError.refuse_no_path(out)
    return AtlasCard(atlas.find(f"{data}/{net}"), None if out is None else Path(out))


class AtlasCard(Panel):
    """The panel; a figure and a table where scripts do not run."""

    _esm = assets.script_beside(__file__, "atlas_panel.js")
    _css = assets.style_beside(__file__, "atlas_panel.css")
    table = traitlets.Dict().tag(sync=True)
    start = traitlets.Dict().tag(sync=True)

    def __init__(self, sheet: Sheet, out: Path | None = None) -> None:
        found = atlas.load(sheet, out or RECORDS)
        depth, rate = START
        start = {
            "trainable_from": depth if depth in sheet.depths else sheet.depths[0],
            "per_class": sheet.per_class[len(sheet.per_class) // 2],
            "lr": rate if rate in sheet.rates else sheet.rates[0],
        }
        super().__init__(table=found.to_message(), start=start)
        self._sheet, self._out = sheet, out
        self._lock = threading.Lock()
        self._attempts: list[Attempt] = []

    # ------------------------------------------------------------ what a lesson calls

    def expect(
        self,
        lr: float | None = None,
        trainable_from: str | int | None = None,
        per_class: int | None = None,
    ) -> Expectation:
        """What the atlas expects; what is left out is as the controls stand at first. Raises AtlasError."""
        asked = {"lr": lr, "trainable_from": trainable_from, "per_class": per_class}
        chosen: dict[str, Any] = {k: self.start[k] if v is None else v for k, v in asked.items()}
        return atlas.expect(self._sheet, None, **chosen, out=self._out)

    def run_it(
        self,
        lr: float | None = None,
        trainable_from: str | int | None = None,
        per_class: int | None = None,
        seed: int | None = None,
    ) -> Real:
        """Make a run with these settings, wait for it, and say whether it landed in the band.

        `seed`: by default the next that is not on record, so that the run is a new draw of examples and head.

        Raises:
            AtlasError: the setting is not on record, or a real run of this card is still going.
        """
        return self._begin(lr, trainable_from, per_class, seed).wait()

    @property
    def runs(self) -> tuple[Run, ...]:
        """The real runs so far, those made in the page too."""
        return tuple(attempt.run for attempt in self._attempts if attempt.run is not None)

    # ------------------------------------------------------------ what the page asks

    def obey(self, asked: Message, buffers: Sequence[Any]) -> None:
        """Begin a real run, or only tell how the last one stands."""
        if asked.get("kind") not in KINDS:
            raise AtlasError(f"A message needs a kind, one of {', '.join(KINDS)}.")
        if asked["kind"] == "run":
            self._begin(*(_given(asked, name) for name in ("lr", "trainable_from", "per_class")))

    def state(self, asked: Message) -> Message:
        """Who asked, and how the last real run stands."""
        last = self._attempts[-1].to_message() if self._attempts else None
        return {"client": sent_back(asked.get("client")), "attempt": last}

    def _begin(self, lr: Any, depth: Any, labels: Any, seed: Any = None) -> Attempt:
        expected = self.expect(lr, depth, labels)
        if expected.notes:
            raise AtlasError(" ".join(expected.notes) + " Only a recorded setting can be judged.")
        self._refuse_downloads()
        with self._lock:
            if self._attempts and not self._attempts[-1].over:
                raise AtlasError("A real run of this card is still going. Wait for it to end.")
            if seed is None:
                seed = max(self._sheet.seeds) + 1 + len(self._attempts)
            attempt = Attempt(len(self._attempts), expected, seed)
            self._attempts.append(attempt)
        threading.Thread(target=attempt.go, name="labkit-atlas", daemon=True).start()
        return attempt

    def _refuse_downloads(self) -> None:
        """A click must not begin to download what nobody asked for by name."""
        about = card(self._sheet.data)
        if to_download(about) and not runtime.is_offline():
            raise AtlasError(
                f"A real run needs the data set {about.name}, which is not on this machine ({about.bytes / 1e6:.0f} "
                f"MB to download). `labkit data fetch {about.name}` brings it; then run it for real."
            )

    # ------------------------------------------------------------ without a page

    def __repr__(self) -> str:
        return f"What would happen, {self._sheet.name}. {self.expect()}"

    def stand_in(self) -> tuple[Message, Message]:
        """The figure and the table of what is expected, and of the last real run."""
        from labkit.show.atlas import figure

        runs = self.runs[-1:]
        drawn = self._attempts[-1].expected if runs else self.expect()
        return figure(drawn, *runs, out=self._out)._repr_mimebundle_()


@dataclass(eq=False)
class Attempt:
    """A real run from the wish to the verdict. `go` does it all, in a thread of its own."""

    id: int
    expected: Expectation
    seed: int
    run: Run | None = None
    verdict: Verdict | None = None
    trouble: LabkitError | None = None

    def __post_init__(self) -> None:
        self._over = threading.Event()

    @property
    def over(self) -> bool:
        """Whether there is a verdict, or none will come."""
        return self._over.is_set()

    def go(self) -> None:
        """Load, train, judge."""
        it = self.expected
        try:
            run = atlas.real_run(it.sheet, it.trainable_from, it.per_class, it.lr, self.seed)
            self.run = run.start()
            run.wait()
            self.verdict = it.judge(run)
        except LabkitError as trouble:
            self.trouble = trouble
        except Exception as trouble:  # shown on the card: an exception in a thread would be lost
            self.trouble = LabkitError(f"{type(trouble).__name__}: {trouble}")
        finally:
            self._over.set()

    def wait(self) -> Real:
        """Block until the verdict is there; raises what kept the run from being made."""
        self._over.wait()
        if self.trouble is not None:
            raise self.trouble
        assert self.run is not None
        assert self.verdict is not None
        return Real(self.run, self.verdict)

    def to_message(self) -> dict[str, Any]:
        """Where it stands, for the page."""
        it = self.expected
        return {
            "id": self.id,
            "status": self._status(),
            "trainable_from": it.trainable_from,
            "per_class": it.per_class,
            "lr": it.lr,
            "seed": self.seed,
            "right": _right(self.run),
            "outcome": self.verdict.outcome if self.verdict is not None else "",
            "sentence": str(self.verdict or self.trouble or ""),
        }

    def _status(self) -> str:
        if self.over:
            return "over"
        return "preparing" if self.run is None else "running"


def _given(content: dict[str, Any], name: str) -> Any:
    """What the page says of a control; what it leaves out is not as the controls stand, but missing."""
    if content.get(name) is None:
        raise AtlasError(f"A real run needs {name}, as the controls stand.")
    return content[name]


def _right(run: Run | None) -> list[int]:
    """Validation counts so far, read from the journal: a question of the page must cost next to nothing."""
    from labkit.tuning import EpochDone

    events = run.journal.since(0) if run is not None else []
    return [event.valid_correct for _, event in events if isinstance(event, EpochDone)]
