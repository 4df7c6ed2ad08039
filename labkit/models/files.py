"""Weights as files: written whole as safetensors; read with suspicion, torch's too, and refused with a reason."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from labkit import runtime
from labkit.errors import FileError, WeightsError

State = Mapping[str, Tensor]


def save_weights(
    net: nn.Module, path: Path | str, name: str, classes: Sequence[str] = (), exact: bool = False
) -> Path:
    """Save a staged network as safetensors that `load_backbone(name, weights=path)` reads again.

    Matrices and kernels are kept in half precision, which halves the file; vectors (biases, normalisation statistics)
    stay as they are, because they are few and some are tiny numbers. `exact` keeps every number to the bit.
    Raises FileError where it cannot be written.
    """
    FileError.refuse_no_path(path)
    content = weights_file(net, name, classes, exact)
    try:
        return runtime.write_atomic(Path(path).expanduser(), content)
    except (OSError, ValueError) as trouble:
        raise FileError.of(path, trouble) from trouble


def weights_file(
    net: nn.Module, name: str, classes: Sequence[str] = (), exact: bool = False
) -> bytes:
    """The content of the file that `save_weights` writes."""

    def kept(value: Tensor) -> Tensor:
        halved = not exact and value.is_floating_point() and value.ndim > 1
        return (value.half() if halved else value).contiguous()

    state = {key: kept(value) for key, value in net.state_dict().items()}
    # one entry, because safetensors writes several in an order that changes from run to run
    metadata = {"labkit": json.dumps({"backbone": name, "classes": list(classes)})}
    return save(state, metadata)


def read_weights(path: Path | str, known: Container[str] = ()) -> dict[str, Tensor]:
    """Read the weights in a file, safetensors or a state dict of `torch.save`; floats come back as float32.

    Of what `torch.save` wrote only tensors are read: no code in the file is run. `known` are the names that the
    network has, by which a wrapper's prefix is told from a name of its own (see `plain_state`).
    Raises WeightsError when the file is missing, damaged, holds no state dict, or numbers that are not finite.
    """
    path = Path(path).expanduser()
    if os.path.isdir(path):
        inside = sorted(file.name for file in path.glob("*.safetensors"))
        raise WeightsError(
            f"{path} is a folder. Give the path of a file"
            + (
                f" in it: {', '.join(inside)}."
                if inside
                else ", such as the model.safetensors of an export."
            )
        )
    try:
        content = _torch_file(path) if _is_of_torch(path) else _safetensors(path)
    except FileNotFoundError as error:
        raise WeightsError(
            f"There is no weights file {path}. Give the path of a .safetensors file that labkit saved or of a state "
            "dict that torch saved, or leave `weights` out for the published ones."
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read ({error}). Give the path of a file that you may read."
        ) from error
    return plain_state(content, str(path), known)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}): it is damaged, cut short or something else. "
            "Copy or fetch it again; labkit reads .safetensors files and state dicts that torch.save wrote."
        ) from error


def _is_of_torch(path: Path) -> bool:
    """Whether a file begins as `torch.save` begins one: an archive today, a bare pickle before torch 1.6."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[8:] != b"{")


def _torch_file(path: Path) -> Any:
    """What `torch.save` wrote, tensors and plain values only."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # of a damaged file it raises whatever the archive or the pickle stumbles over
    except Exception as error:
        first = str(error).strip().split("\n", 1)[0][:200]
        raise WeightsError(
            f"{path} cannot be read as a state dict ({first}). It is damaged, or it holds more than tensors, such as a "
            "whole module, and to open that would run code. Where it was made: "
            "torch.save(model.state_dict(), path)."
        ) from error


WITHIN = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights")
DEEPEST = 4  # a dict within a dict within ...: no script goes deeper, and one may hold itself
WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
COUNTS = ("n_averaged",)  # what torch's AveragedModel keeps beside the weights


def plain_state(content: Any, source: str, known: Container[str] = ()) -> dict[str, Tensor]:
    """The state dict that a training script saved, without what it was wrapped in; floats as float32.

    Scripts save it inside a checkpoint, under "state_dict" or the like, and DataParallel, torch.compile or Lightning
    put a prefix before every name. A prefix stays where `known`, the network's own names, has it.
    Raises WeightsError for what is no state dict, and for numbers that are not finite.
    """
    for _ in range(DEEPEST):
        if isinstance(content, Mapping):
            inner = (content[key] for key in WITHIN if isinstance(content.get(key), Mapping))
            content = next(inner, content)
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(
            f"{source} holds {_kind(content)} and no state dict, which is a dict from names to tensors. Save one with "
            "torch.save(model.state_dict(), path), or hand over model.state_dict()."
        )
    state = {
        str(k): v.detach() for k, v in content.items() if isinstance(v, Tensor) and k not in COUNTS
    }
    while prefix := _prefix(state, known):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    _refuse_not_finite(state, source)
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def _prefix(state: State, known: Container[str]) -> str:
    """The wrapper's name before every name of a state, or nothing."""
    if any(key in known for key in state):
        return ""
    return next((one for one in WRAPPERS if all(key.startswith(one) for key in state)), "")


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dict of {', '.join(map(str, list(content)[:5]))}" if content else "an empty dict"
    return f"a {type(content).__name__}"


def _refuse_not_finite(state: State, source: str) -> None:
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(
            f"{source} holds numbers that are not finite, first in {broken[0]!r}: the run that saved it diverged. "
            "Take the weights of an earlier checkpoint."
        )


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
