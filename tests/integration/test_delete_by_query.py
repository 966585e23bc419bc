"""delete_by_query: what the older events left and the query finds is deleted, what is newer stays, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from admin import Admin
from conftest import OutboxdFactory
from helpers import PRODUCTS, dead, drain, init, publish, publish_many, undelivered

from harness import Answer, Database, Elastic, FaultProxy, Outboxd, ScriptedElastic, wait_until
from harness.outboxd import Completed
from harness.process import is_alive
from harness.scripted_elastic import Request

QUICK = {"retry_base": "10ms", "retry_cap": "200ms", "relay_poll_interval": "20ms"}
RED: dict[str, Any] = {"term": {"color": "red"}}
ALL: dict[str, Any] = {"match_all": {}}
MAPPING = {"properties": {"color": {"type": "keyword"}}}
WAITS = "delete_by_query_waits"
RUNS = "delete_by_query_runs"


@pytest.fixture
def relay(index: str, elastic: Elastic, outboxd: OutboxdFactory) -> Outboxd:
    made = outboxd(outbox_delete_by_query=f"other, {index}", **QUICK)
    init(made)
    elastic.create_index(index, MAPPING)
    return made


def begin_at(db: Database, id: int) -> None:
    """What others write, without a version, is older than the events."""
    db.execute(f"ALTER TABLE outbox ALTER COLUMN id RESTART WITH {id}")


def query(db: Database, index: str, what: Any = RED) -> int:
    return publish(db, index, "", {"query": what}, "delete_by_query")


def paint(db: Database, index: str, first: int, last: int, color: str = "red") -> None:
    publish_many(db, index, ((str(n), {"color": color, "n": n}) for n in range(first, last + 1)))


def left(elastic: Elastic, index: str) -> set[str]:
    return set(elastic.all_docs(index))


def error(db: Database, event: int) -> dict[str, Any]:
    return db.value("SELECT coalesce(error, '{}') FROM outbox WHERE id = %s", [event]) or {}


def sweep(relay: Outboxd, event: int) -> tuple[int, dict[str, Any]]:
    """By hand: the exit code and the report."""
    done = relay.run("sweep", "--json", str(event))
    return done.exit_code, json.loads(done.stdout) if done.stdout else {}


def comes_to_wait(db: Database, event: int, word: str) -> None:
    wait_until(lambda: word in error(db, event).get("reason", ""), 20, f"a wait for {word}")


def is_delivered(db: Database, event: int) -> bool:
    return bool(db.value("SELECT processed FROM outbox WHERE id = %s", [event]))


# -- what comes of it

def test_what_older_events_left_is_deleted(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    paint(db, index, 1, 3)
    paint(db, index, 4, 5, "blue")
    event = query(db, index)
    publish(db, index, "2", {"color": "red", "again": True})  # newer

    done = drain(relay)

    assert left(elastic, index) == {"2", "4", "5"}
    line = done.logs("delete_by_query")[0]
    assert (line["id"], line["index"], line["deleted"]) == (str(event), index, "2")
    assert undelivered(db) == 0 and dead(db) == {}
    assert db.value("SELECT error IS NULL AND processed_at IS NOT NULL AND attempts = 0 FROM outbox WHERE id = %s", [event])
    tally = done.logs("drained")[0]
    assert int(tally["claimed"]) == sum(int(tally[fate]) for fate in ("delivered", "superseded", "dead", "waiting", "returned"))
    # All of them once more: nothing changes.
    db.execute("UPDATE outbox SET processed = false, processed_at = NULL")
    drain(relay)
    assert left(elastic, index) == {"2", "4", "5"}


def test_newer_hits_stay_and_end_it(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """Delivered before the query is: more than one page of them, and documents that older events wrote between."""
    paint(db, index, 1, 1200)
    event = query(db, index)
    db.execute("UPDATE outbox SET retry_at = now() + interval '1 hour' WHERE id = %s", [event])
    paint(db, index, 1001, 2300)
    relay.start()
    wait_until(lambda: undelivered(db) == 1, 30, "the others")
    relay.terminate()
    code, said = sweep(relay, event)
    assert (code, said["outcome"], said["deleted"], said["newer"]) == (0, "delivered", 1000, 1300)
    assert left(elastic, index) == {str(n) for n in range(1001, 2301)}


def test_many_pages(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    paint(db, index, 1, 2500)
    query(db, index, ALL)
    assert drain(relay).logs("delete_by_query")[0]["deleted"] == "2500"
    assert left(elastic, index) == set()


def test_a_late_older_event_is_refused(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """It meets the version of the query, which is an event of another document: settled all the same, and nothing comes back."""
    paint(db, index, 1, 2)
    query(db, index)
    drain(relay)
    db.execute("UPDATE outbox SET processed = false, processed_at = NULL WHERE aggregate_id = '1'")
    assert drain(relay).logs("drained")[0]["superseded"] == "1"
    assert left(elastic, index) == set() and undelivered(db) == 0


def test_tombstones(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_delete_by_query=index, outbox_deletes="tombstone", **QUICK)
    init(relay)
    elastic.create_index(index, MAPPING)
    paint(db, index, 1, 2)
    event = query(db, index)
    drain(relay)
    found = elastic.all_docs(index)
    assert {name: (json.loads(document.source), document.version) for name, document in found.items()} == \
        {name: ({"deleted": True}, event) for name in ("1", "2")}


def test_routing_is_kept(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_delete_by_query=index, outbox_routing="o.data->>'shop'", **QUICK)
    init(relay)
    elastic.create_index(index, MAPPING, {"number_of_shards": 5})
    publish_many(db, index, ((str(n), {"color": "red", "shop": f"shop {n % 7}"}) for n in range(50)))
    query(db, index)
    assert drain(relay).logs("delete_by_query")[0]["deleted"] == "50"
    assert left(elastic, index) == set()


def test_an_alias_and_an_index_that_is_not_there(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_delete_by_query=f"{index}-a,{index}-none", **QUICK)
    init(relay)
    elastic.create_index(index, MAPPING)
    elastic.call("PUT", f"/{index}/_alias/{index}-a")
    paint(db, f"{index}-a", 1, 3)
    query(db, f"{index}-a")
    none = query(db, f"{index}-none")
    db.execute("UPDATE outbox SET error = '{\"since\": 0}' WHERE id = %s", [none])  # it has not come for long
    done = drain(relay)
    assert left(elastic, index) == set() and is_delivered(db, none)
    assert sorted(line["deleted"] for line in done.logs("delete_by_query")) == ["0", "3"]


def test_nothing_is_kept(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_delete_by_query=index, retention_keep="0", **QUICK)
    init(relay)
    elastic.create_index(index, MAPPING)
    paint(db, index, 1, 3)
    query(db, index)
    drain(relay)
    assert db.value("SELECT count(*) FROM outbox") == 0 and left(elastic, index) == set()


def test_a_mapping_of_ones_own(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_delete_by_query=index, outbox_operation="CASE o.event WHEN 'gone' THEN 'delete_by_query' ELSE 'index' END", **QUICK)
    init(relay)
    elastic.create_index(index, MAPPING)
    paint(db, index, 1, 3)
    publish(db, index, "1", {"query": RED}, "gone")
    drain(relay)
    assert left(elastic, index) == set()


# -- what is refused

@pytest.mark.parametrize("document", [None, {}, {"query": RED, "size": 1}, {"query": "red"}, {"match_all": {}}, [RED]])
def test_another_document_is_dead(db: Database, elastic: Elastic, index: str, relay: Outboxd, document: Any) -> None:
    paint(db, index, 1, 1)
    event = publish(db, index, "1", document, "delete_by_query")
    drain(relay, 65)
    assert dead(db)[event]["type"] == "delete_by_query_invalid" and left(elastic, index) == {"1"}
    assert "{\"query\": {...}}" in relay.run("dead", str(event)).stdout


def test_a_query_that_elasticsearch_refuses_is_dead(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    paint(db, index, 1, 1)
    event = query(db, index, {"no_such_query": {}})
    done = drain(relay, 65)
    assert done.logs("events_dead")[0]["first_id"] == str(event)
    why = dead(db)[event]
    assert why["status"] == 400 and "no_such_query" in why["reason"] and why["index"] == index and why["id"] is None
    assert db.value("SELECT attempts FROM outbox WHERE id = %s", [event]) == 1
    # Mended, and once more.
    db.execute("UPDATE outbox SET data = %s WHERE id = %s", [json.dumps({"query": RED}), event])
    assert relay.run("requeue", str(event)).exit_code == 0
    drain(relay)
    assert left(elastic, index) == set()


def test_an_index_that_is_not_in_the_list_is_dead(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    mapping = "CASE o.event WHEN 'delete_by_query' THEN o.event ELSE 'index' END"
    closed, other = outboxd(outbox_operation=mapping, **QUICK), outboxd(outbox_delete_by_query=f"{index}-other", **QUICK)
    init(closed)
    paint(db, index, 1, 1)
    events = [query(db, index, ALL)]
    drain(closed, 65)
    events += [query(db, name, ALL) for name in (index, "_all", "*", f"{index},{index}-other")]
    drain(other, 65)
    types = [dead(db)[event]["type"] for event in events]
    assert types == ["delete_by_query_not_allowed"] * 2 + ["invalid_index_name_exception"] * 3
    assert "outbox.delete_by_query" in dead(db)[events[0]]["reason"] and left(elastic, index) == {"1"}
    # A newer event of a document that happens to have its name settles none of them.
    publish(db, index, "", {"n": 1})
    publish(db, index, "1", {"n": 1})
    drain(other, 65)
    assert set(events) <= set(dead(db))


def test_names_are_names() -> None:
    assert Outboxd(postgres_dsn="x", elasticsearch_url="http://x", outbox_delete_by_query="catalog_all").run("config").exit_code == 0
    for wrong in ("*", "products*", "_all", "a, _all"):
        done = Outboxd(postgres_dsn="x", elasticsearch_url="http://x", outbox_delete_by_query=wrong).run("run")
        assert done.exit_code == 78 and "outbox.delete_by_query" in done.stderr


@pytest.mark.parametrize("deletes", ["delete", "tombstone"])
def test_an_alias_of_several_indexes_is_dead(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory, deletes: str) -> None:
    relay = outboxd(outbox_delete_by_query=f"{index}-both", outbox_deletes=deletes, **QUICK)
    init(relay)
    elastic.create_index(index, MAPPING)
    elastic.create_index(f"{index}-old", MAPPING)
    begin_at(db, 100)
    try:
        elastic.call("POST", "/_aliases", {"actions": [
            {"add": {"index": index, "alias": f"{index}-both", "is_write_index": True}},
            {"add": {"index": f"{index}-old", "alias": f"{index}-both"}}]})
        elastic.call("PUT", f"/{index}-old/_doc/1?refresh=true", {"color": "red"})
        event = query(db, f"{index}-both")
        drain(relay, 65)
        assert "alias of several" in dead(db)[event]["reason"] and left(elastic, f"{index}-old") == {"1"}
    finally:
        elastic.delete_index(f"{index}-old")


@pytest.mark.parametrize("operation", ["create", "update"])
def test_parts_and_creates_are_dead_there(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory, operation: str) -> None:
    relay = outboxd(outbox_delete_by_query=index, outbox_operation=f"CASE o.event WHEN 'x' THEN '{operation}' ELSE 'index' END", **QUICK)
    init(relay)
    event = publish(db, index, "1", {"a": 1}, "x")
    elsewhere = publish(db, f"{index}-2", "1", {"a": 1}, "x")
    drain(relay, 65)
    try:
        assert dead(db)[event]["type"] == "whole_documents_only" and operation in dead(db)[event]["reason"]
        assert is_delivered(db, elsewhere)
    finally:
        elastic.delete_index(f"{index}-2")


# -- what it waits for

def test_an_older_event_that_waits(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """It holds up neither newer events nor queries of other indexes, and no attempt is counted."""
    paint(db, index, 1, 1)
    db.execute("UPDATE outbox SET retry_at = now() + interval '1 hour'")
    event = query(db, index)
    publish(db, index, "2", {"color": "red"})
    other = query(db, "other")
    db.execute("UPDATE outbox SET error = '{\"since\": 0}' WHERE id = %s", [other])  # there is no such index, and has not been for long
    relay.start()
    comes_to_wait(db, event, "event 1 of this index is older")
    wait_until(lambda: is_delivered(db, other) and undelivered(db) == 2, 20, "the others")
    assert error(db, event)["type"] in (WAITS, RUNS)
    db.execute("UPDATE outbox SET error = error || '{\"since\": 0}' WHERE id = %s", [event])
    assert relay.wait_log("delete_by_query_waits", timeout=20)["for"] == "older_event"
    db.execute("UPDATE outbox SET retry_at = NULL WHERE id = 1")
    wait_until(lambda: undelivered(db) == 0, 30, "the query")
    assert left(elastic, index) == {"2"}
    assert db.value("SELECT attempts FROM outbox WHERE id = %s", [event]) == 0


def test_a_dead_event_does_not_hold_it_up(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    publish(db, index, "1", {"color": {"no": "keyword"}})
    event = query(db, index)
    drain(relay, 65)
    assert is_delivered(db, event) and list(dead(db)) == [1]


def test_a_transaction_that_is_still_writing(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """It has drawn an older id, and nobody sees its row. Whoever begins later does not count."""
    with db.connect() as older, db.connect() as newer:
        older.execute("BEGIN")
        newer.execute("BEGIN")
        older.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, '1', '{\"color\": \"red\"}')", [index])
        event = query(db, index)
        relay.start()
        comes_to_wait(db, event, "has not ended")
        newer.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, '2', '{\"color\": \"red\"}')", [index])
        older.execute("COMMIT")
        wait_until(lambda: is_delivered(db, event), 30, "the query")
        assert left(elastic, index) == set()
        newer.execute("COMMIT")
    wait_until(lambda: undelivered(db) == 0, 20, "the newer one")
    assert left(elastic, index) == {"2"}


def test_a_prepared_transaction(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """It has another name than the one under which it was seen to write."""
    with db.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO outbox (aggregate_type, aggregate_id, data) VALUES (%s, '1', '{\"color\": \"red\"}')", [index])
        event = query(db, index)
        relay.start()
        comes_to_wait(db, event, "has not ended")
        writer.execute("PREPARE TRANSACTION 'dbq'")
    try:
        waited = error(db, event)["wait_ms"]
        db.execute("UPDATE outbox SET retry_at = NULL WHERE id = %s", [event])
        # A look that has ended without what it wants doubles the wait.
        wait_until(lambda: error(db, event)["type"] == WAITS and error(db, event)["wait_ms"] > waited, 20, "another look")
    finally:
        db.execute("COMMIT PREPARED 'dbq'")
    wait_until(lambda: undelivered(db) == 0, 30, "the query")
    assert left(elastic, index) == set()


# -- what goes wrong meanwhile

def child_of(relay: Outboxd) -> int | None:
    children = Path(f"/proc/{relay.pid}/task/{relay.pid}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.fixture
def proxied(elastic: Elastic, index: str, outboxd: OutboxdFactory) -> Iterator[tuple[Outboxd, FaultProxy]]:
    with FaultProxy(elastic.port) as proxy:
        made = outboxd(outbox_delete_by_query=index, elasticsearch_url=proxy.url, **QUICK)
        init(made)
        elastic.create_index(index, MAPPING)
        yield made, proxy


@pytest.mark.parametrize("victim", ["child", "daemon", "daemon alone"])
def test_kill_9_in_the_middle(db: Database, elastic: Elastic, index: str, proxied: tuple[Outboxd, FaultProxy], victim: str) -> None:
    relay, proxy = proxied
    paint(db, index, 1, 1500)
    drain(relay)
    event = query(db, index)
    proxy.delay(0.2)
    relay.start()
    child = wait_until(lambda: child_of(relay), 20, "the process")
    wait_until(lambda: error(db, event).get("type") == RUNS, 20, "its start")
    if victim == "child":
        os.kill(child, signal.SIGKILL)
        assert "signal 9" in relay.wait_log("delete_by_query_failed", timeout=20)["error"]
    else:
        if victim == "daemon":
            os.kill(child, signal.SIGKILL)
        relay.signal(signal.SIGKILL)
        relay.wait()
        relay.start()
        assert is_alive(child) == (victim == "daemon alone")
    proxy.pass_all()
    publish(db, index, "7", {"color": "red"})  # others go on
    wait_until(lambda: db.value("SELECT processed FROM outbox WHERE aggregate_id = '7' ORDER BY id DESC LIMIT 1"), 20, "another event")
    if victim != "daemon alone":  # whose child goes on
        # It comes due again by itself, when whoever held it would have been heard of.
        assert db.value("SELECT retry_at BETWEEN now() + interval '60 s' AND now() + interval '120 s' FROM outbox WHERE id = %s", [event])
        db.execute("UPDATE outbox SET retry_at = now() WHERE id = %s", [event])
    wait_until(lambda: undelivered(db) == 0, 60, "the query")
    assert left(elastic, index) == {"7"}


def test_each_exchange_is_cut(db: Database, elastic: Elastic, index: str, proxied: tuple[Outboxd, FaultProxy]) -> None:
    """The n-th, for each n until one run has no more: refresh, search, deletes, next page, deletes, last page, end."""
    relay, proxy = proxied
    for n in range(1, 20):
        paint(db, index, 1, 1050)
        assert relay.run_once().exit_code == 0
        event, before = query(db, index), proxy.counters.cuts
        proxy.cut_exchange(n, "response" if n % 2 else "request")
        code, said = sweep(relay, event)
        struck = proxy.counters.cuts > before
        proxy.pass_all()
        if said["outcome"] != "delivered":
            assert code == 75 and struck and error(db, event)["type"] == WAITS
            assert sweep(relay, event)[1]["outcome"] == "delivered"
        assert left(elastic, index) == set(), n
        if not struck:
            break
    assert not struck and n > 7


@pytest.mark.parametrize("name", ["", "-alias"])
def test_two_at_once(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory, name: str) -> None:
    """Two relays and an operator, who all carry out the same events: what one finds the other has deleted."""
    name = index + name
    relay, twin = (outboxd(outbox_delete_by_query=name, **QUICK) for _ in range(2))
    init(relay)
    elastic.create_index(index, MAPPING)
    if name != index:
        elastic.call("PUT", f"/{index}/_alias/{name}")
    paint(db, name, 1, 1500)
    events = []
    for n in range(4):
        events.append(query(db, name))
        publish(db, name, f"new {n}", {"color": "blue"})
    relay.start()
    twin.start()
    for event in events:
        relay.run("sweep", str(event))
    wait_until(lambda: undelivered(db) == 0, 60, "all")
    assert left(elastic, index) == {f"new {n}" for n in range(4)} and dead(db) == {}


def test_paused_while_it_runs(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory, admin: Admin) -> None:
    with FaultProxy(elastic.port) as proxy:
        relay = outboxd(outbox_delete_by_query=index, admin_listen=admin.listen,
                        elasticsearch_url=proxy.url, **QUICK)
        init(relay)
        elastic.create_index(index, MAPPING)
        paint(db, index, 1, 1500)
        drain(relay)
        event = query(db, index)
        proxy.delay(0.3)
        relay.start()
        wait_until(lambda: error(db, event).get("type") == RUNS, 20, "its start")
        assert admin.ask("/pause", "POST").status == 200
        wait_until(lambda: child_of(relay) is None, 20, "its end")
        assert not is_delivered(db, event) and error(db, event)["reason"] == "interrupted"
        proxy.pass_all()
        assert admin.ask("/resume", "POST").status == 200
        assert admin.ask("/sync?timeout=60s", "POST").status == 200
        assert is_delivered(db, event) and left(elastic, index) == set()


# -- answers that no server gives at will

class Store:
    """A scripted server of one search: pages of hits, and what the deletes are answered."""

    def __init__(self, *pages: list[dict[str, Any]], items: dict[int, tuple[int, str, str]] | None = None) -> None:
        self.pages, self.hits = list(pages), [one for page in pages for one in page]
        self.asked: list[str] = []
        self.deletes: list[dict[str, Any]] = []
        self.items = items or {}
        self.failed = self.unrefreshed = self.searches = 0

    def other(self, request: Request) -> Answer | None:
        if "_refresh" in request.path:
            return Answer(body=json.dumps({"_shards": {"total": 2, "failed": self.unrefreshed}}))
        if "_search" not in request.path:
            return None
        self.asked.append(f"{request.method} {request.path}")
        if request.path.endswith("/_search"):
            self.searches += 1
            if self.searches > 1:  # what was older has been deleted
                self.pages = [[one for one in self.hits if one["_version"] >= 100]]
        hits = self.pages.pop(0) if self.pages else []
        return Answer(body=json.dumps({"_scroll_id": f"s{len(self.asked)}", "timed_out": False,
                                       "_shards": {"failed": self.failed}, "hits": {"hits": hits}}))


def hit(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"_index": "products", "_id": name, "_version": version} | more


def scripted(db: Database, outboxd: OutboxdFactory, store: Store, bulk: Callable[[Request], Answer | None]) -> tuple[ScriptedElastic, Outboxd, int]:
    server = ScriptedElastic(bulk, store.other)
    relay = outboxd(outbox_delete_by_query="products", elasticsearch_url=server.url, **QUICK)
    init(relay)
    begin_at(db, 100)
    event = query(db, "products")
    db.execute("SELECT nextval(pg_get_serial_sequence('outbox', 'id')) FROM generate_series(1, 10)")  # of newer ones
    return server, relay, event


def test_versions_are_those_of_the_event(db: Database, outboxd: OutboxdFactory) -> None:
    store = Store([hit("a", 99), hit("b", 100), hit("c", 7, _routing="x"), hit("d", 101)])
    server, relay, event = scripted(db, outboxd, store, lambda request: Answer(items={0: (409, "version_conflict_engine_exception", "newer")}))
    with server:
        code, said = sweep(relay, event)
    assert (code, said["outcome"], said["newer"]) == (0, "delivered", 2)
    assert [(action.operation, action.id, action.version, action.meta.get("routing")) for action in server.sent_actions()] == \
        [("delete", "a", 100, None), ("delete", "c", 100, "x")]
    assert store.asked == ["POST /products/_search", "POST /_search/scroll", "DELETE /_search/scroll"] * 2  # the second finds none


@pytest.mark.parametrize("status,type,outcome", [
    (429, "es_rejected_execution_exception", "waits"), (503, "unavailable_shards_exception", "waits"),
    (403, "cluster_block_exception", "waits"), (403, "security_exception", "waits"),
    (400, "routing_missing_exception", "dead"), (400, "illegal_argument_exception", "dead"),
    (400, "illegal_argument_exception: no write index is defined for alias [x]", "waits"),
    (400, "illegal_argument_exception: only write ops with an op_type of create are allowed in data streams", "dead")])
def test_a_delete_that_is_refused(db: Database, outboxd: OutboxdFactory, status: int, type: str, outcome: str) -> None:
    type, _, reason = type.partition(": ")
    server, relay, event = scripted(db, outboxd, Store([hit("a", 1), hit("b", 2)]), lambda request: Answer(items={1: (status, type, reason)}))
    with server:
        said = sweep(relay, event)[1]
    assert (said["outcome"], said["status"], said["type"]) == (outcome, status, type)
    assert error(db, event)["type"] == (type if outcome == "dead" else WAITS)


def test_a_shard_that_does_not_answer(db: Database, outboxd: OutboxdFactory) -> None:
    store = Store([hit("a", 1)])
    store.failed = 1
    server, relay, event = scripted(db, outboxd, store, lambda request: None)
    with server:
        assert sweep(relay, event)[1]["outcome"] == "waits"
    assert server.sent_actions() == [] and "whole index" in error(db, event)["reason"]


GONE = '{"error": {"type": "index_not_found_exception", "reason": "no such index"}}'


@pytest.mark.parametrize("since,body,outcome", [
    (0, "<html>not found</html>", "waits"), (0, '{"error": "no handler found for uri"}', "waits"), (0, GONE, "delivered"), (2**40, GONE, "waits")])
def test_a_404(db: Database, outboxd: OutboxdFactory, since: int, body: str, outcome: str) -> None:
    """Something on the way does not know /_refresh, or an alias is on the move: that is no index without documents."""
    store = Store()
    store.other = lambda request: Answer(404, body=body) if "_refresh" in request.path else None  # type: ignore[method-assign]
    server, relay, event = scripted(db, outboxd, store, lambda request: None)
    db.execute("UPDATE outbox SET error = jsonb_build_object('since', %s::bigint)", [since])
    with server:
        said = sweep(relay, event)[1]
    assert said["outcome"] == outcome and said.get("waits_for") == {"delivered": None}.get(outcome, "missing_index" if body == GONE else "refused")


@pytest.mark.parametrize("unrefreshed", [1, None])
def test_a_copy_that_is_not_refreshed(db: Database, outboxd: OutboxdFactory, unrefreshed: Any) -> None:
    store = Store()
    store.unrefreshed = unrefreshed
    server, relay, event = scripted(db, outboxd, store, lambda request: None)
    with server:
        said = sweep(relay, event)[1]
    assert (said["outcome"], said["waits_for"]) == ("waits", "server") and "refresh the whole" in said["reason"] and store.asked == []


def test_what_a_pass_has_missed(db: Database, outboxd: OutboxdFactory) -> None:
    """A replica that was promoted meanwhile shows more: whatever is found is deleted, until nothing is."""
    store = Store([hit("a", 1)])
    server, relay, event = scripted(db, outboxd, store, lambda request: None)
    more = iter([[hit("b", 2)], [hit("c", 3)], []])
    plain = store.other

    def other(request: Request) -> Answer | None:
        if request.path.endswith("/_search") and store.searches > 0:
            store.hits = []
            answer = plain(request)
            store.pages = [[]]
            return Answer(body=json.dumps(json.loads(str(answer and answer.body)) | {"hits": {"hits": next(more)}}))
        return plain(request)

    server._other = other
    with server:
        assert sweep(relay, event)[1]["outcome"] == "delivered"
    assert [action.id for action in server.sent_actions()] == ["a", "b", "c"] and store.searches == 4


@pytest.mark.parametrize("hits,reason", [
    ([hit("a", 1), hit("b", 5000)], ""), ([hit("a", 1)], "[a]: version conflict, current version [5000] is higher or equal to the one provided [100]")])
def test_a_version_that_was_never_drawn(db: Database, outboxd: OutboxdFactory, hits: list[dict[str, Any]], reason: str) -> None:
    server, relay, event = scripted(db, outboxd, Store(hits), lambda request: Answer(items={0: (409, "version_conflict_engine_exception", reason)}))
    with server:
        said = sweep(relay, event)[1]
    assert (said["outcome"], said["waits_for"]) == ("waits", "version_from_the_future")
    why = error(db, event)
    assert why["type"] == "version_from_the_future" and "current version [5000]" in why["reason"]


@pytest.mark.parametrize("reason,outcome", [
    ("Keep alive for request (10m) is too large. It must be less than [1m]", "waits"),
    ("Batch size is too large, size must be less than or equal to: [500] but was [1000]", "waits"), ("unknown field [Keep alive for request (]", "dead")])
def test_a_search_that_is_refused(db: Database, outboxd: OutboxdFactory, reason: str, outcome: str) -> None:
    server, relay, event = scripted(db, outboxd, store := Store(), lambda request: None)
    plain, body = store.other, {"error": {"type": "x", "reason": "all shards failed", "root_cause": [{"type": "illegal_argument_exception", "reason": reason}]}}
    server._other = lambda request: Answer(400, body=json.dumps(body)) if request.path.endswith("/_search") else plain(request)
    with server:
        assert sweep(relay, event)[1]["outcome"] == outcome
    assert reason in error(db, event)["reason"]


def test_a_scroll_that_is_lost(db: Database, outboxd: OutboxdFactory) -> None:
    """In the middle: what is left is found by the next look, from the start."""
    server, relay, event = scripted(db, outboxd, store := Store([hit("a", 1)], [hit("b", 2)]), lambda request: None)
    plain, lost = store.other, '{"error": {"type": "search_phase_execution_exception", "reason": "all shards failed"}}'
    server._other = lambda request: Answer(404, body=lost) if request.method == "POST" and request.path == "/_search/scroll" else plain(request)
    with server:
        said = sweep(relay, event)[1]
        assert (said["outcome"], said["waits_for"], said["status"]) == ("waits", "refused", 404) and len(server.sent_actions()) == 1
        store.searches, store.pages = 0, [[hit("b", 2)]]
        server._other = plain
        assert sweep(relay, event)[1]["outcome"] == "delivered"
    assert [action.id for action in server.sent_actions()] == ["a", "b"]


@pytest.mark.parametrize("keep", ["7d", "0"])
@pytest.mark.parametrize("then", ["delivered", "dead"])
def test_a_row_that_is_edited_meanwhile(db: Database, outboxd: OutboxdFactory, keep: str, then: str) -> None:
    """What was carried out, or refused, is not what stands there now."""
    server, relay, event = scripted(db, outboxd, store := Store([hit("a", 1)]), lambda request: None)
    relay = outboxd(outbox_delete_by_query="products", elasticsearch_url=server.url, retention_keep=keep, **QUICK)
    plain, other = store.other, json.dumps({"query": ALL})

    def edit(request: Request) -> Answer | None:
        if request.path.endswith("/_search"):
            with db.connect() as editor:
                editor.execute("UPDATE outbox SET data = %s WHERE id = %s", [other, event])
            if then == "dead":
                return Answer(400, body='{"error": {"root_cause": [{"type": "parsing_exception", "reason": "no"}]}}')
        return plain(request)

    server._other = edit
    with server:
        code, said = sweep(relay, event)
    assert (code, said["outcome"], said["waits_for"]) == (75, "waits", "edited")
    assert db.value("SELECT NOT processed AND dead_at IS NULL AND retry_at <= clock_timestamp() FROM outbox WHERE id = %s", [event])


def test_a_row_that_somebody_locks(db: Database, outboxd: OutboxdFactory) -> None:
    """It does not hold up the queries behind it."""
    server, relay, event = scripted(db, outboxd, Store(), lambda request: None)
    with server, db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM outbox WHERE id = %s FOR UPDATE", [event])
        code, said = sweep(relay, event)
    assert code != 0 and (said["outcome"], said["type"]) == ("failed", "55P03")


def test_ids_that_went_back(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """What stands there is no newer event's. `check --raise-sequence` mends it, as for any event."""
    elastic.call("PUT", f"/{index}/_doc/1?version=1000000&version_type=external&refresh=true", {"color": "red"})
    event = query(db, index)
    assert sweep(relay, event)[1]["waits_for"] == "version_from_the_future"
    assert "--raise-sequence" in relay.run("check").stdout
    assert relay.run("check", "--raise-sequence").exit_code == 0
    drain(relay)
    assert left(elastic, index) == set() and undelivered(db) == 0


def test_the_least_role(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    role = f"Relay of {db.name}"
    try:
        init(outboxd(), "--role", role)
        elastic.create_index(index, MAPPING)
        paint(db, index, 1, 3)
        with db.connect() as older:
            older.execute("BEGIN")
            older.execute("LOCK TABLE outbox IN ROW EXCLUSIVE MODE")
            event = query(db, index)
            relay = outboxd(outbox_delete_by_query=index, postgres_dsn=db.dsn_with(user=role), **QUICK)
            relay.start()
            pid = older.execute("SELECT pg_backend_pid()").fetchone()
            comes_to_wait(db, event, f"process {pid and pid[0]}")
            older.execute("COMMIT")
        wait_until(lambda: is_delivered(db, event), 20, "the query")
        assert left(elastic, index) == set()
    finally:
        db.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_an_id_below_zero(db: Database, elastic: Elastic, index: str, outboxd: OutboxdFactory) -> None:
    relay = outboxd(outbox_delete_by_query=index, outbox_version="o.id + 1000", **QUICK)
    init(relay)
    elastic.create_index(index, MAPPING)
    elastic.call("PUT", f"/{index}/_doc/1?refresh=true", {"color": "red"})
    db.execute("INSERT INTO outbox (id, event, aggregate_type, aggregate_id, data) OVERRIDING SYSTEM VALUE VALUES (-5, 'delete_by_query', %s, '', %s)",
               [index, json.dumps({"query": RED})])
    drain(relay)
    assert left(elastic, index) == set()


def test_what_an_operator_mistypes(db: Database, index: str, relay: Outboxd) -> None:
    event = publish(db, index, "1", {"n": 1})
    assert relay.run("sweep").exit_code == relay.run("sweep", "x").exit_code == 64
    assert sweep(relay, event)[1]["outcome"] == sweep(relay, 4711)[1]["outcome"] == "gone"
    assert db.value("SELECT retry_at IS NULL AND error IS NULL FROM outbox WHERE id = %s", [event])


# -- around it

def test_check_knows_it(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    paint(db, index, 1, 1)
    query(db, index)
    done: Completed = relay.run("check")
    assert "none would be refused" in done.stdout, done.stdout
    query(db, f"{index}-else")
    assert "outbox.delete_by_query" in relay.run("check").stdout


@pytest.fixture
def shop(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> Outboxd:
    db.execute(PRODUCTS)
    return relay


def test_truncate_is_a_query(db: Database, elastic: Elastic, index: str, shop: Outboxd) -> None:
    assert shop.run("track", "products", "--index", index, "--truncate", "query").exit_code == 0
    db.execute("INSERT INTO products SELECT n, 'p' FROM generate_series(1, 50) n; TRUNCATE products; INSERT INTO products VALUES (7, 'new')")
    assert db.value("SELECT count(*) FROM outbox WHERE event = 'delete_by_query'") == 1
    waiting = shop.run("verify", "products", "--timeout", "1s")
    assert waiting.exit_code != 0
    drain(shop)
    assert left(elastic, index) == {"7"}
    assert shop.run("verify", "products").exit_code == 0


def test_truncate_that_would_delete_more(db: Database, index: str, shop: Outboxd, outboxd: OutboxdFactory) -> None:
    db.execute("CREATE TABLE others (id bigint PRIMARY KEY)")

    def track(relay: Outboxd, *words: str) -> str:
        return relay.run("track", *words).stderr

    assert "outbox.delete_by_query" in track(shop, "products", "--index", "elsewhere", "--truncate", "query")
    assert "none of refuse, delete, query" in track(shop, "products", "--index", index, "--truncate", "x")
    plain = outboxd(outbox_delete_by_query=index, outbox_operation="'index'")
    assert "outbox.operation makes index" in track(plain, "products", "--index", index, "--truncate", "query")
    assert track(shop, "products", "--index", index, "--truncate", "query") == ""
    assert "a TRUNCATE of public.products" in track(shop, "others", "--index", index)
    assert track(shop, "products", "--index", index) == "" and track(shop, "others", "--index", index) == ""
    assert "public.others is tracked into" in track(shop, "products", "--index", index, "--truncate", "query")
    with pytest.raises(psycopg.errors.RaiseException):
        db.execute("TRUNCATE products")


def test_reindex_waits_for_it(db: Database, elastic: Elastic, index: str, shop: Outboxd, outboxd: OutboxdFactory) -> None:
    """A query of one of its indexes that is still to be carried out is not replaced by events of rows."""
    old, new = f"{index}-1", f"{index}-2"
    relay = outboxd(outbox_delete_by_query=f"{index},{new}", **QUICK)
    elastic.delete_index(index)
    elastic.create_index(old, MAPPING)
    elastic.call("PUT", f"/{old}/_alias/{index}")
    try:
        assert relay.run("track", "products", "--index", index, "--truncate", "query").exit_code == 0
        db.execute("INSERT INTO products SELECT n, 'p' FROM generate_series(1, 20) n")
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 20, "the rows")
        refused = query(db, index, {"no_such_query": {}})
        wait_until(lambda: list(dead(db)) == [refused], 20, "its refusal")
        db.execute("TRUNCATE products; INSERT INTO products SELECT n, 'q' FROM generate_series(5, 9) n")
        done = relay.run("reindex", "products", "--to", new, timeout=90)
        assert done.exit_code == 0, done.stderr
        wait_until(lambda: undelivered(db) == 1, 20, "the rest")
        assert left(elastic, new) == left(elastic, index) == {str(n) for n in range(5, 10)} and list(dead(db)) == [refused]
        assert db.value("SELECT count(*) FROM outbox WHERE event = 'delete_by_query' AND error->>'replaced_by' IS NOT NULL") == 0
    finally:
        elastic.delete_index(old)
        elastic.delete_index(new)


@pytest.mark.time_limit(180)
def test_once_gives_up(db: Database, elastic: Elastic, index: str, relay: Outboxd) -> None:
    """What waits for ever, though looked at again and again, moves nothing."""
    paint(db, index, 1, 1)
    db.execute("UPDATE outbox SET retry_at = now() + interval '1 hour'")
    events = [query(db, index) for _ in range(40)]  # of which some process is at work at any time
    done = relay.run_once(timeout=90)
    assert done.exit_code == 75 and done.logs("gave_up")[0]["seconds"] == "60"
    assert all("is older" in error(db, event).get("reason", "is older") for event in events) and undelivered(db) == 41
    assert int(error(db, events[0])["wait_ms"]) > 0
