"""With the network blocked, the whole way from import to a trained network works on what ships."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

import labkit

# From a range of addresses that belongs to nobody (RFC 5737), so that a hole in the wall does no harm.
ELSEWHERE = ("192.0.2.1", 443)

FIRST_LESSON = """
import labkit
data = labkit.load_data("digits").subset(per_class=20)
net = labkit.load_backbone("resnet10-glyphs")
run = labkit.Run(net, data, labkit.feature_extraction(lr=1e-2, epochs=3), seed=0).fit()
print(run.status, run.evaluate("valid").accuracy)
"""


def python(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True, env=dict(os.environ))


def test_the_wall_holds(no_network):
    with pytest.raises(OSError, match="blocked"):
        socket.create_connection(ELSEWHERE, timeout=1)
    with pytest.raises(OSError, match="blocked"):
        socket.getaddrinfo("example.org", 443)


def test_the_wall_holds_in_processes_that_a_test_starts(no_network):
    code = f"import socket\ntry: socket.create_connection({ELSEWHERE}, 1)\nexcept OSError as e: print(e)"
    assert "blocked" in python(code)


def test_a_kernel_can_still_be_talked_to(no_network):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_a_pretrained_network_learns_digits_offline(no_network):
    status, accuracy = python(FIRST_LESSON).split()[-2:]
    assert status == "ended"
    assert float(accuracy) > 0.5  # ten classes: chance is 0.1


def test_photographs_that_are_not_here_say_what_to_do(no_network, monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(labkit.LabkitError, match="digits"):
        labkit.load_data("ants-bees")


def test_published_weights_that_are_not_here_offer_the_shipped_ones(no_network):
    with pytest.raises(labkit.LabkitError, match="resnet10"):
        labkit.load_backbone("resnet18").build(num_classes=2)
