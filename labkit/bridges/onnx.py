"""A trained network as ONNX, which runs without torch and without labkit, and the proof that it says the same."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from labkit.errors import ExportError

NEEDED = ("onnx", "onnxruntime")
TOLERANCE = 1e-4  # of a probability: the two compute in another order, and round in other places


def refuse_without_packages() -> None:
    """Raise ExportError unless everything that an export to ONNX needs is installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"An export to ONNX needs {', '.join(missing)}, not installed here. "
            'To have all it needs: pip install "labkit[export]". The weights alone: formats=("safetensors",).'
        )


def to_onnx(model: nn.Module, example: Tensor) -> bytes:
    """The model, in evaluation mode, as an ONNX file: `pictures` (n, 3, H, W) in, `scores` (n, classes) out, any n.

    By torch's older exporter: for the shipped networks it takes 0.3 s and 50 MB, where the newer one takes 7 s and
    130 MB, and one package more.
    """
    refuse_without_packages()
    with TemporaryDirectory(prefix="labkit-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older one
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            model,
            (example[:2],),
            path,
            dynamo=False,
            input_names=["pictures"],
            output_names=["scores"],
            dynamic_axes={"pictures": {0: "n"}, "scores": {0: "n"}},
        )
        return path.read_bytes()


def largest_difference(file: bytes, model: nn.Module, pictures: Tensor) -> float:
    """How far the probabilities of an ONNX file are from the model's, at most, over pictures (n, 3, H, W).

    Raises ExportError where a class differs or a probability by more than 1e-4: such a file is not the network.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(
        np.asarray(session.run(["scores"], {"pictures": pictures.numpy()})[0])
    )
    with torch.no_grad():
        ours = model(pictures)
    difference = float((ours.softmax(1) - theirs.softmax(1)).abs().max())
    others = int((ours.argmax(1) != theirs.argmax(1)).sum())
    if not difference <= TOLERANCE or others:
        raise ExportError(
            f"The ONNX file does not say what the network says: {others} of {len(pictures)} pictures get another "
            f"class, and a probability differs by {difference:.2g}, more than {TOLERANCE:g}. Nothing was written. "
            "Another version of torch may do better."
        )
    return difference
