"""A TCP proxy in front of any server, and everything that a network can do to a connection.

A turn, or exchange, is what HTTP and PostgreSQL have in common: the client speaks, then the server answers. The proxy
counts turns over all connections, so "cut the n-th exchange" for n = 1, 2, 3, ... visits every point where a program
can lose its peer.
"""

from __future__ import annotations

import atexit
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Literal

from . import deaf
from .ports import HOST, free_port
from .process import as_root
from .waiting import wait_until

Direction = Literal["up", "down"]  # up: from the client to the server
Part = Literal["request", "response"]
CHUNK = 64 * 1024


@dataclass
class Counters:
    connections: int = 0
    exchanges: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    cuts: int = 0  # connections that a fault ended


@dataclass(frozen=True)
class Fault:
    """What happens to data under way. Without any of it, data passes."""

    stalled: bool = False
    swallowing: bool = False
    delay: float = 0
    # Cut as soon as so many bytes went in this direction, counted from when the fault was set.
    cut_direction: Direction | None = None
    cut_bytes: int = 0
    # Cut in the exchange of this number, counted from when the fault was set.
    cut_exchange: int = 0
    cut_part: Part = "request"


class Link:
    """One client connection and its connection to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.open_directions = 2
        self.turn_open = False  # the client has spoken last
        self.turn = 0  # the number of that exchange


class FaultProxy:
    """Listens on `port` and passes everything to the target until it is told otherwise, at any time."""

    def __init__(self, port: int, host: str = HOST, listen: str = HOST) -> None:
        self.target = (host, port)
        self.port = free_port()
        self.url = f"http://{listen}:{self.port}"
        self.counters = Counters()
        self._fault = Fault()
        self._since = Counters()  # what was counted since the fault was set
        self._changed = threading.Condition()
        self._links: set[Link] = set()
        self._closed = False
        self._address = (listen, self.port)
        self._listener = _bound(self._address)
        self._listen()
        atexit.register(self.close)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what the network does from now on

    def pass_all(self) -> None:
        """Heals the network. What a stall held back flows again; what was cut stays cut."""
        self._set(Fault())

    def refuse(self) -> None:
        """Resets all connections and refuses new ones, until any other verb is used."""
        self._set(Fault())
        with self._changed:
            # The port stays ours, bound but without a listener: that is what a kernel answers with a refusal.
            _shut(self._listener)
            self._listener = _bound(self._address)
        self.reset_all()

    def stall(self) -> None:
        """Connections stay open, new ones are accepted, nothing moves; pass_all lets it flow on."""
        self._set(Fault(stalled=True))

    def black_hole(self) -> None:
        """Takes all that the client sends, and passes on nothing in either direction; it is lost for good."""
        self._set(Fault(swallowing=True))

    def vanish(self) -> None:
        """The machine is gone: the kernel acknowledges nothing any more, and new connections get no answer at all.

        After pass_all the old connections stay as they are; reset_all ends them.
        """
        self._set(Fault(stalled=True))
        with self._changed:
            for each in (self._listener, *(end for link in self._links for end in (link.client, link.server))):
                _make_deaf(each)

    def delay(self, seconds: float) -> None:
        """Every piece of data, in both directions, so much later."""
        self._set(Fault(delay=seconds))

    def cut_after(self, count: int, direction: Direction) -> None:
        """Lets `count` more bytes pass in that direction over all connections; whoever brings the next is reset."""
        self._set(Fault(cut_direction=direction, cut_bytes=count))

    def cut_exchange(self, number: int, part: Part = "request") -> None:
        """Resets the connection in the n-th exchange from now, once.

        At the request, the server never hears it. At the response, the server has answered and the client never
        learns what.
        """
        self._set(Fault(cut_exchange=number, cut_part=part))

    def reset_all(self) -> None:
        """Resets the connections of this moment; new ones are served."""
        with self._changed:
            links = list(self._links)
        for link in links:
            self._cut(link)

    def wait_cut(self, timeout: float = 10) -> None:
        """Until the fault that was set last has struck."""
        wait_until(lambda: self._since.cuts, timeout, "the proxy to cut a connection")

    def close(self) -> None:
        with self._changed:
            self._closed = True
            _shut(self._listener)
            self._changed.notify_all()
            links = list(self._links)
        for link in links:
            _reset(link)
        atexit.unregister(self.close)

    # -- inside

    def _set(self, fault: Fault) -> None:
        with self._changed:
            self._fault = fault
            self._since = Counters()
            for each in (self._listener, *(end for link in self._links for end in (link.client, link.server))):
                _make_hear(each)
            if not _is_listening(self._listener):
                self._listen()
            self._changed.notify_all()

    def _listen(self) -> None:
        self._listener.listen(128)
        threading.Thread(target=self._accept, args=(self._listener,), name="fault-proxy", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                _abort(client)
                continue
            server.settimeout(None)
            link = Link(client, server)
            with self._changed:
                self._links.add(link)
            self._count(connections=1)
            for direction in ("up", "down"):
                threading.Thread(target=self._pump, args=(link, direction), daemon=True).start()

    def _pump(self, link: Link, direction: Direction) -> None:
        source, sink = (link.client, link.server) if direction == "up" else (link.server, link.client)
        try:
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := source.recv(CHUNK):
                self._forward(link, direction, data, sink)
            if not self._await_flow().swallowing:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            _reset(link)  # one side is gone: the other must not wait for it
        with self._changed:
            link.open_directions -= 1
            if link.open_directions == 0:
                self._links.discard(link)
                _reset(link)

    def _forward(self, link: Link, direction: Direction, data: bytes, sink: socket.socket) -> None:
        self._count_turn(link, direction)
        fault = self._await_flow()
        time.sleep(fault.delay)
        if fault.swallowing:
            return
        allowed = self._admit(fault, link, direction, len(data))
        sink.sendall(data[:allowed])
        if allowed < len(data):
            self._cut(link)
            raise ConnectionAbortedError

    def _await_flow(self) -> Fault:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._fault.stalled)
            return self._fault

    def _admit(self, fault: Fault, link: Link, direction: Direction, size: int) -> int:
        """Counts and returns how many of `size` bytes may pass: all, unless the fault strikes."""
        counter = f"bytes_{direction}"
        part = "request" if direction == "up" else "response"
        with self._changed:
            allowed = size
            if fault.cut_direction == direction:
                allowed = max(0, min(size, fault.cut_bytes - getattr(self._since, counter)))
            elif fault.cut_exchange and fault.cut_part == part and fault.cut_exchange == link.turn:
                allowed = 0
            self._count(**{counter: allowed})
        return allowed

    def _count_turn(self, link: Link, direction: Direction) -> None:
        with self._changed:
            if direction == "up" and not link.turn_open:
                self.counters.exchanges += 1
                self._since.exchanges += 1
                link.turn = self._since.exchanges
            link.turn_open = direction == "up"

    def _count(self, **amounts: int) -> None:
        with self._changed:
            for counters in (self.counters, self._since):
                for name, amount in amounts.items():
                    setattr(counters, name, getattr(counters, name) + amount)

    def _cut(self, link: Link) -> None:
        self._count(cuts=1)
        _reset(link)


def _bound(address: tuple[str, int]) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    return made


def _is_listening(listener: socket.socket) -> bool:
    return listener.fileno() >= 0 and bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _shut(listener: socket.socket) -> None:
    # shutdown wakes the thread that waits in accept; close alone would leave it, and the port open with it.
    try:
        listener.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was not listening
    listener.close()


def _make_deaf(each: socket.socket) -> None:
    """From now on the kernel drops what comes in on this socket before it is even acknowledged."""
    try:
        deaf.make_deaf(each)
    except PermissionError:
        subprocess.run(as_root(["/usr/bin/python3", deaf.__file__]), stdin=each, check=True)
    except OSError:
        pass  # it is closed already


def _make_hear(each: socket.socket) -> None:
    try:
        deaf.make_hear(each)
    except OSError:
        pass  # it was never made deaf, or is closed


def _reset(link: Link) -> None:
    _abort(link.client)
    _abort(link.server)


def _abort(each: socket.socket) -> None:
    """Closes with RST."""
    try:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread blocked in recv holds the socket open past close(); this ends its wait.
        each.shutdown(socket.SHUT_RD)
    except OSError:
        pass  # the peer was faster
    each.close()
