"""From commit to readable by id, at a steady rate of single-event transactions: with a relay, and without any."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import ceiling
from harness import Database, ElasticClient

SAMPLES_A_SECOND = 20  # a reader that polled for every event would be the load it measures
READERS = 2
POSTERS = 2  # requests that a relay at rest has in flight
SOURCE = '{"n": 1, "title": "a product"}'


class Sample:
    def __init__(self, document_id: str, committed: float) -> None:
        self.document_id, self.committed = document_id, committed


class Measured(NamedTuple):
    sorted_ms: list[float]
    written_s: float  # events a second; a busy machine does not reach the rate

    def percentile(self, share: float) -> float:
        return self.sorted_ms[min(len(self.sorted_ms) - 1, int(len(self.sorted_ms) * share))]


class NoRelay:
    """The writer itself gives each event to Elasticsearch, as an application without an outbox: what remains of the way when
    PostgreSQL is not asked. Whatever comes while a request is on its way goes with the next one."""

    def __init__(self, url: str, index: str) -> None:
        self._host, self._index = urlsplit(url).netloc, index
        self._queue: list[str] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self.failures: list[str] = []

    def write(self, document_id: str) -> None:
        with self._lock:
            self._queue.append(document_id)

    def _post(self) -> None:
        link = http.client.HTTPConnection(self._host, timeout=30)
        while not self._done.is_set():
            with self._lock:
                names, self._queue = self._queue, []
            if not names:
                time.sleep(0.0003)
                continue
            self.failures.extend(ceiling.bulk(link, "".join(ceiling.action(self._index, name, SOURCE) for name in names)))
        link.close()

    @contextmanager
    def posting(self) -> Iterator[NoRelay]:
        posters = [threading.Thread(target=self._post) for _ in range(POSTERS)]
        for poster in posters:
            poster.start()
        try:
            yield self
        finally:
            self._done.set()
            for poster in posters:
                poster.join()
        if self.failures:
            raise RuntimeError(f"without a relay: {self.failures[0]}")


def measure(db: Database, url: str, index: str, rate: int, seconds: int, instead: NoRelay | None = None) -> Measured:
    waiting: list[Sample] = []
    latencies: list[float] = []
    lock = threading.Lock()
    done = threading.Event()

    def read() -> None:
        client = ElasticClient(url)
        while not (done.is_set() and not waiting):
            with lock:
                sample = waiting.pop(0) if waiting else None
            if sample is None:
                time.sleep(0.0005)
                continue
            while client.get(index, sample.document_id) is None:
                time.sleep(0.0003)
                if time.monotonic() - sample.committed > 30:
                    raise TimeoutError(f"{sample.document_id} was not delivered within 30 s")
            latencies.append((time.monotonic() - sample.committed) * 1000)

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    every = max(1, rate // SAMPLES_A_SECOND)
    with db.connect() as connection:
        begin = time.monotonic()
        for number in range(rate * seconds):
            due = begin + number / rate
            if (pause := due - time.monotonic()) > 0:
                time.sleep(pause)
            name = f"{rate}-{number}"
            connection.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES ('e', %s, %s, %s)",
                               [index, name, SOURCE])
            if instead:
                instead.write(name)
            if number % every == 0 and number > rate:  # the first second warms up
                with lock:
                    waiting.append(Sample(name, time.monotonic()))
        took = time.monotonic() - begin
    done.set()
    for reader in readers:
        reader.join()
    if took > seconds * 1.1:
        print(f"note: the writer reached only {rate * seconds / took:.0f} of {rate} events/s")
    return Measured(sorted(latencies), rate * seconds / took)
