"""The raw ceiling of this box: prepared bodies posted to _bulk, as fast as the node takes them."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence

import psycopg

from harness import Elastic

CONNECTIONS = 4
DOCUMENTS_A_REQUEST = 5000


def action(index: str, document_id: str, source: str) -> str:
    return f'{{"index":{{"_index":"{index}","_id":"{document_id}"}}}}\n{source}\n'


def bulk(link: http.client.HTTPConnection, body: str | bytes) -> list[str]:
    """Posts it; what went wrong, if anything did."""
    link.request("POST", "/_bulk?filter_path=errors", body, {"Content-Type": "application/x-ndjson"})
    answer = link.getresponse()
    text = answer.read()
    return [] if answer.status == 200 and b'"errors":false' in text else [f"{answer.status} {text[:200]!r}"]


def bodies(connection: psycopg.Connection, index: str, events: int) -> list[bytes]:
    """The documents of the table as the relay would send them, without versions."""
    made: list[bytes] = []
    lines: list[str] = []
    with connection.transaction(), connection.cursor("bodies") as rows:  # read as they are needed: there may be millions
        rows.itersize = DOCUMENTS_A_REQUEST
        rows.execute("SELECT aggregate_id, data::text FROM outbox WHERE aggregate_type = %s ORDER BY id LIMIT %s", [index, events])
        for document_id, source in rows:
            lines.append(action(index, document_id, source))
            if len(lines) == DOCUMENTS_A_REQUEST:
                made.append("".join(lines).encode())
                lines.clear()
    if lines:
        made.append("".join(lines).encode())
    return made


def measure(elastic: Elastic, prepared: Sequence[bytes]) -> float:
    """Seconds to post all bodies over CONNECTIONS connections."""
    queue = list(reversed(prepared))
    lock = threading.Lock()
    failures: list[str] = []

    def post() -> None:
        link = http.client.HTTPConnection("127.0.0.1", elastic.port, timeout=120)
        while True:
            with lock:
                if not queue:
                    break
                body = queue.pop()
            failures.extend(bulk(link, body))
        link.close()

    threads = [threading.Thread(target=post) for _ in range(CONNECTIONS)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"the ceiling could not be measured: {failures[0]}")
    return time.monotonic() - begin
