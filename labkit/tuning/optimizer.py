"""The optimizers of a run: torch's own, without the import of torch's compiler.

Every torch optimizer imports `torch._dynamo` when it is first used, to tell the compiler to leave it alone. That takes
three seconds and 0.2 GB, and labkit compiles nothing.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, Literal

import torch

WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def new_optimizer(
    kind: Literal["adamw", "sgd"], groups: list[dict[str, Any]], lr: float, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov's momentum of 0.9, over parameter groups that are on the device."""
    if kind == "sgd":
        return without_compiler(torch.optim.SGD)(groups, lr=lr, momentum=0.9, nesterov=True)
    # Fused: the same arithmetic in one call. Elsewhere the default keeps step counts on the CPU.
    fused = True if device.type == "cpu" else None
    return without_compiler(torch.optim.AdamW)(groups, lr=lr, fused=fused)


@lru_cache
def without_compiler(kind: type[torch.optim.Optimizer]) -> Any:
    """A class of optimizers whose methods are those under torch's wrappers: the same numbers, to the bit.

    The wrappers do two things: they keep the compiler away, and in `step` they switch gradients off. The second is
    done here. A method that a version of torch does not wrap is taken as it is.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in WRAPPED}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**methods, "step": step, "__module__": __name__})
