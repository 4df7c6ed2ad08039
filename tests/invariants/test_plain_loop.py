"""`Run` does what a plain loop does, to the bit, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import labkit
from labkit import runtime
from labkit.tuning import Run, prefix
from tests import plain_loop
from tests.invariants.conftest import TinyNet

STEPS, LR, BATCH = 10, 3e-3, 26  # 200 samples or more: no last batch of one


def test_the_plain_loop_fits_on_a_page() -> None:
    assert len(Path(plain_loop.__file__).read_text().splitlines()) <= 60


@pytest.mark.parametrize("depth", ["stem", "middle", "head"])
@pytest.mark.parametrize("which", ["tiny", "glyphs"])
def test_ten_steps_of_a_run_are_those_of_a_plain_loop(
    digits: Any, glyphs: Any, depth: str, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = TinyNet() if which == "tiny" else glyphs
    depth = (
        depth if which == "tiny" else {"stem": "stem", "middle": "layer4", "head": "head"}[depth]
    )
    # What frozen stages give is computed in batches of its own, so its last bits are others than a plain loop's.
    monkeypatch.setattr(prefix.Prefix, "below", lambda *_: None)
    plan = labkit.partial(depth, lr=LR, batch_size=BATCH, epochs=9)
    run = Run(net, digits, plan, seed=3, precision=runtime.Precision())
    for _ in range(STEPS):
        run.step()
    model = net.build(len(digits.classes), seed=3)
    trainable = list(net.stages)[list(net.stages).index(depth) :]
    losses = plain_loop.train(model, digits.train, trainable, LR, BATCH, STEPS, seed=3)
    rows = run.history
    assert list(rows[rows["split"] == "train"]["loss"]) == losses
    for key, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key]), key
