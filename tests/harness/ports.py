"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"

# Below the kernel's ephemeral range. A port inside it could be taken by any outgoing connection while its server is
# down for a moment; worse, a client that keeps trying such a port in vain ends up connected to itself.
_CANDIDATES = range(20_000, 32_000)


def free_port() -> int:
    for port in random.sample(_CANDIDATES, 200):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def own_address() -> str:
    """Of this host, and no loopback one: who connects there is taken to leave the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
