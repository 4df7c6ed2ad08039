"""The optimizers of a run: torch's own, without the import of torch's compiler.

Every torch optimizer imports `torch._dynamo` when it is first used, to tell the compiler to leave it alone. That takes
three seconds and 0.2 GB, and labkit compiles nothing.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Literal

import torch

COMPILER = "torch._dynamo"
SPARED = "labkit_spared"  # marks a method that was done
WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")


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
    methods = {name: _unwrapped(getattr(kind, name)) for name in WRAPPED}
    return type(kind.__name__, (kind,), {**methods, "__module__": __name__})


def _unwrapped(method: Callable[..., Any]) -> Callable[..., Any]:
    plain = inspect.unwrap(method)
    return torch.no_grad()(plain) if method.__name__ == "step" else plain


def spare_the_compiler() -> None:
    """Let torch's own optimizers do without the compiler, too, as long as nobody else has loaded it.

    For the loops that a lesson writes by hand. As soon as the compiler is there, as after `torch.compile`, torch's
    wrappers do their work as ever.
    """
    if COMPILER in sys.modules:
        return
    optimizers = [kind for kind in vars(torch.optim).values() if inspect.isclass(kind)]
    for kind in optimizers:
        for name in WRAPPED:
            method: Any = vars(kind).get(name)
            if hasattr(method, "__wrapped__") and not hasattr(method, SPARED):
                setattr(kind, name, _without_compiler_until_it_is_there(method))


def _without_compiler_until_it_is_there(method: Callable[..., Any]) -> Callable[..., Any]:
    plain = _unwrapped(method)

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        # An optimizer that is differentiated through takes its gradients along, and its wrapper sees to that.
        as_it_is = COMPILER in sys.modules or getattr(self, "defaults", {}).get("differentiable")
        return (method if as_it_is else plain)(self, *args, **kwargs)

    setattr(call, SPARED, True)
    return call
