"""Partial updates: read, merged, and sent as whole documents with the versions of their events. So what is repeated or late is
refused as ever, and only one thing is new: an update must not pass an older event of its document.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import dead, drain, init, publish, undelivered

from harness import Answer, Database, Elastic, FaultProxy, Outboxd, ScriptedElastic, wait_until
from harness.bulk import Action
from harness.scripted_elastic import Request

UPDATES: dict[str, Any] = {
    "outbox_operation": "CASE WHEN o.event = 'part' THEN 'update' WHEN o.data IS NULL THEN 'delete' ELSE 'index' END"}
QUICK = {"retry_base": "10ms", "retry_cap": "200ms"}
PRICES = {"properties": {"price": {"type": "double"}}}
BEHIND = "waits_for_an_older_event"
REPEAT = "UPDATE outbox SET processed = false, processed_at = NULL"
CONFLICT = "version_conflict_engine_exception"


def part(db: Database, index: str, document_id: str, fields: Any) -> int:
    return publish(db, index, document_id, fields, "part")


def documents(elastic: Elastic, index: str) -> dict[str, Any]:
    return {name: json.loads(document.source) for name, document in elastic.all_docs(index).items()}


def merged(rows: list[tuple[str, str, Any]]) -> dict[str, Any]:
    """What comes of events (document, event, data), applied in their order."""
    found: dict[str, Any] = {}
    for name, event, data in rows:
        if data is None:
            found.pop(name, None)
        else:
            found[name] = found.get(name, {}) | data if event == "part" else data
    return found


def events(db: Database) -> list[tuple[Any, ...]]:
    return db.execute("SELECT aggregate_id, event, data FROM outbox ORDER BY id")


class Store:
    """A scripted server with documents and their versions: (version, document; None = deleted)."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[int, Any]] = {}
        self.reads: list[list[str]] = []

    def other(self, request: Request) -> Answer | None:
        if request.path.partition("/_mget")[1] == "":
            return None
        names = [doc["_id"] for doc in json.loads(request.body)["docs"]]
        self.reads.append(names)
        return Answer(body=json.dumps({"docs": [self._found(name) for name in names]}))

    def _found(self, name: str) -> dict[str, Any]:
        version, source = self.documents.get(name, (0, None))
        found = {"_index": "products", "_id": name, "found": source is not None}
        return found if source is None else found | {"_version": version, "_source": source}

    def bulk(self, request: Request) -> Answer | None:
        return Answer(items={n: refusal for n, action in enumerate(request.actions) if (refusal := self.apply(action))})

    def apply(self, action: Action) -> tuple[int, str, str] | None:
        name, now = action.id or "", self.documents.get(action.id or "", (-1, None))[0]
        assert action.version is not None and action.operation in ("index", "delete")
        if action.version < now:
            return 409, CONFLICT, f"[{name}]: version conflict, current version [{now}] is higher than the one provided [{action.version}]"
        self.documents[name] = (action.version, json.loads(action.source) if action.source else None)
        return None

    @property
    def found(self) -> dict[str, Any]:
        return {name: source for name, (_, source) in self.documents.items() if source is not None}


@pytest.fixture
def relay(outboxd: OutboxdFactory) -> Outboxd:
    made = outboxd(**UPDATES, **QUICK)
    init(made)
    return made


# -- what comes of them

def test_fields_are_merged_in_order(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    publish(db, index, "1", {"name": "lamp", "stock": {"red": 1, "blue": 2}})
    part(db, index, "1", {"stock": {"red": 5}})
    part(db, index, "1", {"price": 19.90})
    part(db, index, "2", {"price": 1})  # there is none: this becomes it
    publish(db, index, "3", {"a": 1})
    part(db, index, "3", {"b": 2})
    publish(db, index, "3", {"c": 3})
    part(db, index, "4", {"b": 2})
    publish(db, index, "4", None)
    publish(db, index, "5", None)
    part(db, index, "5", {"again": True})
    expected = {"1": {"name": "lamp", "stock": {"red": 5, "blue": 2}, "price": 19.90}, "2": {"price": 1}, "3": {"c": 3},
                "5": {"again": True}}

    drain(relay)

    assert documents(elastic, index) == expected
    # Everything once more, as after a database that forgot its marks.
    db.execute(REPEAT)
    drain(relay)
    assert documents(elastic, index) == expected
    assert dead(db) == {} and undelivered(db) == 0


def test_each_by_itself(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """Into what Elasticsearch has, to the last digit; with the version of the event, so what is older is refused as ever."""
    elastic.create_index(index, {"dynamic": False})
    db.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES "
               "('whole', %s, '1', '{\"price\": 19.90, \"big\": 12345678901234567890.120, \"o\": {\"a\": 1, \"b\": [1, 2]}, \"x\": 1}')", [index])
    drain(relay)
    for fields in ('{"o": {"b": [3], "c": null}}', '{"x": {"deep": 1.50}}', '{"x": {"er": 2}}'):
        db.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) VALUES ('part', %s, '1', %s)", [index, fields])
        drain(relay)
    document = elastic.get(index, "1")
    assert document and document.version == 4
    assert "19.90" in document.source and "12345678901234567890.120" in document.source and "1.50" in document.source
    assert json.loads(document.source) == {"price": 19.9, "big": 12345678901234567890.120, "o": {"a": 1, "b": [3], "c": None},
                                           "x": {"deep": 1.5, "er": 2}}
    db.execute(f"{REPEAT} WHERE id = 1")
    assert drain(relay).logs("drained")[0]["superseded"] == "1"
    assert elastic.get(index, "1") == document


def test_all_parts_of_a_document_go_in_one(db: Database, outboxd: OutboxdFactory) -> None:
    store = Store()
    with ScriptedElastic(store.bulk, store.other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_workers=1, **UPDATES)
        init(relay)
        for n, event in enumerate(["part", "whole", "part", "part", "whole", "part", "part"]):
            publish(db, "products", "1", {"n": n, f"f{n}": n}, event)
        done = drain(relay)
        assert store.reads == [] and [action.version for action in scripted.sent_actions()] == [7]
        assert store.found == {"1": {"n": 6, "f4": 4, "f5": 5, "f6": 6}}
        assert (done.logs("drained")[0]["superseded"], done.logs("drained")[0]["delivered"]) == ("6", "1")
        for n in range(300):
            part(db, "products", "1", {"n": n, f"f{n % 7}": n})
            part(db, "products", str(2 + n % 3), {"n": n})
        seen = len(scripted.sent_actions())
        drain(relay)
        assert store.found == merged(events(db))
        assert len(scripted.sent_actions()) - seen < 60
        assert all(len(names) == len(set(names)) for names in store.reads)


def test_one_that_is_repeated_does_not_stand_above_what_came_after(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """As Elasticsearch's own update would, which counts the version of a deleted document on."""
    relay = outboxd(**UPDATES, **QUICK, relay_workers=1, relay_batch_rows=1)
    init(relay)
    part(db, index, "1", {"stock": 6})
    publish(db, index, "1", None)
    part(db, index, "2", {"stock": 6})
    publish(db, index, "2", {"stock": 5})
    for _ in range(3):
        drain(relay)
        assert documents(elastic, index) == {"2": {"stock": 5}}
        db.execute(REPEAT)


def test_tombstones_routing_alias_pipeline(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    elastic.create_index(index, {"_routing": {"required": True}}, {"index.number_of_shards": 3})
    elastic.call("POST", "/_aliases", {"actions": [{"add": {"index": index, "alias": f"{index}-alias"}}]})
    relay = outboxd(**UPDATES, **QUICK, outbox_deletes="tombstone", outbox_routing="'r\"' || o.aggregate_id")
    init(relay)
    alias = f"{index}-alias"
    for data, event in (({"a": 1}, "whole"), ({"b": 2}, "part"), (None, "whole"), ({"c": 3}, "part"), ({"d": 4}, "part")):
        publish(db, alias, 'x"y', data, event)
        drain(relay)
    assert documents(elastic, index) == {'x"y': {"c": 3, "d": 4}}


def test_vectors_are_read_too(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """Elasticsearch 9.2 and later leave them out of what they show, unless they are asked not to."""
    elastic.create_index(index, {"properties": {"v": {"type": "dense_vector", "dims": 3}}})
    publish(db, index, "1", {"v": [0.5, 0.25, 1], "n": 1})
    drain(relay)
    part(db, index, "1", {"n": 2})
    drain(relay)
    found = elastic.call("POST", f"/{index}/_search", {"query": {"exists": {"field": "v"}}} if elastic.call("POST", f"/{index}/_refresh") else None)
    assert [hit["_source"]["n"] for hit in found["hits"]["hits"]] == [2]


def test_a_server_that_knows_nothing_of_vectors(db: Database, outboxd: OutboxdFactory) -> None:
    """It is asked without them, and after a while with them again."""
    store = Store()
    asked: list[bool] = []

    def other(request: Request) -> Answer | None:
        if "_mget" in request.path:
            asked.append("vectors" in request.target)
            if asked[-1]:
                return Answer(status=400, body=json.dumps({"error": {"type": "illegal_argument_exception", "reason":
                                                                     "request [/_mget] contains unrecognized parameter: [_source_exclude_vectors]"}}))
        return store.other(request)

    with ScriptedElastic(store.bulk, other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_workers=1, **UPDATES)
        init(relay)
        part(db, "products", "1", {"a": 1})
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 20, "the first")
        part(db, "products", "1", {"b": 2})
        wait_until(lambda: undelivered(db) == 0, 20, "the second")
        assert store.found == {"1": {"a": 1, "b": 2}} and asked == [True, False, False]
        assert not relay.logs("elasticsearch_away")


def test_large_documents_are_read_few_at_a_time(db: Database, outboxd: OutboxdFactory) -> None:
    store = Store()
    store.documents = {str(n): (0, {"text": "x" * 50_000}) for n in range(300)}
    with ScriptedElastic(store.bulk, store.other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_workers=1, **UPDATES)
        init(relay)
        db.execute("INSERT INTO outbox (event, aggregate_type, aggregate_id, data) SELECT 'part', 'products', n, '{\"n\": 1}' "
                   "FROM generate_series(0, 299) n")
        drain(relay)
        assert all(document["n"] == 1 for document in store.found.values())
    # The megabyte of relay.batch_bytes twice, by 16 kB each as long as nothing is known.
    assert len(store.reads[0]) <= 128 and all(len(names) <= 42 for names in store.reads[1:])
    assert sum(map(len, store.reads)) == 300


# -- what holds one up holds up the next

def test_what_waits_for_its_retry_is_not_passed_by(db: Database, outboxd: OutboxdFactory) -> None:
    """A server error of one event, beside one of its index that is accepted: it is tried again after retry.cap."""
    store = Store()
    refused = threading.Event()

    def script(request: Request) -> Answer | None:
        position = next((n for n, action in enumerate(request.actions) if action.id == "1"), None)
        if position is None or refused.is_set():
            return store.bulk(request)
        refused.set()
        for n, action in enumerate(request.actions):
            if n != position:
                store.apply(action)
        return Answer(items={position: (500, "boom_exception", "boom")})

    with ScriptedElastic(script, store.other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_workers=1, retry_base="10ms", retry_cap="1s", **UPDATES)
        init(relay)
        first = part(db, "products", "1", {"a": 1})
        part(db, "products", "2", {"n": 1})
        relay.start()
        wait_until(lambda: db.value("SELECT error->>'type' FROM outbox WHERE id = %s", [first]) == "boom_exception", 20, "the refusal")
        second = part(db, "products", "1", {"b": 2})
        wait_until(lambda: db.value("SELECT error->>'type' FROM outbox WHERE id = %s", [second]) == BEHIND, 20, "the second to wait")
        assert f"event {first} of this document" in db.value("SELECT error->>'reason' FROM outbox WHERE id = %s", [second])
        assert "1" not in store.found
        wait_until(lambda: undelivered(db) == 0, 20, "all to be delivered")
        assert store.found == {"1": {"a": 1, "b": 2}, "2": {"n": 1}}
    assert db.execute("SELECT id, attempts FROM outbox WHERE aggregate_id = '1' ORDER BY id") == [(first, 1), (second, 0)]


def test_all_that_waits_follows_at_once(db: Database, outboxd: OutboxdFactory) -> None:
    """Each would otherwise be held up by the one before it, for retry.cap at a time, and never catch up."""
    store = Store()
    moody = threading.Event()
    moody.set()

    def script(request: Request) -> Answer | None:
        items = {}
        for n, action in enumerate(request.actions):
            refusal = (500, "boom_exception", "boom") if action.id == "1" and moody.is_set() else store.apply(action)
            if refusal:
                items[n] = refusal
        return Answer(items=items)

    def state() -> list[Any]:
        return db.execute("SELECT retry_at FROM outbox WHERE aggregate_id = '1' ORDER BY id")

    with ScriptedElastic(script, store.other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_workers=1, retry_base="10ms", retry_cap="8s", **UPDATES)
        init(relay)
        part(db, "products", "1", {"n": 0})
        part(db, "products", "2", {"n": 0})
        relay.start()
        wait_until(lambda: state()[0][0], 20, "the refusal")
        moody.clear()
        for n in range(1, 20):
            part(db, "products", "1", {"n": n, f"f{n}": n})
            wait_until(lambda: all(row[0] for row in state()) or undelivered(db) == 0, 20, "it to wait")
        waits = [row[0] for row in state()]
        assert not all(waits) or (max(waits) - min(waits)).total_seconds() < 2
        wait_until(lambda: undelivered(db) == 0, 30, "all to be delivered")
        assert store.found["1"] == {"n": 19} | {f"f{n}": n for n in range(1, 20)}
    assert db.value("SELECT max(processed_at) - min(processed_at) < '6s' FROM outbox WHERE aggregate_id = '1'")


@pytest.mark.parametrize("moment", ["'infinity'", "'-infinity'", "'200000-01-01'", "'4700-01-01 BC'"])
def test_a_strange_time_of_what_waits(moment: str, db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """It fails no claim, and is still not passed."""
    elastic.create_index(index, PRICES)
    bad = part(db, index, "1", {"price": "much"})
    drain(relay, expect=65)
    db.execute(f"UPDATE outbox SET dead_at = NULL, retry_at = {moment} WHERE id = %s", [bad])
    relay.start()
    later = part(db, index, "1", {"n": 1})
    publish(db, index, "2", {"n": 1})
    wait_until(lambda: "2" in documents(elastic, index), 20, "another document")
    if moment in ("'infinity'", "'200000-01-01'"):
        wait_until(lambda: db.value("SELECT error->>'type' FROM outbox WHERE id = %s", [later]) == BEHIND, 20, "it to wait")
        assert set(documents(elastic, index)) == {"2"}
        return
    wait_until(lambda: set(dead(db)) == {bad}, 20, "the older one to be dead again")
    wait_until(lambda: db.value("SELECT error->>'type' FROM outbox WHERE id = %s", [later]) == BEHIND, 20, "it to wait")


def test_a_document_in_one_piece_settles_although_a_part_was_merged_into_it(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """Somebody holds what is older and dead just when both are delivered: the part alone would never settle that."""
    elastic.create_index(index, PRICES)
    bad = publish(db, index, "1", {"price": "much"})
    drain(relay, expect=65)
    with db.connect() as holder, holder.transaction():
        holder.execute("SELECT FROM outbox WHERE id = %s FOR UPDATE", [bad])
        whole = publish(db, index, "1", {"price": 1})
        part(db, index, "1", {"n": 2})
        relay.start()
        wait_until(lambda: db.value("SELECT error->>'type' FROM outbox WHERE id = %s", [whole]) == "older_event_is_held", 20, "it to wait")
    wait_until(lambda: undelivered(db) == 0, 20, "all to be settled")
    assert db.value("SELECT error->>'superseded_by' FROM outbox WHERE id = %s", [bad]) == str(whole)
    assert documents(elastic, index) == {"1": {"price": 1, "n": 2}}


class TestBehindADeadOne:
    @pytest.fixture(params=["7d", "0"])
    def held(self, request: pytest.FixtureRequest, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> Any:
        elastic.create_index(index, PRICES)
        relay = outboxd(**UPDATES, **QUICK, retention_keep=request.param, relay_once_timeout="5s")
        init(relay)
        publish(db, index, "1", {"price": 1, "n": 0})
        drain(relay)
        self.bad = part(db, index, "1", {"price": "much"})
        self.next = [part(db, index, "1", {"n": 2}), part(db, index, "1", {"n": 3, "m": 1})]
        part(db, index, "2", {"n": 1})

        assert relay.run_once(timeout=30).exit_code == 75

        assert set(dead(db)) == {self.bad}
        assert db.execute("SELECT id, error->>'type', attempts, dead_at FROM outbox WHERE id = ANY (%s) ORDER BY id", [self.next]) == \
            [(id, BEHIND, 0, None) for id in self.next]
        assert documents(elastic, index) == {"1": {"price": 1, "n": 0}, "2": {"n": 1}}
        return relay

    def test_until_it_is_mended(self, db: Database, elastic: Elastic, index: str, held: Outboxd) -> None:
        db.execute("UPDATE outbox SET data = '{\"price\": 7, \"n\": 1}' WHERE id = %s", [self.bad])
        assert held.run("requeue", str(self.bad)).stdout == "1 event requeued\n"
        drain(held)
        assert documents(elastic, index) == {"1": {"price": 7, "n": 3, "m": 1}, "2": {"n": 1}}

    @pytest.mark.parametrize("way", ["by hand", "purge"])
    def test_until_it_is_deleted(self, way: str, db: Database, elastic: Elastic, index: str, held: Outboxd) -> None:
        if way == "purge":
            assert held.run("purge", "--dead", "--older-than", "1ms").exit_code == 0
        else:
            db.execute("DELETE FROM outbox WHERE id = %s", [self.bad])
        drain(held)
        assert documents(elastic, index) == {"1": {"price": 1, "n": 3, "m": 1}, "2": {"n": 1}}

    @pytest.mark.parametrize("whole", [{"price": 9}, None])
    @pytest.mark.parametrize("more", [False, True])
    def test_until_a_whole_document_replaces_all(self, whole: Any, more: bool, db: Database, elastic: Elastic, index: str,
                                                 held: Outboxd) -> None:
        """And nothing of what it replaced comes back, mended or not. An update of the same claim rests on it."""
        newer = publish(db, index, "1", whole)
        if more:
            part(db, index, "1", {"z": 1})
        drain(held)
        assert undelivered(db) == 0 and dead(db) == {}
        expected = {"1": (whole or {}) | ({"z": 1} if more else {})} if whole or more else {}
        assert documents(elastic, index) == expected | {"2": {"n": 1}}
        assert db.value("SELECT error->>'superseded_by' FROM outbox WHERE id = %s", [self.bad]) == str(newer)
        held.run("requeue", "--all")
        drain(held)
        assert documents(elastic, index) == expected | {"2": {"n": 1}}

    def test_also_behind_a_whole_document_that_is_dead(self, db: Database, elastic: Elastic, index: str, held: Outboxd) -> None:
        """Mended, it would wipe out the fields of an update that was sent before it."""
        bad = publish(db, index, "2", {"price": "more"})
        part(db, index, "2", {"n": 2})
        assert held.run_once(timeout=30).exit_code == 75
        assert documents(elastic, index)["2"] == {"n": 1}
        db.execute("UPDATE outbox SET data = '{\"price\": 2}' WHERE id = %s", [bad])
        held.run("requeue", str(bad))
        assert held.run_once(timeout=30).exit_code == 75, "document 1 still waits"
        assert documents(elastic, index)["2"] == {"price": 2, "n": 2}


def test_who_is_to_blame(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """Of many parts that were merged into one document one is refused: what is older goes without it, what is newer waits."""
    elastic.create_index(index, PRICES)
    parts = [{"price": "much"} if n == 5 else {"n": n, f"f{n}": n} for n in range(12)]
    ids = [part(db, index, "1", fields) for fields in parts]
    relay.start()
    wait_until(lambda: set(dead(db)) == {ids[5]}, 30, "the one to be dead")
    wait_until(lambda: undelivered(db) == 7, 30, "the older ones to be delivered")
    assert documents(elastic, index) == {"1": {"n": 4} | {f"f{n}": n for n in range(5)}}
    db.execute("DELETE FROM outbox WHERE id = %s", [ids[5]])
    wait_until(lambda: undelivered(db) == 0, 30, "the newer ones to be delivered")
    assert documents(elastic, index) == {"1": {"n": 11} | {f"f{n}": n for n in range(12) if n != 5}}
    assert db.value("SELECT max(attempts) FROM outbox") == 0


def test_a_dead_one_that_somebody_is_just_mending(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    elastic.create_index(index, PRICES)
    bad = part(db, index, "1", {"price": "much", "a": 1})
    drain(relay, expect=65)
    relay.start()
    with db.connect() as holder, holder.transaction():
        holder.execute("UPDATE outbox SET data = '{\"price\": 1, \"a\": 1}', dead_at = NULL WHERE id = %s", [bad])
        newer = part(db, index, "1", {"b": 2})
        wait_until(lambda: db.value("SELECT error->>'type' FROM outbox WHERE id = %s", [newer]) == BEHIND, 20, "the newer one to wait")
    wait_until(lambda: undelivered(db) == 0, 20, "all to be delivered")
    assert documents(elastic, index) == {"1": {"price": 1, "a": 1, "b": 2}}


def test_an_index_that_is_closed_loses_no_order(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """What was given back lies behind the bounds of later claims when the index is open again."""
    elastic.create_index(index)
    elastic.call("POST", f"/{index}/_close")
    other = f"{index}-other"
    for n in range(5):
        part(db, index, "1", {"n": n, f"f{n}": n})
    relay.start()
    try:
        relay.wait_log("index_paused", timeout=20)
        for n in range(5, 10):
            part(db, other, "1", {"n": n})
            part(db, index, "1", {"n": n, f"f{n}": n})
        wait_until(lambda: undelivered(db) == 10, 20, "the other index to go on")
        elastic.call("POST", f"/{index}/_open")
        wait_until(lambda: undelivered(db) == 0, 30, "all to be delivered")
    finally:
        elastic.delete_index(other)
    assert documents(elastic, index) == {"1": {"n": 9} | {f"f{n}": n for n in range(10)}}


# -- reading

@pytest.mark.parametrize("answer", [
    Answer(status=503, body="{}"), Answer(status=429, body='{"error": {"type": "es_rejected_execution_exception", "reason": "full"}}'),
    Answer(body="<html>"), Answer(body='{"docs": []}'), Answer(body='{"docs": [{"found": "yes"}, {"found": false}]}'), Answer(ending="reset"),
    Answer(body='{"docs": [{"found": false}, {"found": false}]}', cut_after=20),
], ids=["503", "429", "html", "too few", "no boolean", "reset", "cut"])
def test_an_answer_that_says_nothing(answer: Answer, db: Database, outboxd: OutboxdFactory) -> None:
    store = Store()
    store.documents = {"1": (0, {"a": 1}), "2": (0, {"a": 2})}
    answers = [answer]

    def other(request: Request) -> Answer | None:
        return answers.pop() if "_mget" in request.path and answers else store.other(request)

    with ScriptedElastic(store.bulk, other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, **UPDATES, **QUICK)
        init(relay)
        part(db, "products", "1", {"b": 1})
        part(db, "products", "2", {"b": 2})
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 20, "both to be delivered")
        # libcurl itself tries a connection once more that was closed when it began to speak.
        assert not answers and (relay.logs("elasticsearch_away") or answer.ending == "reset")
        assert store.found == {"1": {"a": 1, "b": 1}, "2": {"a": 2, "b": 2}}
    assert db.value("SELECT max(attempts) FROM outbox") == 0 and dead(db) == {}


@pytest.mark.parametrize("status", [403, 429, 503])
def test_an_answer_that_refuses_again_and_again(status: int, db: Database, outboxd: OutboxdFactory) -> None:
    """The server answers a probe each time: that must not count for more than the refusal."""
    store = Store()
    asked: list[float] = []

    def other(request: Request) -> Answer | None:
        if "_mget" not in request.path:
            return None
        asked.append(time.monotonic())
        return Answer(status=status, body='{"error": {"type": "some_exception", "reason": "no"}}')

    with ScriptedElastic(store.bulk, other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, relay_workers=1, retry_base="500ms", retry_cap="1s", **UPDATES)
        init(relay)
        part(db, "products", "1", {"n": 1})
        relay.start()
        wait_until(lambda: len(asked) >= 4, 30, "some requests")
        time.sleep(2)
        assert len(asked) < 20, "a spin would be hundreds"
    assert undelivered(db) == 1 and dead(db) == {}


@pytest.mark.parametrize("whole", ["", "security_exception", "proxy"])
def test_an_index_that_may_not_be_read(whole: str, db: Database, outboxd: OutboxdFactory) -> None:
    """Its parts wait, what is complete is written, and other indexes go on. It is said once, and it ends by itself."""
    store = Store()
    error = {"type": "security_exception", "reason": "action [indices:data/read/mget[shard]] is unauthorized"}
    granted = threading.Event()

    def other(request: Request) -> Answer | None:
        if "_mget" not in request.path or granted.is_set():
            return store.other(request)
        docs = json.loads(request.body)["docs"]
        if whole:
            return Answer(status=403, body=json.dumps({"error": error, "status": 403}) if whole != "proxy" else '{"Message": "is unauthorized"}')
        return Answer(body=json.dumps({"docs": [{"_index": doc["_index"], "_id": doc["_id"]} | ({"error": error} if doc["_index"] == "secret"
                                                                                                else {"found": False}) for doc in docs]}))

    with ScriptedElastic(store.bulk, other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, **UPDATES, retry_base="5s", retry_cap="5s")
        init(relay)
        for n in range(4):
            part(db, "secret", f"s{n}", {"n": n})
            publish(db, "secret", f"w{n}", {"n": n})
            publish(db, "open", f"o{n}", {"n": n})
        relay.start()
        paused = relay.wait_log("index_paused", timeout=20)
        assert paused["index"] == "secret" and ("is unauthorized" in paused["reason"] or paused["type"] == "reading_refused")
        wait_until(lambda: undelivered(db) == 4, 20, "the others to be delivered")
        for n in range(4, 40):
            publish(db, "secret", f"w{n}", {"n": n})
            wait_until(lambda: undelivered(db) == 4, 20, "it to be delivered")
        assert len(relay.logs("index_paused")) == 1 and not relay.logs("index_resumed")
        assert db.value("SELECT max(attempts) FROM outbox") == 0 and dead(db) == {}
        granted.set()
        relay.wait_log("index_resumed", timeout=20)
        wait_until(lambda: undelivered(db) == 0, 20, "the parts to be delivered")
        assert store.found.keys() == {f"s{n}" for n in range(4)} | {f"o{n}" for n in range(4)} | {f"w{n}" for n in range(40)}


def test_a_shard_that_is_away_holds_up_its_documents_only(db: Database, outboxd: OutboxdFactory) -> None:
    store = Store()
    away = threading.Event()
    away.set()
    error = {"type": "no_shard_available_action_exception", "reason": "No shard available"}

    def other(request: Request) -> Answer | None:
        if "_mget" not in request.path:
            return None
        answer = json.loads(store.other(request).body)  # type: ignore[union-attr, arg-type]
        return Answer(body=json.dumps({"docs": [{"_index": doc["_index"], "_id": doc["_id"], "error": error}
                                                if doc["_id"].startswith("a") and away.is_set() else doc for doc in answer["docs"]]}))

    with ScriptedElastic(store.bulk, other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, **UPDATES, **QUICK)
        init(relay)
        for n in range(5):
            part(db, "products", f"a{n}", {"n": n})
            part(db, "products", f"b{n}", {"n": n})
        relay.start()
        wait_until(lambda: undelivered(db) == 5, 20, "the others to be delivered")
        assert not relay.logs("index_paused") and set(store.found) == {f"b{n}" for n in range(5)}
        away.clear()
        wait_until(lambda: undelivered(db) == 0, 20, "all to be delivered")
    assert db.value("SELECT max(attempts) FROM outbox") == 0 and dead(db) == {}


def test_without_the_routing_that_its_index_demands(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """A mistake of that event: it is dead, and holds up nobody. A pipeline could give it one, and a part replace the whole document."""
    elastic.create_index(index, {"_routing": {"required": True}})
    other = f"{index}-other"
    bad = part(db, index, "1", {"n": 1})
    part(db, other, "1", {"n": 1})
    try:
        drain(relay, expect=65)
        in_words_of_7_17 = "null_pointer_exception"  # "type must not be null"
        assert dead(db).keys() == {bad} and dead(db)[bad]["type"] in ("routing_missing_exception", in_words_of_7_17)
        assert documents(elastic, other) == {"1": {"n": 1}}
    finally:
        elastic.delete_index(other)


def test_an_index_without_sources_waits(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """There is nothing to merge into: a condition of the index, and no event is given up for it."""
    elastic.create_index(index, {"_source": {"enabled": False}})
    publish(db, index, "1", {"a": 1})
    drain(relay)
    part(db, index, "1", {"b": 2})
    relay.start()
    assert "_source" in relay.wait_log("index_paused", timeout=20)["reason"]
    assert dead(db) == {} and undelivered(db) == 1


def test_killed_between_reading_and_writing(db: Database, outboxd: OutboxdFactory) -> None:
    store = Store()
    killed: list[Outboxd] = []

    def other(request: Request) -> Answer | None:
        if "_mget" in request.path and not killed:
            killed.append(relay)
            relay.signal(signal.SIGKILL)
        return store.other(request)

    with ScriptedElastic(store.bulk, other) as scripted:
        relay = outboxd(elasticsearch_url=scripted.url, **UPDATES, **QUICK)
        init(relay)
        part(db, "products", "1", {"a": 1})
        relay.start()
        wait_until(lambda: killed and not relay.is_alive, 20, "the kill")
        part(db, "products", "1", {"b": 2})
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 20, "both to be delivered")
        assert store.found == {"1": {"a": 1, "b": 2}}


# -- faults of all kinds

class Moody(Store):
    """Fails in every way there is."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.relays: dict[str, Outboxd] = {}
        self.kills = 0
        self.is_kind = False
        self._random = random.Random(seed)
        self._accepted: set[tuple[str, int]] = set()

    def other(self, request: Request) -> Answer | None:
        if "_mget" in request.path and not self.is_kind and self._random.random() < 0.1:
            return self._random.choice([Answer(status=503, body=""), Answer(ending="reset"), self._kill(request)])
        return super().other(request)

    def bulk(self, request: Request) -> Answer | None:
        whim = "fine" if self.is_kind else self._random.choices(
            ["fine", "some refused", "away", "lost", "half", "killed", "killed early"], [10, 10, 2, 3, 3, 1, 1])[0]
        if whim == "away":
            return Answer(status=503, body=b"")
        if whim == "killed early":
            return self._kill(request)
        items = {}
        for position, action in enumerate(request.actions):
            if whim == "half" and self._random.random() < 0.5:
                continue
            key = (action.id or "", action.version or 0)
            if whim == "some refused" and self._random.random() < 0.5:
                reasons = [(429, "es_rejected_execution_exception", "full"), (503, "unavailable_shards_exception", "no")]
                if key not in self._accepted:  # what was good enough once is good enough again
                    reasons += [(400, "document_parsing_exception", "no"), (418, "teapot_exception", "no")]
                items[position] = self._random.choice(reasons)
                continue
            self._accepted.add(key)
            if refusal := self.apply(action):
                items[position] = refusal
        if whim == "killed":
            return self._kill(request)
        return Answer(ending="reset") if whim in ("lost", "half") else Answer(items=items)

    def _kill(self, request: Request) -> Answer:
        """kill -9 of the sender, in mid-send."""
        self.kills += 1
        self.relays[request.path.split("/")[1]].signal(signal.SIGKILL)
        return Answer(ending="close", delay=0.1)


def write_some(db: Database, chance: random.Random, first: int, count: int, keys: int, index: str = "products") -> None:
    with db.connect() as connection:
        for n in range(first, first + count):
            dice = chance.random()
            event, data = ("whole", None) if dice < 0.1 else ("whole", {"n": n}) if dice < 0.25 else ("part", {f"f{chance.randrange(5)}": n})
            connection.execute("SELECT outbox_publish(%s, %s, %s, %s)",
                               [index, str(chance.randrange(keys)), None if data is None else json.dumps(data), event])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.time_limit(200)
def test_what_comes_out_is_what_went_in(seed: int, db: Database, outboxd: OutboxdFactory) -> None:
    """Two relays, refusals of all kinds, outages, kill -9 in mid-send, requeues of dead events at any time."""
    server = Moody(seed)
    chance = random.Random(seed)
    requeue = "UPDATE outbox SET dead_at = NULL, retry_at = NULL, attempts = 0 WHERE NOT processed AND dead_at IS NOT NULL"
    fresh = "SELECT count(*) FROM outbox WHERE NOT processed AND error IS NULL"
    with ScriptedElastic(server.bulk, server.other) as scripted:
        for name in ("one", "two"):
            server.relays[name] = outboxd(**UPDATES, retry_base="2ms", retry_cap="20ms", relay_workers=1, relay_batch_rows=40,
                                          relay_poll_interval="20ms", elasticsearch_url=f"{scripted.url}/{name}")
        init(server.relays["one"])

        def keep_alive() -> bool:
            for relay in server.relays.values():
                if not relay.is_alive:
                    relay.start()
            return True

        for chunk in range(20):
            write_some(db, chance, chunk * 60, 60, keys=20)
            seen = len(scripted.bulks)
            # What has been met and still waits may wait for a dead one: then there are no requests.
            wait_until(lambda: keep_alive() and (len(scripted.bulks) >= seen + 6 or db.value(fresh) == 0), 30, "some requests")
            db.execute(requeue)
        server.is_kind = True

        def rest() -> bool:
            db.execute(requeue)
            return keep_alive() and undelivered(db) == 0

        wait_until(rest, 60, "all to be delivered in the end", every=0.1)

    assert server.kills > 0
    assert server.found == merged(events(db))


@pytest.mark.time_limit(240)
def test_two_relays_and_answers_that_are_lost(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """With a real server: what was applied is applied again, and what comes out is what went in."""
    with FaultProxy(elastic.port) as one, FaultProxy(elastic.port) as two:
        relays = [outboxd(elasticsearch_url=proxy.url, **UPDATES, relay_batch_rows=40, retry_base="10ms", retry_cap="100ms",
                          relay_poll_interval="20ms") for proxy in (one, two)]
        init(relays[0])
        for each in relays:
            each.start()
        writer = threading.Thread(target=write_some, args=(db, random.Random(3), 0, 1500, 30, index))
        writer.start()
        lost = random.Random(4)
        while writer.is_alive():
            for proxy in (one, two):
                proxy.cut_exchange(lost.randrange(1, 4), "response")
            time.sleep(0.1)
        writer.join()
        for proxy in (one, two):
            proxy.pass_all()
        wait_until(lambda: undelivered(db) == 0, 120, "all to be delivered")
    assert documents(elastic, index) == merged(events(db))


# -- what is refused

@pytest.mark.parametrize(("document", "said"), [
    ("NULL", "update needs a document"), ("'[1]'", "not a JSON object"), ("''", "the document is empty"),
    ("'{\"n\":[1}}'", "not valid JSON"), ("'{}{}'", "not valid JSON"), ("'{\"a\": 01}'", "not valid JSON"),
    ("repeat('{\"a\":', 300) || '1' || repeat('}', 300)", "not valid JSON"),
])
def test_what_is_refused(document: str, said: str, db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    """Before it is sent, and alone."""
    relay = outboxd(**UPDATES, outbox_document=f"CASE WHEN o.aggregate_id = '7' THEN {document} ELSE o.data::text END")
    init(relay)
    for n in range(20):
        part(db, index, str(n), {"n": n})
    drain(relay, expect=65)
    assert [(error["id"], error["status"], said in error["reason"]) for error in dead(db).values()] == [("7", None, True)]
    assert documents(elastic, index) == {str(n): {"n": n} for n in range(20) if n != 7}
