"""An HTTP server that answers `_bulk` exactly as a test wants it, bytes, delays and broken connections included."""

from __future__ import annotations

import atexit
import gzip
import json
import socket
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import BinaryIO, Literal
from urllib.parse import parse_qs, urlsplit

from .bulk import Action, ItemError, bulk_answer, filter_path, parse_bulk
from .ports import HOST, free_port
from .waiting import wait_until


@dataclass(frozen=True)
class Request:
    method: str
    target: str  # path and query as they came
    path: str  # without the query
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    raw_body: bytes  # as it came over the wire
    body: bytes  # inflated when it came as gzip
    connection: int  # 1 for the first connection that was accepted, 2 for the second, ...
    actions: list[Action] = field(default_factory=list)  # of a `_bulk` request that can be read

    @property
    def is_bulk(self) -> bool:
        return self.path.endswith("/_bulk")


@dataclass(frozen=True)
class Answer:
    """One scripted answer. Without a body, the one that fits the request is made, with `items` refused.

    `cut_after` sends only so many bytes of a body whose full length was announced, then closes.
    `ending` says what comes instead of an answer: the connection is closed, or reset.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    items: Mapping[int, ItemError] = field(default_factory=dict)
    delay: float = 0
    chunked: bool = False
    cut_after: int | None = None
    close: bool = False  # after the answer, with `Connection: close`
    ending: Literal["answer", "close", "reset"] = "answer"


Script = Iterable[Answer] | Callable[[Request], Answer | None]
SUCCESS = Answer()


class ScriptedElastic:
    """Answers each `_bulk` by the script, and with success when the script is at its end or returns None.

    Other requests go to `other`, which may return None too; then they get what little a relay may ask for.
    Every request is kept in `requests`, in order of arrival, before it is answered.
    """

    def __init__(self, script: Script = (), other: Callable[[Request], Answer | None] | None = None) -> None:
        self.requests: list[Request] = []
        self._other = other
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._next_answer = _script_reader(script)
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._listener = socket.create_server((HOST, self.port), backlog=128)
        threading.Thread(target=self._accept, name="scripted-elastic", daemon=True).start()
        atexit.register(self.close)

    def __enter__(self) -> ScriptedElastic:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def script(self, script: Script) -> None:
        """Replaces the script for the requests to come."""
        self._next_answer = _script_reader(script)

    @property
    def bulks(self) -> list[Request]:
        return [request for request in list(self.requests) if request.is_bulk]

    def wait_bulks(self, count: int, timeout: float = 10) -> list[Request]:
        """The first `count` bulk requests, as soon as they have arrived."""
        wait_until(lambda: len(self.bulks) >= count, timeout, f"{count} _bulk requests")
        return self.bulks[:count]

    def sent_actions(self) -> list[Action]:
        return [action for request in self.bulks for action in request.actions]

    def close(self) -> None:
        # shutdown wakes the thread that waits in accept; close alone would leave it there.
        with self._lock:
            for each in (self._listener, *self._connections):
                _shut(each)
        atexit.unregister(self.close)

    # -- inside

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.append(connection)
                number = len(self._connections)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := _read_request(stream, connection, number)) is not None:
                    self.requests.append(request)
                    if not _send(connection, request, self._answer(request)):
                        return
        except (OSError, EOFError, zlib.error):
            pass  # the client went away, we are being closed, or a gzip body is none: the real server hangs up too

    def _answer(self, request: Request) -> Answer:
        if request.is_bulk:
            with self._lock:
                return self._next_answer(request) or SUCCESS
        return (self._other(request) if self._other else None) or _small_talk(request)


def _script_reader(script: Script) -> Callable[[Request], Answer | None]:
    if callable(script):
        return script
    answers = deque(script)
    return lambda _: answers.popleft() if answers else None


def _small_talk(request: Request) -> Answer:
    if request.path == "/":
        body = {"name": "scripted", "cluster_name": "scripted", "version": {"number": "9.5.0"},
                "tagline": "You Know, for Search"}
        return Answer(body=json.dumps(body))
    if request.path.startswith("/_cluster/health"):
        return Answer(body='{"status":"green"}')
    reason = f"nothing is scripted for {request.method} {request.path}"
    return Answer(status=404, body=json.dumps({"error": {"type": "not_scripted", "reason": reason}, "status": 404}))


def _read_request(stream: BinaryIO, connection: socket.socket, number: int) -> Request | None:
    """None at the end of the connection."""
    start = stream.readline().decode("latin-1").split()
    if len(start) != 3:
        return None
    method, target, _ = start
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    raw = _read_body(stream, headers)
    if raw is None:
        return None
    body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
    url = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    actions = []
    if url.path.endswith("/_bulk"):
        try:
            actions = parse_bulk(body)
        except ValueError:
            pass  # answered with 400 later, unless the script has an answer of its own
    return Request(method, target, url.path, query, headers, raw, body, number, actions)


def _read_body(stream: BinaryIO, headers: Mapping[str, str]) -> bytes | None:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = int(headers.get("content-length", 0))
        body = stream.read(length)
        return body if len(body) == length else None
    body = b""
    while size := int(stream.readline().strip() or b"0", 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


def _send(connection: socket.socket, request: Request, answer: Answer) -> bool:
    """False when the connection is over."""
    time.sleep(answer.delay)
    if answer.ending == "reset":
        # Closing with a linger time of zero sends RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if answer.ending != "answer":
        return False
    status, body = _content(request, answer)
    headers = {"content-type": "application/json", "x-elastic-product": "Elasticsearch"}
    if answer.chunked:
        headers["transfer-encoding"] = "chunked"
    else:
        headers["content-length"] = str(len(body))
    if answer.close:
        headers["connection"] = "close"
    headers |= {name.lower(): value for name, value in answer.headers.items()}
    connection.sendall(_head(status, headers))
    connection.sendall((_chunks(body) if answer.chunked else body)[:answer.cut_after])
    return answer.cut_after is None and not answer.close


def _content(request: Request, answer: Answer) -> tuple[int, bytes]:
    if answer.body is not None:
        return answer.status, answer.body.encode() if isinstance(answer.body, str) else answer.body
    if not request.is_bulk:
        return answer.status, b"{}"
    if not request.actions:
        error = {"type": "illegal_argument_exception", "reason": "this bulk request cannot be read"}
        return 400, json.dumps({"error": error, "status": 400}).encode()
    content = bulk_answer(request.actions, answer.items)
    if filters := request.query.get("filter_path"):
        content = filter_path(content, filters)
    return answer.status, json.dumps(content).encode()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunks(body: bytes, size: int = 1000) -> bytes:
    pieces = (body[start:start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _shut(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already
    each.close()
