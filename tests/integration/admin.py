"""A client of the admin interface."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import time
from typing import Any, NamedTuple

from harness.ports import HOST, free_port

# How long a count may be waited for. It rests for 49 times what the last one cost, and the first one is cold.
COUNT_WAIT = 60


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Admin:
    def __init__(self, token: str = "") -> None:
        self.port = free_port()
        self.listen = f"{HOST}:{self.port}"
        self.token = token

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, timeout: float = 60,
            **headers: str) -> Reply:
        """Header names are written with _ for -."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named.setdefault("Authorization", f"Bearer {self.token}")
        with contextlib.closing(connection):
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()},
                         answer.read().decode())

    def get(self, path: str) -> Any:
        reply = self.ask(path)
        assert reply.status == 200, reply
        return reply.json

    def metric(self, name: str) -> float:
        """NaN while there is none: before the first count."""
        return read_metrics(self.ask("/metrics").text).get(name, math.nan)

    def counted_since(self, moment: float) -> bool:
        """Whether a count has ended after that moment of time.monotonic(), whatever the one before it has cost."""
        asked = time.monotonic()
        return self.metric("outboxd_backlog_age_seconds") < asked - moment


def read_metrics(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}
