"""A lesson's kernel holds neither torch's compiler nor code that only loading has looked at, and torch works as ever.

Each is tried in a process of its own, as only there nothing has loaded the compiler before.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

START = """
import sys, torch
from labkit.learn import footprint

def trained(kind, **options):
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 3)
    optimizer = kind(layer.parameters(), lr=0.01, **options)
    images = torch.randn(16, 8)

    def closure():
        optimizer.zero_grad()
        loss = layer(images).square().sum()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    optimizer.load_state_dict(optimizer.state_dict())
    return layer.weight.detach()
"""
KINDS = (
    "[torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.LBFGS]"
)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_an_optimizer_of_torchs_own_loads_no_compiler_and_moves_weights_to_the_same_bits() -> None:
    said = run(f"""
footprint.keep_small()
footprint.keep_small()  # once more changes nothing
without = [trained(kind) for kind in {KINDS}]
print("torch._dynamo" in sys.modules)
import torch._dynamo  # from here on torch's wrappers do their work
with_it = [trained(kind) for kind in {KINDS}]
print(all(map(torch.equal, without, with_it)))
""")
    assert said.split() == ["False", "True"]


@pytest.mark.slow
def test_what_needs_the_compiler_has_it() -> None:
    said = run("""
footprint.keep_small()
start = torch.ones(3, requires_grad=True)
weight = start.clone()  # an optimizer that is differentiated through: by the start of its weights
through = torch.optim.SGD([weight], lr=0.1, differentiable=True)
weight.grad = 2 * start
through.step()
weight.sum().backward()
layer = torch.nn.Linear(8, 3)
compiled = torch.compile(layer, backend="eager")
optimizer = torch.optim.AdamW(layer.parameters())
before = layer.weight.clone()
compiled(torch.ones(2, 8)).sum().backward()
optimizer.step()
print("torch._dynamo" in sys.modules, torch.equal(before, layer.weight.detach()))
print(round(start.grad[0].item(), 3))
""")
    assert said.split() == ["True", "False", "0.8"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
@pytest.mark.skipif(torch.version.cuda is None, reason="this torch brings no code for cards")
def test_code_that_is_not_run_leaves_memory_and_torch_works_on() -> None:
    said = run("""
def resident():
    return sum(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))

trained(torch.optim.SGD)  # loads the compiler, which brings a good deal of it
before = resident()
footprint.keep_small()
after = resident()
layer = torch.nn.Conv2d(3, 8, 3)
layer(torch.ones(2, 3, 16, 16)).sum().backward()
print(before - after, torch.isfinite(layer.weight.grad).all().item())
""")
    saved, finite = said.split()
    assert float(saved) > 100  # MB; 281 were seen
    assert finite == "True"
