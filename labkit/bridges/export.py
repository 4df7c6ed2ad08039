"""A trained run, taken out of the lab: weights with their card, ONNX for programs without torch, fastai's learner."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from hashlib import sha256 as digest
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labkit.bridges import onnx
from labkit.data.images.decode import white_of
from labkit.errors import ExportError, FileError, shown
from labkit.hosts import how_to_install
from labkit.models import ModelCard
from labkit.models.files import weights_file
from labkit.run_card import model_card
from labkit.runtime import write_together
from labkit.tuning import Evaluation, Run
from labkit.tuning.contracts import Split
from labkit.tuning.given import an_evaluation, maybe

if TYPE_CHECKING:
    from typing import Any

FORMATS = ("safetensors", "onnx", "fastai")
USUAL = FORMATS[:2]  # a pickle is written only for who asks for it
NETWORKS = {"onnx": ".onnx", "fastai": ".pkl"}  # formats that compute, and their endings
CHECKED = 64  # images on which such a file is compared with the network
TOLERANCE = (
    1e-4  # of a probability: another program computes in another order, and rounds in other places
)
BEWARE = "Opening a pickle runs what is written in it. Open one only if you trust whoever made it."


@dataclass(frozen=True)
class Exported:
    """What was written, and how far any of the files that compute was from torch's probabilities at most.

    `difference` is over `checked` images, and None where only weights were written.
    """

    files: tuple[Path, ...]
    card: ModelCard
    difference: float | None = None
    checked: int = 0

    def __repr__(self) -> str:
        lines = [f"{file.stat().st_size / 1e3:9,.0f} kB  {file}" for file in self.files]
        if self.difference is not None:
            endings = {file.suffix for file in self.files}
            which = " and ".join(
                _spoken(one) for one, ending in NETWORKS.items() if ending in endings
            )
            lines.append(
                f"{which} against torch on {self.checked} images: no class differs, and no probability by more than "
                f"{self.difference:.1g} (allowed: {TOLERANCE:g})"
            )
        return "\n".join(lines)


def export(
    run: Run,
    folder: Path | str | os.PathLike[str],
    formats: Sequence[str] = USUAL,
    test: Evaluation | None = None,
    name: str = "model",
) -> Exported:
    """Write the network of a run, as it is now, to files that other programs read.

    - "safetensors", `model.safetensors`: every number to the bit, and `model.json`, its card. Back again:
      `labkit.load_backbone(run.net.name, weights="model.safetensors").trained()`.
    - "onnx", `model.onnx`: for onnxruntime and many others; takes images in [0, 1], gives scores. Needs
      the extra `export`.
    - "fastai", `model.pkl`: `fastai.learner.load_learner` opens it where labkit is not installed, and `predict` takes
      the file of an image, whatever its size. Needs the extra `lessons`. The card names what it needs where
      it is opened. It is a pickle, and opening a pickle runs code: open only your own.

    A file that computes is compared with torch on real images of the validation split before anything is written.
    Files appear whole and together or not at all; older ones of that name are replaced. Nothing of the run is changed.

    Args:
        run: trained as far as it is.
        folder: made if it is not there.
        formats: of "safetensors", "onnx" and "fastai"; the first two by default.
        test: what an opened test split said, for the card.
        name: of the files, without ending.

    Raises:
        ExportError: an unknown format, a missing package, a folder that is a file, a run that the format cannot hold, a
            file that says otherwise than the network.
        FileError: a folder in which nothing can be written.
    """
    target = _checked(run, folder, formats, test, name)
    with run.paused():  # weights and card of the same step, should it train meanwhile
        model, card = plain_model(run), model_card(run, test)
    computing = [one for one in NETWORKS if one in formats]
    images = _real_images(run) if computing else torch.empty(0)
    white = white_of(getattr(run.data, "report", None) or ())
    made = {one: _made(one, model, card.classes, images, white) for one in computing}
    if "fastai" in made:
        card = _with_fastai(card, f"{name}.pkl", made["fastai"][0], white)
    contents: dict[Path, Any] = {
        target / f"{name}{NETWORKS[one]}": made[one][0] for one in computing
    }
    if "safetensors" in formats:
        weights = weights_file(model, run.net.name, card.classes, exact=True)
        card = replace(card, sha256=digest(weights).hexdigest())
        contents[target / f"{name}.safetensors"] = weights
    contents[target / f"{name}.json"] = card.to_bytes()
    try:
        files = write_together(contents)
    except (OSError, ValueError) as trouble:
        raise FileError.of(target, trouble) from trouble
    difference = max((apart for _, apart in made.values()), default=None)
    return Exported(tuple(files), card, difference, len(images))


def plain_model(run: Run) -> nn.Module:
    """The network of a run as a module of its own: float32, on the CPU, in evaluation mode; it stays as it is now."""
    model: nn.Module = run.net.build(len(run.data.classes), seed=run.seed, pretrained=False)
    with run.paused() as trained:
        model.load_state_dict({key: value.cpu() for key, value in trained.state_dict().items()})
    return model.float().eval()


def _made(
    one: str, model: nn.Module, classes: Sequence[str], images: Tensor, white: int | None
) -> tuple[bytes, float]:
    """A file that computes, and how far its probabilities are from the model's, at most, over images (n, 3, H, W).

    Raises ExportError where a class differs or a probability by more than 1e-4: such a file is not the network.
    """
    images = (images * 255).round() / 255  # what a file of an image can say
    if one == "onnx":
        content = onnx.to_onnx(model, images)
        theirs = onnx.probabilities(content, images)
    else:
        from labkit.bridges.fastai import exporting  # takes seconds

        content = exporting.to_fastai(model, classes, images, white)
        theirs, images = _asked_of_files(content, images, white)
    with torch.no_grad():
        ours = model(images).softmax(1)
    difference = float((ours - theirs).abs().max())
    others = int((ours.argmax(1) != theirs.argmax(1)).sum())
    if not difference <= TOLERANCE or others:
        raise ExportError(
            f"The {_spoken(one)} file does not say what the network says: {others} of {len(images)} images get "
            f"another class, and a probability differs by {difference:.2g}, more than {TOLERANCE:g}. Nothing was "
            "written. Another version of torch may do better."
        )
    return content, difference


def _asked_of_files(content: bytes, images: Tensor, white: int | None) -> tuple[Tensor, Tensor]:
    """What a fastai learner says of images in files, some of them odd, and the pixels that labkit reads in those."""
    from labkit.bridges.fastai import exporting

    if images.shape[-1] != images.shape[-2]:  # labkit reads squares
        return exporting.probabilities(content, exporting.as_arrays(images)), images
    with TemporaryDirectory(prefix="labkit-") as folder:
        files = exporting.as_files(images, Path(folder))
        seen = [exporting.as_labkit_reads(file, images.shape[-1], white) for file in files]
        return exporting.probabilities(content, files), torch.stack(seen)


def _with_fastai(card: ModelCard, file: str, content: bytes, white: int | None) -> ModelCard:
    """The card with what is to be known before the learner is opened."""
    from labkit.bridges.fastai import exporting

    deep = f"; in grey files of more than 8 bits {white} is white" if white else ""
    about = {
        "file": file,
        "sha256": digest(content).hexdigest(),
        "needs": exporting.needs(content),
        "images": f"opened as labkit opens them: upright, on white, 8-bit RGB, the middle square{deep}",
        "beware": BEWARE,
    }
    return replace(card, recipe={**card.recipe, "fastai": about})


def _spoken(one: str) -> str:
    return "ONNX" if one == "onnx" else one


def _checked(run: Run, where: Any, formats: Sequence[str], test: Any, name: str) -> Path:
    """Fail before anything is written."""
    if not isinstance(run, Run):
        raise ExportError(
            f"{type(run).__name__} is no labkit.Run. A Learner of fastai writes itself: learn.export('model.pkl')."
        )
    FileError.refuse_no_path(where)
    maybe(an_evaluation)("export", "test", test)
    folder = Path(where).expanduser()
    several = isinstance(formats, Sequence | Set) and not isinstance(formats, str | bytes)
    if not several or not formats or any(one not in FORMATS for one in formats):
        raise ExportError(
            f"formats={shown(formats)} cannot be written. Give a list of one or more of {', '.join(FORMATS)}."
        )
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ExportError(
            f"name={shown(name)} must be the name of a file without its ending, such as 'model'."
        )
    if os.path.isfile(folder):
        raise ExportError(f"{folder} is a file. Give a folder; it is made if it is not there.")
    if "onnx" in formats:
        onnx.refuse_without_packages()
    if "fastai" in formats and find_spec("fastai") is None:
        raise ExportError(
            f"An export to fastai needs fastai, not installed here. To have it: {how_to_install('lessons')}\n"
            'The weights alone: formats=("safetensors",).'
        )
    return folder


def _real_images(run: Run) -> Tensor:
    """Images of the validation split, spread over it, or of the training split where there is none: (n, 3, H, W)."""
    split: Split = run.data.valid if len(run.data.valid) else run.data.train
    rows = torch.linspace(0, len(split) - 1, min(CHECKED, len(split))).long()
    images, _ = split.batch(rows)
    if not isinstance(images, Tensor) or images.ndim != 4:
        raise ExportError(
            f"{run.data.name} holds no images, and ONNX and fastai are written here for networks of images only. "
            'The weights alone: formats=("safetensors",).'
        )
    return images
