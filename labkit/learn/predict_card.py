"""The predict panel: choose or drop an image of your own, see what the trained network says, and where it looks.

The page sends the file as it is, and the kernel judges it as it judges every file: what is no image is refused with
the reason. What the panel does is also a call: `learn.classify(run, "photo.jpg")`.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
import traitlets
from torch import Tensor

from labkit import insight
from labkit.console import assets
from labkit.console.panel import Panel
from labkit.console.wire import Message, sendable, sent_back
from labkit.data.images.decode import SUFFIXES, read, white_of
from labkit.errors import DataError, StageError
from labkit.insight.inside import as_inputs, looking_at
from labkit.show.figure import Figure, table_html
from labkit.show.inside import plot_grad_cam
from labkit.tuning import Run
from labkit.tuning.evaluation import forward
from labkit.tuning.given import a_count, a_path, a_run, takes

MOST_BYTES = 8_000_000  # of a file from the page: Jupyter takes messages of up to 10 MB
TOP = 5  # classes that are shown


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of one image: `table` has a row a class, `probability` as a share, largest first.

    `figure` shows what the network was given, and where it speaks for the first class; None where the network has no
    places to show. `remarks` say what had to be done to the file.
    """

    name: str
    table: pd.DataFrame
    figure: Figure | None
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shares = ", ".join(f"{row[0]} {row[1]:.0%}" for row in self.table.itertuples(index=False))
        return f"{self.name}: {shares}{''.join(f'; {remark}' for remark in self.remarks)}"

    def _repr_html_(self) -> str:
        image = self.figure.image() if self.figure is not None else ""
        shown = self.table.assign(
            probability=[f"{share:.1%}" for share in self.table["probability"]]
        )
        remarks = "".join(f"<p>{html.escape(remark)}</p>" for remark in self.remarks)
        return f"<p>{html.escape(self.name)}</p>{image}{table_html(shown)}{remarks}"


@takes(run=a_run, file=a_path, top=a_count())
def classify(run: Run, file: Path | str | os.PathLike[str], top: int = TOP) -> Seen:
    """What a run's network, as it is now, makes of an image file: the likeliest classes, and Grad-CAM for the first.

    Raises DataError for a file that is no image, with the reason.
    """
    path = Path(file).expanduser()
    return _seen(_checked(run), path, path.name, top)


def _seen(run: Run, path: Path, name: str, top: int = TOP) -> Seen:
    """What the network makes of the file at `path`, which people know by `name`."""
    # A deep file is judged by the white of the files that the network learned from, not by its own.
    white = white_of(getattr(run.data, "report", None) or ())
    reading = read(path, _size(run), white) if _known(name) else None
    if reading is None or reading.pixels is None:
        why = (
            reading.problems[-1][0]
            if reading
            else f"its name ends in none of {', '.join(SUFFIXES)}"
        )
        raise DataError(f"{name!r} cannot be used: {why}. Choose an image in another file.")
    pixels = torch.from_numpy(reading.pixels).float().div(255).unsqueeze(0)
    shares = _probabilities(run, pixels)
    order = shares.argsort(descending=True, stable=True)[: min(top, len(shares))].tolist()
    rows = [(str(run.data.classes[number]), float(shares[number])) for number in order]
    figure, remarks = _where(run, pixels, name)
    found = [f"The file is {told}." for told, action in reading.problems if action == "converted"]
    return Seen(
        name, pd.DataFrame(rows, columns=["class", "probability"]), figure, (*found, *remarks)
    )


def _checked(run: Run) -> Run:
    _size(run)
    return run


def _size(run: Run) -> int:
    """Pixels a side of the images that the network learned from. Raises DataError where it learned from none."""
    size = getattr(run.data, "size", None)
    if not isinstance(size, int):
        raise DataError(f"{run.data.name} holds no images, and nothing else can be looked at.")
    return size


def _known(name: str) -> bool:
    return PurePath(name).suffix.lower() in SUFFIXES


def _probabilities(run: Run, pixels: Tensor) -> Tensor:
    """(classes,) float32 for one image (1, 3, H, W) in [0, 1]."""
    with looking_at(run) as model, torch.no_grad():
        scores = forward(model, as_inputs(run, pixels))
    return scores.float().softmax(1)[0].cpu()


def _where(run: Run, pixels: Tensor, name: str) -> tuple[Figure | None, tuple[str, ...]]:
    try:
        found = insight.grad_cam(run, pixels)
    except StageError as reason:
        return None, (f"Grad-CAM cannot be drawn: {reason}",)
    return plot_grad_cam(replace(found, images=replace(found.images, names=(name,)))), ()


class PredictCard(Panel):
    """The panel on one run; it looks with the network as it is at that moment."""

    _esm = assets.script_beside(__file__, "predict_card.js")
    _css = assets.style_beside(__file__, "predict_card.css")
    task = traitlets.Dict().tag(sync=True)  # what never changes

    def __init__(self, run: Run) -> None:
        super().__init__(
            task={
                "network": f"{run.net.name}, trained on {run.data.name}",
                "classes": [str(name) for name in run.data.classes],
                "size": _size(run),
                "endings": sorted(SUFFIXES),
                "most_bytes": MOST_BYTES,
            }
        )
        self._run = run

    def obey(self, asked: Message, buffers: Sequence[Any]) -> Message:
        """Look at a file that the page sent."""
        return {"seen": _described(self._look(asked.get("name"), buffers))}

    def state(self, asked: Message) -> Message:
        """Who asked for which file; nothing is seen unless it can be used."""
        about = {name: sent_back(asked.get(name)) for name in ("client", "n")}
        return {**about, "seen": None}

    def _look(self, name: object, buffers: Sequence[Any]) -> Seen:
        if not isinstance(name, str) or len(buffers) != 1:
            raise DataError("An image needs a name and its bytes. Choose the file again.")
        shown = sendable(PurePath(name.replace("\\", "/")).name[-100:])
        content = bytes(buffers[0])
        if len(content) > MOST_BYTES:
            raise DataError(
                f"{shown!r} has {len(content) / 1e6:.0f} MB, and the panel takes up to {MOST_BYTES / 1e6:.0f}. Make it "
                "smaller, or call labkit.learn.classify(run, path)."
            )
        with TemporaryDirectory(prefix="labkit-") as folder:
            ending = PurePath(shown).suffix.lower() if _known(shown) else ""
            path = (
                Path(folder) / f"image{ending}"
            )  # of the name that the page gave only a known ending is used
            path.write_bytes(content)
            return _seen(self._run, path, shown)

    def __repr__(self) -> str:
        return (
            f"A predict panel: {self.task['network']}. In words: labkit.learn.classify(run, path)."
        )

    def stand_in(self) -> tuple[Message, Message]:
        """A sentence."""
        return {"text/html": f"<p>{html.escape(repr(self))}</p>"}, {}


@takes(run=a_run)
def predict_panel(run: Run) -> PredictCard:
    """A panel that takes an image from the learner's disk and shows what the network of a run makes of it.

    Raises DataError where the run's data are no images.
    """
    return PredictCard(_checked(run))


def _described(seen: Seen) -> dict[str, Any]:
    """What was seen as plain values: the figure as PNG in base 64 with its words, the rest as text."""
    figure = seen.figure
    return {
        "name": seen.name,
        "rows": [
            [name, f"{share:.1%}", round(share, 4)]
            for name, share in seen.table.itertuples(index=False)
        ],
        "image": base64.b64encode(figure.png()).decode() if figure is not None else "",
        "alt": figure.alt if figure is not None else "",
        "remarks": list(seen.remarks),
    }
