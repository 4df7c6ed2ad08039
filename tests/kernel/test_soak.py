"""A few rounds of wild play at the console: what the kernel holds grows with the first round, and then no more."""

from __future__ import annotations

import sys

import pytest

from tests.bench.peaks import held
from tests.bench.soak import Learner
from tests.kernel.conftest import a_kernel

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

PLAYGROUND = """
import labkit
data = labkit.load_data("digits").subset(per_class=3)
net = labkit.load_backbone("resnet10-glyphs")
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=10), seed=0)
labkit.console(playground)
"""
ROUNDS = 3
GROWTH = 60  # MB a round; with every run kept in memory it is 300


def test_play_at_the_console_does_not_fill_the_memory() -> None:
    with a_kernel() as wire:
        pid = wire.value("__import__('os').getpid()")
        learner = Learner(wire, PLAYGROUND)
        learner.open()
        learner.play(looks=4)  # to warm up: what looks import stays
        before, _ = held(pid)
        for _ in range(ROUNDS):
            learner.play(looks=4)
        after, _ = held(pid)
    assert after - before <= ROUNDS * GROWTH
