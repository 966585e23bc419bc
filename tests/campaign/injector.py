"""An HTTP proxy before Elasticsearch that overloads, lies, and sees which documents are under way.

It stands next to the relay, in front of the network that fails: what it sees is what the relay sends, when it sends it.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from harness.bulk import Action, bulk_answer, filter_path
from harness.ports import HOST
from harness.scripted_elastic import Answer, Request, ScriptedElastic

Key = tuple[str, str]
PASSED_ON = ("content-type", "content-encoding")
BUSY = "es_rejected_execution_exception"
BUSY_REASON = "rejected execution of coordinating operation"


def clock() -> str:
    """As the relays' logs have it."""
    return datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]


@dataclass
class Flight:
    """A request whose sender waits for the answer."""

    relay: int
    sender: socket.socket
    began: float
    ids: dict[Key, int] = field(default_factory=dict)

    def is_given_up(self) -> bool:
        try:
            return self.sender.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class Flights:
    """I2, observed: of one document never two requests whose senders have not given up."""

    def __init__(self, excuse: Callable[[int, float], str | None]) -> None:
        self.violations: list[str] = []
        self.overlaps_excused = 0
        self.requests = 0
        self._excuse = excuse
        self._lock = threading.Lock()
        self._under_way: dict[Key, Flight] = {}

    def begin(self, flight: Flight, actions: list[Action]) -> None:
        with self._lock:
            self.requests += 1
            suspects = []
            for action in actions:
                key = (str(action.index), str(action.id))
                other = self._under_way.get(key)
                if other is not None and other is not flight:
                    suspects.append((key, other))
                self._under_way[key] = flight
                flight.ids[key] = int(action.version or 0)
        if suspects:
            self._judge(flight, suspects)

    def end(self, flight: Flight) -> None:
        with self._lock:
            for key in flight.ids:
                if self._under_way.get(key) is flight:
                    del self._under_way[key]

    def _judge(self, flight: Flight, suspects: list[tuple[Key, Flight]]) -> None:
        others = {id(other): other for _, other in suspects}
        if flight.is_given_up() or all(other.is_given_up() for other in others.values()):
            return
        # The kernel closes the sockets of a killed process one after the other.
        time.sleep(0.05)
        for key, other in suspects:
            if other.is_given_up():
                continue
            if self._excuse(other.relay, other.began) is not None:
                self.overlaps_excused += 1
                return
            age = time.monotonic() - other.began
            self.violations.append(
                f"{clock()} I2: relay {flight.relay} sends {key} version {flight.ids[key]} while relay {other.relay} waits for "
                f"the answer to version {other.ids.get(key)}, sent {age:.3f} s ago")
            return


class Injector(ScriptedElastic):
    """Passes everything on to `port`, until it is told to be busy or to lie with a probability."""

    def __init__(self, port: int, relay: int, flights: Flights) -> None:
        self.busy = self.busy_items = self.lies = 0.0
        self.injected = 0
        self._upstream = port
        self._relay = relay
        self._flights = flights
        self._random = random.Random(relay)
        self._kept = threading.local()
        super().__init__()
        self.requests = deque(maxlen=0)  # type: ignore[assignment]  # nobody asks, and it would hold all documents

    def calm(self) -> None:
        self.busy = self.busy_items = self.lies = 0.0

    def _answer(self, request: Request) -> Answer:
        flight = Flight(self._relay, self._connections[request.connection - 1], time.monotonic())
        if request.is_bulk:
            self._flights.begin(flight, request.actions)
        try:
            return self._treat(request)
        finally:
            self._flights.end(flight)

    def _treat(self, request: Request) -> Answer:
        chance = self._random.random
        if not request.is_bulk or not request.actions:
            return self._pass_on(request, request.raw_body)
        if chance() < self.busy:
            self.injected += 1
            return _busy_answer(chance())
        if chance() < self.busy_items:
            self.injected += 1
            return self._busy_items(request)
        answer = self._pass_on(request, request.raw_body)
        if chance() < self.lies and answer.status == 200 and answer.ending == "answer":
            self.injected += 1
            return _lie(answer, chance())
        return answer

    def _pass_on(self, request: Request, body: bytes, plain: bool = False) -> Answer:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        if plain:
            headers.pop("content-encoding", None)
        target = request.path + ("?" + urlencode(request.query) if request.query else "")
        connection = self._connection()
        try:
            connection.request(request.method, target, body or None, headers)
            response = connection.getresponse()
            kept = {"content-type": response.getheader("content-type", "application/json")}
            try:
                return Answer(status=response.status, headers=kept, body=response.read())
            except http.client.IncompleteRead as error:
                connection.close()
                if response.length is None:
                    return Answer(ending="reset")
                missing = b"\0" * response.length
                return Answer(status=response.status, headers=kept, body=error.partial + missing,
                              cut_after=len(error.partial))
        except (OSError, http.client.HTTPException):
            connection.close()
            return Answer(ending="reset")

    def _connection(self) -> http.client.HTTPConnection:
        """One to the server for each from the relay, so that a fault of the one is a fault of the other."""
        if not hasattr(self._kept, "connection"):
            self._kept.connection = http.client.HTTPConnection(HOST, self._upstream, timeout=90)
        connection: http.client.HTTPConnection = self._kept.connection
        return connection

    def _busy_items(self, request: Request) -> Answer:
        """The server never hears some of the items, and its answer is completed by their refusals."""
        refused = {n for n in range(len(request.actions)) if self._random.random() < 0.3}
        passed = [action for n, action in enumerate(request.actions) if n not in refused]
        real: list[Any] = []
        if passed:
            answer = self._pass_on(request, b"".join(map(_lines, passed)), plain=True)
            if answer.status != 200 or answer.ending != "answer" or answer.cut_after is not None:
                return answer
            assert isinstance(answer.body, bytes)
            real = json.loads(answer.body).get("items", [])
            if len(real) != len(passed):
                return answer
        error = (429, BUSY, BUSY_REASON)
        busy = bulk_answer([request.actions[n] for n in sorted(refused)], {n: error for n in range(len(refused))})
        if filters := request.query.get("filter_path"):
            busy = filter_path(busy, filters)
        mine, theirs = iter(busy.get("items", [])), iter(real)
        items = [next(mine) if n in refused else next(theirs) for n in range(len(request.actions))]
        return Answer(body=json.dumps({"took": 1, "errors": bool(refused) or any(map(_failed, real)), "items": items}))


def _failed(item: dict[str, Any]) -> bool:
    return any("error" in entry for entry in item.values())


def _lines(action: Action) -> bytes:
    head = json.dumps({action.operation: action.meta}).encode() + b"\n"
    return head if action.source is None else head + action.source + b"\n"


def _busy_answer(choice: float) -> Answer:
    if choice < 0.2:
        return Answer(status=503, headers={"retry-after": "1", "content-type": "text/html"}, body="<h1>busy</h1>")
    if choice < 0.3:
        return Answer(status=429, headers={"content-type": "text/html"}, body="<h1>slow down</h1>")
    error = {"type": BUSY, "reason": BUSY_REASON}
    return Answer(status=429, body=json.dumps({"error": {"root_cause": [error], **error}, "status": 429}))


def _lie(answer: Answer, choice: float) -> Answer:
    """It was applied, and the answer says something else, or nothing."""
    assert isinstance(answer.body, bytes)
    if choice < 0.2:
        return Answer(headers={"content-type": "text/html"}, body="<html>please log in</html>")
    if choice < 0.4:
        return Answer(status=502, headers={"content-type": "text/html"}, body="<h1>bad gateway</h1>")
    if choice < 0.6:
        return Answer(body=answer.body, cut_after=int(len(answer.body) * choice))
    if choice < 0.7:
        return Answer(body="{}")
    if choice < 0.8:
        return Answer(ending="reset")
    content = json.loads(answer.body)
    content["items"] = content.get("items", [])[:-1]
    return Answer(body=json.dumps(content))
