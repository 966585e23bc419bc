"""Deletes. Elasticsearch forgets them, and with them the versions that protect the deleted document: what keeps it deleted
is that an older event is never sent after a newer one. Here tombstones are destroyed on purpose, at the worst moments.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import dead, drain, init, publish

from harness import Answer, Database, Elastic, FaultProxy, History, Outboxd, ScriptedElastic, insert_events, process, wait_until
from harness.bulk import Action
from harness.scripted_elastic import Request

QUICK = {"retry_base": "10ms", "retry_cap": "200ms"}
TOMBSTONE = '{"deleted":true}'


def close_and_open(elastic: Elastic, index: str) -> None:
    elastic.call("POST", f"/{index}/_flush?force=true")
    elastic.call("POST", f"/{index}/_close")
    elastic.call("POST", f"/{index}/_open?wait_for_active_shards=1")


def collect(elastic: Elastic, index: str) -> None:
    """index.gc_deletes is 0."""
    elastic.refresh(index)


def restart(elastic: Elastic, index: str) -> None:
    elastic.restart()


WAYS: dict[str, Callable[[Elastic, str], None]] = {
    "closed and opened": close_and_open, "gc_deletes of 0": collect, "node restarted": restart}


def make_index(elastic: Elastic, index: str) -> None:
    elastic.create_index(index, settings={"index.gc_deletes": "0s"})


@contextmanager
def all_forgotten(elastic: Elastic, index: str) -> Iterator[None]:
    """Around what must have destroyed all tombstones: proves that it did."""
    control = f"/{index}/_doc/control?version_type=external&version="
    elastic.call("PUT", control + "5", {})
    elastic.call("DELETE", control + "6")
    yield
    assert elastic.request("PUT", control + "5", {}).status == 201, "the tombstone was not forgotten: this proves nothing"
    elastic.call("DELETE", control + "7")


def is_drained(db: Database) -> bool:
    return bool(db.value("SELECT NOT EXISTS (SELECT FROM outbox WHERE NOT processed)"))


@pytest.mark.time_limit(180)
@pytest.mark.parametrize("way", WAYS)
def test_deleted_documents_stay_deleted(way: str, db: Database, elastic: Elastic, index: str,
                                        outboxd: OutboxdFactory) -> None:
    """Two relays, one of them killed again and again, and everything is forgotten while they send."""
    make_index(elastic, index)
    relays = [outboxd(**QUICK, relay_batch_rows=50), outboxd(**QUICK, relay_batch_rows=50)]
    init(relays[0])
    history = History()
    for relay in relays:
        relay.start()
        relay.wait_log("elasticsearch_connected", timeout=30)
    rounds = 1 if way == "node restarted" else 3

    with db.connect() as connection, all_forgotten(elastic, index):
        for number in range(rounds):
            insert_events(connection, 600, keys=60, deletes=0.3, first=number * 600 + 1, index=index, history=history)
            relays[number % 2].kill9()
            WAYS[way](elastic, index)
            relays[number % 2].start()
            insert_events(connection, 100, keys=60, deletes=0.5, first=9000 + number * 100, index=index, history=history)
        wait_until(lambda: is_drained(db), 60, "all events to be delivered")
        if way != "node restarted":  # once is enough, and takes long enough
            WAYS[way](elastic, index)

    history.assert_matches(elastic, index)
    assert db.value("SELECT count(*) FROM outbox WHERE attempts > 0") == 0


@pytest.mark.parametrize("deletes", ["delete", "tombstone"])
def test_what_died_before_the_delete_does_not_undo_it(deletes: str, db: Database, elastic: Elastic, index: str,
                                                      outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, {"properties": {"n": {"type": "integer"}}})
    daemon = outboxd(**QUICK, outbox_deletes=deletes)
    init(daemon)
    publish(db, index, "1", {"n": 1})
    drain(daemon)
    publish(db, index, "1", {"n": "not a number"})
    drain(daemon, expect=65)
    publish(db, index, "1", {"n": "again"})
    drain(daemon, expect=65)
    assert list(dead(db)) == [2, 3]
    # Requeued before the delete, mended after it.
    daemon.run("requeue", "3")
    publish(db, index, "1", None)
    drain(daemon)
    with all_forgotten(elastic, index):
        close_and_open(elastic, index)
    db.execute("UPDATE outbox SET data = '{\"n\": 2}' WHERE id IN (2, 3)")
    daemon.run("requeue", "--all")
    drain(daemon)

    assert dead(db) == {} and is_drained(db)
    document = elastic.get(index, "1")
    if deletes == "delete":
        assert document is None
    else:
        assert document and (document.version, document.source) == (4, TOMBSTONE)
    # And what comes later comes.
    publish(db, index, "1", {"n": 5})
    drain(daemon)
    document = elastic.get(index, "1")
    assert document and json.loads(document.source) == {"n": 5}


# -- a server that forgets everything at once

class Forgetful:
    """Elasticsearch without tombstones: a delete forgets the version, too. And it fails in every way there is.

    What it applies it applies at once, so it can tell whether an older event ever came after a newer one was settled.
    (Of one whose answer was lost nobody knows that it was applied; it is sent again, and last.)
    """

    def __init__(self, seed: int, db: Database) -> None:
        self.documents: dict[str, tuple[int, bytes]] = {}
        self.highest: dict[str, int] = {}
        self.violations: list[str] = []
        self.kills = 0
        self.relays: dict[str, Outboxd] = {}
        self.is_kind = False
        self._db = db
        self._random = random.Random(seed)
        self._refused: set[tuple[str, int]] = set()
        self._applied: set[tuple[str, int]] = set()

    def __call__(self, request: Request) -> Answer:
        whim = "fine" if self.is_kind else self._random.choices(
            ["fine", "some refused", "busy", "away", "breaker", "lost", "bad gateway", "half", "killed", "killed early"],
            [10, 8, 2, 2, 2, 2, 2, 3, 1, 1])[0]
        everything = range(len(request.actions))
        if whim == "busy":
            return Answer(items=dict.fromkeys(everything, (429, "es_rejected_execution_exception", "full")))
        if whim == "away":
            return Answer(status=503, body=b"")
        if whim == "breaker":
            return Answer(status=429, body=b'{"error":{"type":"circuit_breaking_exception","reason":"x"}}')
        if whim == "killed early":
            return self._kill(request)
        refused = {}
        for position, action in enumerate(request.actions):
            key = (action.id or "", action.version or 0)
            if whim == "half" and self._random.random() < 0.5:
                continue
            if whim == "some refused" and self._random.random() < 0.5 and key not in self._refused:
                self._refused.add(key)
                reasons = [(429, "es_rejected_execution_exception", "full"), (503, "unavailable_shards_exception", "no")]
                if key not in self._applied:  # what was good enough once is good enough again
                    reasons += [(400, "document_parsing_exception", "no"), (418, "teapot_exception", "no")]
                refused[position] = self._random.choice(reasons)
                continue
            self._apply(action)
        if whim == "killed":
            return self._kill(request)
        if whim in ("lost", "half"):
            return Answer(ending="reset")
        return Answer(status=504, body=b"<html>") if whim == "bad gateway" else Answer(items=refused)

    def _apply(self, action: Action) -> None:
        name, version = action.id or "", action.version or 0
        newest = self.highest.get(name, 0)
        if version < newest and self._db.value("SELECT processed FROM outbox WHERE id = %s", [newest]):
            self.violations.append(f"{name}: {action.operation} {version} after {newest}")
        self._applied.add((name, version))
        self.highest[name] = max(version, newest)
        if action.operation == "delete":
            self.documents.pop(name, None)
        else:
            self.documents[name] = (version, action.source or b"")

    def _kill(self, request: Request) -> Answer:
        """kill -9 of the sender, in mid-send."""
        self.kills += 1
        self.relays[request.path.split("/")[1]].signal(signal.SIGKILL)
        return Answer(ending="close", delay=0.1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_older_event_comes_after_a_newer_one(seed: int, db: Database, outboxd: OutboxdFactory) -> None:
    """Two relays, refusals of all kinds, outages, kill -9 in mid-send, requeues of dead events at any time."""
    server = Forgetful(seed, db)
    history = History()
    requeue = "UPDATE outbox SET dead_at = NULL, retry_at = NULL, attempts = 0 WHERE NOT processed AND dead_at IS NOT NULL"
    pending = "SELECT count(*) FROM outbox WHERE NOT processed AND dead_at IS NULL"
    with ScriptedElastic(server) as scripted:
        for name in ("one", "two"):
            server.relays[name] = outboxd(retry_base="2ms", retry_cap="20ms", relay_workers=1, relay_batch_rows=40,
                                          relay_poll_interval="20ms", elasticsearch_url=f"{scripted.url}/{name}")
        init(server.relays["one"])

        def keep_alive() -> bool:
            for relay in server.relays.values():
                if not relay.is_alive:
                    relay.start()
            return True

        with db.connect() as connection:
            for chunk in range(20):
                insert_events(connection, 120, keys=40, deletes=0.3, first=chunk * 120 + 1, history=history)
                seen = len(scripted.bulks)
                # Dead events send no requests until they are requeued.
                wait_until(lambda: keep_alive() and (len(scripted.bulks) >= seen + 6 or db.value(pending) == 0), 30, "some requests")
                connection.execute(requeue)
        server.is_kind = True

        def rest() -> bool:
            db.execute(requeue)
            return keep_alive() and is_drained(db)

        wait_until(rest, 45, "all to be delivered in the end", every=0.1)

    assert server.violations == []
    assert server.kills > 0
    alive = {name: (event.event_id, event.source) for name, event in history.newest.items() if event.source is not None}
    assert {name: (version, source.decode()) for name, (version, source) in server.documents.items()} == alive


def test_a_delete_that_comes_while_the_older_event_is_refused(db: Database, outboxd: OutboxdFactory) -> None:
    """The retry of the older event would bring the document back: it is the delete that is sent."""
    came = threading.Event()

    def script(request: Request) -> Answer | None:
        if not came.is_set():
            came.set()
            publish(db, "products", "1", None)  # before the older event is given back
            return Answer(items={0: (429, "es_rejected_execution_exception", "rejected")})
        return None

    with ScriptedElastic(script) as scripted:
        daemon = outboxd(**QUICK, elasticsearch_url=scripted.url)
        init(daemon)
        publish(db, "products", "1", {"n": 1})
        daemon.start()
        wait_until(lambda: came.is_set() and is_drained(db), 20, "both to be settled")

        assert [(action.operation, action.version) for action in scripted.sent_actions()] == [("index", 1), ("delete", 2)]


# -- requests that come late

def is_still(relay: Outboxd) -> bool:
    """It waits for an answer: for a while it has written nothing."""
    counts = Path(f"/proc/{relay.pid}/io")
    before = process.read_as_root(counts)
    time.sleep(0.2)
    return process.read_as_root(counts) == before


def refusals(elastic: Elastic, index: str) -> int:
    """How many index requests the shards of an open index have refused."""
    return int(elastic.call("GET", f"/{index}/_stats/indexing")["_all"]["primaries"]["indexing"]["index_failed"])


@pytest.mark.parametrize("deletes", ["delete", "tombstone"])
def test_a_request_that_lands_after_its_sender_was_killed(deletes: str, db: Database, elastic: Elastic, index: str,
                                                          outboxd: OutboxdFactory) -> None:
    """Without tombstone documents it is the tombstone of the delete that refuses it; with them nothing can be forgotten."""
    elastic.create_index(index)
    with FaultProxy(elastic.port) as proxy:
        relay = outboxd(**QUICK, elasticsearch_url=proxy.url, outbox_deletes=deletes)
        init(relay)
        publish(db, index, "1", {"n": 1})
        relay.start()
        wait_until(lambda: is_drained(db), 20, "the document to be there")
        proxy.stall()
        before = proxy.counters.exchanges
        publish(db, index, "1", {"n": 2})
        wait_until(lambda: proxy.counters.exchanges > before, 20, "the request to be on its way")
        wait_until(lambda: is_still(relay), 20, "all of the request to be written")
        relay.kill9()
        publish(db, index, "1", None)
        drain(outboxd(outbox_deletes=deletes))
        if deletes == "tombstone":
            with all_forgotten(elastic, index):
                close_and_open(elastic, index)

        proxy.pass_all()
        wait_until(lambda: refusals(elastic, index) == 1, 20, "the late request to land, and to be refused")

    document = elastic.get(index, "1")
    assert (document and document.source) == (None if deletes == "delete" else TOMBSTONE)


@pytest.mark.time_limit(180)
def test_a_frozen_relay_sends_nothing_when_it_wakes(db: Database, elastic: Elastic, index: str,
                                                    outboxd: OutboxdFactory) -> None:
    """Two of them, frozen while they send for longer than their sessions live.

    Of the one nothing has arrived, and its kept connection died meanwhile, in which case libcurl sends by itself once
    more. The other has sent a part of a large request.
    """
    elastic.create_index(index, {"enabled": False})
    settings: dict[str, Any] = {**QUICK, "elasticsearch_timeout": "1s", "relay_workers": 1, "log_level": "debug",
                                "relay_batch_bytes": "64MB"}
    with FaultProxy(elastic.port) as lost, FaultProxy(elastic.port) as slow:
        small = outboxd(**settings, elasticsearch_url=lost.url)
        init(small)
        publish(db, index, "warm", {})
        small.start()
        wait_until(lambda: is_drained(db), 20, "a first event to be delivered")
        lost.black_hole()
        freeze_while_sending(small, lambda: publish(db, index, "small", {"n": 1}))
        large = outboxd(**settings, elasticsearch_url=slow.url)
        large.start()
        large.wait_log("elasticsearch_connected", timeout=20)
        slow.stall()
        insert = ("INSERT INTO outbox (aggregate_type, aggregate_id, data) SELECT %s, 'large-' || n, "
                  "jsonb_build_object('x', repeat('x', 1000000)) FROM generate_series(1, 30) n")
        freeze_while_sending(large, lambda: db.execute(insert, [index]))
        bytes_before = lost.counters.bytes_up, slow.counters.bytes_up

        db.execute("INSERT INTO outbox (aggregate_type, aggregate_id) SELECT aggregate_type, aggregate_id FROM outbox "
                   "WHERE NOT processed")
        healthy = outboxd(**QUICK)
        healthy.start()
        wait_until(lambda: is_drained(db), 60, "the server to end the frozen sessions, and another relay to go on")
        healthy.terminate()
        with all_forgotten(elastic, index):
            close_and_open(elastic, index)
        lost.pass_all()
        lost.reset_all()
        slow.pass_all()

        for relay in (small, large):
            relay.resume()
        for relay in (small, large):
            relay.wait_log("postgres_away", timeout=30)
            relay.wait_log("elasticsearch_away", timeout=30)

        assert lost.counters.bytes_up - bytes_before[0] < 2000, "what was lost was sent once more"
        assert slow.counters.bytes_up - bytes_before[1] < 29_000_000, "the rest of the request was sent"
        # They live on, and what they do now is new.
        publish(db, index, "after", {})
        wait_until(lambda: is_drained(db), 30, "an event after all this to be delivered")
    assert set(elastic.all_docs(index)) == {"warm", "after"}


def freeze_while_sending(relay: Outboxd, publish_something: Callable[[], object]) -> None:
    mark = relay.mark()
    publish_something()
    relay.wait_log("worker", timeout=20, since=mark, to="SENDING")
    relay.pause()
    assert relay.logs("worker", since=mark, **{"from": "SENDING"}) == [], "it was faster than we"


# -- deletes = tombstone

def test_tombstone_documents(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    make_index(elastic, index)
    daemon = outboxd(**QUICK, outbox_deletes="tombstone")
    init(daemon)
    publish(db, index, "stays", {"n": 1})
    publish(db, index, "goes", {"n": 2})
    drain(daemon)
    publish(db, index, "goes", None)
    publish(db, index, "never was", None)
    drain(daemon)
    with all_forgotten(elastic, index):
        close_and_open(elastic, index)
    assert {name: (document.version, document.source) for name, document in elastic.all_docs(index).items()} == {
        "stays": (1, '{"n": 1}'), "goes": (3, TOMBSTONE), "never was": (4, TOMBSTONE)}

    # A replay of everything older changes nothing.
    db.execute("UPDATE outbox SET processed = false, processed_at = NULL WHERE id < 3")
    done = drain(daemon)
    assert done.logs("drained")[0]["superseded"] == "1"
    assert elastic.all_docs(index)["goes"].source == TOMBSTONE

    # And a document that is made again is there again.
    publish(db, index, "goes", {"n": 5})
    drain(daemon)
    assert elastic.all_docs(index)["goes"].source == '{"n": 5}'
