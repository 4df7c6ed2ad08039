"""Weights as files: safetensors that are written whole, read with suspicion and refused with a reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import WeightsError

State = Mapping[str, Tensor]


def save_weights(
    net: nn.Module, path: Path | str, name: str, classes: Sequence[str] = (), exact: bool = False
) -> Path:
    """Save a staged network as safetensors that `load_backbone(name, weights=path)` reads again.

    Matrices and kernels are kept in half precision, which halves the file; vectors (biases, normalisation statistics)
    stay as they are, because they are few and some are tiny numbers. `exact` keeps every number to the bit.
    """

    def kept(value: Tensor) -> Tensor:
        halved = not exact and value.is_floating_point() and value.ndim > 1
        return (value.half() if halved else value).contiguous()

    state = {key: kept(value) for key, value in net.state_dict().items()}
    # one entry, because safetensors writes several in an order that changes from run to run
    metadata = {"labkit": json.dumps({"backbone": name, "classes": list(classes)})}
    return runtime.write_atomic(Path(path), save(state, metadata))


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a safetensors file; floating-point tensors come back as float32.

    Raises WeightsError when the file is missing, damaged, or holds numbers that are not finite.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError as error:
        raise WeightsError(
            f"There is no weights file {path}. Give the path of a .safetensors file that labkit saved, or leave "
            "`weights` out for the published ones."
        ) from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}): it is damaged, cut short or something else. "
            "Copy or fetch it again; labkit reads only .safetensors files."
        ) from error
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(
            f"{path} holds numbers that are not finite, first in {broken[0]!r}: the run that saved it diverged. "
            "Take the weights of an earlier checkpoint."
        )
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def refuse_another_network(state: State, net: nn.Module, head: str, source: str) -> None:
    """Raise WeightsError unless `state` has every tensor of `net` in its shape; the head may have other classes."""
    expected = {k: v for k, v in net.state_dict().items() if not k.startswith(f"{head}.")}
    found = {k: v for k, v in state.items() if not k.startswith(f"{head}.")}
    missing = [k for k in expected if k not in found]
    foreign = [k for k in found if k not in expected]
    misfits = [k for k in expected if k in found and expected[k].shape != found[k].shape]
    problems = [f"lacks {_some(missing)}"] if missing else []
    if foreign:
        problems.append(f"has {_some(foreign)}, unknown to this one")
    if misfits:
        have, want = tuple(found[misfits[0]].shape), tuple(expected[misfits[0]].shape)
        problems.append(f"differs in shape in {_some(misfits)}: {have} instead of {want}")
    if problems:
        raise WeightsError(
            f"{source} holds the weights of another network: it {'; it '.join(problems)}. Load it with the name of "
            "the backbone it was saved from; labkit.backbones() lists the names."
        )


def _some(keys: Sequence[str]) -> str:
    return repr(keys[0]) + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
