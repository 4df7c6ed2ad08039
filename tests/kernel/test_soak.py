"""A few rounds of wild play at the console: what the kernel holds grows with the first round, and then no more."""

from __future__ import annotations

import sys

import pytest

from tests import bounds
from tests.bench.peaks import held
from tests.bench.soak import Learner
from tests.kernel.conftest import a_kernel

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

PLAYGROUND = """
import labkit
data = labkit.load_data("digits").subset(per_class=3)
net = labkit.load_backbone("resnet10-glyphs")
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=10), seed=0)
labkit.console(playground)
"""
ROUNDS, LOOKS = 2, 2
# MB a round. 30 to 55 were seen in these rounds, in which the cache of frozen stages fills, and none in later ones; 115
# where each thread keeps what it freed, 300 where every run stays in memory.
GROWTH = 75


def test_play_at_the_console_does_not_fill_the_memory() -> None:
    with a_kernel() as wire:
        pid = wire.value("__import__('os').getpid()")
        learner = Learner(wire, PLAYGROUND)
        learner.open()
        learner.play(LOOKS)  # to warm up: what looks import stays
        learner.rest()
        before, _ = held(pid)
        for _ in range(ROUNDS):
            learner.play(LOOKS)
        learner.rest()
        after, _ = held(pid)
    bounds.held(
        "growth in two rounds of play at the console", after - before, ROUNDS * GROWTH, "MB"
    )
