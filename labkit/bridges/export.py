"""A trained run, taken out of the lab: weights with their card, and ONNX for programs that know no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labkit.bridges import onnx
from labkit.errors import ExportError
from labkit.models import Card, save_weights
from labkit.models.files import sha256
from labkit.runtime import write_atomic
from labkit.tuning import Evaluation, Run
from labkit.tuning.card import model_card

if TYPE_CHECKING:
    from typing import Any

FORMATS = ("safetensors", "onnx")
CHECKED = 64  # pictures on which the ONNX file is compared with the network


@dataclass(frozen=True)
class Exported:
    """What was written, and for ONNX how far its probabilities were from torch's at most, over how many pictures."""

    files: tuple[Path, ...]
    card: Card
    difference: float | None = None
    checked: int = 0

    def __repr__(self) -> str:
        lines = [f"{file.stat().st_size / 1e3:9,.0f} kB  {file}" for file in self.files]
        if self.difference is not None:
            lines.append(
                f"ONNX against torch on {self.checked} pictures: no class differs, and no probability by more than "
                f"{self.difference:.1g} (allowed: {onnx.TOLERANCE:g})"
            )
        return "\n".join(lines)


def export(
    run: Run,
    folder: Path | str | os.PathLike[str],
    formats: Sequence[str] = FORMATS,
    test: Evaluation | None = None,
    name: str = "model",
) -> Exported:
    """Write the network of a run, as it is now, to files that other programs read.

    - `model.safetensors`: every number to the bit, and `model.json`, its card. Back again:
      `labkit.load_backbone(run.net.name, weights="model.safetensors").trained()`.
    - `model.onnx`: for onnxruntime and many others; takes pictures in [0, 1], gives scores. Before it is written, it
      is compared with torch on real pictures of the validation split. Needs `pip install "labkit[export]"`.

    Files appear whole or not at all; older ones of that name are replaced. Nothing of the run is changed.

    Args:
        run: trained as far as it is.
        folder: made if it is not there.
        formats: of "safetensors" and "onnx"; both by default.
        test: what an opened test split said, for the card.
        name: of the files, without ending.

    Raises:
        ExportError: an unknown format, a missing package, a folder that is a file, an ONNX file that says otherwise.
    """
    target = _checked(Path(folder).expanduser(), formats, name)
    with run.frozen_world():  # weights and card of the same step, should it train meanwhile
        model, card = plain_model(run), model_card(run, test)
    files, difference, pictures = [], None, None
    if "onnx" in formats:
        pictures = _real_pictures(run)
        content = onnx.to_onnx(model, pictures)
        difference = onnx.largest_difference(content, model, pictures)
        files.append(write_atomic(target / f"{name}.onnx", content))
    if "safetensors" in formats:
        path = target / f"{name}.safetensors"
        save_weights(model, path, run.net.name, card.classes, exact=True)
        card = replace(card, sha256=sha256(path))
        files.append(path)
    files.append(write_atomic(target / f"{name}.json", card.to_json().encode()))
    return Exported(tuple(files), card, difference, 0 if pictures is None else len(pictures))


def plain_model(run: Run) -> nn.Module:
    """The network of a run as a module of its own: float32, on the CPU, in evaluation mode; it stays as it is now."""
    model: nn.Module = run.net.build(len(run.data.classes), seed=run.seed, pretrained=False)
    with run.frozen_world() as trained:
        model.load_state_dict({key: value.cpu() for key, value in trained.state_dict().items()})
    return model.float().eval()


def _checked(folder: Path, formats: Sequence[str], name: str) -> Path:
    """Fail at the door, before anything is written."""
    wrong = [one for one in formats if one not in FORMATS]
    if isinstance(formats, str) or wrong or not formats:
        raise ExportError(
            f"formats={formats!r} cannot be written. Give a list of one or more of {', '.join(FORMATS)}."
        )
    if not name or Path(name).name != name:
        raise ExportError(
            f"name={name!r} must be the name of a file without its ending, such as 'model'."
        )
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file. Give a folder; it is made if it is not there.")
    if "onnx" in formats:
        onnx.refuse_without_packages()
    return folder


def _real_pictures(run: Run) -> Tensor:
    """Pictures of the validation split, spread over it, or of the training split where there is none: (n, 3, H, W)."""
    split: Any = run.data.valid if len(run.data.valid) else run.data.train
    rows = torch.linspace(0, len(split) - 1, min(CHECKED, len(split))).long()
    pictures, _ = split.batch(rows)
    if not isinstance(pictures, Tensor) or pictures.ndim != 4:
        raise ExportError(
            f"{run.data.name} holds no pictures, and this export to ONNX knows no other network than one of pictures. "
            'The weights alone: formats=("safetensors",).'
        )
    return pictures
