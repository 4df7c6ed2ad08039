"""Put this folder on PYTHONPATH, and a Python process can reach this machine and nothing else.

Loopback and local sockets stay open, because a kernel and its client talk over them. Everything
else raises at once: a test that passes here passes in an aeroplane.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any


class NetworkBlockedError(OSError):
    """Something tried to leave this machine while the network was blocked."""


def is_local(host: object) -> bool:
    """Whether a host, as sockets take it, is this machine."""
    if host in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.split("%")[0]).is_loopback
    except ValueError:
        return False


def guard_connect(connect: Callable[..., Any]) -> Callable[..., Any]:
    """`connect`, for this machine's addresses only."""

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
            raise NetworkBlockedError(f"the network is blocked: no connection to {address[0]}")
        return connect(self, address)

    return guarded


def guard_lookup(lookup: Callable[..., Any]) -> Callable[..., Any]:
    """`getaddrinfo`, for this machine's names only."""

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_local(host):
            raise NetworkBlockedError(f"the network is blocked: no look-up of {host}")
        return lookup(host, *args, **kwargs)

    return guarded


def block() -> None:
    """Block this process, for good."""
    socket.socket.connect = guard_connect(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = guard_connect(socket.socket.connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = guard_lookup(socket.getaddrinfo)


if __name__ == "sitecustomize":  # that is: found on PYTHONPATH by an interpreter that starts
    block()
