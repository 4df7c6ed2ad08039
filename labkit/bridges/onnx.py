"""A trained network as ONNX, which runs without torch and without labkit, and what such a file says."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from labkit.errors import ExportError
from labkit.hosts import how_to_install

NEEDED = ("onnx", "onnxruntime")


def refuse_without_packages() -> None:
    """Raise ExportError unless everything that an export to ONNX needs is installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"An export to ONNX needs {', '.join(missing)}, not installed here. "
            f"To have all it needs: {how_to_install('export')}\n"
            'The weights alone: formats=("safetensors",).'
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


def probabilities(file: bytes, images: Tensor) -> Tensor:
    """What an ONNX file says of images (n, 3, H, W): probabilities (n, classes), by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"pictures": images.numpy()})
    return torch.from_numpy(np.asarray(scores)).softmax(1)
