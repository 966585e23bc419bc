"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import os
import random
import socket

HOST = "127.0.0.1"

# Below the kernel's ephemeral range. A port inside it could be taken by any outgoing connection while its server is
# down for a moment; worse, a client that keeps trying such a port in vain ends up connected to itself.
#
# Each worker of pytest-xdist has ports of its own, and gives none twice: until its server binds a port, and while that server
# is down for a moment, nobody else can see that the port is taken.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_CANDIDATES = range(20_000 + _WORKER % _WORKERS, 32_000, _WORKERS)
_given: set[int] = set()


def free_port() -> int:
    for port in random.sample(_CANDIDATES, 200):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port")


def own_address() -> str:
    """Of this host, and no loopback one: who connects there is taken to leave the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
